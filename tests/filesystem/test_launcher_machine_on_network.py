"""The launcher's random sequences with the submitter on one mount of a network's file system, and jobs on two others.

Beside Slurm's faults, the file system has its own: errors at any call, lost replies, caches of 2 s and 60 s, no hard
links, folders that are not looked at again when they are opened (NFS's `nocto`), power cuts. More sequences with
`NETWORK_EXAMPLES=1000`, the first of them with `NETWORK_SEED`.
"""

import errno
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from launch.store import manifests
from launch.store.manifests import Manifest
from slurm.base import UserError, look
from slurm.base.errors import advice
from tests.filesystem.network import LOGIN, Network, mounted
from tests.filesystem.panel import Fault, Settings
from tests.launch.faulty_job import FAILED, FaultyJob
from tests.launch.test_launcher_machine import SEND_FAULTS, Launcher
from tests.slurm.scripted import Limits, Run, Scheduler
from tests.trace import Loss

pytestmark = pytest.mark.slow

NODES = ("node1", "node2")  # of the scripted scheduler
STEPS = 25
EXAMPLES = int(os.environ.get("NETWORK_EXAMPLES", "8"))
FIRST_SEED = int(os.environ.get("NETWORK_SEED", "0"))


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """One for all sequences, each of which has a folder of its own."""
    with mounted(memory=True, mounts=(LOGIN, *NODES)) as network:
        yield network


