"""`submit` killed at every write to a network's file system, and typed again, while jobs run on other mounts.

NETWORK_FULL=1 kills it at every single one; without, at some. On a real Slurm: tests/filesystem/test_faults_on_network.
"""

import os
from collections.abc import Iterator

import pytest

from slurm.base import look
from tests.filesystem.network import LOGIN, Network, mounted
from tests.filesystem.panel import Settings
from tests.filesystem.test_launcher_machine_on_network import NODES, LauncherOnNetwork

pytestmark = pytest.mark.slow

STRIDE = 1 if "NETWORK_FULL" in os.environ else 23  # writes between two at which it is killed


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with mounted(memory=True, mounts=(LOGIN, *NODES)) as network:
        yield network


@pytest.mark.parametrize("seconds", [2.0, 60.0])
@pytest.mark.parametrize("hard_links", [True, False], ids=["hard links", "no hard links"])
def test_killed_at_any_write_the_next_command_sends_the_rest(
    network: Network, seconds: float, hard_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent twice, no result changes, all is finished in the end: the launcher looks after each step."""
    monkeypatch.setattr(look, "_PAUSES", (0.0,) * len(look._PAUSES))
    writes = int(seconds) % STRIDE
    while _is_killed(network, Settings(seconds, hard_links=hard_links), writes):
        writes += STRIDE
    print(f"killed before {writes // STRIDE} writes")
    assert writes > 40


def _is_killed(network: Network, settings: Settings, writes: int) -> bool:
    """Whether there were so many writes."""
    network.tell(settings)
    launcher = LauncherOnNetwork(network, f"{settings.seconds:.0f}-{settings.hard_links}-{writes}")
    launcher.begin(slots=2, array_size=2, submit_limit=None, preempt="REQUEUE", may_requeue=True, step_seconds=10.0)
    try:
        is_killed = launcher._crash(writes)
        launcher.all_is_well()
        launcher.submits(force=False)
        launcher.all_is_well()
        launcher.time_passes(15.0)
        launcher.all_is_well()
    except BaseException:
        launcher.stack.close()
        raise
    launcher.teardown()
    return is_killed
