"""Masked language modelling: what is hidden, how often, and that only hidden tokens are scored."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.data import load, locate
from training.formats.base import IGNORED
from training.formats.mlm import MaskedLanguageModel
from training.model import heads
from training.model.encoder import StageModel
from training.model.packing import pack
from training.model.parent import read_parent
from training.spec import DataFile, Settings
from training.tasks import find

FORM = MaskedLanguageModel()
TASK = find("mlm")
TEXTS = {
    "de": "Der Fluss fließt langsam durch die alte Stadt.\n\nZweiter Satz hier.\n",
    "zh": "今天天气很好，我们去公园。\n",
}


@pytest.fixture
def tokenizer(xlmr_tokenizer: Any) -> Any:
    return xlmr_tokenizer


@pytest.fixture
def examples(tmp_path: Path) -> list[Any]:
    files = []
    for code, text in TEXTS.items():
        (tmp_path / f"{code}.txt").write_text(text, encoding="utf-8")
        files.append(DataFile(str(tmp_path / f"{code}.txt"), "", code))
    return FORM.read_split(files, TASK, "en")


def test_a_line_is_an_example_of_its_files_language(examples: list[Any]) -> None:
    assert [(e.id, e.language) for e in examples] == [("de:0", "de"), ("de:2", "de"), ("zh:0", "zh")]


def test_long_lines_are_split_and_lose_nothing(examples: list[Any], tokenizer: Any) -> None:
    whole = FORM.encode(examples, tokenizer, TASK, Settings(max_length=256))
    split = FORM.encode(examples, tokenizer, TASK, Settings(max_length=8))
    assert max(len(piece.rows[0]) for piece in split) == 8
    for index in range(len(examples)):
        inside = [token for piece in split if piece.example == index for token in piece.rows[0][1:-1]]
        assert inside == list(whole[index].rows[0][1:-1])


def test_hidden_tokens_are_masked_replaced_or_left_as_published(examples: list[Any], tokenizer: Any) -> None:
    piece = FORM.encode(examples, tokenizer, TASK, Settings())[0]
    original = piece.rows[0]
    masked = replaced = left = total = 0
    for seed in range(3000):
        seen = FORM.corrupt(piece, seed, tokenizer, Settings())
        for token, now, target in zip(original, seen.rows[0], seen.target, strict=True):
            assert target in (IGNORED, token)
            if target == IGNORED:
                assert now == token
                continue
            total += 1
            masked += now == tokenizer.mask_token_id
            left += now == token
            replaced += now not in (token, tokenizer.mask_token_id)
        assert seen.target[0] == seen.target[-1] == IGNORED
    assert masked / total == pytest.approx(0.8, abs=0.02)
    assert replaced / total == pytest.approx(0.1, abs=0.02)
    assert left / total == pytest.approx(0.1, abs=0.02)
    assert total / (3000 * (len(original) - 2)) == pytest.approx(0.15, abs=0.03)  # at least one: a little more


def test_something_is_hidden_in_every_piece_the_same_for_the_same_seed(examples: list[Any], tokenizer: Any) -> None:
    settings = Settings(max_length=8, mask_probability=0.01)
    for piece in FORM.encode(examples, tokenizer, TASK, settings):
        for seed in range(20):
            once, again = (FORM.corrupt(piece, seed, tokenizer, settings) for _ in range(2))
            assert FORM.count(once) >= 1
            assert (once.rows, once.target) == (again.rows, again.target)


def test_the_head_sees_hidden_tokens_only_and_right_ones_score(
    examples: list[Any], tokenizer: Any, tiny_model: Path
) -> None:
    settings = Settings()
    encoded = FORM.encode(examples, tokenizer, TASK, settings)
    pieces = FORM.for_dev(encoded, examples, tokenizer, settings)
    packed = pack(pieces, heads.reads("mlm", pieces))
    count = sum(map(FORM.count, pieces))
    assert packed.reads is not None and len(packed.reads) == count
    assert packed.ids[0, packed.reads].tolist() == [
        token for p in pieces for token, t in zip(p.rows[0], p.target, strict=True) if t != IGNORED
    ]
    encoder = read_parent(tiny_model).encoder()
    head = heads.fresh("mlm", encoder.config.vocab_size, encoder.config.hidden_size, 0.0, 1, "mlm")
    logits = StageModel(encoder, {"mlm": head})(packed, "mlm")
    assert logits.shape == (count, encoder.config.vocab_size)
    right = torch.tensor([t for p in pieces for t in p.target if t != IGNORED])
    by_hand = -torch.log_softmax(logits.float(), dim=-1)[torch.arange(count), right].sum()
    assert heads.loss("mlm", logits, pieces).item() == pytest.approx(by_hand.item(), rel=1e-5)
    perfect = torch.nn.functional.one_hot(right, encoder.config.vocab_size).float()
    outputs = heads.unbatch("mlm", perfect, pieces)
    assert [len(output) for output in outputs] == list(map(FORM.count, pieces))
    assert FORM.decode(examples, pieces, outputs, TASK, settings) == FORM.golds(examples, pieces, TASK)


def test_one_optimizer_step_would_reach_the_shared_embeddings(
    examples: list[Any], tokenizer: Any, tiny_model: Path
) -> None:
    encoder = read_parent(tiny_model).encoder()
    pieces = FORM.for_dev(FORM.encode(examples, tokenizer, TASK, Settings()), examples, tokenizer, Settings())
    packed = pack(pieces, heads.reads("mlm", pieces))
    head = heads.fresh("mlm", encoder.config.vocab_size, encoder.config.hidden_size, 0.0, 1, "mlm")
    embeddings = encoder.embeddings.word_embeddings.weight
    heads.loss("mlm", StageModel(encoder, {"mlm": head})(packed, "mlm"), pieces).backward()
    never_seen = sorted(set(range(100, 2000)) - set(packed.ids.flatten().tolist()))[0]
    assert np.abs(embeddings.grad[never_seen].numpy()).sum() > 0  # through the output side


def test_mlm_is_trained_on_any_languages_files(tmp_path: Path) -> None:
    (tmp_path / "mlm").mkdir()
    for code, count in (("de", 40), ("zh", 20)):
        (tmp_path / "mlm" / f"{code}.txt").write_text("".join(f"{code} {n}\n" for n in range(count)))
    data = locate.find_training(TASK, tmp_path, None, None)
    assert [file.role for file in data.train if isinstance(file, DataFile)] == ["de", "zh"]
    assert data.hold_out == 0.01
    train, dev = load.load_training(replace(data, hold_out=0.25))
    assert len(train) + len(dev) == 60 and dev
    assert Counter(example.language for example in FORM.first(train, 5)) == {"de": 5, "zh": 5}
