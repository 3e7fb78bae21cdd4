"""Slurm's job states: every word has one meaning, and no other word is taken for one."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.jobstates import STATES, Phase, base, phase

# squeue(1), sacct(1) of 22.05.8, and the states that later pages add.
SHORT = {
    "BF", "CA", "CD", "CF", "CG", "DL", "F", "NF", "OOM", "PD", "PR", "R", "RD", "RF", "RH", "RQ", "RS", "RV", "SI",
    "SE", "SO", "ST", "S", "TO",
}  # fmt: skip
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
}  # fmt: skip


def test_every_short_form_of_the_manual_is_known() -> None:
    assert {short for short, _ in STATES.values() if short} == SHORT
    assert all(base(short) in STATES for short in SHORT)


def test_only_these_states_are_an_end() -> None:
    assert {state for state in STATES if phase(state) == "ended"} == ENDED
    assert {phase for _, phase in STATES.values()} == set(get_args(Phase))


@pytest.mark.parametrize(
    ("said", "name", "meaning"),
    [
        ("CANCELLED by 1001", "CANCELLED", "ended"),
        ("CANCELLED+", "CANCELLED", "ended"),
        ("OUT_OF_ME+", "OUT_OF_MEMORY", "ended"),
        ("COMPLET+", "COMPLET+", "unknown"),  # COMPLETED or COMPLETING
        ("COMPLETI+", "COMPLETING", "running"),
        ("NODE_FAIL", "NODE_FAIL", "ended"),
        ("PD", "PENDING", "pending"),
        ("cg", "COMPLETING", "running"),
        ("CONFIGURING", "CONFIGURING", "pending"),
        ("SPECIAL_EXIT", "SPECIAL_EXIT", "pending"),
        ("REVOKED", "REVOKED", "unknown"),
        ("", "", "unknown"),
        ("+", "+", "unknown"),
        ("SOMETHING_NEW", "SOMETHING_NEW", "unknown"),
    ],
)
def test_what_slurm_writes(said: str, name: str, meaning: str) -> None:
    assert (base(said), phase(said)) == (name, meaning)


@given(st.sampled_from(sorted(STATES)), st.integers(0, 4_000_000_000), st.booleans())
def test_additions_change_nothing(state: str, uid: int, lower: bool) -> None:
    assert base(state) == state
    said = f"{state} by {uid}"
    assert (base(said.lower() if lower else said), phase(said)) == (state, phase(state))


@given(st.sampled_from(sorted(STATES)), st.integers(1, 13))
def test_a_name_that_was_cut_off_is_that_state_or_unknown(state: str, length: int) -> None:
    if length < len(state):
        cut = state[:length] + "+"
        assert base(cut) == state or (base(cut) == cut and phase(cut) == "unknown")


@given(st.text(max_size=30))
def test_any_text_has_a_phase_and_its_base_is_stable(text: str) -> None:
    assert phase(text) in get_args(Phase)
    assert base(base(text)) == base(text)
    assert phase(base(text)) == phase(text)
