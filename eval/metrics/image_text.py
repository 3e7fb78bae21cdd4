"""Retrieval between images and captions: recall among the first 1, 5 and 10, both ways.

IR@k and TR@k as IGLUE scores XFlickr&CO (Bugliarello et al. 2022, arXiv 2201.11732) and Crossmodal-3600 is scored
(Thapliyal et al. 2022, arXiv 2205.12522): an image counts as found by any of its captions, a caption has one image.
"""

from collections.abc import Sequence
from statistics import mean

CUTS = (1, 5, 10)

# Of one image: for each of its captions the images ranked for it; then, for the image, the images whose captions were
# ranked, a caption a place. Both best first, 10 of them are enough.
Rankings = tuple[Sequence[Sequence[str]], Sequence[str]]


def score(golds: Sequence[str], predictions: Sequence[Rankings]) -> dict[str, float]:
    """`mean_recall`, the mean of six in percent: `ir@1`, `ir@5`, `ir@10`, the share of captions whose image is among
    the first k images; `tr@1`, `tr@5`, `tr@10`, the share of images that have a caption among the first k.

    Per image its name and its rankings.
    """
    recalls: dict[str, float] = {}
    pairs = list(zip(golds, predictions, strict=True))
    for k in CUTS:
        by_caption = [is_there for gold, rankings in pairs for is_there in image_hits(gold, rankings, k)]
        recalls[f"ir@{k}"] = 100.0 * sum(by_caption) / len(by_caption)
    for k in CUTS:
        recalls[f"tr@{k}"] = 100.0 * sum(text_hit(gold, rankings, k) for gold, rankings in pairs) / len(pairs)
    return {"mean_recall": mean(recalls.values())} | recalls


def image_hits(gold: str, rankings: Rankings, k: int) -> list[bool]:
    """For each caption of an image, whether the image is among the first k."""
    return [gold in ranking[:k] for ranking in rankings[0]]


def text_hit(gold: str, rankings: Rankings, k: int) -> bool:
    """Whether one of the image's captions is among the first k."""
    return gold in rankings[1][:k]
