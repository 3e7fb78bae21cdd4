"""Mined translation pairs as BUCC 2018 and XTREME score them: which are kept, and F1 of the kept ones."""

from collections.abc import Sequence, Set

Pair = tuple[str, str]  # ids: of the other language's sentence, of the English one


def best_threshold(scored_pairs: Sequence[tuple[float, str, str]], gold: Set[Pair]) -> float | None:
    """The score from which on (>=) pairs are kept so that their F1 against `gold` is highest; None if none is right.

    `scored_pairs`: score and ids of each mined pair; equal scores keep their order. As published: the midpoint between
    the score of the last pair kept at the (first) best F1 and that of the next; where there is no next, its own.
    """
    best_first = sorted(scored_pairs, key=lambda item: -item[0])
    best, threshold, right = 0.0, None, 0
    for count, (score, source, target) in enumerate(best_first, start=1):
        right += (source, target) in gold
        f1 = _f1(right, count, len(gold))
        if f1 > best:
            best = f1
            threshold = (score + best_first[count][0]) / 2 if count < len(best_first) else score
    return threshold


def score_pairs(pairs: Set[Pair], gold: Set[Pair]) -> dict[str, float]:
    """`f1`, `precision` and `recall` of the pairs found, in percent; 0 where nothing is right."""
    right = len(pairs & gold)
    if not right:
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    precision, recall = right / len(pairs), right / len(gold)
    f1 = _f1(right, len(pairs), len(gold))
    return {"f1": 100.0 * f1, "precision": 100.0 * precision, "recall": 100.0 * recall}


def _f1(right: int, pairs: int, gold: int) -> float:
    """F1, 0..1, in the published order of operations: the shorter `2 * right / (pairs + gold)` rounds otherwise, and
    where two thresholds are equally good in exact numbers, the rounding decides which is the first best."""
    if not right:
        return 0.0
    precision, recall = right / pairs, right / gold
    return 2 * precision * recall / (precision + recall)
