"""Floating-point operations of a model, counted from the sizes in its config.json, and what devices can do.

A product of [m, k] and [k, n] counts 2·m·k·n; the embeddings are looked up and count nothing. Training is three forward
passes: the backward pass makes two products for each of the forward pass. No torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TERA = 1e12


@dataclass(frozen=True)
class Sizes:
    """The sizes of an XLM-R encoder. `inner`: the width of a layer's feed-forward part.

    Of a causal language model: `key_value_heads`, where several heads share keys and values; `inner_matrices`, three
    where the feed-forward part is gated; `has_output_words`, where words are predicted by other embeddings than they
    are read by; `keeps_attention`, where attention's weights are kept for the backward pass on a GPU too. Its biases
    and norms are counted as XLM-R's.
    """

    layers: int
    width: int
    inner: int
    heads: int
    vocabulary: int
    positions: int
    segments: int
    key_value_heads: int | None = None
    inner_matrices: int = 2
    has_output_words: bool = False
    keeps_attention: bool = False

    @property
    def matmul_parameters(self) -> int:
        """The layers' matrices: what every token is multiplied with."""
        keys_and_values = self.width * (self.key_value_heads or self.heads) // self.heads
        attention = 2 * self.width**2 + 2 * self.width * keys_and_values
        return self.layers * (attention + self.inner_matrices * self.width * self.inner)

    @property
    def parameters(self) -> int:
        """All of the encoder's parameters, without pooler and heads."""
        norm = 2 * self.width
        words = self.vocabulary * (2 if self.has_output_words else 1)
        embeddings = (words + self.positions + self.segments) * self.width + norm
        biases_and_norms = 5 * self.width + self.inner + 2 * norm
        return embeddings + self.matmul_parameters + self.layers * biases_and_norms


def sizes_of(config: Mapping[str, Any]) -> Sizes:
    """The sizes that a model's config.json gives; what it leaves out is as in transformers."""
    required_names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
    embedding_names = ("vocab_size", "max_position_embeddings", "type_vocab_size")
    usual = {"intermediate_size": 3072, "type_vocab_size": 2}
    sizes = [int(config.get(name, usual.get(name, 0))) for name in (*required_names, *embedding_names)]
    layers, width, inner, heads, vocabulary, positions, segments = sizes
    return Sizes(layers, width, inner, heads, vocabulary, positions, segments)


def forward_flops(sizes: Sizes, tokens: int, squares: int, *, predicted_tokens: int = 0) -> int:
    """Operations of one forward pass over packed sequences of `tokens` tokens together.

    squares: the sum of the sequences' lengths squared (attention: every token looks at its own sequence).
    predicted_tokens: those that a language model's head predicts, each against the whole vocabulary.
    """
    attention = 4 * sizes.layers * sizes.width * squares
    head = 2 * predicted_tokens * (sizes.width**2 + sizes.width * sizes.vocabulary)
    return 2 * sizes.matmul_parameters * tokens + attention + head


def training_flops(sizes: Sizes, tokens: int, squares: int, *, predicted_tokens: int = 0) -> int:
    """Operations of a forward and a backward pass; arguments as of `forward_flops`."""
    return 3 * forward_flops(sizes, tokens, squares, predicted_tokens=predicted_tokens)


def mfu(flops: float, seconds: float, peak: float | None, devices: int = 1) -> float | None:
    """The share of what `devices` devices of `peak` FLOP/s could have done in `seconds`; None: the peak is unknown."""
    return flops / (seconds * peak * devices) if peak and seconds > 0 else None


@dataclass(frozen=True)
class _Peak:
    """Dense TFLOP/s: bf16 on tensor cores with sums in fp32 (None: the chip has no bf16), plain fp32 (no TF32)."""

    bf16: float | None
    fp32: float


# The first row whose words are all in the device's name counts. From NVIDIA's data sheets of these boards; where one
# gives a rate with sparsity only, half of it. GeForce: the white papers of GA102 and AD102.
_PEAKS: tuple[tuple[str, _Peak], ...] = (
    ("GH200", _Peak(989.4, 66.9)),
    ("H200 NVL", _Peak(835.5, 60.0)),
    ("H200", _Peak(989.4, 66.9)),
    ("H100 NVL", _Peak(835.5, 60.0)),
    ("H100 PCIe", _Peak(756.0, 51.2)),
    ("H100", _Peak(989.4, 66.9)),
    ("H800 PCIe", _Peak(756.0, 51.2)),
    ("H800", _Peak(989.4, 66.9)),
    ("H20", _Peak(148.0, 44.0)),
    ("A100", _Peak(312.0, 19.5)),
    ("A800", _Peak(312.0, 19.5)),
    ("A40", _Peak(149.7, 37.4)),
    ("A30", _Peak(165.0, 10.3)),
    ("A10", _Peak(125.0, 31.2)),
    ("L40S", _Peak(362.05, 91.6)),
    ("L40", _Peak(181.05, 90.5)),
    ("L4", _Peak(121.0, 30.3)),
    ("V100 PCIE", _Peak(None, 14.0)),
    ("V100", _Peak(None, 15.7)),
    ("T4", _Peak(None, 8.1)),
    ("RTX 6000 Ada", _Peak(364.2, 91.1)),
    ("RTX A6000", _Peak(154.8, 38.7)),
    ("RTX A5000", _Peak(111.1, 27.8)),
    ("RTX 4090", _Peak(165.2, 82.6)),
    ("RTX 3090", _Peak(71.0, 35.6)),
)


def device_peak(name: str, *, bf16: bool) -> float | None:
    """The FLOP/s of the data sheet for a GPU as torch.cuda.get_device_name calls it; None: not known.

    A part of a GPU (MIG) has no data sheet; nor have the "Ti", "Laptop" and "Max-Q" variants a row here.
    """
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    if words & {"mig", "ti", "laptop", "max"}:
        return None
    for model, peak in _PEAKS:
        if words >= set(model.lower().split()):
            teraflops = peak.bf16 if bf16 else peak.fp32
            return None if teraflops is None else teraflops * _TERA
    return None
