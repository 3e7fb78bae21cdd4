"""Answers to prompts: a label by every template, held against the gold one, and what any answer is held against."""

from collections import Counter
from collections.abc import Sequence

from eval.metrics.accuracy import share


def score(golds: Sequence[str], predictions: Sequence[Sequence[str]]) -> dict[str, float]:
    """All in percent: `accuracy`, the mean over templates; `accuracy_N` of template N, from 1; `accuracy_best` and
    `accuracy_worst` of those, the best being chosen on these very examples; `majority`, of always saying the commonest
    gold label; `chance`, of guessing among the labels that occur."""
    of_templates = [share(golds, labels) for labels in zip(*predictions, strict=True)]
    counts = Counter(golds)
    return {
        "accuracy": sum(of_templates) / len(of_templates),
        **{f"accuracy_{number}": value for number, value in enumerate(of_templates, start=1)},
        "accuracy_best": max(of_templates),
        "accuracy_worst": min(of_templates),
        "majority": 100.0 * max(counts.values()) / len(golds),
        "chance": 100.0 / len(counts),
    }
