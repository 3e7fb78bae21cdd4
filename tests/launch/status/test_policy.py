"""What is done about failures: budgets, changes, the circuit breaker in the plan and in a submission."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from launch.experiment import Failures
from launch.experiment import failures as failure_rules
from launch.status import breaker
from launch.status.breaker import held
from launch.status.history import Failure
from launch.status.policy import Changes, decide, used_up
from slurm.causes import CAUSES, Cause, Verdict
from tests.at_once import at_once, trials

DEFAULT = Failures()


def _failure(cause: Cause, evidence: str = "why", attempt: int = 1, **more: Any) -> Failure:
    return Failure(cause, evidence, attempt, more.pop("job", "7_0"), 0.0, **more)


def _policy(**causes: Any) -> Failures:
    return Failures.model_validate({name.replace("_", "-"): value for name, value in causes.items()})


# --- the section


def test_a_named_cause_changes_only_what_it_names() -> None:
    policy = _policy(host_oom={"mem": "2"}, equal="5")
    assert (policy.host_oom.mem, policy.host_oom.retry) == (2.0, DEFAULT.host_oom.retry)
    assert policy.equal == 5 and policy.time == DEFAULT.time


@pytest.mark.parametrize(
    "content",
    [{"oom": {"retry": "1"}}, {"time": {"retries": "1"}}, {"time": {"mem": "0.5"}}, {"time": "3"}, {"equal": "0"}],
)
def test_what_does_not_fit_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Failures.model_validate(content)


def test_the_manifest_gives_it_back() -> None:
    policy = _policy(cuda_oom={"token-budget": "0.25"}, node={"exclude": "false"}, equal="2")
    assert failure_rules.from_record(json.loads(json.dumps(policy.record()))) == policy
    assert failure_rules.from_record({}) == DEFAULT


# --- retries


def test_a_budget_per_cause() -> None:
    policy = _policy(host_oom={"retry": "2"})
    failures: list[Failure] = []
    sends = []
    for _ in range(4):
        failures.append(_failure("host-oom"))
        sends.append(decide(failures, policy).send)
    assert sends == [True, True, False, False]
    assert "stepstone retry FILE --class host-oom" in decide(failures, policy).why
    assert decide([*failures, _failure("time")], policy).send  # another cause has a budget of its own


def test_what_got_further_uses_up_nothing() -> None:
    policy = _policy(time={"retry": "1", "time": "2"})
    onward = [_failure("time", attempt=n, further=True) for n in range(1, 20)]
    decision = decide(onward, policy)
    assert decision.send and decision.changes == Changes()
    stuck = [*onward, _failure("time"), _failure("time")]
    assert not decide(stuck, policy).send
    code = [_failure("code", further=True)] * 3  # a failure of its own is one, however far it got
    assert not decide(code, _policy(code={"retry": "1"})).send


def test_not_a_failure_of_the_stage() -> None:
    for cause in ("cancelled", "elsewhere"):
        assert decide([_failure(cause)] * 50, DEFAULT).send  # type: ignore[arg-type]
    assert decide([], DEFAULT).send


def test_more_memory_each_time_but_no_more_than_was_allowed() -> None:
    policy = _policy(host_oom={"retry": "2", "mem": "1.5"})
    assert decide([_failure("host-oom")], policy).changes.mem_factor == 1.5
    assert decide([_failure("host-oom")] * 2, policy).changes.mem_factor == 2.25
    assert decide([_failure("host-oom")] * 5, policy).changes.mem_factor == 2.25
    assert decide([_failure("cuda-oom")], DEFAULT).changes.token_budget_factor == 0.5


def test_the_node_is_left_out() -> None:
    failures = [_failure("node", node="node3"), _failure("nccl", node="node1"), _failure("code", node="node9")]
    assert decide(failures, DEFAULT).changes.exclude == ("node3", "node1")  # the last one last
    assert decide([*failures, failures[0]], DEFAULT).changes.exclude == ("node1", "node3")
    named = _failure("node", "srun: error: Node failure on node2", node="node1")
    assert decide([named], DEFAULT).changes.exclude == ("node2",)


@given(st.lists(st.builds(_failure, st.sampled_from(CAUSES), further=st.booleans()), max_size=12))
def test_every_history_has_a_decision(failures: list[Failure]) -> None:
    decision = decide(failures, DEFAULT)
    assert decision.why and hash(decision.changes) is not None
    assert decision.changes.mem_factor >= 1 and decision.changes.time_factor >= 1
    assert 0 < decision.changes.token_budget_factor <= 1


def test_a_jobs_own_starts_have_a_budget() -> None:
    policy = _policy(preempted={"retry": "2"})
    own = [_failure("preempted", job="7_0")] * 3
    assert used_up(own[:2], "7_0", policy) is None
    found = used_up(own, "7_0", policy)
    assert found is not None and found.cause == "preempted" and "3 times" in found.evidence
    assert used_up(own, "8_0", policy) is None  # a job sent since then starts anew
    assert used_up([*own, _failure("code")], "7_0", policy) is None
    assert used_up([_failure("preempted", job=None)] * 9, None, policy) is None


# --- the circuit breaker


def test_equal_failures_of_the_code_hold_the_rest() -> None:
    last = {f"key{n}": _failure("code", f"ValueError: row {n} of /data/{n}.tsv") for n in range(3)}
    line = held(last, DEFAULT)
    assert line is not None and line.startswith("held: 3 stages failed alike: ValueError: row 0")
    assert line.endswith("stepstone retry FILE --class code")
    assert held(dict(list(last.items())[:2]), DEFAULT) is None
    assert held(last, _policy(equal="4")) is None
    assert held({key: _failure("data", f.evidence) for key, f in last.items()}, DEFAULT) is None
    assert held({key: _failure("code", f"KeyError: '{'abc'[n]}'") for n, key in enumerate(last)}, DEFAULT) is None


def test_the_stages_of_one_element_that_never_began_count_once() -> None:
    last = {f"key{n}": _failure("code", attempt=0, job="7_0") for n in range(5)}
    assert held(last, DEFAULT) is None
    assert held(last | {"a": _failure("code", attempt=0, job="7_1"), "b": _failure("code")}, DEFAULT) is not None


def test_a_submission_holds_what_has_not_begun(tmp_path: Path) -> None:
    for n in range(2):
        breaker.note(tmp_path, f"stage{n}", Verdict("code", f"ValueError: row {n}"), DEFAULT)
        breaker.note(tmp_path, "same", Verdict("code", "KeyError: 'x'"), DEFAULT)  # one stage, again and again
        breaker.note(tmp_path, f"other{n}", Verdict("data", "ValueError: row 1"), DEFAULT)
    assert breaker.held_line(tmp_path) is None
    breaker.note(tmp_path, "stage2", Verdict("code", "ValueError: row 2"), DEFAULT)
    assert (breaker.held_line(tmp_path) or "").startswith("held: 3 stages failed alike: ValueError")


@pytest.mark.parametrize("trial", trials(5))
def test_many_that_fail_at_once_hold_the_rest(tmp_path: Path, trial: int) -> None:
    def work(number: int) -> None:
        breaker.note(tmp_path, f"stage{number}", Verdict("code", "ValueError: no"), DEFAULT)

    at_once(6, work)
    assert breaker.held_line(tmp_path) is not None
