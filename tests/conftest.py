"""Fixtures of the whole suite."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from slurm import commands
from slurm import devcluster as slurm_on_this_machine
from slurm.base import UserError
from slurm.base.processes import start_time
from slurm.devcluster.packages import check_machine, ensure_packages

pytest_plugins = ["tests.fixtures_models"]

# Looks at the queue are shared between commands by a file in the user's cache; tests have one of their own.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="stepstone-cache-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# Nothing about time is asserted: what a busy machine takes long for is not wrong.
settings.register_profile("stepstone", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("stepstone")


def pytest_configure(config: pytest.Config) -> None:
    """Leave the waiting for the disk to the whole suite: 50,000 times, it was half of the quick part's time.

    Only a power cut tells what was synced from what was written, and tests of one look at the calls (`tests.trace`).
    """
    if "not slow" in config.option.markexpr:
        os.fsync = os.fstat  # type: ignore[assignment]  # which refuses what is no open file, too


# Files that take minutes begin first, so that no core waits for one of them at the end: those that mostly wait for
# Slurm, then those that compute.
_LONGEST = (
    "test_faults",
    "test_slurm",
    "test_every_task",
    "test_local_executor",
    "test_benchmarks",
    "test_distributed",
    "test_rehearse",
    "test_kill",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _LONGEST.index(item.path.stem) if item.path.stem in _LONGEST else len(_LONGEST))


@pytest.fixture(autouse=True)
def _slurm_itself_afterwards() -> Iterator[None]:
    """A test that leaves scripted answers behind would have later ones wait for a real Slurm that is never asked."""
    runner = commands.runner
    yield
    left_runner, commands.runner = commands.runner, runner
    assert left_runner is runner, "scripted answers were left in Slurm's place"


# --- a real Slurm on this machine -------------------------------------------------------------------------------------

_PREFIX = "stepstone-devcluster-"  # then <pid>-<start time>-… of the test run that owns it


@dataclass(frozen=True)
class DevCluster:
    """A running cluster: 2 nodes, each with 4 CPUs, 2 fake GPUs and 64 GB (advertised; the machine may have less)."""

    folder: Path
    environment: dict[str, str]  # os.environ and SLURM_CONF


@pytest.fixture(scope="session")
def devcluster() -> Iterator[DevCluster]:
    """A real Slurm for the whole run; skips where this machine cannot host one (fails if STEPSTONE_REQUIRE_SLURM=1)."""
    with own_devcluster("shared") as folder:
        slurm_on_this_machine.up(
            slurm_on_this_machine.Options(
                folder, nodes=2, cpus_per_node=4, memory_per_node=64000, gpus_per_node=2, max_array_size=1001
            )
        )
        yield DevCluster(folder, os.environ | slurm_on_this_machine.environment(folder))


@pytest.fixture
def devcluster_folder() -> Iterator[Path]:
    """A folder for a cluster of the test's own, which is stopped and removed whatever happens."""
    with own_devcluster("own") as folder:
        yield folder


@contextmanager
def own_devcluster(name: str) -> Iterator[Path]:
    _require_slurm()
    _stop_leftovers()
    folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{os.getpid()}-{start_time(os.getpid())}-{name}"
    folder.mkdir()
    try:
        yield folder
    finally:
        if (folder / "cluster.json").exists():
            slurm_on_this_machine.down(folder, wipe=True)
        shutil.rmtree(folder, ignore_errors=True)


def _require_slurm() -> None:
    """Install what is missing; skip or fail where no Slurm can be (one that can be must come up, though)."""
    try:
        check_machine()
        ensure_packages(install=True, log=Path(tempfile.gettempdir()) / "stepstone-apt.log")
    except UserError as error:
        if os.environ.get("STEPSTONE_REQUIRE_SLURM") == "1":
            pytest.fail(f"STEPSTONE_REQUIRE_SLURM=1, but: {error}")
        pytest.skip(str(error))


def _stop_leftovers() -> None:
    """End the clusters of earlier runs that were killed: their own processes only, and only in folders of this user."""
    with _alone_among_testers():
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*-*"):
            pid, started, _ = folder.name.removeprefix(_PREFIX).split("-")
            if str(start_time(int(pid))) == started or folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            if (folder / "cluster.json").exists():
                slurm_on_this_machine.down(folder, wipe=True)


@contextmanager
def _alone_among_testers() -> Iterator[None]:
    """The processes that run tests all come upon the same leftovers, and one of them shall end a cluster."""
    with (Path(tempfile.gettempdir()) / f"{_PREFIX}leftovers.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
