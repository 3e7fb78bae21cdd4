"""AltCLIP's text tower as a start model, against transformers' own classes, both ways."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from slurm.base import UserError
from tests.fixtures_models import ALTCLIP_TEXT
from training.formats.base import Piece
from training.model.encoder import save_encoder
from training.model.packing import pack
from training.model.parent import read_parent
from training.pretrained import check_folder, load_tokenizer, start_model_folder
from training.pretrained.config import handed_on, model_config
from training.pretrained.start import WEIGHTS, WEIGHTS_INDEX, read_config, tokenizer_files
from training.tensors import read_tensors, write_tensors

ROWS = ((0, 9, 8, 2), (0, 5, 6, 7, 2), (0, 2))


@pytest.fixture
def copy(altclip_model: Path, tmp_path: Path) -> Path:
    """One to change (hard links: replace files, do not write into them)."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in altclip_model.iterdir():
        (folder / path.name).hardlink_to(path)
    return folder


def their_states(text_model: Any) -> list[torch.Tensor]:
    """The hidden states [tokens, width] of every layer by transformers, of padded rows."""
    longest = max(map(len, ROWS))
    ids = torch.tensor([[*row, *[1] * (longest - len(row))] for row in ROWS])
    with torch.no_grad():
        layers = text_model(ids, attention_mask=(ids != 1).long(), output_hidden_states=True).hidden_states
    return [layer[ids != 1] for layer in layers]


def our_states(folder: Path) -> list[torch.Tensor]:
    batch = pack([Piece(number, (row,), ()) for number, row in enumerate(ROWS)])
    with torch.no_grad():
        layers = read_parent(folder).encoder()(batch.ids, batch.positions, batch.layout, every_layer=True)
    return [layer[0, : layer.shape[1] - batch.filler] for layer in layers]


@pytest.mark.slow
def test_ours_is_transformers_tower_without_the_projection(altclip_model: Path) -> None:
    from transformers import AltCLIPModel

    theirs = their_states(AltCLIPModel.from_pretrained(altclip_model).eval().text_model.roberta)
    ours = our_states(altclip_model)
    assert len(ours) == len(theirs) == 3
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_what_a_training_hands_on_is_an_ordinary_xlmr(altclip_model: Path, tmp_path: Path) -> None:
    from transformers import AltCLIPModel, AutoModel

    state = read_parent(altclip_model).encoder().state_dict()
    contents = {path.name: path.read_bytes() for path in tokenizer_files(altclip_model)}
    save_encoder(state, {}, handed_on(read_config(altclip_model)), contents, tmp_path / "encoder")
    check_folder(tmp_path / "encoder")
    plain, notes = AutoModel.from_pretrained(tmp_path / "encoder", add_pooling_layer=False, output_loading_info=True)
    assert type(plain).__name__ == "XLMRobertaModel" and not any(notes.values()), notes
    theirs = AltCLIPModel.from_pretrained(altclip_model).eval().text_model.roberta
    for mine, other in zip(their_states(plain.eval()), their_states(theirs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert not {"project_dim", "initializer_factor", "text_config", "vision_config"} & config.keys()
    assert read_parent(tmp_path / "encoder").encoder_hash == read_parent(altclip_model).encoder_hash


@pytest.mark.slow
def test_the_tokenizer_is_loaded_beside_its_config(altclip_model: Path, library_tokenizer: Any) -> None:
    text = "Wie geht es Dir? 你好"
    assert load_tokenizer(altclip_model)(text)["input_ids"] == library_tokenizer(text)["input_ids"]


@pytest.mark.slow
def test_shards_are_one_model_and_no_image_tower_is_read(altclip_model: Path, copy: Path) -> None:
    tensors, shards = read_tensors(altclip_model / WEIGHTS), {"model-1.safetensors": {}, "model-2.safetensors": {}}  # type: ignore[var-annotated]
    for number, name in enumerate(sorted(tensors)):
        shards[f"model-{1 + number % 2}.safetensors"][name] = tensors[name]
    (copy / WEIGHTS).unlink()
    for shard, part in shards.items():
        write_tensors(copy / shard, part)
    weight_map = {name: shard for shard, part in shards.items() for name in part}
    (copy / WEIGHTS_INDEX).write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    check_folder(copy)
    whole, parts = read_parent(altclip_model), read_parent(copy)
    assert parts.encoder_hash == whole.encoder_hash
    assert not any("vision" in name or "projection" in name or "transformation" in name for name in parts.tensors)


# As BAAI/AltCLIP has it, but for the image tower and most of what was written into every part once.
PUBLISHED = {
    "model_type": "altclip", "projection_dim": 768,
    "text_config": {
        "model_type": "altclip_text_model", "attention_probs_dropout_prob": 0.1, "hidden_size": 1024,
        "hidden_act": "gelu", "layer_norm_eps": 1e-05, "intermediate_size": 4096, "num_attention_heads": 16,
        "num_hidden_layers": 24, "pooler_fn": "cls", "project_dim": 768, "max_length": 20, "bad_words_ids": None,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
    "text_config_dict": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
                         "num_hidden_layers": 24},
}  # fmt: skip
SILENT = {"model_type": "altclip"}


@pytest.mark.slow
@pytest.mark.parametrize("values", [PUBLISHED, SILENT, SILENT | {"text_config": ALTCLIP_TEXT}])
def test_what_a_config_leaves_out_is_as_in_transformers(values: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AltCLIPConfig

    (tmp_path / "config.json").write_text(json.dumps(values))
    ours, theirs = vars(model_config(tmp_path)), AltCLIPConfig.from_pretrained(tmp_path).text_config
    for name in ours.keys() - {"classifier_dropout", "attention_probs_dropout_prob"}:
        assert ours[name] == getattr(theirs, name), name
    published_dropout = values.get("text_config", {}).get("attention_probs_dropout_prob", 0)
    assert ours["attention_probs_dropout_prob"] == published_dropout and ours["classifier_dropout"] is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model_type": "clip", "text_config": {}}, "'clip', but only 'xlm-roberta' and the text tower of 'altclip'"),
        (SILENT | {"text_config": {"model_type": "clip_text_model"}}, "only AltCLIP's text tower"),
        (SILENT | {"text_config": "roberta"}, "only AltCLIP's text tower"),
        ({"model_type": "altclip_text_model"}, "choose an XLM-R model"),
        (SILENT | {"text_config": {"hidden_act": "quick_gelu"}}, "only 'gelu' can be computed"),
        (SILENT | {"text_config": {"num_hidden_layers": "many"}}, "must be a positive whole number"),
    ],
)
def test_other_towers_are_refused_in_one_line(values: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=says) as error:
        check_folder(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path / "config.json") in str(error.value)


@pytest.mark.slow
def test_torn_or_pickled_weights_are_refused(copy: Path) -> None:
    content = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).unlink()
    (copy / WEIGHTS).write_bytes(content[:-100])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        check_folder(copy)
    (copy / WEIGHTS).rename(copy / "pytorch_model.bin")
    with pytest.raises(UserError, match="never loaded"):
        check_folder(copy)


def test_a_hub_model_without_safetensors_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """BAAI/AltCLIP is a pickle, which is not fetched: what comes is the config and the tokenizer."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **named: str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    with pytest.raises(UserError, match="has no safetensors weights, and a pickle is never loaded") as error:
        start_model_folder("BAAI/AltCLIP", "17788d7d45af0e41d0f10682fe91d655ac96435c", local_only=True)
    assert "\n" not in str(error.value)
