"""Ranked candidates and mined pairs, by hand and against slow references; accuracies against scikit-learn."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import metrics
from eval.metrics import mining, ranking

# --- ranking ----------------------------------------------------------------------------------------------------------


def sklearn() -> Any:
    """Imported by the worker that needs it: it takes seconds, and every worker collects every file."""
    import sklearn.metrics

    return sklearn.metrics


@pytest.mark.parametrize(
    ("gold", "found", "value"),
    [
        ("a", "a b c", 1),
        ("b", "a b c", 1 / 2),
        ("x", "a b c", 0),
        ("a c", "a b c", (1 + 2 / 3) / 2),
        ("a x", "a b c", 1 / 2),
        ("a b", "", 0),
    ],
)
def test_average_precision_by_hand(gold: str, found: str, value: float) -> None:
    assert ranking.average_precision(gold.split(), found.split()) == pytest.approx(value)


def test_only_the_first_twenty_count() -> None:
    ids = [str(n) for n in range(30)]
    assert ranking.average_precision(["20"], ids) == 0
    assert ranking.average_precision(ids, ids) == 1  # over 20, though 30 are right
    assert metrics.score("mrr20", ["20", "19"], [ids, ids], "en") == {"mrr@20": 2.5}


def test_a_candidate_stands_once() -> None:
    with pytest.raises(AssertionError, match="stands twice"):
        ranking.average_precision(["a"], ["a", "a"])


RANKED = st.permutations([str(n) for n in range(12)])
RIGHT = st.sets(st.sampled_from([str(n) for n in range(12)]), min_size=1)


@pytest.mark.slow
@given(RANKED, RIGHT)
@settings(max_examples=30, deadline=None)
def test_average_precision_equals_scikit_learns(found: list[str], right: set[str]) -> None:
    expected = sklearn().average_precision_score([c in right for c in found], [-rank for rank in range(len(found))])
    assert ranking.average_precision(sorted(right), found) == pytest.approx(expected)


@given(st.permutations([str(n) for n in range(25)]), RIGHT)
@settings(max_examples=40, deadline=None)
def test_average_precision_equals_its_definition(found: list[str], right: set[str]) -> None:
    precisions = [len(right & set(found[:k])) / k for k in range(1, 21) if found[k - 1] in right]
    assert ranking.average_precision(sorted(right), found) == pytest.approx(sum(precisions) / min(len(right), 20))
    one = found[0] if found[0] in right else sorted(right)[0]
    assert metrics.score("mrr20", [one], [found], "en")["mrr@20"] == pytest.approx(
        metrics.score("map20", [[one]], [found], "en")["map@20"]
    )


# --- mining -----------------------------------------------------------------------------------------------------------

GOLD = {("s1", "t1"), ("s2", "t2")}


@pytest.mark.parametrize(
    ("scored", "threshold"),
    [
        ([(3.0, "s1", "t1"), (2.0, "s2", "t2"), (1.0, "s3", "t3")], 1.5),  # midway to the next
        ([(3.0, "s1", "t1"), (2.0, "s2", "t2")], 2.0),  # the last: its own score
        ([(1.0, "s3", "t3"), (3.0, "s1", "t1")], 2.0),  # sorted first
        ([(3.0, "s3", "t3")], None),
        ([], None),
    ],
)
def test_the_threshold_by_hand(scored: list[tuple[float, str, str]], threshold: float | None) -> None:
    assert mining.best_threshold(scored, GOLD) == threshold


def test_pairs_by_hand() -> None:
    assert mining.score_pairs({("s1", "t1"), ("s1", "t2")}, GOLD) == {"f1": 50.0, "precision": 50.0, "recall": 50.0}
    assert mining.score_pairs(set(), GOLD) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert mining.score_pairs(GOLD, GOLD)["f1"] == 100.0


PAIRS = [(f"s{n}", f"t{n}") for n in range(6)]


def published_threshold(scored: list[tuple[float, str, str]], gold: set[tuple[str, str]]) -> float | None:
    """As google-research/xtreme@4940374 searches (third_party/utils_retrieve.py, bucc_optimize): best pair first, F1
    from precision and recall in that order of operations; a strictly better one moves the threshold to midway to the
    next score. Where the published one fails, for want of a next, the last score itself."""
    ranked = sorted(scored, key=lambda pair: -pair[0])
    scores = [score for score, *_ in ranked]
    best, threshold = 0.0, None
    for extracted in range(1, len(ranked) + 1):
        correct = len(gold & {(source, target) for _, source, target in ranked[:extracted]})
        if correct == 0:
            continue
        precision, recall = correct / extracted, correct / len(gold)
        f1 = 2 * precision * recall / (precision + recall)
        if f1 > best:
            best, around = f1, scores[extracted - 1 : extracted + 1]
            threshold = sum(around) / len(around)
    return threshold


def ranked_pairs(right: str) -> list[tuple[float, str, str]]:
    """As many pairs as there are digits, the best first; a 1 is a pair of the gold."""
    return [(float(len(right) - rank), f"s{rank}", f"{digit}{rank}") for rank, digit in enumerate(right)]


def gold_of(scored: list[tuple[float, str, str]], size: int) -> set[tuple[str, str]]:
    """The right ones, and as many that were not found as make `size`."""
    right = {(source, target) for _, source, target in scored if target.startswith("1")}
    return right | {(f"lost{n}", "1") for n in range(size - len(right))}


def f1_above(scored: list[tuple[float, str, str]], gold: set[tuple[str, str]], threshold: float | None) -> float:
    """F1 of the pairs that a threshold keeps."""
    kept = {(source, target) for score, source, target in scored if threshold is None or score >= threshold}
    return mining.score_pairs(kept, gold)["f1"]


def test_of_equal_f1_the_published_rounding_decides() -> None:
    """Ranks 4 and 7 have F1 2/3: 3 of 4 pairs and 4 of 7, 5 in gold. In doubles the published one's differ."""
    scored = ranked_pairs("10110010")
    gold = gold_of(scored, 5)
    assert mining.best_threshold(scored, gold) == published_threshold(scored, gold) == 1.5


