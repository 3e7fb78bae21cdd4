"""What a recipe is compared with: `none`, of several start models (`models:`) each with its own.

Then the name of a recipe begins with the label of its model: `large: squad > mnli`, compared with `large: none`.
"""

from collections.abc import Iterable

BASELINE = "none"
AFTER_LABEL = ": "  # in no label and in no recipe


def with_label(model: str, recipe: str) -> str:
    """The name of a recipe from a start model. `model`: its label; "" where there is one model without a label."""
    return f"{model}{AFTER_LABEL}{recipe}" if model else recipe


def split(name: str) -> tuple[str, str]:
    """The label, or "", and the recipe that a name is of."""
    model, _, recipe = name.rpartition(AFTER_LABEL)
    return model, recipe


def baseline_of(name: str) -> str:
    """The name of the recipe that a recipe is compared with; a baseline's own name of a baseline."""
    return with_label(split(name)[0], BASELINE)


def is_baseline(name: str) -> bool:
    return split(name)[1] == BASELINE


def baseline_words(names: Iterable[str]) -> str:
    """What recipes of these names are compared with, for people."""
    return f"{BASELINE} of its start model" if any(split(name)[0] for name in names) else BASELINE
