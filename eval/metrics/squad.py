"""SQuAD v1.1's exact match and F1 (Rajpurkar et al. 2016, arXiv 1606.05250), which XTREME applies to every language.

So outside English nothing is mended: articles of other languages and full-width punctuation stay, and a Chinese or Thai
answer is one token. `eval.metrics.corrected` mends it, under names of its own.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")

Tokens = list[str]


def tokens(answer: str) -> Tokens:
    """The words of an answer: in lower case, without ASCII punctuation, without English articles."""
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def score(golds: Sequence[Sequence[str]], predictions: Sequence[str | None]) -> dict[str, float]:
    """`f1` and `exact_match` in percent; per question the best over its right answers, 0 without a prediction."""
    return score_with(tokens, golds, predictions)


def score_with(
    tokenise: Callable[[str], Tokens],
    golds: Sequence[Sequence[str]],
    predictions: Sequence[str | None],
    compare: Callable[[Tokens, Tokens], float] | None = None,
) -> dict[str, float]:
    """The same for any way to turn an answer into words, and to compare two (default: `overlap`)."""
    compare = compare or overlap
    f1 = exact = 0.0
    for answers, prediction in zip(golds, predictions, strict=True):
        assert answers, "a question without a gold answer cannot be scored"
        if prediction is None:
            continue
        words, right = tokenise(prediction), [tokenise(answer) for answer in answers]
        f1 += max(compare(words, answer) for answer in right)
        exact += words in right
    return {"f1": 100.0 * f1 / len(golds), "exact_match": 100.0 * exact / len(golds)}


def overlap(words: Tokens, right: Tokens) -> float:
    """F1 of two bags of words; 0 where they share none, two empty ones included."""
    common = (Counter(words) & Counter(right)).total()
    if not common:
        return 0.0
    precision, recall = common / len(words), common / len(right)
    return 2 * precision * recall / (precision + recall)


def overlap_or_both_empty(words: Tokens, right: Tokens) -> float:
    """The same, but two empty ones agree (SQuAD 2.0)."""
    return overlap(words, right) if words and right else float(words == right)
