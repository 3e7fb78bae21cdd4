"""Causal language models as start models: packed they are what transformers has alone, and what is none is refused."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from slurm.base import UserError
from tests.causal_folders import CONFIGS, VOCABULARY, config_of, write_causal
from training.formats.base import IGNORED, Piece
from training.formats.batch import token_ids
from training.model import heads
from training.model.encoder import StageModel
from training.model.packing import pack
from training.model.parent import Parent, read_parent
from training.pretrained import check_folder
from training.pretrained.causal import FAMILIES
from training.pretrained.config import model_config
from training.pretrained.tokenizer import Tokenizer
from training.spec import Settings
from training.tensors import read_tensors, write_tensors

ROWS = ((5, 6, 7, 8), (9, 10), (11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21), (30, 31, 32, 33))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a family, written once."""
    return cache(lambda family: write_causal(tmp_path_factory.mktemp("causal") / family, family))


@pytest.fixture
def broken(folders: Any, tmp_path: Path) -> Path:
    """A copy of a folder to break."""
    return Path(shutil.copytree(folders("xglm"), tmp_path / "broken"))


def pieces_of(rows: tuple[tuple[int, ...], ...]) -> list[Piece]:
    """The last two tokens of every row are the answer; of a row of two the last one."""
    answers = [min(2, len(row) - 1) for row in rows]
    return [
        Piece(number, (row,), (*[IGNORED] * (len(row) - answer), *row[-answer:]))
        for number, (row, answer) in enumerate(zip(rows, answers, strict=True))
    ]


def next_word_model(parent: Parent) -> StageModel:
    return StageModel(parent.encoder(), {"prompts": heads.NextWordHead()})


def test_every_family_has_a_small_one() -> None:
    assert [*CONFIGS] == [*FAMILIES]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_are_what_transformers_has_row_by_row(family: str, folders: Any) -> None:
    """Scores of the answers' tokens, hidden states of all layers, and gradients of all parameters."""
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(folders(family)).eval()
    ours = next_word_model(read_parent(folders(family)))
    pieces = pieces_of(ROWS)
    batch = pack(pieces, heads.reads("mlm", pieces), multiple=8)
    assert batch.filler
    logits = ours(batch, "prompts")
    expected_logits, expected_states = [], []
    for piece in pieces:
        (row,) = piece.rows
        outputs = theirs(torch.tensor([row]), output_hidden_states=True)
        places = [place - 1 for place, label in enumerate(piece.target) if label != IGNORED]
        expected_logits.append(outputs.logits[0, places])
        expected_states.append(torch.stack(outputs.hidden_states)[:, 0])
    torch.testing.assert_close(logits, torch.cat(expected_logits), rtol=1e-4, atol=1e-4)
    states = torch.stack(ours.every_layer(batch))
    torch.testing.assert_close(states, torch.cat(expected_states, dim=1), rtol=1e-4, atol=1e-4)
    assert torch.equal(states[1], ours(batch, layer=1)) and torch.equal(states[-1], ours(batch))
    heads.loss("mlm", logits, pieces).backward()
    heads.loss("mlm", torch.cat(expected_logits), pieces).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.encoder.language_model.named_parameters():  # type: ignore[union-attr]
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_what_is_counted_are_its_parameters(folders: Any) -> None:
    """But for biases and norms, which are counted as XLM-R's."""
    for family in FAMILIES:
        sizes = model_config(folders(family)).sizes
        matrices = {name: tensor for name, tensor in read_parent(folders(family)).tensors.items() if tensor.ndim > 1}
        embeddings = sizes.vocabulary * (1 + sizes.has_output_words) + sizes.positions
        counted = embeddings * sizes.width + sizes.matmul_parameters
        assert counted == sum(tensor.numel() for tensor in matrices.values()), family


