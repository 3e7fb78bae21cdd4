"""What examples contribute adds up to the score, for every family and metric that says so."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval import metrics
from eval.metrics import contributions, mining
from eval.metrics import tags as published
from eval.metrics.entities import entity_ends
from eval.metrics.mining import Pair
from eval.statistics import resample
from eval.statistics.resample import Sample

labels = st.sampled_from(["a", "b", "c"])
tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "E-LOC", "S-LOC", "NOUN", "VERB", "X-O", ".", "B"])
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
    "alignment": st.tuples(labels, st.tuples(labels, labels, labels, labels)),
    "map20": st.tuples(st.lists(st.sampled_from("pqrst"), min_size=1, max_size=3, unique=True), ids),
    "mrr20": st.tuples(st.sampled_from("pqrst"), ids),
    "image_text": st.sampled_from("pqrst").flatmap(
        lambda name: st.tuples(st.just(name), st.tuples(st.lists(ids, min_size=1, max_size=3), ids))
    ),
    "prompts": st.tuples(labels, st.tuples(labels, labels)),
    "ner": _tagged(),
    "pos": _tagged(),
    "words": _tagged(),
    "paraphrase": st.tuples(*2 * [st.sampled_from(["paraphrase", "different"])]),
    "squad_v2": st.tuples(
        st.lists(answers, max_size=2),
        st.none()
        | st.builds(
            lambda text, odds: {"text": text, "span": text or "a", "null_odds": odds},
            st.just("") | answers,
            st.floats(-3, 3),
        ),
    ),
}
_NOT_SUMS = {("squad_v2", "best_f1"), ("squad_v2", "best_exact_match")} | {
    ("prompts", metric) for metric in ("accuracy_best", "accuracy_worst", "majority", "chance")
}


@pytest.mark.parametrize("family", PAIRS)
@settings(max_examples=15)
@given(data=st.data())
def test_sums_give_the_score(family: str, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(PAIRS[family], min_size=1, max_size=6))
    golds, predictions = [gold for gold, _ in pairs], [prediction for _, prediction in pairs]
    for metric, score in metrics.score(family, golds, predictions, "en").items():
        kind_and_parts = contributions.of_examples(family, metric, golds, predictions, "en")
        assert (kind_and_parts is None) == ((family, metric) in _NOT_SUMS), metric
        if kind_and_parts:
            assert len(kind_and_parts[1]) == len(pairs)
            assert score == pytest.approx(_score(*kind_and_parts), rel=1e-5, abs=1e-5), metric


def _score(kind: contributions.Kind, parts: NDArray[np.float32]) -> float:
    """What the sums give."""
    return float(resample.scores(Sample(kind, parts[:, :, None]))[0])


pair_sets = st.sets(st.tuples(st.sampled_from("abcde"), st.sampled_from("ABCDE")), max_size=9)


@given(pair_sets, pair_sets.filter(bool))
def test_sums_over_sentences_give_the_score_of_mined_pairs(mined_pairs: set[Pair], gold: set[Pair]) -> None:
    for metric, score in mining.score_pairs(mined_pairs, gold).items():
        for suffix in ("", "_dev", "_untuned"):
            sentences, kind, parts = contributions.of_pairs(metric + suffix, mined_pairs, gold)
            assert sentences == sorted({source for source, _ in mined_pairs | gold})
            assert score == pytest.approx(_score(kind, parts))


@given(pair_sets, pair_sets.filter(bool), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_mined_pairs_of_sentences_drawn_anew_are_scored_as_such(
    mined_pairs: set[Pair], gold: set[Pair], counts: list[int]
) -> None:
    """Each sentence as often as it was drawn, under names of their own, against the published F1."""
    times = dict(zip("abcde", counts, strict=True))

    def drawn(pairs: set[Pair]) -> set[Pair]:
        return {(f"{source}{n}", f"{target}{n}") for source, target in pairs for n in range(times[source])}

    sentences, kind, parts = contributions.of_pairs("f1", mined_pairs, gold)
    weighted = parts * np.array([times[sentence] for sentence in sentences], np.float32)[:, None]
    expected = mining.score_pairs(drawn(mined_pairs), drawn(gold))["f1"] if drawn(gold) else 0.0
    assert _score(kind, weighted) == pytest.approx(expected)


@given(st.lists(_tagged(), min_size=1, max_size=5))
def test_entities_as_arrays_are_the_published_ones(pairs: list[tuple[list[str], list[str]]]) -> None:
    sentences = [gold for gold, _ in pairs]
    arrays = entity_ends(sentences)
    names = [tag.rpartition("-")[2] for sentence in sentences for tag in (*sentence, "O")]
    last_words = np.flatnonzero(arrays.ends)
    assert {(names[end], int(arrays.begins[end]), int(end)) for end in last_words} == published.entities(sentences)
    assert len({arrays.types[end] for end in last_words}) == len({names[end] for end in last_words})
