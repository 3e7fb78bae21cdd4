"""What an answer to prompts is held against: always the commonest label, and a guess."""

from collections import Counter
from collections.abc import Sequence


def majority(golds: Sequence[str]) -> float:
    """The accuracy, in percent, of whoever always says the commonest label of these examples; at least one."""
    return 100.0 * max(Counter(golds).values()) / len(golds)


def chance(labels: Sequence[str]) -> float:
    """The expected accuracy, in percent, of who guesses among the labels."""
    return 100.0 / len(labels)
