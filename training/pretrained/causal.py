"""Causal language models as start models: which there are, and what their config.json says. No torch, no transformers.

What a family is trained and evaluated by is transformers' own class, on weights and config of the folder alone: code
that comes with a model is never run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from slurm.base import UserError
from training.flops import Sizes

TOKENIZER = "tokenizer.json"  # that of a fast tokenizer, which alone is taken


@dataclass(frozen=True)
class Family:
    """`model`: transformers' class. `gated`: whether the feed-forward part of a layer has three matrices, not two.
    `table`: whether positions are a table that is trained. `fused`: whether attention's weights are never in memory."""

    model: str
    gated: bool = False
    table: bool = False
    fused: bool = True


# Of transformers' causal models those that read a row from the left and nothing of what lies behind it, whose last
# layer of words takes the last hidden states as they are. (Its list has bidirectional encoders and state-space models
# too, and models that scale or cap their logits.)
FAMILIES: Mapping[str, Family] = {
    "bloom": Family("BloomForCausalLM", fused=False),
    "gemma": Family("GemmaForCausalLM", gated=True),
    "gpt2": Family("GPT2LMHeadModel", table=True),
    "llama": Family("LlamaForCausalLM", gated=True),
    "mistral": Family("MistralForCausalLM", gated=True),
    "olmo2": Family("Olmo2ForCausalLM", gated=True),
    "qwen2": Family("Qwen2ForCausalLM", gated=True),
    "qwen3": Family("Qwen3ForCausalLM", gated=True),
    "smollm3": Family("SmolLM3ForCausalLM", gated=True),
    "xglm": Family("XGLMForCausalLM", fused=False),
}
# What families call one thing, in the order in which they are looked for.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "num_layers", "n_layer"),
    "width": ("hidden_size", "d_model", "n_embed", "n_embd"),
    "heads": ("num_attention_heads", "attention_heads", "n_head"),
    "vocabulary": ("vocab_size",),
}
_INNER = ("intermediate_size", "ffn_dim", "n_inner")  # else four times the width
_POSITIONS = ("max_position_embeddings", "n_positions")  # else any number of them
_WORDS = ("embed_tokens", "word_embeddings", "wte")  # the last but one part of the word embeddings' name
# Of a folder's config.json: where its model came from, and its weights' type there.
_NEVER = ("torch_dtype", "_name_or_path", "_commit_hash", "_attn_implementation_internal")


@dataclass(frozen=True)
class CausalConfig:
    """What a causal language model is built by: `values`, its config.json, and what is asked of it here.

    `longest`: tokens that it can read; None: any number.
    """

    values: Mapping[str, Any]
    sizes: Sizes
    longest: int | None

    @property
    def family(self) -> Family:
        return FAMILIES[self.values["model_type"]]

    @property
    def vocab_size(self) -> int:
        return self.sizes.vocabulary

    @property
    def hidden_size(self) -> int:
        return self.sizes.width


def is_causal(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of one of the families."""
    return config.get("model_type") in FAMILIES


def causal_config(values: Mapping[str, Any]) -> CausalConfig:
    """What `check_config` let pass. A width of attention's heads of its own is not counted (Qwen3's smallest)."""
    family = FAMILIES[values["model_type"]]
    layers, width, heads, vocabulary = (int(_first(values, _NAMES[size]) or 0) for size in _NAMES)
    longest = _first(values, _POSITIONS)
    sizes = Sizes(
        layers,
        width,
        int(_first(values, _INNER) or 4 * width),
        heads,
        vocabulary,
        int(longest or 0) if family.table else 0,
        segments=0,
        key_value_heads=values.get("num_key_value_heads"),
        inner_matrices=3 if family.gated else 2,
        has_output_words=values.get("tie_word_embeddings") is False,
        keeps_attention=not family.fused,
    )
    return CausalConfig(values, sizes, None if longest is None else int(longest))


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """What the config says under the first of these names that it has."""
    return next((values[name] for name in names if values.get(name) is not None), None)


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """UserError where a model with this config.json cannot be trained."""
    for names in _NAMES.values():
        value = _first(config, names)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{path}: {' or '.join(names)} must be a positive whole number, it is {value!r}.")
    if config.get("is_encoder_decoder") or config.get("add_cross_attention"):
        raise UserError(f"{path}: is an encoder-decoder's; choose an XLM-R or a causal language model.")
    if config.get("quantization_config"):
        raise UserError(f"{path}: the weights are quantised and cannot be trained; choose the model in full precision.")
    _refuse_code(path, config)


def check_tokenizer(folder: Path, read: Mapping[str, Any] | None) -> None:
    """UserError unless the folder has a fast tokenizer without code of its own. `read`: its tokenizer_config.json."""
    if not (folder / TOKENIZER).is_file():
        raise UserError(
            f"{folder}: {TOKENIZER} is missing; load the tokenizer once with transformers and `save_pretrained` it into"
            " this folder: only fast tokenizers are used."
        )
    if read is not None:
        _refuse_code(folder / "tokenizer_config.json", read)


def _refuse_code(path: Path, values: Mapping[str, Any]) -> None:
    if values.get("auto_map"):
        raise UserError(
            f"{path}: auto_map names code that comes with the model, which is never run; choose a model that"
            " transformers itself has, or take auto_map out where it has it."
        )


def is_word_embeddings(name: str) -> bool:
    """Whether a tensor of a checkpoint is the table of word embeddings."""
    parts = name.split(".")
    return len(parts) > 1 and parts[-2] in _WORDS and parts[-1] == "weight"


def handed_on(config: Mapping[str, Any]) -> str:
    """The text of the config.json beside a model that was trained from one with this."""
    values = {name: value for name, value in config.items() if name not in _NEVER}
    about_the_file = {
        "architectures": [FAMILIES[config["model_type"]].model],
        "dtype": "float32",
        "transformers_version": version("transformers"),
    }
    return json.dumps(values | about_the_file, indent=2, sort_keys=True) + "\n"
