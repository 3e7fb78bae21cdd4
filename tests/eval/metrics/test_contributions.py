"""What examples contribute adds up to the score, for every family and metric that says so."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import metrics
from eval.metrics import contributions

labels = st.sampled_from(["a", "b", "c"])
tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "NOUN", "VERB"])
answers = st.text(alphabet="ab the.1 ", min_size=1, max_size=8)
ids = st.lists(st.sampled_from("pqrstuv"), max_size=5, unique=True)


@st.composite
def _tagged(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    length = draw(st.integers(1, 7))
    return draw(st.lists(tags, min_size=length, max_size=length)), draw(
        st.lists(tags, min_size=length, max_size=length)
    )


PAIRS: dict[str, st.SearchStrategy[tuple[Any, Any]]] = {
    "accuracy": st.tuples(labels, labels),
    "squad": st.tuples(st.lists(answers, min_size=1, max_size=2), st.none() | answers),
    "mlqa": st.tuples(st.lists(answers, min_size=1, max_size=2), st.none() | answers),
    "retrieval": st.tuples(labels, st.tuples(labels, labels)),
    "map20": st.tuples(st.lists(st.sampled_from("pqrst"), min_size=1, max_size=3, unique=True), ids),
    "mrr20": st.tuples(st.sampled_from("pqrst"), ids),
    "ner": _tagged(),
    "pos": _tagged(),
    "words": _tagged(),
}


@pytest.mark.parametrize("family", PAIRS)
@settings(max_examples=15)
@given(data=st.data())
def test_sums_give_the_score(family: str, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(PAIRS[family], min_size=1, max_size=6))
    golds, predictions = [gold for gold, _ in pairs], [prediction for _, prediction in pairs]
    for metric, score in metrics.score(family, golds, predictions, "en").items():
        kind_and_parts = contributions.of_examples(family, metric, golds, predictions, "en")
        if kind_and_parts is None:
            assert (family, metric) in {("ner", "precision"), ("ner", "recall")}
            continue
        kind, parts = kind_and_parts
        assert len(parts) == len(pairs)
        sums = parts.sum(axis=0, dtype=np.float64)
        expected = 100 * sums[0] / len(pairs) if kind == "mean" else 200 * sums[0] / max(1, sums[1] + sums[2])
        assert score == pytest.approx(expected, rel=1e-5, abs=1e-5), metric


def test_a_score_that_no_sum_gives() -> None:
    assert contributions.of_examples("paraphrase", "acc_and_f1", ["a"], ["a"], "en") is None
