"""Small causal language models as folders, with random weights so large that every token matters, and a tokenizer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VOCABULARY = 320  # a few more rows than the tokenizer has tokens, as published models have
_TEXTS = ("Anna lives in Paris. Ben may like Rome? Yes, Clara never saw Oslo. No, Maybe. The answer is: ",) * 3
_LLAMA = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "max_position_embeddings": 600, "pad_token_id": None}  # fmt: skip

CONFIGS: Mapping[str, Mapping[str, Any]] = {  # by family: what its config.json says of the sizes
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.1, "attention_dropout": 0.1},
    "gemma": _LLAMA | {"head_dim": 4},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 600},
    "llama": _LLAMA,
    "mistral": _LLAMA | {"sliding_window": 4},
    "olmo2": _LLAMA,
    "qwen2": _LLAMA | {"attention_dropout": 0.1},
    "qwen3": _LLAMA | {"head_dim": 4},
    "smollm3": _LLAMA,
    "xglm": {"d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 4, "max_position_embeddings": 600},
}  # fmt: skip


def config_of(family: str) -> Any:
    """transformers' config of a small model."""
    from transformers import AutoConfig

    ids = {"bos_token_id": 1, "eos_token_id": 1}
    return AutoConfig.for_model(family, vocab_size=VOCABULARY, **ids | dict(CONFIGS[family]))


def write_causal(folder: Path, family: str = "xglm") -> Path:
    """A model folder as transformers saves it; the same every time."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config_of(family))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    """Byte-level BPE: every text has tokens, in few of them. No mask, no `<s>` before a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[attr-defined]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[attr-defined]
    specials = ["<pad>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        _TEXTS,
        trainers.BpeTrainer(vocab_size=300, special_tokens=specials, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts), encoding="utf-8")
