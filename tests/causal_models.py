"""Small causal language models of several classes, with random weights so large that every token matters, and small
tokenizers of the two kinds that these have."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

VOCABULARY = 60  # of a model without a tokenizer
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


def causal_model(name: str, vocabulary: int = VOCABULARY, window: int = WINDOW) -> Any:
    """The model, in evaluation on the CPU; the same every time."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    config = CONFIGS[name]()
    config.vocab_size = vocabulary
    config.tie_word_embeddings = False  # else the likeliest token is the last one again
    if hasattr(config, "max_position_embeddings"):
        config.max_position_embeddings = window
    model = AutoModelForCausalLM.from_config(config).eval()
    for name_in_model, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0.0, 0.6)
        else:
            parameter.data.normal_(float(name_in_model.endswith("weight")), 0.1)
    return model


SENTENCES = (
    "The glass fell off the table, so it broke. Question: who saw it? Answer: nobody, right? Yes, No, Also.",
    "Das Glas fiel vom Tisch, weil es zerbrach. Frage: wer sah es? Antwort: niemand, richtig? Ja, Nein, Auch.",
    "Стакан упал со стола, правильно? Да, Нет, Так. Вопрос: кто это видел?\n\nОтвет: никто.",
    "杯子从桌子上掉下来，因为它碎了。对吧？ 是, 不是。 问题: 谁看见了?",
)


def tokenizer_of_bytes() -> Any:
    """As BLOOM and Qwen have them: bytes, merged; spaces belong to the words behind them; nothing around a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|endoftext|>", "<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(SENTENCES * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>", pad_token="<pad>")


def tokenizer_of_pieces() -> Any:
    """As XGLM's: sentencepiece's pieces, a space at the beginning of every text, `</s>` before it, which is not BOS."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=specials, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(SENTENCES * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
