"""Scores of tagged words: entities as conlleval counts them (Tjong Kim Sang and De Meulder 2003), and accuracy.

Two published readings of a tag. NER, as seqeval 1.2.2 scores by default (not strict, so that I- may open an entity):
first character and type. POS, as XTREME scored UPOS tags with seqeval 0.0.12: the tag's first character plays the
prefix and the whole tag the type, so that a run of equal tags is one entity, except tags that begin with S.
"""

from collections.abc import Callable, Sequence
from itertools import chain

from eval.metrics.accuracy import share

Sentences = Sequence[Sequence[str]]
Entity = tuple[str, int, int]  # type, first word, last word


def score_ner(golds: Sentences, predictions: Sentences) -> dict[str, float]:
    """Micro `f1`, `precision` and `recall` over all entities, in percent; 0 where nothing is to be divided by."""
    precision, recall, f1 = _compare(golds, predictions, _ner_type)
    return {"f1": f1, "precision": precision, "recall": recall}


def score_pos(golds: Sentences, predictions: Sentences) -> dict[str, float]:
    """`pos_f1_xtreme` (micro F1 over runs of tags) and `pos_accuracy` (of words), in percent."""
    *_, f1 = _compare(golds, predictions, _pos_type)
    words = share(list(chain(*golds)), list(chain(*predictions)))
    return {"pos_f1_xtreme": f1, "pos_accuracy": words}


def entities(sentences: Sentences, type_of: Callable[[str], str]) -> set[Entity]:
    """All entities of the sentences, their words counted through with one `O` after each sentence."""
    entities_of_words, begin = set(), 0
    last, last_type = "O", ""
    for place, tag in enumerate(tag for sentence in sentences for tag in (*sentence, "O")):
        prefix, kind = tag[0], type_of(tag)
        if _ends(last, prefix, last_type != kind):
            entities_of_words.add((last_type, begin, place - 1))
        if _starts(last, prefix, last_type != kind):
            begin = place
        last, last_type = prefix, kind
    return entities_of_words


def _ner_type(tag: str) -> str:
    return tag[1:].split("-", maxsplit=1)[-1] or "_"


def _pos_type(tag: str) -> str:
    return tag.rpartition("-")[2]


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


def _compare(golds: Sentences, predictions: Sentences, type_of: Callable[[str], str]) -> tuple[float, float, float]:
    """Precision, recall and F1 of the predicted entities, in percent."""
    assert list(map(len, golds)) == list(map(len, predictions)), "not one tag per word"
    gold, predicted_entities = entities(golds, type_of), entities(predictions, type_of)
    right = len(gold & predicted_entities)
    precision = right / len(predicted_entities) if predicted_entities else 0.0
    recall = right / len(gold) if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return 100.0 * precision, 100.0 * recall, 100.0 * f1
