"""Finding a stage's job again and again: a submission is read once, as soon as its submitter has said what it sends."""

from pathlib import Path
from typing import Any

import pytest

from launch.logbook import following
from launch.plan import Plan
from launch.store import records, submissions
from launch.store.submissions import IntendedArray, Intent, Receipt


def test_a_submission_is_read_once_and_its_receipt_when_it_comes(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    read_names: list[str] = []
    read = records.read

    def noting(path: Path, *rest: Any) -> Any:
        read_names.append(path.name)
        return read(path, *rest)

    monkeypatch.setattr(records, "read", noting)
    stage = plan.find("mnli-s1")
    follower = following._Follower(plan, stage, lambda path, lines: None, print, False, None)
    submission, identifier = submissions.new_folder(plan.experiment.store)
    assert not follower._find_element() and follower.location is None
    array = IntendedArray("a", {0: [stage.key]})
    submissions.write_intent(submission, Intent(identifier, "small", "slurm", arrays=(array,)))
    assert follower._find_element() and follower.location is not None
    read_names.clear()
    assert not follower._find_element()
    submission.write_receipt(0, Receipt(job="12"))
    assert not follower._find_element() and follower.location.job == "12"
    assert set(read_names) == {"receipt-0.json"}
    read_names.clear()
    assert not follower._find_element() and not read_names


def test_an_array_that_was_refused_does_not_count(plan: Plan) -> None:
    stage = plan.find("mnli-s1")
    follower = following._Follower(plan, stage, lambda path, lines: None, print, False, None)
    submission, identifier = submissions.new_folder(plan.experiment.store)
    array = IntendedArray("a", {0: [stage.key]})
    submissions.write_intent(submission, Intent(identifier, "small", "slurm", arrays=(array,)))
    assert follower._find_element() and follower.location is not None
    submission.write_receipt(0, Receipt(refused="no"))
    assert follower._find_element() and follower.location is None
