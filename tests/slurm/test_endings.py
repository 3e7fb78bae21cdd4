"""How elements ended, asked once for all commands: what is kept, what is asked again, and silence that is no answer."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from slurm import commands, endings, snapshot, usercache
from slurm.commands import Missing, Output, Silent
from slurm.endings import Course, ElementId, Endings
from tests.at_once import at_once
from tests.slurm.answers import Answers, install

DOWN = Output(1, "", "sacct: error: Problem talking to the database: Connection refused\n")
ONE, TWO = ElementId("12", 0, "job"), ElementId("12", 1, "job")
OTHER = ElementId("13", 4, "another")


class Clock:
    """The time of day, as a test sets it."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(time, "time", made)
    yield made


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: Clock) -> Answers:
    return install(monkeypatch, tmp_path, sacct=_said(ONE, "OUT_OF_MEMORY"))


def _said(element: ElementId, state: str, submitted: str = "2026-11-21T14:00:00") -> str:
    return f"{element.job}_{element.index}|{state}|0:9|{submitted}|node1|{element.name}\n"


def _queued(*elements: ElementId) -> str:
    return "".join(f"{e.job}|{e.index}|RUNNING|gpu|2026-11-21T14:30:05|None|a|q|{e.name}\n" for e in elements)


def look(starts: dict[ElementId, int], max_age: float = endings.MAX_AGE, sent: float = 0.0) -> Endings:
    """How elements ended that were seen to begin so often."""
    return endings.look({element: Course(count, sent) for element, count in starts.items()}, max_age)


def _states(wanted: dict[ElementId, int], max_age: float = endings.MAX_AGE) -> dict[ElementId, str]:
    return {element: ended.state for element, ended in look(wanted, max_age).records.items()}


def test_what_is_over_is_asked_for_once(answers: Answers, clock: Clock) -> None:
    for _ in range(100):
        assert _states({ONE: 1}) == {ONE: "OUT_OF_MEMORY"}
        clock.now += 3600
    assert len(answers.asked) == 1
    assert _states({ONE: 1}, max_age=0) == {ONE: "OUT_OF_MEMORY"} and len(answers.asked) == 1


def test_what_has_no_record_is_asked_for_once_a_minute_and_less_often_later(answers: Answers, clock: Clock) -> None:
    answers.by_start["sacct"] = ""
    for _ in range(4):
        assert _states({ONE: 0, TWO: 0}) == {}
        clock.now += 14
    assert len(answers.asked) == 1
    clock.now += 10
    look({ONE: 0, TWO: 0})
    assert len(answers.asked) == 2
    assert _states({ONE: 0}, max_age=0) == {} and len(answers.asked) == 3  # something is about to be sent
    begun = clock.now
    while clock.now < begun + 7200:
        clock.now += 15
        look({ONE: 0, TWO: 0})
    assert 5 < len(answers.asked) < 20
    assert not look({ONE: 0}).late and not look({ONE: 0}).silent


def test_an_id_that_is_used_again_is_another_element(answers: Answers, clock: Clock) -> None:
    look({ONE: 0})
    again = ElementId("12", 0, "later")
    answers.by_start["sacct"] = _said(again, "TIMEOUT", "2027-01-01T00:00:00")
    assert _states({again: 0}) == {again: "TIMEOUT"} and _states({ONE: 0}) == {ONE: "OUT_OF_MEMORY"}
    assert len(answers.asked) == 2


def test_an_element_that_was_in_the_queue_again_has_a_newer_record(answers: Answers, clock: Clock) -> None:
    """Whichever command saw it there."""
    look({ONE: 1})
    clock.now += 70
    answers.by_start |= {"squeue": _queued(ONE), "sacct": _said(ONE, "TIMEOUT")}
    assert snapshot.look().entries
    clock.now += 70
    answers.by_start["squeue"] = ""
    snapshot.look()
    assert _states({ONE: 1}) == {ONE: "TIMEOUT"}


def test_an_element_that_began_again_unseen_has_a_newer_record(answers: Answers, clock: Clock) -> None:
    look({ONE: 1})
    answers.by_start["sacct"] = _said(ONE, "TIMEOUT")
    assert _states({ONE: 1}) == {ONE: "OUT_OF_MEMORY"}
    assert _states({ONE: 2}) == {ONE: "TIMEOUT"} and _states({ONE: 2}) == {ONE: "TIMEOUT"}
    assert len(answers.asked) == 2


def test_one_sacct_serves_all_experiments(answers: Answers, clock: Clock) -> None:
    """What left the queue between two looks is asked for in the same breath, whoever will want to know."""
    well = ElementId("14", 0, "well")
    answers.by_start["squeue"] = _queued(ONE, OTHER, well)
    snapshot.look()
    clock.now += 70
    answers.by_start |= {"squeue": ""}
    answers.by_start["sacct"] = "".join((_said(ONE, "FAILED"), _said(OTHER, "NODE_FAIL"), _said(well, "COMPLETED")))
    snapshot.look()
    assert _states({ONE: 1}) == {ONE: "FAILED"}
    (command,) = [asked for asked in answers.asked if asked[0] == "sacct"]
    assert command[command.index("--jobs") + 1] == "12_0,13_4,14_0"
    assert _states({OTHER: 2}) == {OTHER: "NODE_FAIL"} and answers.asked[-1] == command
    answers.by_start["sacct"] = _said(OTHER, "TIMEOUT")
    assert _states({OTHER: 2}) == {OTHER: "NODE_FAIL"}
    assert _states({OTHER: 3}) == {OTHER: "TIMEOUT"}  # it has begun again since


