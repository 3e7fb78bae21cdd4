"""The queue as squeue writes it: nothing missed, nothing made up, and no answer is not an empty queue."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm import queue
from slurm.arrays import index_list
from slurm.commands import Output, Refusal
from slurm.queue import QueueEntry, Unreadable, expand, has_ended, squeue
from tests.slurm.answers import install, no_answers

ME = os.getuid()
LINES = """\
14|2|PENDING|gpu,cpu|2026-11-21T14:30:05|DependencyNeverSatisfied|lab|normal|study-0123abcd.1
14|0|RUNNING|gpu|2026-11-21T14:30:05|None|lab|normal|study-0123abcd.0
15|N/A|COMPLETING|gpu|2026-11-21T14:30:06|None|other|long|another | name
"""
# Slurm 22.05.8's own lines.
REAL = """\
9|0|PENDING|gpu|2026-11-21T14:44:28|DependencyNeverSatisfied|root|normal|never
1|2|PENDING|gpu|2026-11-21T14:44:28|JobArrayTaskLimit|root|normal|name-0.1
1|3|PENDING|gpu|2026-11-21T14:44:28|JobArrayTaskLimit|root|normal|name-0.1
1|5|PENDING|gpu|2026-11-21T14:44:28|JobArrayTaskLimit|root|normal|name-0.1
10|N/A|RUNNING|gpu|2026-11-21T14:44:28|None|root|normal|single
1|0|RUNNING|gpu|2026-11-21T14:44:28|None|root|normal|name-0.1
"""
REAL_WITHOUT_ARRAY = REAL.replace("1|2|P", "1|2-3,5%2|P").replace(REAL[REAL.index("1|3|") : REAL.index("10|N/A")], "")


def test_entries_are_what_squeue_says(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, squeue=LINES)
    never, at = "DependencyNeverSatisfied", "2026-11-21T14:30:05"
    assert squeue() == [
        QueueEntry("14", 2, "PENDING", never, "study-0123abcd.1", at, "gpu,cpu", "lab", "normal"),
        QueueEntry("14", 0, "RUNNING", "None", "study-0123abcd.0", at, "gpu", "lab", "normal"),
        QueueEntry("15", None, "COMPLETING", "None", "another | name", "2026-11-21T14:30:06", "gpu", "other", "long"),
    ]
    (command,) = answers.asked
    assert command[:6] == ["squeue", "--noheader", "--all", "--user", queue.user(), "--format"]
    assert "--json" not in command


def test_real_lines_with_and_without_one_line_per_element(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, squeue=REAL)
    entries = squeue()
    assert entries is not None and len(entries) == 6
    install(monkeypatch, squeue=REAL_WITHOUT_ARRAY)
    assert "2-3,5%2" in REAL_WITHOUT_ARRAY and squeue() == entries


def test_phases_and_what_can_never_start(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, squeue=LINES)
    entries = squeue()
    assert entries is not None
    assert [(e.phase, e.pending, e.never) for e in entries] == [
        ("pending", True, True),
        ("running", False, False),
        ("running", False, False),
    ]


def test_other_clusters_headers_and_federated_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "CLUSTER: north\n67108870|1|PENDING|p|T|Priority|a|q|x\nCLUSTER: south\n134217735|N/A|REVOKED|p|T|None|a|q|y\n"
    )
    install(monkeypatch, squeue=text)
    assert [(e.job, e.index, e.phase) for e in squeue() or []] == [
        ("67108870", 1, "pending"),
        ("134217735", None, "unknown"),
    ]


def test_elements_on_one_line_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, squeue="9|[1-2,7%3]|PENDING|p|T|JobArrayTaskLimit|a|q|x\n")
    assert [(e.job, e.index) for e in squeue() or []] == [("9", 1), ("9", 2), ("9", 7)]


def test_a_list_that_was_cut_off_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, squeue="8|1|RUNNING|p|T|None|a|q|x\n9|4,6,8,...|PENDING|p|T|Priority|a|q|y\n")
    with pytest.raises(Refusal, match=r"cannot be read: array indices '4,6,8,...'"):
        squeue()


def test_no_answer_is_none_and_an_empty_queue_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, squeue="")
    assert squeue() == []
    missing, *silences = no_answers("squeue")
    for silence in silences:
        install(monkeypatch, squeue=silence)
        assert squeue() is None
        assert has_ended("12_3") is None
    install(monkeypatch, squeue=missing)
    with pytest.raises(Refusal, match="there is no squeue on this machine"):
        squeue()
    assert has_ended("12_3") is None


@given(st.sets(st.integers(0, 2000), min_size=1, max_size=50), st.booleans(), st.sampled_from(["", "%1", "%40"]))
@settings(max_examples=40)
def test_an_index_list_is_read_as_it_is_written(indices: set[int], brackets: bool, throttle: str) -> None:
    text = index_list(indices) + throttle
    assert expand(f"[{text}]" if brackets else text) == sorted(indices)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 9))
@settings(max_examples=40)
def test_steps_in_an_index_list(first: int, length: int, step: int) -> None:
    assert expand(f"[{first}-{first + length}:{step}]") == list(range(first, first + length + 1, step))


@pytest.mark.parametrize("text", ["1,2,...", "...", "", "[]", "1-", "a", "1--3", "3,"])
def test_anything_else_is_not_guessed_at(text: str) -> None:
    with pytest.raises(Unreadable):
        expand(text)


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        (Output(0, f"{ME}|12|RUNNING\n", ""), False),
        (Output(0, f"CLUSTER: north\n{ME}|12|COMPLETING\n", ""), False),
        (Output(0, "", ""), True),
        (Output(0, f"{ME}|12|COMPLETED\n", ""), True),
        (Output(0, f"{ME}|12|COMPLETED\n{ME}|12|PENDING\n", ""), False),
        (Output(0, f"{ME}|12|REVOKED\n", ""), None),
        (Output(0, f"Welcome! | RUNNING | at capacity\n{ME}|12|COMPLETED\n", "module loaded\n"), True),
        (Output(0, f"{ME + 1}|12|RUNNING\n", ""), True),  # the id was used again, by somebody else
        (Output(1, "", "slurm_load_jobs error: Invalid job id specified\n"), True),
        (Output(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"), None),
    ],
)
def test_whether_a_job_has_ended(monkeypatch: pytest.MonkeyPatch, answer: Output, ended: bool | None) -> None:
    install(monkeypatch, squeue=answer)
    assert has_ended("12_3") is ended
