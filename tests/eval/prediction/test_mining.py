"""Mining: margins against brute force and faiss, thresholds, duplicates, and a whole evaluation."""

from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.prediction import mining
from training.formats.mining import Example, gold_pairs
from training.formats.neighbours import neighbours
from training.model.parent import read_parent
from training.pretrained import load_tokenizer
from training.spec import Runtime, Settings
from training.tasks import find

small = st.lists(st.lists(st.integers(1, 3), min_size=3, max_size=3), min_size=1, max_size=9)


def slow_mine(x: list[list[int]], y: list[list[int]]) -> list[tuple[float, int, int]]:
    """The definition, pair by pair: every margin among the 4 nearest, the best of each row, greedily one to one."""

    def cosine(i: int, j: int) -> float:
        return sum(a * b for a, b in zip(x[i], y[j], strict=True))

    def nearest(values: list[float]) -> list[int]:
        return sorted(range(len(values)), key=lambda place: (-values[place], place))[:4]

    x_near = [nearest([cosine(i, j) for j in range(len(y))]) for i in range(len(x))]
    y_near = [nearest([cosine(i, j) for i in range(len(x))]) for j in range(len(y))]
    x_mean = [np.float32(sum(cosine(i, j) for j in near)) / np.float32(len(near)) for i, near in enumerate(x_near)]
    y_mean = [np.float32(sum(cosine(i, j) for i in near)) / np.float32(len(near)) for j, near in enumerate(y_near)]

    def margin(i: int, j: int) -> float:
        return float(np.float32(cosine(i, j)) / ((x_mean[i] + y_mean[j]) / np.float32(2)))

    candidates = [(i, max(near, key=lambda j: margin(i, j))) for i, near in enumerate(x_near)]
    candidates += [(max(near, key=lambda i: margin(i, j)), j) for j, near in enumerate(y_near)]
    found: list[tuple[float, int, int]] = []
    for i, j in sorted(candidates, key=lambda pair: -margin(*pair)):
        if all(i != row and j != column for _, row, column in found):
            found.append((margin(i, j), i, j))
    return found


@settings(deadline=None)
@given(small, small, st.integers(1, 5))
def test_mining_is_its_definition_whatever_the_tiles(x: list[list[int]], y: list[list[int]], tile: int) -> None:
    """Whole numbers instead of unit vectors, so that ties are exact; they are frequent."""
    found = mining.mine(np.array(x, np.float32), np.array(y, np.float32), partial(neighbours, tile=tile))
    assert found == slow_mine(x, y)


def test_mining_with_faiss_finds_the_same_pairs() -> None:
    """The margins from faiss's neighbours, scored as XTREME scores them."""
    generator = np.random.default_rng(2)
    x = generator.normal(size=(300, 16)).astype(np.float32)
    y = (x[generator.permutation(300)][:250] + 0.3 * generator.normal(size=(250, 16))).astype(np.float32)
    for vectors in (x, y):
        faiss.normalize_L2(vectors)
    nearest = {}
    for name, queries, others in (("x", x, y), ("y", y, x)):
        index = faiss.IndexFlatIP(16)
        index.add(others)
        nearest[name] = index.search(queries, 4)
    (x_cos, x_near), (y_cos, y_near) = nearest["x"], nearest["y"]
    pairs = {}
    for i in range(len(x)):
        for rank, j in enumerate(x_near[i]):
            pairs.setdefault(("x", i), []).append((2 * x_cos[i, rank] / (x_cos[i].mean() + y_cos[j].mean()), i, j))
    for j in range(len(y)):
        for rank, i in enumerate(y_near[j]):
            pairs.setdefault(("y", j), []).append((2 * y_cos[j, rank] / (x_cos[i].mean() + y_cos[j].mean()), i, j))
    rows, columns, expected = set(), set(), set()
    for _, i, j in sorted((max(own) for own in pairs.values()), reverse=True):
        if i not in rows and j not in columns:
            rows.add(i)
            columns.add(j)
            expected.add((int(i), int(j)))
    assert {(i, j) for _, i, j in mining.mine(x, y)} == expected


def sentence(side: str, name: str, text: str, *translations: str, split: str = "dev") -> Example:
    return Example(
        id=f"{split}:{name}",
        language="xx",
        group=text,
        split=split,
        side=side,
        name=name,
        text=text,
        translations=translations if side == "source" else None,
    )


def test_devs_threshold_cuts_test() -> None:
    dev = [(1.5, "a", "A"), (1.2, "b", "B"), (1.0, "c", "X")]
    test = [(1.4, "d", "D"), (1.1, "e", "E"), (1.05, "f", "X")]
    gold = {"dev": {("a", "A"), ("b", "B")}, "test": {("d", "D"), ("e", "E"), ("f", "F")}}
    found = mining.result({"dev": dev, "test": test}, gold)
    assert [record["id"] for record in found.predictions] == ["d|D", "e|E", "f|F"]  # 1.1 is the midpoint: kept
    assert found.predictions[2] == {"id": "f|F", "score": None, "gold": True}  # missed
    assert found.predictions[0] == {"id": "d|D", "score": 1.4, "gold": True}
    assert found.scores == pytest.approx({"f1": 80.0, "precision": 100.0, "recall": 200 / 3, "f1_dev": 100.0})


def test_dev_alone_is_never_called_f1() -> None:
    found = mining.result({"dev": [(1.5, "a", "A"), (1.2, "b", "X")]}, {"dev": {("a", "A")}})
    assert found.scores == {"f1_dev": 100.0, "precision_dev": 100.0, "recall_dev": 100.0}
    assert [record["id"] for record in found.predictions] == ["a|A"]


def test_without_devs_gold_nothing_is_cut_off_and_the_score_says_so() -> None:
    scored = [(1.5, "a", "A"), (1.2, "b", "X")]
    found = mining.result({"test": scored}, {"test": {("a", "A")}})
    assert found.scores == pytest.approx({"f1_untuned": 200 / 3, "precision_untuned": 50.0, "recall_untuned": 100.0})
    assert mining.result({"dev": scored, "test": scored}, {"dev": None, "test": None}).scores == {}


@pytest.mark.slow
def test_sentences_are_mined_and_scored(tiny_model: Path) -> None:
    """Equal sentences have a cosine of 1 in any model; what stands under two ids is found but has no id."""
    cpu, how = torch.device("cpu"), Settings()
    model, tokenizer = read_parent(tiny_model).model((), how, cpu), load_tokenizer(tiny_model)
    texts = ["The sun shines.", "Numbers: 1 2 3.", "你好", "Zwei Worte", "Quite another thing altogether, isn't it?"]
    source = [sentence("source", f"s{n}", text, f"t{n}") for n, text in enumerate(texts)]
    target = [sentence("target", f"t{n}", text) for n, text in enumerate(texts)]
    found = mining.evaluate_language(model, find("bucc"), "xx", [*source, *target], tokenizer, how, Runtime())
    assert found.scores == {"f1_dev": 100.0, "precision_dev": 100.0, "recall_dev": 100.0}
    twice = [*source, *target, sentence("target", "t9", texts[0])]
    found = mining.evaluate_language(model, find("bucc"), "xx", twice, tokenizer, how, Runtime())
    assert {record["id"] for record in found.predictions if record["score"]} == {f"s{n}|t{n}" for n in range(1, 5)}
    assert [record["id"] for record in found.predictions if record["score"] is None] == ["s0|t0"]
    assert found.scores["recall_dev"] == 80.0
    assert gold_pairs(twice) == {(f"s{n}", f"t{n}") for n in range(5)}
