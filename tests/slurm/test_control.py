"""What changes jobs in the queue: ids fit the command line, and scancel's words reach the user."""

import signal
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm import control, signals
from slurm.base import UserError
from slurm.commands import Missing, Output, Silent
from tests.slurm.answers import install, no_answers

OVER = (
    "scancel: error: Kill job error on job id 7_1: Job/step already completing or completed\n"
    "scancel: error: Kill job error on job id 9: Invalid job id specified\n"
)


def test_one_call_cancels_many(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, scancel="")
    control.cancel(["12", "12_3", "13_[3-7,9]"])
    assert answers.asked == [["scancel", "12", "12_3", "13_[3-7,9]"]]
    control.cancel([])
    assert len(answers.asked) == 1


@given(st.lists(st.integers(1, 9000).map("1".__mul__), max_size=30))
@settings(max_examples=40)
def test_every_id_is_cancelled_once_and_lines_stay_short(ids: list[str]) -> None:
    batches = list(control._batches(ids))
    assert [identifier for batch in batches for identifier in batch] == ids
    assert all(len(" ".join(batch)) <= control._LINE_CHARACTERS for batch in batches)


def test_what_is_over_already_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, scancel=Output(1, "", OVER))
    control.cancel(["7_1", "9"])


def test_scancels_words(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = "scancel: error: Kill job error on job id 8: Access/permission denied\n"
    install(monkeypatch, scancel=Output(1, "", OVER + denied + denied))
    with pytest.raises(UserError, match=r"job id 8: Access/permission denied \(and 1 more\); some jobs may go on"):
        control.cancel(["8"])


def test_a_failed_batch_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_LINE_CHARACTERS", 3)
    answers = install(monkeypatch, scancel=Output(1, "", "scancel: error: no\n"))
    with pytest.raises(UserError):
        control.cancel(["111", "222", "333"])
    assert answers.asked == [["scancel", "111"], ["scancel", "222"], ["scancel", "333"]]


@pytest.mark.parametrize("silence", [Missing("scancel"), Silent("scancel did not answer in 60 s")])
def test_no_scancel(monkeypatch: pytest.MonkeyPatch, silence: Exception) -> None:
    install(monkeypatch, scancel=silence)
    with pytest.raises(UserError, match=r"there is no scancel here|type the command again"):
        control.cancel(["1"])


def test_throttle(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, scontrol="")
    control.set_throttle("12", 4)
    assert answers.asked == [["scontrol", "update", "JobId=12", "ArrayTaskThrottle=4"]]
    install(monkeypatch, scontrol=Output(1, "", "slurm_update error: Invalid user id\n"))
    with pytest.raises(UserError, match="job 12: slurm_update error: Invalid user id"):
        control.set_throttle("12", 4)


@pytest.mark.parametrize(
    "words", ["17_0: Job has already finished\n17_1-2: No error\n", "2_0-1: Job has already finished"]
)
def test_a_throttle_that_was_set_is_no_error_where_elements_are_over(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    for answer in (Output(1, words, ""), Output(1, "", words)):  # 22.05.8's words
        install(monkeypatch, scontrol=answer)
        control.set_throttle("17", 2)


def test_a_job_asks_to_be_queued_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, scontrol="")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert not signals.requeue() and not answers.asked
    monkeypatch.setenv("SLURM_JOB_ID", "15")
    assert signals.requeue()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert signals.requeue()
    assert answers.asked == [["scontrol", "requeue", "15"], ["scontrol", "requeue", "12_3"]]
    for silence in no_answers("scontrol"):
        install(monkeypatch, scontrol=silence)
        assert not signals.requeue()


def test_the_first_signal_counts() -> None:
    flag = signals.StopFlag()
    before = signal.getsignal(signal.SIGUSR2), signal.getsignal(signal.SIGTERM)
    try:
        flag.install()
        assert not flag.is_set()
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGTERM)
        assert flag.is_set() and flag.received == signal.SIGUSR2
    finally:
        signal.signal(signal.SIGUSR2, before[0])
        signal.signal(signal.SIGTERM, before[1])


@pytest.mark.parametrize("verb", ["hold", "release", "requeue"])
def test_elements_are_held_let_go_and_queued_again_in_one_call(
    monkeypatch: pytest.MonkeyPatch, verb: Literal["hold", "release", "requeue"]
) -> None:
    answers = install(monkeypatch, scontrol="")
    control.change(verb, ["12_3", "13_[3-7,9]"])
    assert answers.asked == [["scontrol", verb, "12_3,13_[3-7,9]"]]
    started = "Job is no longer pending execution for job 12_3\n"
    install(monkeypatch, scontrol=Output(1, "", started))
    control.change(verb, ["12_3"])
    install(monkeypatch, scontrol=Output(1, "", f"{started}Access/permission denied for job 13_3\n"))
    with pytest.raises(UserError, match=f"scontrol {verb}: Access/permission denied for job 13_3; the others were"):
        control.change(verb, ["12_3", "13_3"])
    for silence in no_answers("scontrol"):
        install(monkeypatch, scontrol=silence)
        with pytest.raises(UserError):
            control.change(verb, ["12_3"])


def test_a_job_is_told_to_write_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, scontrol="")
    assert control.silence_mail("12")
    assert answers.asked == [["scontrol", "update", "JobId=12", "MailType=NONE"]]
    install(monkeypatch, scontrol=Output(1, "", "scontrol: error: Update of this parameter is not supported"))
    assert not control.silence_mail("12")  # an older version: its mail comes
    for silence in no_answers("scontrol"):
        install(monkeypatch, scontrol=silence)
        assert not control.silence_mail("12")
