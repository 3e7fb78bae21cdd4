"""`notify: {command: …}`: the user's own command hears of done, failed and held, once each, and is never in the way."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from launch import submit
from launch.experiment import load
from launch.plan import Plan
from launch.store import provenance
from launch.submit import follow, notify
from slurm.base import UsageError
from tests.launch import stub_job
from tests.launch.workspace import Workspace, look_at
from tests.slurm.scripted import Scheduler

CLUSTER = {"executor": "slurm", "partition": "gpu"}
# Notes what it was told, a line each.
LISTENER = """\
import json, os, sys
event = {name: os.environ[f"STEPSTONE_{name}"] for name in ("EVENT", "EXPERIMENT", "FILE", "LINE")}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(event | {"said": sys.argv[-1]}) + "\\n")
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


def _plan(workspace: Workspace, code: int = 0, **changes: Any) -> Plan:
    (workspace.root / "listener.py").write_text(LISTENER)
    command = [sys.executable, str(workspace.root / "listener.py"), str(workspace.root / "heard"), str(code)]
    return workspace.plan(**({"cluster": CLUSTER, "seeds": ["1"], "notify": {"command": command}} | changes))


def _heard(workspace: Workspace) -> list[dict[str, str]]:
    path: Path = workspace.root / "heard"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _follow(plan: Plan, scheduler: Scheduler) -> list[str]:
    lines: list[str] = []
    submit.submit(plan)
    scheduler.run_all()
    follow.follow(plan, lines.append)
    return lines


def test_done(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    _follow(plan, scheduler)
    total = len(plan.stages)
    line = f"{total} of {total} stages finished"
    assert _heard(workspace) == [
        {"EVENT": "done", "EXPERIMENT": "small", "FILE": str(plan.experiment.path), "LINE": line,
         "said": f"small: done: {line}"},
    ]  # fmt: skip


@pytest.mark.slow
def test_failed(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.work = stub_job.failing(("squad-s1",), cause="not-finite")
    _follow(_plan(workspace), scheduler)
    (event,) = _heard(workspace)
    assert event["EVENT"] == "failed" and "1 failed" in event["LINE"] and "held" in event["LINE"]


def test_a_breaker_that_opens_is_told_once(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace, failures={"equal": "1", "code": {"retry": "0"}})
    reason = "held: 1 stage failed alike: it broke; mend it"

    class Look:
        def among(self, states: object) -> list[object]:
            return [object()]

        def state(self, stage: object) -> Any:
            return type("State", (), {"reason": reason})

    look: Any = Look()
    notifier = notify.Notifier(plan, print)
    notifier.look_for_held(look)
    notifier.look_for_held(look)
    (event,) = _heard(workspace)
    assert (event["EVENT"], event["LINE"]) == ("held", reason)


@pytest.mark.slow
def test_who_watches_hears_of_an_end_that_was_seen(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    notifier = notify.Notifier(plan, print)
    notifier.look(look_at(plan))
    assert _heard(workspace) == []  # nothing was under way
    submit.submit(plan)
    notifier.look(look_at(plan))
    scheduler.run_all()
    for _ in range(2):
        notifier.look(look_at(plan))
    assert [event["EVENT"] for event in _heard(workspace)] == ["done"]


def test_a_race_between_two_rounds_has_not_failed(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace, targets=["xnli"], seeds={"min": "2", "max": "3", "until": "0.5"})
    scheduler.work = stub_job.scoring(lambda entry: 60 + int(entry.key[:2], 16) % 7)
    notifier = notify.Notifier(plan, print)
    while submit.submit(plan).stages:
        assert _heard(workspace) == []
        notifier.look(look_at(plan))
        scheduler.run_all()
        notifier.look(look_at(plan))
    assert [event["EVENT"] for event in _heard(workspace)] == ["done"]


@pytest.mark.slow
def test_its_failure_is_said_and_not_in_the_way(workspace: Workspace, scheduler: Scheduler) -> None:
    lines = _follow(_plan(workspace, code=3), scheduler)
    assert next(line for line in lines if line.startswith("notify: ")).endswith(": exit code 3")
    assert len(_heard(workspace)) == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/nowhere/program"], "notify: /nowhere/program: cannot be run: No such file or directory"),
        (["sh", "-c", "echo first >&2; echo why >&2; exit 1"], "exit code 1: why"),
        (["sh", "-c", "sleep 100 & wait"], "took more than 0 s, and was ended"),
        (["true"], ""),
        (["sh", "-c", "sleep 5 & exit 0"], ""),
        (["sh", "-c", "sleep 5 & echo why >&2; exit 1"], "exit code 1: why"),
    ],
    ids=["missing", "failing", "hanging", "well", "leaving", "leaving-and-failing"],
)
def test_whatever_becomes_of_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, command: list[str], said: str
) -> None:
    monkeypatch.setattr(notify, "SECONDS", 0.3)
    lines: list[str] = []
    notify.run(workspace.plan(notify={"command": command}), "done", "a line", lines.append)
    assert ("".join(lines) == said) if not said else lines[0].endswith(said)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("notify-send 'my runs' --urgency=low", ("notify-send", "my runs", "--urgency=low")),
        (["curl", "-d", "a; rm -rf x"], ("curl", "-d", "a; rm -rf x")),
        ("echo $HOME; ls", ("echo", "$HOME;", "ls")),  # no shell ever sees it
    ],
)
def test_a_command_is_words(workspace: Workspace, value: object, words: tuple[str, ...]) -> None:
    assert load(workspace.file(notify={"command": value})).notify.command == words


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"command": "say 'it"}, "notify.command: a quote in "),
        ({"command": ""}, "notify.command: expected a command"),
        ({"mail": "yes, please"}, "'yes, please' is neither true nor false nor an address such as me@example.org"),
        ({"mial": "true"}, "unknown key 'mial' in `notify:`; did you mean 'mail'?"),
    ],
)
def test_mistakes_are_one_line(workspace: Workspace, section: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as told:
        load(workspace.file(notify=section))
    assert said in str(told.value)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("me@example.org", "me@example.org")])
def test_mail(workspace: Workspace, text: str, value: object) -> None:
    assert load(workspace.file(notify={"mail": text})).notify.mail == value