def test_one_command_line_holds_what_others_want(answers: Answers, clock: Clock) -> None:
    many = [ElementId(str(100 + n), 0, "job") for n in range(700)]
    answers.by_start["squeue"] = _queued(*many)
    snapshot.look()
    clock.now += 70
    answers.by_start["squeue"] = ""
    snapshot.look()
    before = len(answers.asked)
    look({ONE: 1})
    assert len(answers.asked) == before + 1


def test_of_an_array_that_much_is_wanted_of_all_is_asked_for(answers: Answers) -> None:
    look(
        {ElementId("12", index, "job"): 1 for index in range(30)}
        | {ElementId("13", index, "job"): 1 for index in range(2)}
    )
    (command,) = answers.asked
    assert command[command.index("--jobs") + 1] == "12,13_0,13_1"


def test_silence_is_asked_over_once_a_minute_and_said_since_when(answers: Answers, clock: Clock) -> None:
    began = clock.now
    answers.by_start["sacct"] = DOWN
    for _ in range(6):
        found = look({ONE: 1})
        assert found.silent == {ONE: began} and not found.records
        clock.now += 20
    assert len(answers.asked) == 2
    look({ONE: 1}, max_age=0)
    assert len(answers.asked) == 3
    answers.by_start["sacct"] = _said(ONE, "OUT_OF_MEMORY")
    clock.now += 60
    assert _states({ONE: 1}) == {ONE: "OUT_OF_MEMORY"} and look({ONE: 1}).silent == {}


def test_what_is_known_stays_known_while_accounting_is_silent(answers: Answers, clock: Clock) -> None:
    look({ONE: 1, OTHER: 0})
    answers.by_start["sacct"] = Silent("sacct")
    clock.now += 70
    found = look({ONE: 1, TWO: 1, OTHER: 0})
    assert set(found.records) == {ONE} and set(found.silent) == {TWO}  # that the third has no record was said before


def test_what_was_kept_for_accounting_while_it_was_down_comes_later(answers: Answers, clock: Clock) -> None:
    answers.by_start["sacct"] = DOWN
    look({ONE: 1})
    clock.now += 3600
    answers.by_start["sacct"] = _said(ONE, "PENDING")
    back = clock.now
    assert look({ONE: 1}).late == {ONE: back}
    clock.now += 70
    assert look({ONE: 1}).late == {ONE: back}
    clock.now += 70
    assert look({ONE: 1}) == Endings({}, {}, {})


def test_what_had_no_record_before_a_silence_is_not_waited_for_after_it(answers: Answers, clock: Clock) -> None:
    answers.by_start["sacct"] = ""
    look({ONE: 1})
    clock.now += 70
    answers.by_start["sacct"] = DOWN
    look({ONE: 1, TWO: 1})
    clock.now += 70
    answers.by_start["sacct"] = ""
    assert set(look({ONE: 1, TWO: 1}).late) == {TWO}


def test_accounting_that_calls_it_running_is_late_for_some_minutes(answers: Answers, clock: Clock) -> None:
    answers.by_start["sacct"] = _said(ONE, "RUNNING")
    began = clock.now
    assert look({ONE: 1}).late == {ONE: began}
    clock.now += 590
    assert look({ONE: 1}).late == {ONE: began}
    clock.now += 20
    assert look({ONE: 1}).late == {}  # a record that was never closed


def test_what_was_just_sent_has_its_record_later(answers: Answers, clock: Clock) -> None:
    """A job that ends within a second may have left the queue before accounting has it."""
    answers.by_start["sacct"] = ""
    sent = clock.now + 5  # by the clock of another login node
    began = clock.now
    assert look({ONE: 0, TWO: 0}, sent=sent).late == {ONE: began, TWO: began}
    clock.now += 59
    assert set(look({ONE: 0, TWO: 0}, sent=sent).late) == {ONE, TWO} and len(answers.asked) == 1
    answers.by_start["sacct"] = _said(ONE, "FAILED")
    clock.now += 6
    assert _states({ONE: 0}) == {ONE: "FAILED"}
    assert look({TWO: 0}, sent=sent) == Endings({}, {}, {})  # it had fair time


def test_who_had_fair_time_is_asked_for_once_more_before_it_counts_as_without(answers: Answers, clock: Clock) -> None:
    """Also seconds after the last question; and where accounting does not answer then, it is silent."""
    answers.by_start["sacct"] = ""
    sent = clock.now
    clock.now += 50
    assert set(look({ONE: 0, TWO: 0}, sent=sent).late) == {ONE, TWO}
    answers.by_start["sacct"] = DOWN
    clock.now += 11
    for _ in range(3):
        assert set(look({ONE: 0, TWO: 0}, sent=sent).silent) == {ONE, TWO} and len(answers.asked) == 2
    answers.by_start["sacct"] = _said(ONE, "FAILED")
    clock.now += 61
    assert _states({ONE: 0}) == {ONE: "FAILED"}


