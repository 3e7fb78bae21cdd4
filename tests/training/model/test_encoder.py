"""Model folders: what is handed on loads plainly, hashes alike, and what is no XLM-R is refused in one line."""

import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from slurm.base import UserError
from training.formats.base import Piece
from training.model import heads
from training.model.attention import packed_attention
from training.model.dropout import use_on_cpu
from training.model.encoder import HeadKind, StageModel, check_fit, load_head, save_encoder, save_head
from training.model.packing import Layout, pack
from training.model.parent import read_parent
from training.pretrained import check_folder, start_model_folder
from training.pretrained.config import handed_on, model_config
from training.pretrained.start import read_config, tokenizer_files
from training.pretrained.tokenizer import Tokenizer
from training.spec import Settings
from training.tensors import tensors_hash, write_tensors

REQUIRED = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
IDS, MASK = torch.tensor([[0, 9, 8, 2, 1]]), torch.tensor([[1, 1, 1, 1, 0]])


@pytest.fixture
def broken(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of a model folder to break (hard links: replace files, do not write into them)."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in tiny_model.iterdir():
        (folder / path.name).hardlink_to(path)
    return folder


def replace_config(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.slow
def test_a_saved_encoder_is_an_ordinary_model_folder(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    state = read_parent(tiny_model).encoder(dropout=0.5).state_dict()
    contents = {path.name: path.read_bytes() for path in tokenizer_files(tiny_model)}
    save_encoder(state, {}, handed_on(read_config(tiny_model)), contents, tmp_path / "encoder")
    check_folder(tmp_path / "encoder")
    before, plain = (AutoModel.from_pretrained(folder).eval() for folder in (tiny_model, tmp_path / "encoder"))
    with torch.no_grad():
        assert torch.equal(before(IDS, MASK).last_hidden_state, plain(IDS, MASK).last_hidden_state)
    assert plain.config.hidden_dropout_prob == 0.1, "a setting of the stage went into the config"
    text = "Wie geht es Dir? 你好 ﬁ"
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (tiny_model, tmp_path / "encoder")]
    assert tokenizers[0](text)["input_ids"] == tokenizers[1](text)["input_ids"]
    assert read_parent(tmp_path / "encoder").encoder_hash == tensors_hash(state)


PUBLISHED = {"architectures": ["XLMRobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
             "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 1024,
             "initializer_range": 0.02, "intermediate_size": 4096, "layer_norm_eps": 1e-05,
             "max_position_embeddings": 514, "model_type": "xlm-roberta", "num_attention_heads": 16,
             "num_hidden_layers": 24, "output_past": True, "pad_token_id": 1, "position_embedding_type": "absolute",
             "transformers_version": "4.17.0.dev0", "type_vocab_size": 1, "use_cache": True,
             "vocab_size": 250002}  # fmt: skip
ODD = PUBLISHED | {"torch_dtype": "float16", "classifier_dropout": 0.2, "_name_or_path": "x", "return_dict": True,
                   "output_attentions": False, "id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1},
                   "mine": [1]}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("values", [PUBLISHED, ODD, {name: PUBLISHED[name] for name in REQUIRED}])
def test_a_trained_models_config_is_as_transformers_writes_it(values: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoConfig

    (tmp_path / "config.json").write_text(json.dumps(values))
    theirs = AutoConfig.from_pretrained(tmp_path)
    theirs.architectures, theirs.dtype = ["XLMRobertaModel"], torch.float32
    once = handed_on(values)
    assert once == theirs.to_json_string() == handed_on(json.loads(once))


@pytest.mark.slow
def test_ours_is_transformers_xlmr_bit_for_bit(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their modules under our attention: the same values, and the same gradients, under the same names in one order."""
    from transformers import AttentionInterface, AutoModel

    def attend(
        module: Any, q: Any, k: Any, v: Any, mask: Any, dropout: float, scaling: float, *, layout: Layout, **_: Any
    ) -> Any:
        return packed_attention(q, k, v, layout, dropout, scaling), None

    AttentionInterface.register("packed", attend)
    batch = pack([Piece(0, ((0, 5, 6, 7, 2),), ()), Piece(1, ((0, 9, 2),), ())])
    theirs = AutoModel.from_pretrained(tiny_model, add_pooling_layer=False, attn_implementation="packed")
    ours = read_parent(tiny_model).encoder()
    use_on_cpu(theirs)
    assert [*theirs.state_dict()] == [*ours.state_dict()]
    assert [name for name, _ in theirs.named_parameters()] == [name for name, _ in ours.named_parameters()]
    for train in (False, True):
        torch.manual_seed(1)
        told = {"position_ids": batch.positions, "layout": batch.layout, "output_hidden_states": True}
        expected = theirs.train(train)(batch.ids, **told).hidden_states
        torch.manual_seed(1)
        layers = ours.train(train)(batch.ids, batch.positions, batch.layout, every_layer=True)
        assert len(layers) == len(expected) and all(map(torch.equal, layers, expected))
        torch.manual_seed(1)
        (first,) = ours(batch.ids, batch.positions, batch.layout, depth=1)
        assert torch.equal(first, layers[1])
    for last in (expected[-1], layers[-1]):
        last.square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None and torch.equal(mine.grad, other.grad)


@pytest.mark.slow
def test_shards_are_one_model(tiny_model: Path, broken: Path) -> None:
    whole = read_parent(tiny_model)
    names, shards = sorted(whole.tensors), {"model-1.safetensors": {}, "model-2.safetensors": {}}  # type: ignore[var-annotated]
    for number, name in enumerate(names):
        shards[f"model-{1 + number % 2}.safetensors"][name] = whole.tensors[name]
    (broken / "model.safetensors").unlink()
    for name, tensors in shards.items():
        assert write_tensors(broken / name, tensors)["sha256"]
    weight_map = {name: shard for shard, tensors in shards.items() for name in tensors}
    (broken / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    from_shards = read_parent(broken)
    assert from_shards.encoder_hash == whole.encoder_hash and not from_shards.sha256
    assert sorted(read_parent(broken, known_hash=whole.encoder_hash).sha256) == sorted(shards)
    write_tensors(broken / "model-2.safetensors", shards["model-2.safetensors"] | {names[1]: torch.ones(3)})
    with pytest.raises(UserError, match=r"has shape \[3\], by config\.json it is"):
        read_parent(broken)


def test_on_another_device_nothing_stays_on_the_cpu(tiny_model: Path) -> None:
    """`meta` in a GPU's place: the model has these very tensors there, and what they were on the CPU is gone."""
    parent = read_parent(tiny_model)
    on_cpu = [weakref.ref(tensor) for tensor in parent.tensors.values()]
    model = parent.model((), Settings(precision="fp32"), torch.device("meta"))
    assert not any(tensor() is not None for tensor in on_cpu)
    storages = {tensor.untyped_storage()._cdata for tensor in parent.tensors.values()}
    assert {parameter.untyped_storage()._cdata for parameter in model.parameters()} == storages
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.slow
def test_the_hash_sees_every_value_and_name(tiny_model: Path) -> None:
    state = read_parent(tiny_model).encoder().state_dict()
    first = tensors_hash(state)
    name = "encoder.layer.1.output.dense.bias"
    changed = state | {name: state[name].clone()}
    changed[name][3] += 1e-7
    assert tensors_hash(changed) != first
    assert tensors_hash(dict(reversed(state.items()))) == first
    assert tensors_hash({f"x{name}": tensor for name, tensor in state.items()}) != first


@pytest.mark.slow
def test_a_bf16_folder_is_trained_from_fp32(tiny_model: Path, broken: Path) -> None:
    state = {name: tensor.to(torch.bfloat16) for name, tensor in read_parent(tiny_model).encoder().state_dict().items()}
    (broken / "model.safetensors").unlink()
    write_tensors(broken / "model.safetensors", state)
    replace_config(broken, dtype="bfloat16")
    assert {parameter.dtype for parameter in read_parent(broken).encoder().parameters()} == {torch.float32}


def test_heads_come_back_as_they_were(tmp_path: Path) -> None:
    kind = HeadKind("mnli", "sequence", ("entailment", "neutral", "contradiction"), 32, 3)
    head = heads.fresh("sequence", 3, 32, 0.1, 7, "mnli")
    save_head(head.state_dict(), kind, tmp_path)
    found, loaded = load_head(tmp_path, "mnli")
    assert found == kind
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in head.state_dict().items())
    with pytest.raises(UserError, match="no head for 'squad'"):
        load_head(tmp_path, "squad")


@pytest.mark.slow
def test_layers_and_unused_heads(tiny_model: Path) -> None:
    model = StageModel(read_parent(tiny_model).encoder(0.0), {name: heads.fresh(form, 3, 32, 0.0, 1, name)
                       for name, form in (("a", "sequence"), ("b", "span"))})  # fmt: skip
    row = pack([Piece(0, ((0, 5, 6, 7, 2),), ())])
    embeddings, last = model(row, layer=0), model(row)
    assert embeddings.shape == last.shape == (5, 32) and not torch.equal(embeddings, last)
    assert torch.equal(model(row, layer=2), last)
    first, *_, final = model.every_layer(row)
    assert torch.equal(first, embeddings) and torch.equal(final, last)
    trained = model.train()(row, "a")
    trained.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters()), "a head without a gradient"
    assert not any(parameter.grad.any() for parameter in model.heads["of_b"].parameters())
    torch.testing.assert_close(trained, model.eval()(row, "a"))


def test_attention_has_a_dropout_of_its_own(tiny_model: Path) -> None:
    encoder = read_parent(tiny_model).encoder(0.3, 0.0)
    found = {name: part.p for name, part in encoder.named_modules() if isinstance(part, torch.nn.Dropout)}
    assert {p for name, p in found.items() if "attention.self" in name} == {0.0}
    assert {p for name, p in found.items() if "attention.self" not in name} == {0.3}


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("config.json", "config.json is missing"),
        ("tokenizer.json", "the tokenizer is missing"),
        ("model.safetensors", "model.safetensors is missing"),
    ],
)
def test_what_a_folder_lacks_is_named(broken: Path, missing: str, says: str) -> None:
    (broken / missing).unlink()
    with pytest.raises(UserError, match=says) as error:
        check_folder(broken)
    assert "\n" not in str(error.value) and str(broken) in str(error.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model_type": "bert"}, "model_type is 'bert'"),
        ({"hidden_size": "32"}, "hidden_size must be a positive whole number"),
        ({"vocab_size": 250_000}, "config.json says"),
        ({"hidden_act": "relu"}, "only 'gelu' can be computed"),
        ({"pad_token_id": None}, "pad_token_id must be a token's number"),
        ({"num_attention_heads": 3}, "is no multiple of num_attention_heads 3"),
    ],
)
def test_what_is_no_xlmr_is_refused(broken: Path, values: dict[str, object], says: str) -> None:
    replace_config(broken, **values)
    with pytest.raises(UserError, match=says):
        check_folder(broken)


def test_torn_or_incomplete_weights_are_refused(broken: Path, tiny_model: Path) -> None:
    weights = broken / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-1000])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        check_folder(broken)
    state = read_parent(tiny_model).encoder().state_dict()
    state.pop("encoder.layer.0.output.dense.weight")
    write_tensors(weights, state)
    with pytest.raises(UserError, match=r"lack encoder\.layer\.0\.output\.dense\.weight"):
        read_parent(broken).encoder()
    shutil.move(weights, broken / "pytorch_model.bin")
    with pytest.raises(UserError, match="never loaded"):
        check_folder(broken)


@pytest.mark.slow
def test_lengths_beyond_the_positions_are_refused(tiny_model: Path) -> None:
    config, tokenizer = model_config(tiny_model), Tokenizer(tiny_model)
    check_fit(config, tokenizer, Settings(max_length=512), tiny_model)
    with pytest.raises(UserError, match="max_length 513 is more than the 512 tokens"):
        check_fit(config, tokenizer, Settings(max_length=513), tiny_model)


def test_a_hub_model_without_a_network_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be fetched: it is not in ") as error:
        start_model_folder("FacebookAI/xlm-roberta-base", "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089")
    assert "\n" not in str(error.value)
