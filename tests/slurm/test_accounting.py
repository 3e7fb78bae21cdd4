"""Accounting as sacct writes it: requeues, steps, ids used again, elements that wait, and no accounting at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm import accounting
from slurm.accounting import Ended, NoAccounting, available, ended, named
from slurm.commands import Missing, Output, Silent
from tests.slurm.answers import install, no_answers

MORNING, NOON = "2026-11-21T09:00:00", "2026-11-21T12:00:00"


def _line(identifier: str, state: str, code: str = "0:0", submitted: str = MORNING, name: str = "job") -> str:
    node = "None assigned" if state == "PENDING" else "node1"
    return f"{identifier}|{state}|{code}|{submitted}|{node}|{name}\n"


def _read(patch: pytest.MonkeyPatch, *lines: str) -> dict[tuple[str, int], Ended]:
    install(patch, sacct="".join(lines))
    found = ended(["12"])
    assert found is not None
    return found


def test_a_record_with_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _read(
        monkeypatch,
        _line("12_0", "COMPLETED"),
        _line("12_0.batch", "COMPLETED", name="batch"),
        _line("12_0.0", "COMPLETED", name="env"),
        _line("12_3", "FAILED", "1:0", name="a|b"),
    )
    assert found == {
        ("12", 0): Ended("12", 0, "COMPLETED", 0, 0, "job", MORNING, "node1"),
        ("12", 3): Ended("12", 3, "FAILED", 1, 0, "a|b", MORNING, "node1"),
    }
    assert found["12", 0].phase == "ended"


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("CANCELLED by 1001", "0:15", ("CANCELLED", 0, 15)),
        ("TIMEOUT", "0:0", ("TIMEOUT", 0, 0)),
        ("FAILED", "0:9", ("FAILED", 0, 9)),
        ("NODE_FAIL", "1:0", ("NODE_FAIL", 1, 0)),
        ("PREEMPTED", "0:15", ("PREEMPTED", 0, 15)),
        ("OUT_OF_ME+", "0:125", ("OUT_OF_MEMORY", 0, 125)),
    ],
)
def test_how_elements_end(
    monkeypatch: pytest.MonkeyPatch, state: str, code: str, expected: tuple[str, int, int]
) -> None:
    one = _read(monkeypatch, _line("12_1", state, code))["12", 1]
    assert (one.state, one.exit_code, one.signal) == expected
    assert one.phase == "ended"


def test_out_of_memory_shows_through_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _line("12_1", "FAILED", "1:0"), _line("12_1.batch", "FAILED"), _line("12_1.0", "OUT_OF_MEMORY", "0:125")
    assert _read(monkeypatch, *lines, _line("12_2", "FAILED"))["12", 1].state == "OUT_OF_MEMORY"


@pytest.mark.parametrize(
    ("step", "code", "expected"),
    [
        ("CANCELLED", "0:53", ("CANCELLED", 0, 53)),  # its log could not be created: 22.05's own lines
        ("CANCELLED", "0:10", ("CANCELLED", 0, 10)),
        ("OUT_OF_ME+", "0:125", ("OUT_OF_MEMORY", 0, 125)),
        ("FAILED", "3:0", ("FAILED", 3, 0)),
        ("RUNNING", "0:0", ("COMPLETED", 0, 0)),
        ("COMPLETED", "0:0", ("COMPLETED", 0, 0)),
    ],
)
def test_a_step_that_ended_otherwise_than_its_job_tells_more(
    monkeypatch: pytest.MonkeyPatch, step: str, code: str, expected: tuple[str, int, int]
) -> None:
    steps = _line("12_1.batch", "COMPLETED"), _line("12_1.extern", "CANCELLED", "0:9"), _line("12_1.0", step, code)
    ended_job = _read(monkeypatch, _line("12_1", "COMPLETED"), *steps)["12", 1]
    assert (ended_job.state, ended_job.exit_code, ended_job.signal) == expected


def test_of_several_starts_the_last_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _read(
        monkeypatch,
        _line("12_1", "COMPLETED", submitted=NOON),
        _line("12_1.0", "COMPLETED", submitted=NOON),
        _line("12_1", "NODE_FAIL", submitted=MORNING),
        _line("12_1.0", "CANCELLED", submitted=MORNING),
        _line("12_2", "PREEMPTED"),
        _line("12_2", "PENDING", submitted=NOON),
    )
    assert (found["12", 1].state, found["12", 2].phase) == ("COMPLETED", "pending")


# Slurm 22.05.8's own lines: an array with a throttle while it runs, and an element that was requeued and cancelled.
RUNNING = """\
1_0|RUNNING|0:0|2026-11-21T14:44:28|node1|name-0.1
1_0.batch|RUNNING|0:0|2026-11-21T14:44:28|node1|batch
1_0.0|RUNNING|0:0|2026-11-21T14:44:29|node1|python3
1_[2-3,5%2]|PENDING|0:0|2026-11-21T14:44:28|None assigned|name-0.1
2_1|FAILED|1:0|2026-11-21T14:44:28|node1|b|ar
2_1.batch|FAILED|1:0|2026-11-21T14:44:28|node1|batch
9_[0]|PENDING|0:0|2026-11-21T14:44:28|None assigned|never
"""
REQUEUED = """\
11_0|REQUEUED|0:0|2026-11-21T14:44:33|node1|rq
11_0.batch|CANCELLED|0:15|2026-11-21T14:44:33|node1|batch
11_0|CANCELLED by 0|0:0|2026-11-21T14:44:35|node1|rq
11_0.batch|CANCELLED|0:15|2026-11-21T14:44:41|node1|batch
"""


def test_real_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _read(monkeypatch, RUNNING)
    assert {key: one.phase for key, one in found.items()} == {
        ("1", 0): "running", ("1", 2): "pending", ("1", 3): "pending", ("1", 5): "pending", ("2", 1): "ended",
        ("9", 0): "pending",
    }  # fmt: skip
    assert found["2", 1].name == "b|ar"
    (one,) = _read(monkeypatch, REQUEUED).values()
    assert one == Ended("11", 0, "CANCELLED", 0, 0, "rq", "2026-11-21T14:44:35", "node1")


def test_an_id_that_slurm_used_before_is_another_element(monkeypatch: pytest.MonkeyPatch) -> None:
    old = _line("12_1", "COMPLETED", submitted="2019-01-01T00:00:00", name="old one")
    one = _read(monkeypatch, old, _line("12_1", "FAILED", "1:0"))["12", 1]
    assert (one.name, one.state) == ("job", "FAILED")


def test_elements_that_wait_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _read(monkeypatch, _line("12_[2-3,5%1]", "PENDING"), _line("12_1", "COMPLETED"))
    assert {key: one.phase for key, one in found.items()} == {
        ("12", 1): "ended", ("12", 2): "pending", ("12", 3): "pending", ("12", 5): "pending",
    }  # fmt: skip


def test_what_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        _line("12_[1,2,...]", "PENDING"), _line("12", "COMPLETED"), _line("13+0", "COMPLETED"), "12_7|COMPLETED\n",
        "\n", _line("12_8.0", "COMPLETED"), "CLUSTER: north\n",
    )  # fmt: skip
    assert _read(monkeypatch, *lines) == {}


def test_nothing_asked_is_nothing_called(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, sacct="")
    assert ended([]) == {} and not answers.asked


def test_many_jobs_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, sacct="")
    assert ended(str(n) for n in range(1201)) == {}
    asked = [command[command.index("--jobs") + 1].split(",") for command in answers.asked]
    assert list(map(len, asked)) == [500, 500, 201]
    assert sorted(int(job) for part in asked for job in part) == list(range(1201))
    assert all("--duplicates" in command for command in answers.asked)


def test_no_answer_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _, *silences = no_answers("sacct")
    for silence in silences:
        install(monkeypatch, sacct=silence)
        assert ended(["12"]) is None
        assert named("x", MORNING) is None


@pytest.mark.parametrize("answer", [Missing("sacct"), Output(1, "", "Slurm accounting storage is disabled\n")])
def test_where_there_is_no_accounting_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, answer: Output | Exception
) -> None:
    install(monkeypatch, sacct=answer)
    assert named("x", MORNING) == []
    with pytest.raises(NoAccounting):
        ended(["12"])


def test_arrays_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        _line("9_1", "FAILED") + _line("9_0", "FAILED") + _line("110", "COMPLETED") + _line("8_0", "FAILED", name="j")
    )
    answers = install(monkeypatch, sacct=text)
    assert named("job", MORNING) == ["9", "110"]
    (command,) = answers.asked
    assert command[command.index("--starttime") + 1] == MORNING


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", True),
        (Missing("sacct"), False),
        (Output(1, "", "Slurm accounting storage is disabled\n"), False),
        (Output(1, "", "sacct: error: Problem talking to the database: Connection refused\n"), None),
        (Silent("sacct"), None),
    ],
)
def test_whether_there_is_accounting(
    monkeypatch: pytest.MonkeyPatch, answer: str | Output | Exception, expected: bool | None
) -> None:
    install(monkeypatch, sacct=answer)
    assert available() is expected


@given(st.lists(st.text("0123456789_|.[]-,:+ABCDEFGHIJKLMNOPQRSTUVWXYZ\n", max_size=80), max_size=20))
@settings(max_examples=40)
def test_no_text_breaks_the_reader(lines: list[str]) -> None:
    for key, one in accounting._last_of_each(accounting._elements("\n".join(lines).splitlines())).items():
        assert key == (one.job, one.index)


def test_the_node_is_named_where_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        f"12_{n}|FAILED|1:0|{MORNING}|{nodes}|job\n" for n, nodes in enumerate(["n1", "n[1-2]", "None assigned", ""])
    ]
    assert [one.node for one in _read(monkeypatch, *lines).values()] == ["n1", "", "", ""]