def test_a_record_that_came_within_fair_time_is_seen_at_its_end(answers: Answers, clock: Clock) -> None:
    answers.by_start["sacct"] = ""
    sent = clock.now
    clock.now += 50
    look({ONE: 0, TWO: 0}, sent=sent)
    answers.by_start["sacct"] = _said(ONE, "FAILED")
    clock.now += 11
    for _ in range(3):
        endings_now = look({ONE: 0, TWO: 0}, sent=sent)
        assert endings_now.records.keys() == {ONE} and not endings_now.late
    assert len(answers.asked) == 2


def test_what_just_left_the_queue_has_its_record_later(answers: Answers, clock: Clock) -> None:
    """However long it had waited there."""
    sent = clock.now - 7200
    answers.by_start |= {"squeue": _queued(ONE), "sacct": _said(ONE, "PENDING")}
    snapshot.look()
    clock.now += 70
    answers.by_start["squeue"] = ""
    snapshot.look()
    assert look({ONE: 0}, sent=sent).late == {ONE: clock.now}
    clock.now += 61
    assert look({ONE: 0}, sent=sent) == Endings({}, {}, {})
    assert look({TWO: 0}, sent=sent) == Endings({}, {}, {})  # nobody saw it in the queue


def test_a_day_of_silence_is_no_accounting(answers: Answers, clock: Clock) -> None:
    answers.by_start["sacct"] = DOWN
    began = clock.now
    while clock.now <= began + 86400:
        assert look({ONE: 1}).silent == {ONE: began}
        clock.now += 1800
    assert look({ONE: 1}).silent == {}


@pytest.mark.parametrize("answer", [Missing("sacct"), Output(1, "", "Slurm accounting storage is disabled\n")])
def test_where_there_is_none_nobody_is_waited_for(answers: Answers, clock: Clock, answer: Output | Exception) -> None:
    answers.by_start["sacct"] = answer
    for _ in range(3):
        assert look({ONE: 1}, sent=clock.now - 1) == Endings({}, {}, {})
        clock.now += 10


def test_without_a_cache_every_process_asks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, sacct=_said(ONE, "FAILED"))
    assert _states({ONE: 1}) == _states({ONE: 1}) == {ONE: "FAILED"} and len(answers.asked) == 1
    answers.by_start["sacct"] = DOWN
    assert set(look({TWO: 1}).silent) == {TWO}


def test_a_database_that_hangs_is_left_alone_for_a_minute(answers: Answers, clock: Clock) -> None:
    """From the end of the wait for it, which takes a minute itself."""

    def hang(command: Sequence[str]) -> Output:
        clock.now += commands.TIMEOUT
        raise Silent("sacct did not answer in 60 s")

    answers.by_start["sacct"] = hang
    assert set(look({ONE: 1}).silent) == {ONE}
    asked = len(answers.asked)
    clock.now += 59
    assert set(look({ONE: 1}).silent) == {ONE} and len(answers.asked) == asked
    clock.now += 2
    assert set(look({ONE: 1}).silent) == {ONE} and len(answers.asked) > asked


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}'], ids=["empty", "torn", "list", "unsealed"])
def test_a_damaged_cache_is_asked_over(answers: Answers, content: bytes) -> None:
    look({ONE: 1})
    _file().write_bytes(content)
    assert _states({ONE: 1}) == {ONE: "OUT_OF_MEMORY"} and len(answers.asked) == 2


def test_the_cache_is_private_and_small(answers: Answers, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "_KEPT", 5)
    for number in range(20):
        element = ElementId(str(number), 0, "job")
        answers.by_start["sacct"] = _said(element, "FAILED")
        look({element: 1, ElementId("99", number, "none"): 0})
        clock.now += 1
    kept = json.loads(_file().read_bytes())
    assert [row[0] for row in kept["records"]] == ["15", "16", "17", "18", "19"] and len(kept["missing"]) == 5
    assert _file().stat().st_mode & 0o777 == 0o600
    clock.now += 40 * 86400
    look({ONE: 1})
    assert not json.loads(_file().read_bytes())["records"]


def _file() -> Path:
    folder = usercache.folder()
    assert folder is not None
    return folder / "accounting" / "ended.json"


def test_sixteen_commands_at_once_ask_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def answer(command: Sequence[str], timeout: float, umask: int, variables: Mapping[str, str]) -> Output:
        (tmp_path / f"asked-{time.monotonic_ns()}").touch()
        time.sleep(0.3)
        return Output(0, _said(ONE, "FAILED"), "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(commands, "runner", answer)
    assert at_once(16, lambda _: _states({ONE: 1})[ONE]) == ["FAILED"] * 16
    assert len(list(tmp_path.glob("asked-*"))) == 1
