"""Scores of tagged words: entities as conlleval counts them (Tjong Kim Sang and De Meulder 2003), and accuracy.

XTREME scored PAN-X and UD-POS alike with seqeval 0.0.12, not strict, so that I- may open an entity. The tag's first
character plays the prefix; the type is what follows its last hyphen, of a tag without one (`NOUN`, `PER`, `B`) the
whole: a run of equal bare tags is one entity, except of those that begin with B, E or S, and O begins none (`ORG`).
Later versions of seqeval read `PER` as type `ER` and `B` as `_`, and keep all hyphens but the first.
"""

from collections.abc import Sequence
from itertools import chain

from eval.metrics.accuracy import share

Sentences = Sequence[Sequence[str]]
Entity = tuple[str, int, int]  # type, first word, last word


def score_ner(golds: Sentences, predictions: Sentences) -> dict[str, float]:
    """Micro `f1`, `precision` and `recall` over all entities, in percent; 0 where nothing is to be divided by."""
    precision, recall, f1 = _compare(golds, predictions)
    return {"f1": f1, "precision": precision, "recall": recall}


def score_pos(golds: Sentences, predictions: Sentences) -> dict[str, float]:
    """`pos_f1_xtreme` (micro F1 over runs of tags) and `pos_accuracy` (of words), in percent."""
    *_, f1 = _compare(golds, predictions)
    words = share(list(chain(*golds)), list(chain(*predictions)))
    return {"pos_f1_xtreme": f1, "pos_accuracy": words}


def entities(sentences: Sentences) -> set[Entity]:
    """All entities of the sentences, their words counted through with one `O` after each sentence."""
    entities_of_words, begin = set(), 0
    last, last_type = "O", ""
    for place, tag in enumerate(tag for sentence in sentences for tag in (*sentence, "O")):
        prefix, kind = tag[0], tag.rpartition("-")[2]
        if _ends(last, prefix, last_type != kind):
            entities_of_words.add((last_type, begin, place - 1))
        if _starts(last, prefix, last_type != kind):
            begin = place
        last, last_type = prefix, kind
    return entities_of_words


def _ends(last: str, prefix: str, other_type: bool) -> bool:
    """Whether an entity ends between two words, by their tags' prefixes."""
    return (
        last in ("E", "S")
        or (last in ("B", "I") and prefix in ("B", "S", "O"))
        or (last not in ("O", ".") and other_type)
    )


def _starts(last: str, prefix: str, other_type: bool) -> bool:
    """Whether an entity starts with the second of two words."""
    return (
        prefix in ("B", "S")
        or (last in ("E", "S", "O") and prefix in ("E", "I"))
        or (prefix not in ("O", ".") and other_type)
    )


def _compare(golds: Sentences, predictions: Sentences) -> tuple[float, float, float]:
    """Precision, recall and F1 of the predicted entities, in percent."""
    assert list(map(len, golds)) == list(map(len, predictions)), "not one tag per word"
    gold, predicted_entities = entities(golds), entities(predictions)
    right = len(gold & predicted_entities)
    precision = right / len(predicted_entities) if predicted_entities else 0.0
    recall = right / len(gold) if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return 100.0 * precision, 100.0 * recall, 100.0 * f1
