"""Forks in place of new processes: the same environment and limits, and no end of a child touches its parent."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/slurm/forks_program.py found."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.slurm.forks_program", str(tmp_path_factory.mktemp("forks"))],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),  # as some supervisors hand it on
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def test_a_process_is_forked_while_it_has_one_thread(told: dict[str, Any]) -> None:
    assert (told["clean"], told["threads"], told["with a thread"]) == (True, 1, False)


def test_however_a_child_ends_its_parent_goes_on(told: dict[str, Any]) -> None:
    codes = {name: code for name, (code, _) in told["ends"].items()}
    assert codes == {
        "returns": 0, "exits": 3, "exits with words": 1, "raises": 1, "leaves": 75, "is killed": -9, "aborts": -6,
        "reads nowhere": -11, "is terminated": -15,
    }  # fmt: skip
    assert told["ends"]["exits with words"][1] == "error: these\n"
    assert told["ends"]["raises"][1].endswith("ZeroDivisionError: division by zero\n")
    assert (told["runs"], told["ended"]) == (None, [-15, -15])


def test_a_fork_has_what_a_new_process_has(told: dict[str, Any]) -> None:
    """Environment, working directory, umask, limits, session and group."""
    code, line = told["forked"]
    forked, new = json.loads(line), json.loads(told["new"])
    for record in (forked, new):
        record[0].pop("LC_CTYPE", None)  # which Python sets for itself
    assert code == 0 and forked == new and forked[2] == 0o027 and forked[3] == [200, 300]
    assert told["c"] == [0, "b'1' None\n"]


def test_gpus_are_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    from slurm import forks

    monkeypatch.setattr(forks, "threads", lambda: 1)
    assert forks.is_clean()
    monkeypatch.setattr(forks, "_open_files", lambda: ["/dev/null", "/dev/nvidia-uvm"])
    assert not forks.is_clean()


def test_a_driver_that_is_open_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slurm import forks

    monkeypatch.setattr(forks, "_DRIVERS", (str(tmp_path / "nvidia"),))
    monkeypatch.setattr(forks, "threads", lambda: 1)
    assert forks.is_clean()
    with (tmp_path / "nvidia-uvm").open("w"):
        assert not forks.is_clean()