@pytest.mark.slow
def test_tied_words_are_read_once_and_shards_and_bases_are_the_same_model(folders: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    whole = read_parent(folders("bloom"))
    assert not any("lm_head" in name for name in whole.tensors)
    model = AutoModelForCausalLM.from_pretrained(folders("bloom"))
    shutil.copytree(folders("bloom"), tmp_path / "shards")
    (tmp_path / "shards" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    shutil.copytree(folders("bloom"), tmp_path / "base")
    model.base_model.save_pretrained(tmp_path / "base")  # without "transformer." before its names, as BLOOM's are
    assert not any(name.startswith("transformer.") for name in read_tensors(tmp_path / "base" / "model.safetensors"))
    shards, base = read_parent(tmp_path / "shards"), read_parent(tmp_path / "base")
    assert len(shards.sha256) > 1
    assert whole.encoder_hash == shards.encoder_hash == base.encoder_hash


@pytest.mark.slow
def test_words_that_are_not_tied_are_a_parameter_and_bf16_is_read_as_fp32(folders: Any, tmp_path: Path) -> None:
    parent = read_parent(folders("qwen2"))
    assert "lm_head.weight" in parent.tensors
    half = {name: tensor.to(torch.bfloat16) for name, tensor in parent.tensors.items()}
    shutil.copytree(folders("qwen2"), tmp_path / "half")
    write_tensors(tmp_path / "half" / "model.safetensors", half)
    assert {parameter.dtype for parameter in read_parent(tmp_path / "half").encoder().parameters()} == {torch.float32}


@pytest.mark.slow
def test_it_is_evaluated_on_these_very_tensors_and_dropout_is_the_stages(folders: Any) -> None:
    parent = read_parent(folders("xglm"))
    encoder = parent.encoder()
    addresses = {tensor.data_ptr() for tensor in parent.tensors.values()}
    assert {parameter.data_ptr() for parameter in encoder.parameters()} == addresses and not encoder.training
    for dropout, attention_dropout, expected in ((0.0, None, 0.0), (0.5, 0.0, 0.0), (0.2, 0.3, 0.3)):
        changed = parent.encoder(dropout, attention_dropout)
        assert changed.attention_dropout == expected
    assert encoder.attention_dropout == 0.1, "the config's own"
    pieces = pieces_of(ROWS)
    batch = pack(pieces, heads.reads("mlm", pieces))
    model = StageModel(parent.encoder(0.0), {"prompts": heads.NextWordHead()})
    assert torch.equal(model.train()(batch, "prompts"), model.eval()(batch, "prompts"))


@pytest.mark.slow
def test_the_tokenizer_is_loaded_as_it_is(folders: Any) -> None:
    tokenizer = Tokenizer(folders("xglm"))
    assert tokenizer.is_causal and tokenizer.mask_token_id is None
    assert 256 < len(tokenizer) < VOCABULARY
    assert tokenizer.decode(token_ids(tokenizer, ["Anna saw Oslo, 你好"])[0]) == "Anna saw Oslo, 你好"


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model_type": "t5"}, "model_type is 't5', but only .* causal language models bloom, gemma, .* xglm"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}, "code that comes with the model, which is never run"),
        ({"is_encoder_decoder": True}, "is an encoder-decoder's"),
        ({"quantization_config": {"bits": 4}}, "the weights are quantised"),
        ({"num_layers": 0}, "num_layers or n_layer must be a positive whole number, it is 0"),
        ({"vocab_size": 99}, r"word embeddings of shape \[320, 16\], but config.json says \[99, 16\]"),
    ],
)
def test_what_cannot_be_trained_is_refused(broken: Path, values: dict[str, object], says: str) -> None:
    change(broken / "config.json", **values)
    with pytest.raises(UserError, match=says) as error:
        check_folder(broken)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_code_and_slow_tokenizers_and_pickles_are_refused(broken: Path) -> None:
    change(broken / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_x.X", None]})
    with pytest.raises(UserError, match=r"tokenizer_config\.json: auto_map names code"):
        check_folder(broken)
    (broken / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer.json is missing; .*only fast tokenizers"):
        check_folder(broken)
    write_causal(broken, "xglm")
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(UserError, match="never loaded"):
        check_folder(broken)


@pytest.mark.slow
def test_weights_that_lack_something_are_refused(broken: Path) -> None:
    tensors = read_tensors(broken / "model.safetensors")
    lacking = {name: tensor for name, tensor in tensors.items() if name != "model.layers.1.fc1.bias"}
    write_tensors(broken / "model.safetensors", lacking)
    with pytest.raises(UserError, match=r"the weights lack model\.layers\.1\.fc1\.bias and 0 more"):
        read_parent(broken)


@pytest.mark.slow
def test_a_model_loaded_for_an_evaluation_is_in_the_settings_precision(folders: Any) -> None:
    model = read_parent(folders("xglm")).model((), Settings(precision="bf16"), torch.device("cpu"))
    assert model.bf16 and model.encoder.language_model.config.model_type == config_of("xglm").model_type  # type: ignore[union-attr]
    assert model.head_names == ()
