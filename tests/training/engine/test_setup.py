"""What a train stage starts from."""

from pathlib import Path
from typing import Any

from training.engine.setup import StageModelParts
from training.model.parent import Parent
from training.spec import DataFile, Settings, TaskData, TrainSpec


def _identity(**settings: Any) -> str:
    data = TaskData("mnli", (DataFile("a", "11" * 32),), (DataFile("b", "22" * 32),))
    spec = TrainSpec(parts=(data,), settings=Settings(**settings), seed=1)
    parent = Parent(Path("parent"), None, {}, "t", known_hash="h")
    return StageModelParts(spec, parent, None, None, [], []).identity


def test_checkpoints_made_before_are_still_this_stages() -> None:
    """Whoever changes this hash has every half trained stage begin again."""
    assert _identity()[:16] == "eaff23e7cec0c319"
    assert _identity(candidate_text="joined") == _identity()
    assert _identity(learning_rate=1e-4) != _identity()
