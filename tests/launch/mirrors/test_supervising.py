"""A mirror whose library hangs, raises, ends its process or prints without end harms nobody: the others do all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli.app import app
from launch.mirrors import supervising
from launch.mirrors.mirror import alone
from launch.mirrors.sinks import Place
from launch.mirrors.supervising import Outcome
from launch.plan import Plan
from slurm.base import UsageError
from slurm.base.processes import is_alive
from tests.launch.mirrors.logged_stage import fake_library, finish_all
from tests.launch.workspace import Workspace

HANGS = "import time\ntime.sleep(600)\n"
RAISES = "raise RuntimeError('a library\\nof many lines')\n"
EXITS = "import os\nos._exit(0)\n"
FLOODS = """
import sys
for _ in range(20_000):
    print("flood" * 100)
    print("flood" * 100, file=sys.stderr)
raise OSError(28, "No space left on device", "/somewhere")
"""


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    plan = workspace.plan(seeds=["1"])
    finish_all(plan)
    return plan


def _mirror(plan: Plan, root: Path, *kinds: str, patience: float = 60.0) -> tuple[dict[str, Outcome], list[str]]:
    messages: list[str] = []
    places = {kind: Place(root / kind, "small", online=False) for kind in kinds}
    outcomes = supervising.mirror(plan.experiment.path, places, follow=False, say=messages.append, patience=patience)
    return {outcome.kind: outcome for outcome in outcomes}, messages


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (HANGS, "gave no sign of life for 20 s, and was ended"),
        (RAISES, "RuntimeError: a library of many lines"),
        (EXITS, "its process ended (exit code 0) before it was done"),
        (FLOODS, "/somewhere: No space left on device; make room"),
    ],
    ids=["hangs", "raises", "exits", "floods"],
)
def test_one_that_fails_is_told_and_the_other_does_all(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, failure: str
) -> None:
    store_before = _state_of(plan.experiment.store)
    monkeypatch.setenv("PYTHONPATH", str(fake_library(tmp_path / "fake", "wandb", code)))
    outcomes, messages = _mirror(plan, tmp_path / "mirrors", "wandb", "tensorboard", patience=20.0)
    assert outcomes["wandb"].failure.startswith(failure) and "\n" not in outcomes["wandb"].failure
    assert [line.partition(":")[0] for line in messages] == ["wandb"]
    assert not outcomes["tensorboard"].failure and outcomes["tensorboard"].points > 30
    assert _state_of(plan.experiment.store) == store_before  # no mirror writes there


def _state_of(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))}


@pytest.mark.slow
def test_what_hangs_ends_with_the_command_even_by_force(plan: Plan, tmp_path: Path) -> None:
    """A library that notes its process and hangs; the command is killed."""
    note = tmp_path / "process"
    code = f"import os\nopen({str(note)!r}, 'w').write(str(os.getpid()))\nimport time\ntime.sleep(600)\n"
    environment = os.environ | {"PYTHONPATH": str(fake_library(tmp_path / "fake", "wandb", code))}
    script = Path(sys.executable).with_name("stepstone")
    command = subprocess.Popen(
        [script, "mirror", "experiment.yaml", "--to", "wandb", "--folder", "m"], cwd=plan.experiment.path.parent,
        env=environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _wait_for(lambda: note.exists() and note.read_text().strip() != "")
    process = int(note.read_text())
    command.send_signal(signal.SIGKILL)
    command.wait()
    _wait_for(lambda: not is_alive(process, None))


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


@pytest.mark.slow
def test_two_commands_do_not_write_to_one_folder(plan: Plan, tmp_path: Path) -> None:
    with alone(tmp_path / "tensorboard"):
        outcomes, messages = _mirror(plan, tmp_path, "tensorboard")
    assert "another stepstone mirror writes here" in outcomes["tensorboard"].failure and len(messages) == 1


def test_a_state_that_cannot_be_read_is_one_line(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard/stepstone.json").write_text(json.dumps({"schema": 1, "cursors": 3}))
    outcomes, _ = _mirror(plan, tmp_path, "tensorboard")
    assert "stepstone.json: cannot be read" in outcomes["tensorboard"].failure


def test_what_is_not_installed_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"mlflow-skinny is not installed; type: pip install mlflow-skinny"):
        supervising.check(["mlflow"])
    with pytest.raises(UsageError, match="--to neptune: unknown; it takes tensorboard, mlflow, wandb, trackio"):
        supervising.check(["neptune"])


def test_the_command_says_where_and_how_to_look(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plan.experiment.path.parent)
    outcome = CliRunner().invoke(app, ["mirror", "experiment.yaml", "--to", "tensorboard"], catch_exceptions=False)
    assert outcome.exit_code == 0
    assert outcome.stderr.splitlines()[-2].startswith("tensorboard: ")
    assert outcome.stderr.splitlines()[-1] == "  to see: tensorboard --logdir store/mirrors/tensorboard"
    refusal = CliRunner().invoke(app, ["mirror", "experiment.yaml", "--to", "tensorboard", "--online"])
    assert isinstance(refusal.exception, UsageError) and "tensorboard has no server" in str(refusal.exception)