RIGHT_OR_WRONG = st.text("01", min_size=1, max_size=40)


@given(RIGHT_OR_WRONG, st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_the_threshold_is_the_published_one(right: str, lost: int) -> None:
    scored = ranked_pairs(right)
    gold = gold_of(scored, right.count("1") + lost)
    if not gold:
        return
    threshold = mining.best_threshold(scored, gold)
    assert threshold == published_threshold(scored, gold)
    assert f1_above(scored, gold, threshold) == pytest.approx(max(f1_above(scored, gold, s) for s, *_ in scored))


@pytest.mark.slow
@given(st.sets(st.sampled_from(PAIRS)), st.sets(st.sampled_from(PAIRS), min_size=1))
@settings(max_examples=30, deadline=None)
def test_pairs_equal_scikit_learn(found: set[tuple[str, str]], gold: set[tuple[str, str]]) -> None:
    expected = sklearn().f1_score([pair in gold for pair in PAIRS], [pair in found for pair in PAIRS], zero_division=0)
    assert mining.score_pairs(found, gold)["f1"] == pytest.approx(100 * expected)


# --- accuracies against scikit-learn ----------------------------------------------------------------------------------

LABELS = st.sampled_from(["entailment", "neutral", "contradiction"])


@pytest.mark.slow
@given(st.lists(st.tuples(LABELS, LABELS), min_size=1))
@settings(max_examples=30, deadline=None)
def test_accuracy_equals_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    golds, predictions = zip(*pairs, strict=True)
    expected = 100 * sklearn().accuracy_score(golds, predictions)
    assert metrics.score("accuracy", golds, predictions, "de") == pytest.approx({"accuracy": expected})


PARAPHRASE = st.sampled_from(["different", "paraphrase"])


@pytest.mark.slow
@given(st.lists(st.tuples(PARAPHRASE, PARAPHRASE), min_size=1))
@settings(max_examples=30, deadline=None)
def test_qqps_f1_equals_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    golds, predictions = zip(*pairs, strict=True)
    f1 = 100 * sklearn().f1_score(golds, predictions, pos_label="paraphrase", zero_division=0)
    accuracy = 100 * sklearn().accuracy_score(golds, predictions)
    found = metrics.score("paraphrase", golds, predictions, "en")
    assert found == pytest.approx({"acc_and_f1": (accuracy + f1) / 2, "accuracy": accuracy, "f1": f1})


@pytest.mark.slow
@given(st.lists(st.lists(st.tuples(LABELS, LABELS)), min_size=1).filter(any))
@settings(max_examples=30, deadline=None)
def test_words_and_pos_accuracy_equal_scikit_learns(sentences: list[list[tuple[str, str]]]) -> None:
    golds = [[gold for gold, _ in sentence] for sentence in sentences]
    predictions = [[found for _, found in sentence] for sentence in sentences]
    flat = [pair for sentence in sentences for pair in sentence]
    expected = 100 * sklearn().accuracy_score([gold for gold, _ in flat], [found for _, found in flat])
    assert metrics.score("words", golds, predictions, "en") == pytest.approx({"accuracy": expected})
    assert metrics.score("pos", golds, predictions, "en")["pos_accuracy"] == pytest.approx(expected)
    micro = sklearn().f1_score([gold for gold, _ in flat], [found for _, found in flat], average="micro")
    assert 100 * micro == pytest.approx(expected)  # one label a word: micro F1 is accuracy


@pytest.mark.slow
@given(st.lists(st.sampled_from(["O", "B-PER", "B-LOC"]), min_size=1), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_f1_of_entities_of_one_word_equals_scikit_learns_micro_f1(golds: list[str], chance: object) -> None:
    found = list(golds)
    chance.shuffle(found)  # type: ignore[attr-defined]
    expected = sklearn().f1_score(golds, found, labels=["B-PER", "B-LOC"], average="micro", zero_division=0)
    assert metrics.score("ner", [golds], [found], "en")["f1"] == pytest.approx(100 * expected)
