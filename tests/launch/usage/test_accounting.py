"""How accounting is asked about the elements of an experiment: in few words, once, and again for what is left."""

from collections.abc import Sequence

import pytest

from launch.plan import Plan
from launch.store import Store, submissions
from launch.store.submissions import IntendedArray, Intent, Receipt, Submission
from launch.usage import accounting
from launch.usage.accounting import Accounts
from slurm import endings
from slurm.base.files import make_folder
from slurm.commands import Output, Silent
from tests.launch.workspace import look_at
from tests.slurm.answers import Answers, install

LINE = "{id}|COMPLETED|60|720|cpu=8,mem=64G,node=1|00:10||||0|2026-11-21T09:00:00|name-0\n"
COUNT = 2500


@pytest.fixture
def asked(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """One array of 2,500 elements, of which sacct has all but every tenth."""
    _send(plan, COUNT)

    def sacct(command: Sequence[str]) -> Output:
        words = set(command[command.index("--jobs") + 1].split(","))
        told = [n for n in range(COUNT) if n % 10 and ("7" in words or f"7_{n}" in words)]
        return Output(0, "".join(LINE.format(id=f"7_{n}") for n in told), "")

    return install(monkeypatch, squeue="", sacct=sacct)


def _send(plan: Plan, count: int) -> None:
    """An array of so many elements."""
    store = Store(plan.experiment.store)
    submission = Submission(make_folder(store.root / "submissions" / "20261126-000000.000000-abcdef01"))
    key = next(iter(plan.stages))
    arrays = (IntendedArray("name-0", {index: [key] for index in range(count)}),)
    submissions.write_intent(submission, Intent("abcdef01", "small", "slurm", arrays=arrays))
    submission.write_receipt(0, Receipt(job="7"))


def _look(plan: Plan) -> Accounts:
    return accounting.look(plan, Store(plan.experiment.store), look_at(plan))


def _jobs(asked: Answers) -> list[str]:
    return [command[command.index("--jobs") + 1] for command in asked.asked if "AllocTRES" in command[-1]]


def test_a_large_array_is_one_word_and_asked_once(plan: Plan, asked: Answers) -> None:
    accounts = _look(plan)
    assert (len(accounts.jobs), len(accounts.stages), accounts.words) == (COUNT * 9 // 10, COUNT, None)
    assert _jobs(asked) == ["7"]
    assert len(_look(plan).jobs) == len(accounts.jobs) and _jobs(asked) == ["7"]


def test_what_had_no_record_is_asked_for_again_later(
    plan: Plan, asked: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look(plan)
    monkeypatch.setattr(accounting, "_PATIENCE", 0.0)
    _look(plan)
    assert _jobs(asked) == ["7", "7"]


def test_one_command_asks_a_few_times_and_the_next_goes_on(
    plan: Plan, asked: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "_WHOLE", COUNT)
    for name, value in (("_AT_ONCE", 1000), ("_TIMES", 2)):
        monkeypatch.setattr(accounting, name, value)
    first = _look(plan)
    assert 1700 < len(first.jobs) < 1900 and first.words is not None and "again for the rest" in first.words
    second = _look(plan)
    assert (len(second.jobs), second.words) == (2250, None)
    assert [len(words.split(",")) for words in _jobs(asked)] == [1000, 1000, 500]


def test_nothing_is_asked_while_nobody_says_what_runs(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of what was remembered all is told."""
    _send(plan, 1)
    asked = install(monkeypatch, squeue=Silent("late"), sacct=LINE.format(id="7_0"))
    assert _look(plan).jobs == () and _jobs(asked) == []
    asked.by_start["squeue"] = ""
    _look(plan)
    asked.by_start["squeue"] = Silent("late")
    accounts = _look(plan)
    assert len(accounts.jobs) == 1 and _jobs(asked) == ["7_0"]
    assert accounts.words is not None and "does not say what runs" in accounts.words


@pytest.mark.parametrize("state", ["PREEMPTED", "REQUEUED", "NODE_FAIL"])
def test_a_start_that_may_come_back_is_not_the_end(plan: Plan, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    _send(plan, 1)
    cut = LINE.format(id="7_0").replace("COMPLETED", state)
    asked = install(monkeypatch, squeue="", sacct=cut)
    assert [job.state for job in _look(plan).jobs] == [state]
    asked.by_start["sacct"] = cut + LINE.format(id="7_0").replace("T09", "T11")
    assert len(_look(plan).jobs) == 1  # not at once
    monkeypatch.setattr(accounting, "_PATIENCE", 0.0)
    for _ in range(2):  # each start once
        assert [job.state for job in _look(plan).jobs] == [state, "COMPLETED"]
