"""AltCLIP's text tower (Chen et al. 2022, arXiv 2211.06679): an XLM-R with a projection on it, in a checkpoint that
holds an image tower beside it. Here: its config as an XLM-R's, and what its tensors are called. No torch."""

from collections.abc import Mapping
from typing import Any

MODEL_TYPE = "altclip"
TOWER_TYPE = "altclip_text_model"
# From the state of `<s>` to the space that captions and images share, by their names in the checkpoint.
PROJECTION = (
    "text_model.pre_LN.weight",
    "text_model.pre_LN.bias",
    "text_model.transformation.weight",
    "text_model.transformation.bias",
    "text_projection.weight",
)
TOWER = "text_model."  # what the checkpoint calls the tower; the encoder in it is "roberta.", as in one with a head

# What transformers' AltCLIPTextConfig takes where a config is silent, under the names that it shares with XLM-R's.
_FILLED_IN: dict[str, Any] = {
    "vocab_size": 250002,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def text_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The text tower's values in an AltCLIP's config.json; None where it describes another tower.

    `text_config_dict`, in which old checkpoints repeat a few values, goes before `text_config`, as in transformers.
    There what it leaves out does so too, as defaults: then the published dropouts would be lost.
    """
    parts = [config.get(name) or {} for name in ("text_config", "text_config_dict")]
    if not all(isinstance(part, Mapping) for part in parts):
        return None
    values = {name: value for part in parts for name, value in part.items()}
    return values if values.get("model_type", TOWER_TYPE) == TOWER_TYPE else None


def as_xlmr(tower: Mapping[str, Any]) -> dict[str, Any]:
    """The tower's values that an XLM-R's config has too: without the projection's, and without the settings of
    generation that transformers once wrote into every part."""
    return {name: tower.get(name, value) for name, value in _FILLED_IN.items()}
