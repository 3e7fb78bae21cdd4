"""The launcher's random sequences with the submitter on one mount of a network's file system, and the jobs on another.

Beside Slurm's faults, the file system has its own: errors at any call, lost replies, caches of 2 s and 60 s, no hard
links, folders that are not looked at again when they are opened (NFS's `nocto`), power cuts.
"""

import errno
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from launch.store import manifests
from launch.store.manifests import Manifest
from slurm.base import UserError, look
from slurm.base.errors import advice
from tests.filesystem.network import MOUNTS, Network, mounted
from tests.filesystem.panel import Fault, Settings
from tests.launch.faulty_job import FAILED, FaultyJob
from tests.launch.test_launcher_machine import Launcher
from tests.slurm.scripted import Limits, Run, Scheduler

NETWORK: list[Network] = []  # the one that all sequences use, each in a folder of its own
NUMBERS = count(1)


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    with mounted(memory=True) as network, pytest.MonkeyPatch.context() as patch:
        patch.setattr(look, "_PAUSES", (0.0,) * len(look._PAUSES))
        NETWORK.append(network)
        yield
        NETWORK.clear()
        counts = {name: (network.calls(name), network.fired(name)) for name in MOUNTS}
        print(f"{next(NUMBERS) - 1} sequences; (calls, faults): {counts}")


FAULTS = st.one_of(
    st.builds(
        Fault,
        error=st.sampled_from([errno.ESTALE, errno.EIO, errno.ENOSPC, errno.EDQUOT]),
        skip=st.one_of(st.integers(0, 40), st.integers(0, 300)),
        times=st.sampled_from([1, 4, -1]),
    ),
    st.builds(
        Fault,
        calls=st.sampled_from(["rename", "link", "symlink", "mkdir", "unlink"]),
        lost=st.just(True),
        error=st.sampled_from([0, 0, errno.EIO]),
        skip=st.integers(0, 40),
    ),
)


class JobOnNode(FaultyJob):
    """Its store is the same one on the other mount. What the file system refuses ends it."""

    def __call__(self, run: Run) -> Generator[None, None, int]:
        try:
            return (yield from super().__call__(run))
        except (OSError, UserError):
            return FAILED

    def manifest(self, run: Run) -> Manifest:
        read = manifests.read(_on_node(run.manifest))
        return replace(read, store=str(_on_node(Path(read.store))))


def _on_node(path: Path) -> Path:
    (network,) = NETWORK
    return network.compute / path.relative_to(network.login)


class NetworkScheduler(Scheduler):
    """What the clients of the file system believe gets old by its clock."""

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        self._now = now
        for network in NETWORK:
            network.clock(now)


class LauncherOnNetwork(Launcher):
    """One person's commands on the login node, elements on others."""

    @initialize(
        seconds=st.sampled_from([2.0, 60.0]),
        looks_again=st.sampled_from([True, True, True, False]),
        hard_links=st.sampled_from([True, True, False]),
        has_power_cuts=st.sampled_from([False, False, True]),
        slots=st.integers(1, 4),
        array_size=st.sampled_from([2, 3, 1001]),
        submit_limit=st.sampled_from([None, None, 5, 12]),
        preempt=st.sampled_from(["REQUEUE", "CANCEL"]),
        may_requeue=st.booleans(),
        step_seconds=st.sampled_from([10.0, 100.0]),
    )
    def begin(self, seconds: float, looks_again: bool, hard_links: bool, has_power_cuts: bool, **limits: Any) -> None:  # type: ignore[override]
        (self.network,) = NETWORK
        self.has_power_cuts = has_power_cuts and hard_links
        self.network.tell(Settings(seconds, looks_again, hard_links))
        super().begin(**limits)
        if self.has_power_cuts:
            self.network.remember()

    def make_folder(self) -> tuple[Path, Path]:
        name = f"{next(NUMBERS)}"
        (self.network.login / name).mkdir()
        return self.network.login / name, self.network.backing / name

    def make_scheduler(self, limits: Limits) -> Scheduler:
        self.job = JobOnNode()
        return NetworkScheduler(self.job, limits)

    def remove_folder(self) -> None:
        self.network.tell(Settings())
        shutil.rmtree(self.truth, ignore_errors=True)

    def stop_faults(self) -> None:
        super().stop_faults()
        self.network.tell(self.network.settings)

    def types(self, command: Callable[[], object]) -> None:
        try:
            super().types(command)
        except OSError as error:
            assert advice(error) is not None and error.filename is not None, repr(error)

    @rule(fault=FAULTS)
    def submits_while_the_file_system_has_trouble(self, fault: Fault) -> None:
        self.network.fault("login", fault)
        self._submit()
        self.network.fault("login")

    @rule(fault=FAULTS)
    def cancels_while_the_file_system_has_trouble(self, fault: Fault) -> None:
        self.network.fault("login", fault)
        self.cancels()
        self.network.fault("login")

    @rule(fault=FAULTS, seconds=st.sampled_from([15.0, 70.0, 400.0]))
    def nodes_have_trouble(self, fault: Fault, seconds: float) -> None:
        self.network.fault("compute", fault)
        self.scheduler.advance(seconds)
        self.network.fault("compute")

    @precondition(lambda self: getattr(self, "has_power_cuts", False))
    @rule(writes=st.integers(0, 60), loss=st.sampled_from(["all", "bytes", "names"]))
    def the_power_fails(self, writes: int, loss: Any) -> None:
        self._crash(writes)
        for element in self.scheduler.running:
            self.scheduler.fail_node(element)
        self.network.cut_power(loss)
        self.network.clock(self.scheduler.now)
        self._bury()


LauncherOnNetwork.TestCase.settings = settings(
    max_examples=int(os.environ.get("NETWORK_EXAMPLES", "12")), stateful_step_count=25
)
TestLauncherOnNetwork = pytest.mark.slow(LauncherOnNetwork.TestCase)
