"""A model's config.json: what it is built by, and what a trained one's says. No torch, no transformers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.flops import Sizes, sizes_of
from training.pretrained import causal
from training.pretrained.causal import CausalConfig
from training.pretrained.start import ACTIVATION, MODEL_TYPE, read_config

# What transformers' XLMRobertaConfig takes where a config.json is silent: it writes these in full ...
_FILLED_IN: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": ACTIVATION,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "use_cache": True,
    "classifier_dropout": None,
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
# ... and these not where they are as it takes them, nor where a model came from, ever.
_LEFT_OUT: dict[str, Any] = {
    "return_dict": True,
    "output_hidden_states": False,
    "output_attentions": False,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "problem_type": None,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
}
_NEVER = ("torch_dtype", "_name_or_path", "_commit_hash", "_attn_implementation_internal")


@dataclass(frozen=True)
class EncoderConfig:
    """What an XLM-R encoder is built by, under the names of its config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    pad_token_id: int
    layer_norm_eps: float
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    classifier_dropout: float | None

    @property
    def sizes(self) -> Sizes:
        return sizes_of(vars(self))

    @property
    def longest(self) -> int:
        """Tokens that it can read: XLM-R counts from its padding id + 1."""
        return self.max_position_embeddings - self.pad_token_id - 1


ModelConfig = EncoderConfig | CausalConfig


def model_config(folder: Path) -> ModelConfig:
    """The config of a model folder. UserError where it is of no model that can be trained."""
    config = read_config(folder)
    if causal.is_causal(config):
        return causal.causal_config(config)
    values = _FILLED_IN | config
    return EncoderConfig(**{name: values[name] for name in EncoderConfig.__dataclass_fields__})


def handed_on(config: Mapping[str, Any]) -> str:
    """The text of the config.json beside a model that was trained from one with this: of an XLM-R as transformers
    writes it, so that it loads anywhere."""
    if causal.is_causal(config):
        return causal.handed_on(config)
    own_values = {
        name: value
        for name, value in config.items()
        if name not in _NEVER and (name not in _LEFT_OUT or value != _LEFT_OUT[name])
    }
    about_the_file = {
        "architectures": ["XLMRobertaModel"],
        "dtype": "float32",
        "model_type": MODEL_TYPE,
        "transformers_version": version("transformers"),
    }
    return json.dumps(_FILLED_IN | own_values | about_the_file, indent=2, sort_keys=True) + "\n"
