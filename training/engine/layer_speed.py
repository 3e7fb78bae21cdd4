"""How fast this CPU computes a layer of a model by each library for matrix products, as a stage would.

Products alone mislead: which library is the faster depends on their sizes, and training has others than evaluation.
So a whole layer runs, over packed rows as either has them. Of a causal language model it is an XLM-R's layer of the
same sizes.
"""

import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from training.flops import Sizes
from training.model import products
from training.model.dropout import use_on_cpu
from training.model.packing import Layout
from training.model.products import LIBRARIES, Library
from training.model.xlmr import Layer
from training.pretrained.config import EncoderConfig

Use = Literal["training", "evaluation"]
# Sentences and pairs of them, in tokens: a batch of 32 in any order, and evaluation's, which is sorted by length.
_LENGTHS: dict[Use, tuple[int, ...]] = {
    "training": (*range(18, 82, 4), *range(80, 16, -4)),
    "evaluation": tuple(length for length in range(36, 56) for _ in range(4)),
}
_LEAST, _MOST, _SECONDS = 3, 12, 1.5  # turns; after the least, none begins later


def seconds(sizes: Sizes, use: Use) -> dict[Library, float]:
    """The least time of a layer by each library, in turns: a busy moment makes all of them slow, or does not count. Its
    first run, which allocates and chooses its ways by size, is never the least. Nothing is drawn from the global
    generator, and the switch stays as it was."""
    times: dict[Library, list[float]] = {name: [] for name in LIBRARIES}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        run = _run(sizes, use)
        started_at = time.perf_counter()
        while len(times[LIBRARIES[-1]]) < (_LEAST if time.perf_counter() - started_at > _SECONDS else _MOST):
            for name, of_library in times.items():
                with products.by(name):
                    start = time.perf_counter()
                    run()
                    of_library.append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def _run(sizes: Sizes, use: Use) -> Callable[[], object]:
    """A forward pass; of training a backward pass too."""
    layer = Layer(
        EncoderConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.inner,
            max_position_embeddings=sizes.positions,
            type_vocab_size=sizes.segments,
            pad_token_id=1,
            layer_norm_eps=1e-5,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
            classifier_dropout=None,
        )
    )
    use_on_cpu(layer)
    layout = Layout(_LENGTHS[use], torch.device("cpu"))
    hidden = torch.randn(1, layout.tokens, sizes.width)
    if use == "evaluation":
        layer.eval()

        def forward() -> Tensor:
            with torch.inference_mode():
                return layer(hidden, layout)  # type: ignore[no-any-return]

        return forward
    hidden.requires_grad_()
    gradient = torch.randn(1, layout.tokens, sizes.width)

    def step() -> None:
        layer(hidden, layout).backward(gradient)
        layer.zero_grad()
        hidden.grad = None

    return step
