"""Alignment as it is evaluated: against retrieval's own path, English vectors kept between languages, every layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.prediction import retrieval
from eval.prediction.alignment import Alignment
from eval.prediction.forward import FloatArray
from slurm.base import UserError
from training import formats
from training.formats.base import Piece
from training.formats.retrieval import Example, example_of
from training.model.parent import read_parent
from training.pretrained import load_tokenizer
from training.spec import Runtime, Settings
from training.tasks import find

CPU = torch.device("cpu")
WORDS = ("the", "sun", "shines", "on", "a", "small", "red", "house", "near", "two", "rivers", "and", "seven", "trees")


def examples(count: int, first: int = 0) -> list[Example]:
    random = np.random.default_rng(3)
    drawn = [" ".join(random.choice(WORDS, random.integers(3, 9))) for _ in range(2 * (first + count))]
    return [example_of(str(n), "xx", drawn[2 * n], drawn[2 * n + 1]) for n in range(first, first + count)]


@pytest.mark.slow
def test_all_measures_of_all_layers_and_poolings(tiny_model: Path) -> None:
    model, tokenizer = read_parent(tiny_model).model((), Settings(), CPU), load_tokenizer(tiny_model)
    settings, runtime, some = Settings(layer=2, pooling="cls"), Runtime(eval_token_budget=60), examples(30)
    task = find("alignment_legal")
    result = Alignment(model, task, tokenizer, settings, runtime).language("xx", some)
    names = [
        "accuracy", "accuracy_reverse", "margin_accuracy", "margin_accuracy_reverse", "cka", "cka_debiased",
        "cosine_gap", "isotropy", "isotropy_english", "hubness", "hubness_reverse", "language_probe",
    ]  # fmt: skip
    assert list(result.scores) == names
    assert set(result.layers) == {f"{pooling}/{name}" for pooling in retrieval.POOLINGS for name in names}
    assert all(len(curve) == 3 and np.isfinite(curve).all() for curve in result.layers.values())
    assert result.scores == {name: result.layers[f"cls/{name}"][2] for name in names}
    # Layer 0 of `<s>` is one vector for all: everything is a tie, and nothing has a geometry.
    no_geometry = {"accuracy": 100 / 30, "cka": 0, "cka_debiased": 0, "isotropy": 0, "language_probe": 50}
    assert {name: result.layers[f"cls/{name}"][0] for name in no_geometry} == pytest.approx(no_geometry)
    plain = retrieval.evaluate_language(model, find("tatoeba"), "xx", some, tokenizer, settings, runtime)
    # Not all: cosines of an untrained model are nearly equal, more often on some processors than on others.
    pairs = zip(result.predictions, plain.predictions, strict=True)
    assert np.mean([ours["prediction"][:2] == theirs["prediction"] for ours, theirs in pairs]) > 0.7
    for pooling in retrieval.POOLINGS:
        assert result.layers[f"{pooling}/accuracy"] == pytest.approx(plain.layers[pooling], abs=10)


@pytest.mark.slow
def test_english_is_computed_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second language with some of the same English sentences embeds what is new, and has the same numbers."""
    model, tokenizer = read_parent(tiny_model).model((), Settings(), CPU), load_tokenizer(tiny_model)
    compare = Alignment(model, find("alignment_legal"), tokenizer, Settings(), Runtime())
    embedded: list[int] = []
    embed_into = Alignment._embed_into

    def counted(self: Alignment, vectors: FloatArray, pieces: Sequence[Piece]) -> None:
        embedded.append(len(pieces))
        embed_into(self, vectors, pieces)

    monkeypatch.setattr(Alignment, "_embed_into", counted)
    first, second = examples(20), examples(15, 10)
    results = [compare.language(code, some) for code, some in (("a", first), ("b", first), ("c", second))]
    assert embedded == [20, 20, 20, 5, 15]  # English and other; of b the other side alone
    assert results[0] == results[1]
    fresh = Alignment(model, find("alignment_legal"), tokenizer, Settings(), Runtime()).language("c", second)
    assert results[2].predictions == fresh.predictions
    assert results[2].scores == pytest.approx(fresh.scores, abs=1e-3)


@pytest.mark.slow
def test_too_few_pairs_are_one_line(tiny_model: Path) -> None:
    model, tokenizer = read_parent(tiny_model).model((), Settings(), CPU), load_tokenizer(tiny_model)
    compare = Alignment(model, find("alignment_legal"), tokenizer, Settings(), Runtime())
    with pytest.raises(UserError, match="de has 4 usable pairs of sentences, alignment needs 5 or more"):
        compare.language("de", examples(4))
    assert formats.get("parallel").compares_examples