class JobOnNode(FaultyJob):
    """Its store is the same one on its node's mount. What the file system refuses ends it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def __call__(self, run: Run) -> Generator[None, None, int]:
        try:
            return (yield from super().__call__(run))
        except (OSError, UserError):
            return FAILED

    def manifest(self, run: Run) -> Manifest:
        node = self._network.folder / run.element.node
        manifest = manifests.read(node / run.manifest.relative_to(self._network.login))
        return replace(manifest, store=str(node / Path(manifest.store).relative_to(self._network.login)))


class NetworkScheduler(Scheduler):
    """What the clients of the file system believe gets old by its clock."""

    def __init__(self, network: Network, work: Callable[[Run], Any], limits: Limits) -> None:
        self._network = network
        super().__init__(work, limits)

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        self._now = now
        self._network.clock(now)


class LauncherOnNetwork(Launcher):
    """One person's commands on the login node, elements on others."""

    def __init__(self, network: Network, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    # --- where it lies

    def make_folder(self) -> tuple[Path, Path]:
        (self.network.login / self.name).mkdir()
        return self.network.login / self.name, self.network.backing / self.name

    def make_scheduler(self, limits: Limits) -> Scheduler:
        self.job = JobOnNode(self.network)
        return NetworkScheduler(self.network, self.work, limits)

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


class RandomLauncher(LauncherOnNetwork):
    """Which commands and faults come next, `random` says: calls of the file system are not the same from run to run, as
    times are real in part."""

    def __init__(self, network: Network, seed: int) -> None:
        super().__init__(network, f"{seed}")
        self.random = Random(seed)
        self.steps: list[object] = []
        self.in_doubt: set[Path] = set()
        draw = self.random.choice
        self.has_power_cuts = draw([False, False, True])
        hard_links = self.has_power_cuts or draw([True, True, False])
        self.network.tell(Settings(draw([2.0, 60.0]), draw([True, True, True, False]), hard_links))
        told = {
            "slots": draw([1, 2, 4]), "array_size": draw([2, 3, 1001]), "submit_limit": draw([None, None, 5, 12]),
            "preempt": draw(["REQUEUE", "CANCEL"]), "may_requeue": draw([True, False]),
            "step_seconds": draw([10.0, 100.0]),
        }  # fmt: skip
        self.begin(**told)
        self.steps += [self.network.settings, told]
        if self.has_power_cuts:
            self.network.remember()

    # --- what happens

    def step(self) -> None:
        """One thing, at random, and what must hold after it."""
        draw, steps = self.random.choice, [*COMMANDS, *FAULTS]
        name = draw([*steps, "submits", "submits", "time_passes", "time_passes", "time_passes"])
        number = self.random.randrange
        choices: dict[str, Callable[[], list[object]]] = {
            "submits": lambda: [draw([True, False])],
            "submits_through_a_fault": lambda: [draw(SEND_FAULTS)],
            "is_killed_while_it_submits": lambda: [number(61)],
            "is_killed_after_sending": lambda: [1 + number(4), number(7)],
            "edits_the_grid": lambda: [number(2)],
            "time_passes": lambda: [draw([1.0, 15.0, 70.0, 400.0])],
            "slurmctld_changes": lambda: [draw(["down", "stopped", "up"])],
            "slurmdbd_changes": lambda: [draw([True, False])],
            "an_element_is_hit": lambda: [
                number(4), draw(["preempt", "node", "oom", "segfault", "slow", "requeue"])
            ],
            "submits_in_trouble": lambda: [self._fault()],
            "cancels_in_trouble": lambda: [self._fault()],
            "a_node_has_trouble": lambda: [draw(NODES), self._fault(), draw([15.0, 70.0, 400.0])],
            "the_power_fails": lambda: [number(61), draw(["all", "bytes", "names"])],
        }  # fmt: skip
        if (name == "an_element_is_hit" and not self.scheduler.running) or (
            name == "the_power_fails" and not self.has_power_cuts
        ):
            return
        arguments = choices.get(name, list)()
        self.steps.append((name, *arguments))
        getattr(self, name)(*arguments)
        self.all_is_well()

    def _fault(self) -> Fault:
        draw, number = self.random.choice, self.random.randrange
        if draw([True, False]):
            code = draw([errno.ESTALE, errno.EIO, errno.ENOSPC, errno.EDQUOT])
            return Fault(error=code, skip=number(draw([40, 300])), times=draw([1, 4, -1]))
        calls = draw(["rename", "link", "symlink", "mkdir", "unlink"])
        return Fault(calls=calls, lost=True, error=draw([0, 0, errno.EIO]), skip=number(30), times=draw([1, 3]))

    def submits_in_trouble(self, fault: Fault) -> None:
        self.network.fault(LOGIN, fault)
        self._submit()
        self.network.fault(LOGIN)

    def cancels_in_trouble(self, fault: Fault) -> None:
        self.network.fault(LOGIN, fault)
        self.cancels()
        self.network.fault(LOGIN)

    def a_node_has_trouble(self, node: str, fault: Fault, seconds: float) -> None:
        self.network.fault(node, fault)
        self.scheduler.advance(seconds)
        self.network.fault(node)
        if fault.error and not fault.lost:  # a job that could not sync a folder has failed: what it put there may go
            before = set(self.seen)
            self.all_is_well()
            self.in_doubt |= set(self.seen) - before

    def the_power_fails(self, writes: int, loss: Loss) -> None:
        self._crash(writes)
        for element in self.scheduler.running:
            self.scheduler.fail_node(element)
        self.network.cut_power(loss)
        for path in [path for path in self.in_doubt if not path.exists()]:
            del self.seen[path]
        self.in_doubt.clear()
        self.network.clock(self.scheduler.now)
        self._bury()


COMMANDS = (
    "submits", "submits_through_a_fault", "is_killed_while_it_submits", "is_killed_after_sending", "edits_the_grid",
    "cancels", "time_passes",
)  # fmt: skip
FAULTS = (
    "slurmctld_changes", "slurmdbd_changes", "an_element_is_hit", "the_code_has_a_bug", "slurmctld_forgets",
    "accounting_forgets", "ids_begin_again", "submits_in_trouble", "submits_in_trouble", "cancels_in_trouble",
    "a_node_has_trouble", "a_node_has_trouble", "a_node_has_trouble", "the_power_fails",
)  # fmt: skip


def test_random_sequences_end_well(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_PAUSES", (0.0,) * len(look._PAUSES))
    for seed in range(FIRST_SEED, FIRST_SEED + EXAMPLES):
        launcher = RandomLauncher(network, seed)
        try:
            for _ in range(STEPS):
                launcher.step()
        except BaseException:
            print(f"seed {seed}:", *launcher.steps, sep="\n")
            launcher.stack.close()
            raise
        try:
            launcher.teardown()
        except BaseException:
            print(f"seed {seed}, at its end:", *launcher.steps, sep="\n")
            raise
    print({name: (network.calls(name), network.fired(name)) for name in network.mounts})  # calls, and faults of them
