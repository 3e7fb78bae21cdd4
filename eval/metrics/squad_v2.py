"""SQuAD 2.0's exact match and F1 (Rajpurkar, Jia and Liang 2018, arXiv 1806.03822): some questions have no answer.

A prediction is a record: `text`, the answer that is given ("": none); `span`, the best answer there is in the context;
`null_odds`, how much better no answer scores than that. `best_*` are the highest scores that one threshold on the odds
could have reached on these very examples: an upper bound, not a result.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.metrics.squad import Tokens, overlap_or_both_empty, tokens

Prediction = Mapping[str, Any]
Values = tuple[float, float]  # exact match and F1 of one answer, 0..1


def score(golds: Sequence[Sequence[str]], predictions: Sequence[Prediction | None]) -> dict[str, float]:
    """`f1`, `exact_match`, `best_f1`, `best_exact_match` in percent. A gold without answers: there is none.

    Without a prediction (None) a question scores 0, also at the best threshold.
    """
    values_as_answered = [
        _values(gold, _text(prediction, "text")) for gold, prediction in zip(golds, predictions, strict=True)
    ]
    spans = [_values(gold, _text(prediction, "span")) for gold, prediction in zip(golds, predictions, strict=True)]
    best_exact, best_f1 = (_best([pair[i] for pair in spans], golds, predictions) for i in (0, 1))
    return {
        "f1": _percent(sum(f1 for _, f1 in values_as_answered), golds),
        "exact_match": _percent(sum(exact for exact, _ in values_as_answered), golds),
        "best_f1": _percent(best_f1, golds),
        "best_exact_match": _percent(best_exact, golds),
    }


def _text(prediction: Prediction | None, name: str) -> str | None:
    return None if prediction is None else prediction[name]


def _values(gold: Sequence[str], text: str | None) -> Values:
    if text is None:
        return 0.0, 0.0
    words, right = tokens(text), _right(gold)
    return float(words in right), max(overlap_or_both_empty(words, answer) for answer in right)


def _right(gold: Sequence[str]) -> list[Tokens]:
    """As published, right answers of which nothing is left after normalising are none."""
    return [words for answer in gold if (words := tokens(answer))] or [[]]


def _best(values: Sequence[float], golds: Sequence[Sequence[str]], predictions: Sequence[Prediction | None]) -> float:
    """The highest sum of scores over all thresholds: answers are given one by one, in the order of their null odds.

    As published: equal odds keep the order of the examples, and each is a step of its own.
    """
    with_prediction = [index for index, prediction in enumerate(predictions) if prediction is not None]
    total = best = float(sum(not golds[index] for index in with_prediction))  # no answer to any
    for index in sorted(with_prediction, key=lambda index: _odds(predictions[index])):
        prediction = predictions[index]
        assert prediction is not None
        if golds[index]:
            total += values[index]
        elif prediction["span"]:
            total -= 1
        best = max(best, total)
    return best


def _odds(prediction: Prediction | None) -> float:
    assert prediction is not None
    return float(prediction["null_odds"])


def _percent(total: float, golds: Sequence[object]) -> float:
    return 100.0 * total / len(golds)
