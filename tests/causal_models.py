"""Small causal language models of several classes, with random weights so large that every token matters."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

VOCABULARY = 60
WINDOW = 48
_WIDTH, _HEADS, _LAYERS = 16, 4, 2


def _llama_like(name: str, **settings: Any) -> Callable[[], Any]:
    def config() -> Any:
        import transformers

        return getattr(transformers, f"{name}Config")(
            vocab_size=VOCABULARY,
            hidden_size=_WIDTH,
            intermediate_size=2 * _WIDTH,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            num_key_value_heads=2,
            max_position_embeddings=WINDOW,
            **settings,
        )

    return config


def _xglm() -> Any:
    from transformers import XGLMConfig

    return XGLMConfig(
        vocab_size=VOCABULARY,
        d_model=_WIDTH,
        ffn_dim=2 * _WIDTH,
        num_layers=_LAYERS,
        attention_heads=_HEADS,
        max_position_embeddings=WINDOW,
    )


def _bloom() -> Any:
    from transformers import BloomConfig

    return BloomConfig(vocab_size=VOCABULARY, hidden_size=_WIDTH, n_layer=_LAYERS, n_head=_HEADS)


def _mpt() -> Any:
    from transformers import MptConfig

    # No batch may be wider than its positions, padding included.
    return MptConfig(vocab_size=VOCABULARY, d_model=_WIDTH, n_layers=_LAYERS, n_heads=_HEADS, max_seq_len=2 * WINDOW)


def _gpt2() -> Any:
    from transformers import GPT2Config

    return GPT2Config(vocab_size=VOCABULARY, n_embd=_WIDTH, n_layer=_LAYERS, n_head=_HEADS, n_positions=WINDOW)


CONFIGS: Mapping[str, Callable[[], Any]] = {
    "xglm": _xglm,  # sinusoidal positions
    "bloom": _bloom,  # ALiBi, from the mask
    "qwen2": _llama_like("Qwen2"),  # rotary positions
    "llama": _llama_like("Llama"),
    "mpt": _mpt,  # ALiBi, by the place in the row
    "gpt2": _gpt2,  # a table of positions, no more than the window
    "mistral": _llama_like("Mistral", sliding_window=5),
    "gemma2": _llama_like("Gemma2", sliding_window=5, head_dim=4, query_pre_attn_scalar=4),  # logits through a tanh
}


def causal_model(name: str) -> Any:
    """The model, in evaluation on the CPU; the same every time."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.5)
    return model
