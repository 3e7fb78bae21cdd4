"""The rules by which a stage's state is told, one by one, and what must hold whatever the evidence is. No Slurm."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.executors import Unanswered, Whereabouts
from launch.status.history import Failure
from launch.status.rules import STATES, Evidence, StageState, state_of
from slurm.causes import CAUSES

OVER = Whereabouts("over", "FAILED 1:0")
OUT_OF_MEMORY = Failure("host-oom", "oom_kill event", 1, "7_0", 5.0)
KILLED = Failure("unknown", "it was killed", 1, "7_0", 5.0)
SILENT = Unanswered("accounting does not answer", 3.0)


@dataclass(frozen=True)
class Plain:
    """Evidence as it stands: a stage whose element is over, and of which nothing more is known."""

    has_result: bool = False
    was_sent: bool = True
    job: str | None = "7_0"
    whereabouts: Whereabouts = OVER
    may_make_encoder_again: bool = False
    has_result_now: bool = False
    is_in_attempt: bool = False
    noted_its_end: bool = False
    is_cancelled: bool = False
    held_line: str | None = None
    parent_reason: str | None = None
    failure: Failure | None = None
    failed_in_element: bool = False
    unanswered: Unanswered | None = None
    was_reached: bool = True
    last_words: str = ""


def _is_evidence(plain: Plain) -> Evidence:
    return plain  # for mypy: all that the rules ask for is there


QUEUED, RUNNING = Plain(whereabouts=Whereabouts("queued")), Plain(whereabouts=Whereabouts("running"))


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        # 1 and 2
        (Plain(was_sent=False, job=None), StageState("new")),
        (Plain(was_sent=False, job=None, has_result=True), StageState("finished")),
        (replace(RUNNING, has_result=True), StageState("finished", "7_0")),
        (replace(RUNNING, has_result=True, may_make_encoder_again=True), StageState("queued", "7_0")),
        # 3
        (Plain(whereabouts=Whereabouts("hidden", "silent", 2.0)), StageState("unknown", "7_0", "silent", since=2.0)),
        # 4
        (Plain(whereabouts=Whereabouts("stuck")), StageState("held", "7_0", "what it waits for failed")),
        (Plain(whereabouts=Whereabouts("stuck"), parent_reason="a failed"), StageState("held", "7_0", "a failed")),
        # 5
        (QUEUED, StageState("queued", "7_0")),
        (replace(QUEUED, whereabouts=Whereabouts("queued", "JobHeldUser")), StageState("queued", "7_0", "JobHeldUser")),
        (replace(QUEUED, is_cancelled=True), StageState("queued", "7_0", "being cancelled")),
        (replace(QUEUED, is_in_attempt=True), StageState("queued", "7_0")),
        (RUNNING, StageState("queued", "7_0")),
        (replace(RUNNING, is_in_attempt=True), StageState("running", "7_0")),
        # 6 and 7
        (Plain(has_result_now=True, is_cancelled=True, failure=OUT_OF_MEMORY), StageState("finished", "7_0")),
        (Plain(is_cancelled=True, failure=OUT_OF_MEMORY, held_line="held"), StageState("cancelled", "7_0")),
        # 8 and 9
        (Plain(held_line="alike", failure=KILLED, failed_in_element=True), StageState("held", "7_0", "alike")),
        (Plain(parent_reason="a failed", failure=OUT_OF_MEMORY), StageState("held", "7_0", "a failed")),
        # 10
        (Plain(unanswered=SILENT), StageState("unknown", "7_0", SILENT.words, since=3.0)),
        (
            Plain(unanswered=SILENT, failure=KILLED, failed_in_element=True),
            StageState("unknown", "7_0", SILENT.words, since=3.0),
        ),
        # 11
        (Plain(was_reached=False), StageState("new", "7_0", "its job ended at another stage")),
        # 12
        (
            Plain(unanswered=SILENT, failure=OUT_OF_MEMORY, held_line="alike", noted_its_end=True),
            StageState("failed", "7_0", "oom_kill event", "host-oom"),
        ),
        (
            Plain(failure=KILLED, failed_in_element=True, parent_reason="a failed"),
            StageState("failed", "7_0", "it was killed", "unknown"),
        ),
        # 13
        (Plain(failure=KILLED), StageState("failed", "7_0", "job ended (FAILED 1:0)", "unknown")),
        (Plain(last_words="no GPU"), StageState("failed", "7_0", "job ended (FAILED 1:0): no GPU", "unknown")),
        (
            Plain(whereabouts=Whereabouts("over")),
            StageState("failed", "7_0", "job gone: it left no result", "unknown"),
        ),
    ],
)
def test_each_rule(evidence: Plain, expected: StageState) -> None:
    assert state_of(_is_evidence(evidence)) == expected


_words = st.none() | st.sampled_from(["a", "b"])
_places = st.builds(Whereabouts, st.sampled_from(["hidden", "queued", "stuck", "running", "over"]), _words)
_failures = st.builds(Failure, st.sampled_from(CAUSES), st.just("evidence"), st.integers(0, 3), _words, st.just(1.0))
_evidence = st.builds(
    Plain, *[st.booleans()] * 2, st.just("7_0"), _places, *[st.booleans()] * 5, _words, _words, st.none() | _failures,
    st.booleans(), st.none() | st.just(SILENT), st.booleans(), st.sampled_from(["", "said"]),
)  # fmt: skip


@given(_evidence)
def test_whatever_the_evidence_is_the_verdict_is_never_wrong(evidence: Plain) -> None:
    state = state_of(evidence)
    published = evidence.has_result or evidence.has_result_now
    proven = evidence.failure is not None and evidence.failure.cause != "unknown"
    phase = evidence.whereabouts.phase
    assert state.state in STATES and state.job == "7_0"
    assert published or state.state != "finished"
    if state.state == "failed":
        assert evidence.was_sent and phase == "over" and not published and not evidence.is_cancelled
        assert proven or evidence.noted_its_end or evidence.unanswered is None  # never while Slurm is silent
        assert state.cause is not None and state.reason
    if state.state in ("running", "queued"):
        assert phase in ("running", "queued")
    if evidence.was_sent and phase == "hidden":
        assert state.state == ("finished" if evidence.has_result and not evidence.may_make_encoder_again else "unknown")
    if state.state in ("held", "unknown") and phase == "over":
        assert state.reason


@given(_evidence, st.data())
def test_what_no_rule_asks_for_changes_nothing(evidence: Plain, data: st.DataObject) -> None:
    """While an element is queued or runs, nothing that is costly to find out is asked for."""
    if not evidence.was_sent or evidence.whereabouts.phase == "over" or evidence.has_result:
        return
    costly: dict[str, Any] = {
        "failure": data.draw(st.none() | _failures), "last_words": data.draw(st.sampled_from(["", "other"])),
        "unanswered": data.draw(st.none() | st.just(SILENT)), "has_result_now": data.draw(st.booleans()),
    }  # fmt: skip
    assert state_of(replace(evidence, **costly)) == state_of(evidence)
