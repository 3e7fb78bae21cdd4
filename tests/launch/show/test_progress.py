"""How far an experiment is: bars in a terminal, plain lines elsewhere."""

import io
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import pytest
from rich.console import Console

from launch.plan import Stage
from launch.show import progress
from launch.standing import so_far
from launch.standing.progress import Progress
from launch.standing.so_far import Standing
from launch.status import StageState
from launch.store import Store, attempts
from launch.store.attempts import Starter
from launch.store.store import Known
from slurm.base.files import to_json, write_atomic
from tests.launch.workspace import Workspace

STANDING = Standing(
    Counter(finished=3, queued=4, running=2), 9, (Progress("squad-s1", 5, 20), Progress("a", 0, 0)), 75.0
)


def _console(screen: io.StringIO, *, terminal: bool) -> Console:
    return Console(file=screen, force_terminal=terminal, width=100, highlight=False, _environ={"TERM": "xterm"})


def test_bars_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = io.StringIO()
    with progress.bars(_console(screen, terminal=True)) as bars:
        assert bars is not None
        bars.draw(STANDING)
        bars.progress.refresh()
        bars.say("sent [3] more")
        first = screen.getvalue()
        bars.draw(Standing(Counter(finished=9), 9, ()))
        screen.truncate(0)
        bars.progress.refresh()
    assert (
        "3/9" in first
        and "about 75 s left" in first
        and "4 queued" in first
        and "squad-s1" in first
        and "5/20" in first
    )
    assert "sent [3] more" in first
    assert "9/9" in screen.getvalue() and "squad-s1" not in screen.getvalue() and "left" not in screen.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut_whatever_stages_are_called(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    name = "hellaswag+squad+mnli.cosmosqa+commonsenseqa.panx-s1--tydiqa-goldp"
    counts = Counter(finished=12_345, queued=2_004, running=2, failed=30, held=4_400)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, highlight=False, _environ={"TERM": "xterm"})
    with progress.bars(console) as bars:
        assert bars is not None
        bars.draw(Standing(counts, 15_000, (Progress(name, 5_123, 20_000),), 181_440.0))
        screen.seek(0)
        screen.truncate()
        bars.progress.refresh()
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    text = "\n".join(lines)
    assert "12345/15000" in text and "5123/20000" in text and "about 2.1 days left" in text
    assert "2004 queued, 30 failed, 4400 held" in text and "-goldp" in text and "  hellaswag" in text
    assert max(map(len, lines)) <= width and text.count("━") >= 16


@pytest.mark.parametrize(("terminal", "environment"), [(False, {}), (True, {"NO_COLOR": "1"})])
def test_lines_elsewhere(terminal: bool, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = io.StringIO()
    with progress.bars(_console(screen, terminal=terminal)) as bars:
        assert bars is None
    assert screen.getvalue() == ""
    line = "3 of 9 stages finished, 4 queued, 2 running; squad-s1 5/20; a"
    assert STANDING.line() == f"{line}; about 75 s left" and replace(STANDING, seconds_left=None).line() == line


@dataclass
class Look:
    """An observation of which a test says what it sees."""

    finished: set[str]
    at_work: list[Stage]
    entries: None = None
    unneeded: frozenset[str] = frozenset()
    total: int = 9

    def among(self, states: Collection[str]) -> list[Stage]:
        return self.at_work

    def counts(self) -> Counter[str]:
        return Counter(finished=len(self.finished), running=len(self.at_work))

    def state(self, stage: Stage) -> StageState:
        return StageState("running" if stage in self.at_work else "queued")


def test_the_time_that_is_left(workspace: Workspace) -> None:
    """As `status` has it: the middle of the interval, and nothing before anything tells."""
    plan = workspace.plan()

    def standing(finished: dict[str, float], at_work: list[str]) -> Standing:
        store = Store(plan.experiment.store)
        took = {plan.find(name).key: seconds for name, seconds in finished.items()}
        store.index = {key: list(Known(0, "g", "", 50.0, [], seconds, {})) for key, seconds in took.items()}  # type: ignore[misc]
        look: Any = Look(set(took), [plan.find(name) for name in at_work])
        return so_far.standing(plan, store, look)

    folder = Store(plan.experiment.store).stage_folder(plan.find("squad-s1").folder)
    attempt = attempts.begin(folder, Starter.this_process(), lambda job: None)
    write_atomic(attempt.folder / "heartbeat.json", to_json({"step": 4, "total": 9}))
    assert standing({}, ["squad-s1"]).seconds_left is None  # nothing tells
    first = standing({"mnli-s1": 90.0, "mnli-s2": 110.0, "mnli-s1--xnli": 10.0}, ["squad-s1"])
    assert first.seconds_left is not None and first.seconds_left > 100
    assert [str(stage) for stage in first.running] == ["squad-s1 4/9"]
    more = standing({"mnli-s1": 90.0, "mnli-s2": 110.0, "mnli-s1--xnli": 10.0, "squad-s2": 95.0}, ["squad-s1"])
    assert more.seconds_left is not None and more.seconds_left < first.seconds_left
    assert standing({stage.name: 60.0 for stage in plan.stages.values()}, []).seconds_left == 0


def test_the_time_is_told_by_more_than_has_a_bar(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = workspace.plan()
    store = Store(plan.experiment.store)
    stages = [plan.find(name) for name in ("squad-s1", "squad-s2")]
    for stage in stages:
        attempt = attempts.begin(store.stage_folder(stage.folder), Starter.this_process(), lambda job: None)
        write_atomic(attempt.folder / "heartbeat.json", to_json({"step": 4, "total": 9}))
    told_by: list[set[str]] = []
    monkeypatch.setattr(so_far, "by_progress", lambda p, s, o, progress, now: told_by.append(set(progress)))
    monkeypatch.setattr(so_far, "_WITH_BARS", 1)
    look: Any = Look(set(), stages)
    shown = so_far.standing(plan, store, look).running
    assert [stage.name for stage in shown] == ["squad-s1"] and told_by == [{stage.key for stage in stages}]
