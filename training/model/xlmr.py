"""XLM-R's encoder over packed rows: transformers' XLMRobertaModel without a pooler, module by module and bit for bit.

Modules are called as there, for their names are those of the tensors in a model folder, and come in the same order, for
the optimizer goes through them in it. Our own, as transformers takes longer to import than a short stage to run.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from training.model.attention import packed_attention
from training.model.packing import Layout
from training.pretrained.config import EncoderConfig


def _table(rows: int, width: int, padding: int | None = None) -> nn.Embedding:
    """Without values: to draw some on "meta" imports torch's compiler, which takes longer than reading a model."""
    table = torch.empty(rows, width)
    return nn.Embedding.from_pretrained(table, freeze=False, padding_idx=padding)  # type: ignore[no-any-return, no-untyped-call]


class Embeddings(nn.Module):
    """ids and positions [1, tokens] → [1, tokens, width]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, padding = config.hidden_size, config.pad_token_id
        self.word_embeddings = _table(config.vocab_size, width, padding)
        self.token_type_embeddings = _table(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.position_embeddings = _table(config.max_position_embeddings, width, padding)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        types = self.token_type_embeddings(torch.zeros_like(positions))  # XLM-R knows one type only
        sums = self.word_embeddings(ids) + types + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(sums))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.head_width = width // config.num_attention_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        query, key, value = (self._by_head(linear(hidden)) for linear in (self.query, self.key, self.value))
        dropout = self.dropout.p if self.training else 0.0
        attended_values = packed_attention(query, key, value, layout, dropout, self.head_width**-0.5)
        return attended_values.reshape(hidden.shape)

    def _by_head(self, states: Tensor) -> Tensor:
        """[1, tokens, width] → [1, heads, tokens, width of a head]."""
        return states.view(*states.shape[:-1], -1, self.head_width).transpose(1, 2)


class Residual(nn.Module):
    """The end of both halves of a layer: projected, dropped out, added to what went in."""

    def __init__(self, inputs: int, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden)) + inputs)  # type: ignore[no-any-return]


class Attention(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Residual(config.hidden_size, config)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        return self.output(self.self(hidden, layout), hidden)  # type: ignore[no-any-return]


class Intermediate(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return gelu(self.dense(hidden))


class Layer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Residual(config.intermediate_size, config)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        hidden = self.attention(hidden, layout)
        return self.output(self.intermediate(hidden), hidden)  # type: ignore[no-any-return]


class Layers(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([Layer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, hidden: Tensor, layout: Layout, depth: int | None, every_layer: bool) -> tuple[Tensor, ...]:
        states = [hidden]
        for layer in list(self.layer)[:depth]:
            states.append(layer(states[-1], layout))
            if not every_layer:
                del states[0]
        return tuple(states)


class Encoder(nn.Module):
    """ids and positions [1, tokens] → hidden states [1, tokens, width] of the last layer; of every one, the embeddings
    first, where `every_layer` asks for them. `depth`: so many layers only."""

    prefix = ""  # its parameters are called as in a model folder

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config)

    def forward(
        self, ids: Tensor, positions: Tensor, layout: Layout, depth: int | None = None, every_layer: bool = False
    ) -> tuple[Tensor, ...]:
        return self.encoder(self.embeddings(ids, positions), layout, depth, every_layer)  # type: ignore[no-any-return]

    @property
    def word_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    @property
    def attention_dropout(self) -> float:
        return next(part.dropout.p for part in self.modules() if isinstance(part, SelfAttention))
