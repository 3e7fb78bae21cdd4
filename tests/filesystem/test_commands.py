"""Every command while the file system refuses a call: one line on stderr that names the file and what to do."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch import submit
from launch.cli import app
from launch.plan import Plan
from launch.store import provenance
from slurm.base import look
from slurm.base.files import make_folder
from tests.filesystem.network import Network, mounted
from tests.filesystem.panel import Fault, Settings
from tests.launch.faulty_job import FaultyJob
from tests.launch.workspace import make
from tests.slurm.scripted import Limits, Scheduler

pytestmark = pytest.mark.slow

COMMANDS = (["status"], ["submit"], ["plan"], ["collect"], ["gc", "--yes"], ["cancel", "--yes"], ["retry"], ["doctor"])
ERRORS = (errno.ESTALE, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT)
STRIDE = 1 if "NETWORK_FULL" in os.environ else 17  # calls between two that go wrong


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with mounted(Settings(seconds=2), memory=True) as network:
        yield network


@pytest.fixture
def experiment(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An experiment file on the login mount. One seed is finished, the next one is queued, the third is new."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(provenance, "freeze", lambda root: make_folder(root / "code" / "0123456789abcdef"))
    monkeypatch.setattr(provenance, "versions", dict)
    monkeypatch.setattr(look, "_PAUSES", (0.0,) * len(look._PAUSES))
    place = network.login / tmp_path.name
    place.mkdir()
    workspace = make(place)

    def plan(seeds: int) -> Plan:
        options = {"executor": "slurm", "partition": "gpu"}
        return workspace.plan(recipes=["none"], targets=["xnli"], seeds=[f"{n}" for n in range(seeds)], cluster=options)

    scheduler = Scheduler(FaultyJob(), Limits(slots=1))
    with scheduler.installed():
        submit.submit(plan(1))
        scheduler.run_all()
        submit.submit(plan(2))
        plan(3)
        yield place / "experiment.yaml"


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_command_says_what_is_wrong_where_and_what_to_do(
    network: Network,
    experiment: Path,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cases = refused = 0
    stride = 3 * STRIDE if words[0] == "doctor" else STRIDE  # it tries all packages each time
    for code in ERRORS:
        for skip in range(cases % stride, 10_000, stride):
            fired = network.fired("login")
            # Twice: at a stale handle the kernel itself asks once again.
            network.fault("login", Fault(error=code, skip=skip, times=-1, paths="*/store*"))
            monkeypatch.setattr(sys, "argv", ["stepstone", words[0], str(experiment), *words[1:]])
            try:
                app.main()
                exit_code: object = 0
            except SystemExit as left:
                exit_code = left.code
            finally:
                network.fault("login")
            told = capsys.readouterr()
            if network.fired("login") == fired:
                break
            cases += 1
            last = (told.err.strip().splitlines() or [""])[-1]
            assert "Traceback" not in told.err, told.err
            if exit_code:
                refused += 1
                assert "store" in last or words[0] == "doctor", (code, skip, told.err)
                assert "; " in last or ". " in last or words[0] == "doctor", (code, skip, told.err)
    assert cases and (refused or words[0] == "doctor"), (cases, refused)
    print(words[0], cases, refused)
