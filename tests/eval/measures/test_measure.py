"""Measures of a task: code lengths, entropy, constant answers and words, on what is planted and what is not."""

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eval.measures import measure, prequential, texts
from eval.measures.problems import Classes
from eval.studies.complexity.table import KNOWN


def _problem(labels: np.ndarray, features: np.ndarray | None = None) -> Classes:
    noise = np.random.default_rng(0).normal(size=(len(labels), 8)) if features is None else features
    return Classes(noise.astype(np.float32), labels, 3)


# --- what labels cost to send


@given(st.integers(1, 100_000))
def test_blocks_end_as_published(labels: int) -> None:
    ends = prequential.block_ends(labels)
    assert ends == sorted(set(ends)) and ends[0] >= 1 and ends[-1] == labels and len(ends) <= 11
    if labels == 100_000:
        assert ends[:3] == [100, 200, 400]


@pytest.mark.parametrize("seed", [1, 2])
def test_labels_without_a_pattern_cost_what_they_cost_uniformly(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(3, size=500)
    code = prequential.code(_problem(labels))
    assert code.uniform_bits == pytest.approx(500 * np.log2(3))
    assert code.uniform_bits * 0.99 < code.bits < code.uniform_bits * 1.05
    assert code.penalty >= 100  # features that say nothing are not listened to


def test_a_pattern_costs_little() -> None:
    features = np.random.default_rng(1).normal(size=(500, 8))
    code = prequential.code(_problem(features[:, :3].argmax(axis=1), features))
    assert code.bits < 0.4 * code.uniform_bits and code.penalty < prequential.PENALTIES[0]


def test_a_cheaper_code_of_uneven_labels() -> None:
    """Without any pattern in the features, about the entropy."""
    labels = (np.random.default_rng(3).random(1000) < 0.1).astype(np.int64)
    bits = prequential.code(_problem(labels)).bits / 1000
    assert measure.entropy(labels) < bits < measure.entropy(labels) + 0.15


def test_of_one_label_only_the_first_block_is_sent() -> None:
    code = prequential.code(_problem(np.array([2])))
    assert code.bits == code.uniform_bits == pytest.approx(np.log2(3))


def test_nothing_of_a_block_is_known_before_it_is_sent() -> None:
    """Other labels in the last block leave all before it at the same length."""
    features = np.random.default_rng(1).normal(size=(64, 8))
    labels = features[:, :3].argmax(axis=1)
    changed = np.where(np.arange(64) < 32, labels, (labels + 1) % 3)
    lengths = [prequential.code(_problem(values, features).part(0, 32)).bits for values in (labels, changed)]
    assert lengths[0] == lengths[1]
    assert prequential.code(_problem(changed, features)).bits > prequential.code(_problem(labels, features)).bits + 20


# --- labels


@given(st.lists(st.integers(0, 4), min_size=1, max_size=50))
def test_entropy_as_scipy(labels: list[int]) -> None:
    assert measure.entropy(np.array(labels)) == pytest.approx(stats.entropy(np.bincount(labels), base=2), abs=1e-12)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=50), st.lists(st.integers(0, 3), min_size=1, max_size=50))
def test_the_constant_answer(train: list[int], dev: list[int]) -> None:
    measures = measure.of_labels(np.array(train), np.array(dev), 4)
    likeliest = max(range(4), key=train.count)
    losses = [-np.log((train.count(label) + 1) / (len(train) + 4)) for label in dev]
    assert measures["majority_score"] == pytest.approx(100 * dev.count(likeliest) / len(dev))
    assert measures["majority_loss"] == pytest.approx(np.mean(losses))


# --- words


def test_words_have_no_case_and_no_signs() -> None:
    assert texts.words("Don't STOP, Straße 7!") == ["don", "t", "stop", "strasse", "7"]


def test_distinct_words_do_not_depend_on_how_many_there_are() -> None:
    random = np.random.default_rng(1)
    vocabulary = ["".join(letters) for letters in random.choice(list(string.ascii_lowercase), (500, 6))]
    short, long = (" ".join(random.choice(vocabulary, count)) for count in (1000, 20_000))
    ratios = [texts.type_token_ratio([text]) for text in (short, long)]
    assert ratios[0] is not None and ratios[1] == pytest.approx(ratios[0], abs=0.02)
    assert texts.type_token_ratio(["a " * 1000]) == pytest.approx(0.001)
    assert texts.type_token_ratio(["a b"] * 499) is None


def test_a_bag_keeps_texts_apart_and_says_what_they_share() -> None:
    features = ["0 a", "0 b", "0 a", "1 b", "1 c", "shared b", "shared"]
    assert texts.bag(["A b a", "b c"]) == features
    assert texts.bag(["A b"]) == ["0 a", "0 b"]
    assert texts.bag_of_choice("A b", "b c") == ["1 b", "1 c", "shared b", "shared"]


def test_counts_of_what_train_has() -> None:
    bags = [["x", "y", "x"], [], ["z", "y"]]
    assert texts.columns_of(bags) == ("x", "y", "z")
    counts = texts.counts([*bags, ["new", "z"]], ("x", "y", "z")).toarray()
    assert np.expm1(counts) == pytest.approx(np.array([[2, 1, 0], [0, 0, 0], [0, 1, 1], [0, 0, 1]]), abs=1e-6)


@settings(max_examples=30)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=3))
def test_every_text_has_a_bag(several: list[str]) -> None:
    features = texts.bag(several)
    assert len([name for name in features if name[0].isdigit()]) == sum(len(texts.words(text)) for text in several)


# --- together


def test_a_task_of_words_is_told_by_its_words() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(3, size=300)
    bags = [texts.bag([" ".join([f"w{random.integers(40)}" for _ in range(6)] + [f"sign{label}"])]) for label in labels]
    counts = texts.counts(bags, texts.columns_of(bags[:200]))
    problem = Classes(counts, labels, 3)
    measures = measure.of_words(problem.part(0, 200), problem.part(200, 300))
    assert measures["bag_of_words_score"] == 100.0 and measures["bag_of_words_loss"] < 0.3


def test_two_labels_an_example_are_one_measure() -> None:
    features = np.random.default_rng(1).normal(size=(300, 8))
    easy = _problem(features[:, :3].argmax(axis=1), features)
    hard = _problem(np.random.default_rng(2).integers(3, size=300), features)
    of_easy, of_hard, both = (
        measure.of_probe([(problem.part(0, 200), problem.part(200, 300)) for problem in several])
        for several in ([easy], [hard], [easy, hard])
    )
    assert of_easy["probe_score"] > 85 and of_hard["probe_score"] < 50
    for name in ("probe_score", "probe_loss", "code_length"):
        assert both[name] == pytest.approx((of_easy[name] + of_hard[name]) / 2)
    assert of_hard["compression"] < both["compression"] < of_easy["compression"]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.just("a b c"), min_size=1, max_size=3), min_size=1, max_size=5))
def test_texts(examples: list[list[str]]) -> None:
    measures = measure.of_texts(examples, [3 * len(of_example) for of_example in examples])
    assert measures["length"] == pytest.approx(3 * measures["segments"])


def test_all_names_are_known_to_the_study() -> None:
    features = np.random.default_rng(1).normal(size=(30, 8))
    labels = np.arange(30) % 3
    pair = (_problem(labels, features), _problem(labels, features))
    names = {
        *measure.of_texts([["a " * 1000]], [1000]),
        *measure.of_labels(labels, labels, 3),
        *measure.of_words(*pair),
        *measure.of_probe([pair]),
    }
    assert names | {"examples", "dev_score"} == set(KNOWN)
