"""Ranked candidates, the first 20 of them: mean average precision (LAReQA) and mean reciprocal rank (Mewsli-X)."""

from collections.abc import Sequence

CUT = 20


def score_map(golds: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> dict[str, float]:
    """`map@20` in percent, as XTREME-R scores LAReQA (Ruder et al. 2021, arXiv 2104.07412).

    Per question the ids of all right candidates, and the ids found, best first.
    """
    total = sum(average_precision(gold, ranking) for gold, ranking in zip(golds, predictions, strict=True))
    return {"map@20": 100.0 * total / len(golds)}


def average_precision(gold: Sequence[str], ranking: Sequence[str]) -> float:
    """The mean of the precisions at the right ones among the first 20, over as many as could be there; 0..1."""
    right = set(gold)
    assert right, "a question without a right candidate cannot be scored"
    hits, total = 0, 0.0
    for rank, candidate in enumerate(_first(ranking), start=1):
        if candidate in right:
            hits += 1
            total += hits / rank
    return total / min(len(right), CUT)


def score_mrr(golds: Sequence[str], predictions: Sequence[Sequence[str]]) -> dict[str, float]:
    """`mrr@20` in percent: one over the rank of the one right candidate, 0 where it is not among the first 20.

    With one right candidate it is what XTREME-R calls mAP@20 for Mewsli-X.
    """
    total = sum(_reciprocal_rank(gold, ranking) for gold, ranking in zip(golds, predictions, strict=True))
    return {"mrr@20": 100.0 * total / len(golds)}


def _reciprocal_rank(gold: str, ranking: Sequence[str]) -> float:
    first = _first(ranking)
    return 1 / (first.index(gold) + 1) if gold in first else 0.0


def _first(ranking: Sequence[str]) -> list[str]:
    first = list(ranking[:CUT])
    assert len(set(first)) == len(first), f"a candidate stands twice in {first}"
    return first
