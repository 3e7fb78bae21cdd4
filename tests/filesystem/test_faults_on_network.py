"""The fault matrix on a real Slurm, with the store on a network's file system: `submit` on its login mount, and the
nodes, at the same path, on its compute mount, whose names and attributes are as old as 2 s or 60 s.

NETWORK_FULL=1 runs all of it; without, a part, since the matrix is run on an ordinary file system too.
"""

import os
from collections.abc import Callable, Iterator
from inspect import signature
from itertools import count
from pathlib import Path

import pytest

from slurm.devcluster import cluster, daemons
from tests.conftest import own_devcluster
from tests.filesystem.network import Network, mounted
from tests.filesystem.panel import Settings
from tests.launch import test_faults
from tests.launch.test_faults import Lab, make_lab  # noqa: F401

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

FULL = "NETWORK_FULL" in os.environ
NUMBERS = count(1)
MATRIX = sorted(name for name in dir(test_faults) if name.startswith("test_"))


def _cases(name: str) -> Iterator[tuple[str, dict[str, object]]]:
    """A test of the matrix with each of its parameters: every one has a store of its own."""
    marks = [mark for mark in getattr(getattr(test_faults, name), "pytestmark", []) if mark.name == "parametrize"]
    if not marks:
        yield name, {}
        return
    ((names, choices),) = (mark.args for mark in marks)
    for choice in choices:
        yield name, {names: choice} if isinstance(names, str) else dict(zip(names, choice, strict=True))


CASES = [case for name in MATRIX for case in _cases(name)]
SMALL = ("test_requeued_by_hand", "test_two_submitters_at_once_send_one_set")


@pytest.fixture(scope="module", params=[2.0, 60.0] if FULL else [60.0], ids=lambda seconds: f"{seconds:.0f} s")
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    with mounted(Settings(seconds=request.param)) as network:
        yield network


@pytest.fixture(scope="module")
def folder(network: Network) -> Iterator[Path]:
    """A cluster whose nodes have the compute mount where this machine has the login mount."""
    with own_devcluster("network") as folder, pytest.MonkeyPatch.context() as patch:
        seen = f"mount --bind '{network.compute}' '{network.login}' && "
        patch.setattr(daemons, "_FIRST_PROCESS", seen + daemons._FIRST_PROCESS)
        cluster.up(cluster.Options(folder, 2, 4, 8000, gpus_per_node=0, max_array_size=11))
        yield folder


@pytest.fixture
def place(network: Network) -> Path:
    path = network.login / f"lab{next(NUMBERS)}"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param(*case, id="-".join(map(str, (case[0], *case[1].values()))))
        for case in CASES
        if FULL or case[0] in SMALL
    ],
)
def test_the_fault_matrix(
    make_lab: Callable[..., Lab],  # noqa: F811
    folder: Path,
    name: str,
    values: dict[str, object],
) -> None:
    test = getattr(test_faults, name)
    fixtures = {"make_lab": make_lab, "folder": folder}
    test(**{name: fixtures[name] for name in signature(test).parameters if name in fixtures}, **values)
