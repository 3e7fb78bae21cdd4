"""Published metrics as pure functions of gold answers and predictions: no model, no torch, no files.

Every value is in percent, 0..100. Definitions are those the benchmarks were scored with (profile `xtreme`), known
flaws included, so that numbers compare; `*_corrected` and `pos_accuracy` are profile `corrected`. Mined pairs are
scored by `eval.metrics.mining`.

Imports nothing of ours. Begin with `score` and the table of families below; a file each has the definitions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eval.metrics import (
    accuracy,
    alignment,
    corrected,
    image_text,
    mlqa,
    prompts,
    ranking,
    retrieval,
    squad,
    squad_v2,
    tags,
)

Scores = dict[str, float]
Layout = Literal["labels", "tags", "answers", "ranked", "pairs", "places"]


@dataclass(frozen=True)
class Family:
    """Metrics that are worked out together. `primary`: the one that a task is compared by, unless it says otherwise;
    `layout`: how a submission holds such predictions; `score`: None for what `eval.metrics.mining` scores."""

    primary: str
    layout: Layout
    score: Callable[[Sequence[Any], Sequence[Any], str], Scores] | None


_FAMILIES: dict[str, Family] = {
    "accuracy": Family("accuracy", "labels", lambda golds, predictions, _: accuracy.score(golds, predictions)),
    "paraphrase": Family(
        "acc_and_f1", "labels", lambda golds, predictions, _: accuracy.score_with_f1(golds, predictions, "paraphrase")
    ),
    "squad": Family(
        "f1",
        "answers",
        lambda golds, predictions, language: (
            squad.score(golds, predictions) | corrected.score(golds, predictions, language)
        ),
    ),
    "squad_v2": Family("f1", "answers", lambda golds, predictions, _: squad_v2.score(golds, predictions)),
    "mlqa": Family(
        "f1",
        "answers",
        lambda golds, predictions, language: (
            mlqa.score(golds, predictions, language) | corrected.score(golds, predictions, language)
        ),
    ),
    "ner": Family("f1", "tags", lambda golds, predictions, _: tags.score_ner(golds, predictions)),
    "pos": Family("pos_f1_xtreme", "tags", lambda golds, predictions, _: tags.score_pos(golds, predictions)),
    "words": Family("accuracy", "tags", lambda golds, predictions, _: accuracy.score_words(golds, predictions)),
    "retrieval": Family("accuracy", "places", lambda golds, predictions, _: retrieval.score(golds, predictions)),
    "map20": Family("map@20", "ranked", lambda golds, predictions, _: ranking.score_map(golds, predictions)),
    "mrr20": Family("mrr@20", "ranked", lambda golds, predictions, _: ranking.score_mrr(golds, predictions)),
    "alignment": Family("accuracy", "places", lambda golds, predictions, _: alignment.score(golds, predictions)),
    "image_text": Family("mean_recall", "ranked", lambda golds, predictions, _: image_text.score(golds, predictions)),
    "prompts": Family("accuracy", "ranked", lambda golds, predictions, _: prompts.score(golds, predictions)),
    "mining": Family("f1", "pairs", None),
}
FAMILIES = tuple(name for name, family in _FAMILIES.items() if family.score)


def primary(family: str) -> str:
    """The metric that a task of this family is compared by, unless it says otherwise."""
    return _FAMILIES[family].primary


def layout(family: str) -> Layout:
    """How a submission holds predictions that this family scores; see `eval.tables.export`."""
    return _FAMILIES[family].layout


def score(family: str, golds: Sequence[Any], predictions: Sequence[Any], language: str) -> Scores:
    """The scores of a metric family in percent, the primary one first.

    One gold and one prediction per example, at least one example: `accuracy` a label; `squad`, `mlqa` a list of
    right answers and a string (None: no prediction); `squad_v2` a list of right answers (empty: there is none) and a
    record of `text`, `span`, `null_odds`; `prompts` a label and one by every template; `words`, `ner`, `pos` a list of
    labels, equally many; `retrieval` an id and the two ids found, forward (English query) and in reverse; `alignment`
    an id and these two by cosine and then by margin; `map20` the right ids and up to 20 ids, best first; `mrr20` the
    right id and the same; `image_text` an
    image's name and its `Rankings`. `language`, the context's, matters to question answering alone; of a pair of
    languages (`de-en`: a German context, an English question) it is the first.
    """
    assert family in FAMILIES, f"{family} is none of {FAMILIES}"
    assert len(golds) == len(predictions) > 0, (family, len(golds), len(predictions))
    worked_out = _FAMILIES[family].score
    assert worked_out is not None, family
    return worked_out(golds, predictions, language.partition("-")[0])
