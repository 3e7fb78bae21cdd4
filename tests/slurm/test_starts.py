"""When Slurm means to start what waits: asked seldom, for all commands, and nothing where it does not say."""

import time
from pathlib import Path

import pytest

from slurm import starts
from slurm.commands import Missing, Output, Silent
from slurm.endings import ElementId
from tests.slurm.answers import install

SAID = (
    "Welcome to the cluster | have a nice day\n"
    "12|3|2026-11-21T14:30:05|first-0a.0\n"
    "12|[4-6%2]|2026-11-22T00:00:00|first-0a.0\n"
    "12|7|N/A|first-0a.0\n"
    "12|1,2,...|2026-11-22T00:00:00|first-0a.0\n"
    "13|N/A|2026-11-21T15:00:00|a | b\n"
)


def _at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def test_only_what_is_said_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, squeue=SAID)
    expected = starts.look()
    assert expected is not None
    assert expected.times == {
        ElementId("12", 3, "first-0a.0"): _at("2026-11-21T14:30:05"),
        **{ElementId("12", index, "first-0a.0"): _at("2026-11-22T00:00:00") for index in (4, 5, 6)},
    }


def test_it_is_asked_once_in_five_minutes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = install(monkeypatch, tmp_path, squeue=SAID)
    first, now = starts.look(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 299)
    assert starts.look() == first and len(answers.asked) == 1
    monkeypatch.setattr(time, "time", lambda: now + 301)
    assert starts.look() != first and len(answers.asked) == 2


@pytest.mark.parametrize("silence", [Missing("squeue"), Silent("no answer"), Output(1, "", "Access denied\n")])
def test_no_answer_is_none_and_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silence: Exception | Output
) -> None:
    answers = install(monkeypatch, tmp_path, squeue=silence)
    assert starts.look() is None
    asked = len(answers.asked)
    assert starts.look() is None and len(answers.asked) == asked


def test_an_older_squeue_is_asked_as_it_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusal = Output(1, "", "squeue: unrecognized option '--noheader'\n")
    answers = install(monkeypatch, tmp_path, **{"squeue --start --noheader": refusal, "squeue --start -h": SAID})
    expected = starts.look()
    assert expected is not None and len(expected.times) == 4
    assert answers.asked[1][:3] == ["squeue", "--start", "-h"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 1}'])
def test_a_damaged_cache_is_asked_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    answers = install(monkeypatch, tmp_path, squeue=SAID)
    starts.look()
    next(tmp_path.rglob("starts.json")).write_bytes(content)
    assert starts.look() and len(answers.asked) == 2


def test_no_cache_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, squeue=SAID)
    assert starts.look() and starts.look() and len(answers.asked) == 1  # it is kept in the process
