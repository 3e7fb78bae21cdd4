"""What each example contributes to a score: sums over examples give the score back, and those of examples drawn anew a
score on another test set (`eval.statistics.resample`).

Three kinds. `mean`: one value, what the example alone scores (0 to 1). `ratio`: two, whose sums' ratio is the score: of
F1 twice what is right, and what was guessed together with what is gold. `mean_and_ratio`: the value of a mean and the
two of a ratio; the score is the mean of both (QQP's, and recall between images and captions).

Of mined pairs an example is a sentence that is not English. The threshold is the published one, whatever the sample:
neither is it tuned nor is anything mined anew.
"""

from collections.abc import Callable, Sequence, Set
from functools import partial
from operator import eq
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval import metrics
from eval.metrics import alignment, corrected, image_text, mlqa, squad
from eval.metrics.entities import entity_ends
from eval.metrics.mining import Pair

Kind = Literal["mean", "ratio", "mean_and_ratio"]
Parts = NDArray[np.float32]  # (examples, 1, 2 or 3)

# Families whose every metric is the mean of what each example scores alone, but those named below.
_MEANS = frozenset(("accuracy", "squad", "mlqa", "squad_v2", "retrieval", "alignment", "map20", "mrr20"))
_TUNED = frozenset((("squad_v2", "best_f1"), ("squad_v2", "best_exact_match")))  # by a threshold on these very examples


def of_examples(
    family: str, metric: str, golds: Sequence[Any], predictions: Sequence[Any], language: str
) -> tuple[Kind, Parts] | None:
    """None for metrics that no sum over examples gives. The arguments are those of `eval.metrics.score`, with one of
    its metrics."""
    pairs = list(zip(golds, predictions, strict=True))
    if (family, metric) in _TUNED or (family == "alignment" and metric not in alignment.NAMES):
        return None
    if family in _MEANS:
        score = _scorer(family, metric, language)
        alone = [score([gold], [prediction])[metric] / 100 for gold, prediction in pairs]
        return "mean", np.array(alone, np.float32)[:, None]
    if family == "prompts":
        return _of_prompts(metric, pairs)
    if family == "paraphrase":
        return _of_paraphrases(metric, pairs)
    if family == "image_text":
        return _of_images(metric, pairs)
    count = _COUNTS.get((family, metric))
    return None if count is None else ("ratio", _ratio(metric, count(golds, predictions)))


def _scorer(family: str, metric: str, language: str) -> Callable[[Sequence[Any], Sequence[Any]], metrics.Scores]:
    """Of question answering without the metrics that were not asked for, which take twice the time of this one."""
    context_language = language.partition("-")[0]
    if metric.endswith("_corrected"):
        return partial(corrected.score, language=context_language)
    if family == "squad":
        return squad.score
    if family == "mlqa":
        return partial(mlqa.score, language=context_language)
    return partial(metrics.score, family, language=language)


def of_pairs(metric: str, mined_pairs: Set[Pair], gold: Set[Pair]) -> tuple[list[str], Kind, Parts]:
    """The sentences (sorted) that have a translation or were given one, and what they contribute; all others
    contribute nothing. `metric`: one of `eval.metrics.mining.score_pairs`, whatever follows its name."""
    sentences = sorted({sentence for sentence, _ in mined_pairs | gold})
    places = {sentence: place for place, sentence in enumerate(sentences)}
    counts = np.zeros((len(sentences), 3), np.float32)
    for column, pairs in enumerate((mined_pairs & gold, mined_pairs, gold)):
        for sentence, _ in pairs:
            counts[places[sentence], column] += 1
    return sentences, "ratio", _ratio(metric.partition("_")[0], counts)


def _ratio(metric: str, counts: Parts) -> Parts:
    """Numerator and denominator. `counts`: (examples, 3), right, guessed and gold."""
    right, guesses, gold = counts.T
    if metric == "precision":
        return np.stack([right, guesses], axis=1)
    if metric == "recall":
        return np.stack([right, gold], axis=1)
    return np.stack([2 * right, guesses + gold], axis=1)


def _of_prompts(metric: str, pairs: Sequence[tuple[str, Sequence[str]]]) -> tuple[Kind, Parts] | None:
    """`eval.metrics.prompts.score`: of all templates or of one; which is best is another question."""
    right = np.array([[label == gold for label in labels] for gold, labels in pairs], np.float32)
    if metric == "accuracy":
        return "mean", right.mean(axis=1, keepdims=True)
    number = metric.removeprefix("accuracy_")
    return ("mean", right[:, int(number) - 1 :][:, :1]) if number.isdigit() else None


def _of_paraphrases(metric: str, pairs: Sequence[tuple[str, str]]) -> tuple[Kind, Parts]:
    """`eval.metrics.accuracy.score_with_f1`."""
    label = "paraphrase"
    right = np.array([[gold == guess] for gold, guess in pairs], np.float32)
    counts = [(gold == guess == label, guess == label, gold == label) for gold, guess in pairs]
    f1 = _ratio("f1", np.array(counts, np.float32))
    if metric == "accuracy":
        return "mean", right
    return ("ratio", f1) if metric == "f1" else ("mean_and_ratio", np.concatenate([right, f1], axis=1))


def _of_images(metric: str, pairs: Sequence[tuple[str, image_text.Rankings]]) -> tuple[Kind, Parts]:
    """`eval.metrics.image_text.score`: a mean over images (of captions found), a ratio over captions (of images)."""
    name, _, depth = metric.partition("@")
    cuts = (int(depth),) if depth else image_text.CUTS
    texts = np.array([[image_text.text_hit(*pair, k) for k in cuts] for pair in pairs], np.float32)
    hits = np.array([[sum(image_text.image_hits(*pair, k)) for k in cuts] for pair in pairs], np.float32)
    captions = np.array([len(rankings[0]) for _, rankings in pairs], np.float32)
    images = np.stack([hits.mean(axis=1), captions], axis=1)
    mean = texts.mean(axis=1, keepdims=True)
    if name == "tr":
        return "mean", mean
    return ("ratio", images) if name == "ir" else ("mean_and_ratio", np.concatenate([mean, images], axis=1))


def _spans(golds: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> Parts:
    """Of each sentence its right, guessed and gold entities (`tags.entities`): none goes beyond its sentence."""
    assert list(map(len, golds)) == list(map(len, predictions)), "not one tag per word"
    sentences = np.repeat(np.arange(len(golds)), [len(gold) + 1 for gold in golds])
    gold, guesses = entity_ends(golds), entity_ends(predictions)
    right = gold.ends & guesses.ends & (gold.begins == guesses.begins) & (gold.types == guesses.types)
    counts = [np.bincount(sentences[words], minlength=len(golds)) for words in (right, guesses.ends, gold.ends)]
    return np.stack(counts, axis=1).astype(np.float32)


def _words(golds: Sequence[Sequence[object]], predictions: Sequence[Sequence[object]]) -> Parts:
    right = [sum(map(eq, gold, prediction)) for gold, prediction in zip(golds, predictions, strict=True)]
    words = list(map(len, golds))
    return np.array([right, words, words], np.float32).T


_COUNTS: dict[tuple[str, str], Callable[[Sequence[Sequence[str]], Sequence[Sequence[str]]], Parts]] = {
    ("ner", "f1"): _spans,
    ("ner", "precision"): _spans,
    ("ner", "recall"): _spans,
    ("pos", "pos_f1_xtreme"): _spans,
    ("pos", "pos_accuracy"): _words,
    ("words", "accuracy"): _words,
}
