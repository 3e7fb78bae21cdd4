"""The two linear models: gradients, losses and what they find, beside loops, numeric differences and planted data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy.sparse import csr_array
from scipy.special import softmax

from eval.measures import problems
from eval.measures.problems import Candidates, Classes, Problem

SIZES = (3, 1, 4, 2, 3)  # candidates of each label


def _classes(seed: int, rows: int = 12, columns: int = 3, classes: int = 4) -> Classes:
    random = np.random.default_rng(seed)
    return Classes(random.normal(size=(rows, columns)), random.integers(classes, size=rows), classes)


def _candidates(seed: int, columns: int = 3) -> Candidates:
    random = np.random.default_rng(seed)
    ends = np.cumsum([0, *SIZES])
    right = ends[:-1] + [random.integers(size) for size in SIZES]
    return Candidates(random.normal(size=(ends[-1], columns)), ends, right)


def _weights(problem: Problem, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(problem.penalties(1.0)))


@pytest.mark.parametrize("make", [_classes, _candidates])
@given(seed=st.integers(0, 9999))
@settings(max_examples=10, deadline=None)
def test_the_gradient_is_that_of_the_loss(make: object, seed: int) -> None:
    problem: Problem = make(seed)  # type: ignore[operator]
    weights = _weights(problem, seed + 1)
    numeric = optimize.approx_fprime(weights, lambda at: problem.loss(at)[0], 1e-6)
    loss, gradient = problem.loss(weights)
    assert gradient == pytest.approx(numeric, abs=1e-4)
    assert loss == pytest.approx(problem.losses(weights).sum())


@given(st.integers(0, 9999))
@settings(max_examples=10, deadline=None)
def test_losses_of_classes(seed: int) -> None:
    problem = _classes(seed)
    weights = _weights(problem, seed + 1)
    table = weights.reshape(4, 4)
    shares = softmax(problem.features @ table[:-1] + table[-1], axis=1)
    right = shares[np.arange(12), problem.labels]
    assert problem.losses(weights) == pytest.approx(-np.log(right))
    assert problem.are_right(weights).tolist() == [bool(right[row] == shares[row].max()) for row in range(12)]


@given(st.integers(0, 9999))
@settings(max_examples=10, deadline=None)
def test_losses_of_candidates(seed: int) -> None:
    problem = _candidates(seed)
    weights = _weights(problem, seed + 1)
    losses, are_right = problem.losses(weights), problem.are_right(weights)
    for label, (start, end) in enumerate(zip(problem.ends[:-1], problem.ends[1:], strict=True)):
        shares = softmax(problem.features[start:end] @ weights)
        right = problem.right[label] - start
        assert losses[label] == pytest.approx(-np.log(shares[right]), abs=1e-9)
        assert are_right[label] == (shares.argmax() == right)


def test_of_equal_candidates_the_first_is_the_answer() -> None:
    problem = _candidates(0)
    firsts = problem.right == problem.ends[:-1]
    assert problem.are_right(np.zeros(3)).tolist() == firsts.tolist() and not firsts.all()


def test_nothing_known_costs_the_logarithm_of_what_there_is() -> None:
    assert _classes(0).uniform() == pytest.approx(12 * np.log(4))
    assert _candidates(0).uniform() == pytest.approx(sum(np.log(SIZES)))


@pytest.mark.parametrize("make", [_classes, _candidates])
@pytest.mark.parametrize(("start", "end"), [(0, 2), (2, 5), (1, 1), (0, 5)])
def test_a_part_has_the_losses_of_its_labels(make: object, start: int, end: int) -> None:
    problem: Problem = make(3)  # type: ignore[operator]
    part, weights = problem.part(start, end), _weights(problem, 4)
    if len(part):
        assert part.losses(weights) == pytest.approx(problem.losses(weights)[start:end])
        assert part.are_right(weights).tolist() == problem.are_right(weights)[start:end].tolist()
    assert len(part) == end - start


def test_as_scikit_learn_fits() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    problem = _classes(5, rows=300)
    reference = linear_model.LogisticRegression(C=1 / 10, tol=1e-8, max_iter=1000)
    expected = reference.fit(problem.features, problem.labels)
    weights = problems.fit(problem, 10.0).reshape(4, 4)[:-1]
    np.testing.assert_allclose(weights.T, expected.coef_, atol=2e-3)  # its intercepts have no penalty


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_planted_is_told(sparse: bool) -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(400, 5)).astype(np.float32)
    labels = features[:, :3].argmax(axis=1)
    problem = Classes(csr_array(features) if sparse else features, labels, 3)
    weights = problems.fit(problem.part(0, 300), 1.0)
    assert problem.part(300, 400).are_right(weights).mean() > 0.9
    blind = Classes(features, random.integers(3, size=400), 3)
    assert blind.part(300, 400).are_right(problems.fit(blind.part(0, 300), 1.0)).mean() < 0.5


def test_planted_candidates_are_told() -> None:
    random = np.random.default_rng(2)
    features = random.normal(size=(4 * 200, 5)).astype(np.float32)
    ends = np.arange(0, 801, 4)
    right = ends[:-1] + (features @ [2, -1, 0, 0, 1]).reshape(200, 4).argmax(axis=1)
    problem = Candidates(features, ends, right)
    weights = problems.fit(problem.part(0, 150), 0.1)
    assert problem.part(150, 200).are_right(weights).mean() > 0.9


def test_a_class_that_was_not_seen_stays_possible() -> None:
    problem = Classes(np.ones((50, 1)), np.zeros(50, dtype=np.int64), 3)
    unseen = Classes(np.ones((1, 1)), np.array([2]), 3)
    assert 2 < unseen.losses(problems.fit(problem, 1.0))[0] < 8


def test_what_comes_between_may_end_a_fit() -> None:
    def leave() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        problems.fit(_classes(0), 1.0, leave)


def test_standardised_as_train() -> None:
    random = np.random.default_rng(0)
    train = np.column_stack([random.normal(5, 2, 200), np.full(200, 7.0)])
    dev = train[:10] + 1
    scaled_train, scaled_dev = problems.standardised(train, dev)
    assert scaled_train.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert scaled_train.std(axis=0) == pytest.approx([1, 0])
    assert (scaled_dev - scaled_train[:10])[:, 0] == pytest.approx(1 / train[:, 0].std())
    assert not scaled_dev[:, 1].any()
