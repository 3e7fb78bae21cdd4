"""What stands on the encoder, one small head per format: its start, its logits, its loss.

A format with another kind of head: a module, and a `FormatHead` that builds it, in the table `_HEADS`.

A head gets the hidden states of the tokens that it reads, [n, width]: of sequence, choice and dual_encoder the first of
every row, of tagging the words' first subwords, of mlm the masked ones, of span all. Its outputs are logits, but for
the dual encoder's: a vector of every row, and a loss that draws questions to their own answers.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from training.formats.base import IGNORED, Piece
from training.seeds import sub_seed

_START_DEVIATION = 0.02  # as XLM-R's own layers start
_ROWS = 256  # masked tokens whose losses are computed at a time: in fp32 a quarter of a gigabyte
SPAN_OUTPUTS = 2  # the scores of being the answer's start and its end
_CONSTANTS = {"layer_norm.weight": 1.0, "scale": 100.0}


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer without values yet: made on "meta", so that nothing is drawn from the global generator. `to_empty` would
    import sympy for that."""
    linear = nn.Linear(inputs, outputs, device="meta")
    linear.weight, linear.bias = nn.Parameter(torch.empty(outputs, inputs)), nn.Parameter(torch.empty(outputs))
    return linear


class RowHead(nn.Module):
    """From each `<s>`: dense, tanh, out. Logits [rows, outputs] (XLM-R's classification head)."""

    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dense = _linear(width, width)
        self.out = _linear(width, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        inner = torch.tanh(self.dense(self.dropout(hidden)))
        return self.out(self.dropout(inner))  # type: ignore[no-any-return]


class TokenHead(nn.Module):
    """One linear layer on every token that is read: logits [n, outputs]."""

    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.out = _linear(width, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.out(self.dropout(hidden))  # type: ignore[no-any-return]


class LanguageModelHead(nn.Module):
    """Scores of the whole vocabulary for chosen tokens, by the encoder's own word embeddings (XLM-R's `lm_head`).

    hidden [tokens, width], embeddings [vocabulary, width] → logits [tokens, vocabulary].
    """

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = _linear(width, width)
        self.layer_norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.empty(vocabulary))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        inner = self.layer_norm(functional.gelu(self.dense(hidden)))
        return functional.linear(inner, embeddings, self.bias)


class NextWordHead(nn.Module):
    """That of a causal language model: its own last layer, so that nothing is here (see `CausalModel.next_words`)."""


class DualEncoderHead(nn.Module):
    """From each `<s>`: dense, tanh, length 1, times the root of `scale`: the dot product of two rows' vectors is
    scale · cosine. Vectors [rows, width] in fp32, whatever the encoder computes in.

    `scale` is learned and starts at 100 (XTREME-R's LAReQA); it and the layer have no values before they are given.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = _linear(width, width)
        self.scale = nn.Parameter(torch.empty(1))

    def forward(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            inner = torch.tanh(self.dense(hidden.float()))
            # A scale below 0 would have no root; one near 0 compares nothing.
            return functional.normalize(inner, dim=1) * self.scale.float().clamp(min=1e-3).sqrt()


class FormatHead(ABC):
    """What is asked about the heads of a format. Here: one score per output of every row, one of them is right."""

    @abstractmethod
    def build(self, outputs: int, width: int, dropout: float) -> nn.Module:
        """An uninitialised head; `outputs`: see `training.model.encoder.HeadKind`."""

    def reads(self, pieces: Sequence[Piece]) -> list[int] | None:
        """The places, in the packed rows, of the tokens that the head reads; None: it reads them all."""
        lengths = [len(row) for piece in pieces for row in piece.rows]
        return [end - length for end, length in zip(accumulate(lengths), lengths, strict=True)]

    def loss(self, logits: Tensor, pieces: Sequence[Piece], contrast_size: int) -> Tensor:
        """The SUM of the pieces' loss terms; `logits` are fp32."""
        return _sum_loss(logits, [piece.target[0] for piece in pieces])

    def unbatch(self, logits: Tensor, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        """One fp32 array per piece. Here: [outputs]."""
        return list(_array(logits))

    def loss_of_outputs(self, outputs: Sequence[NDArray[Any]], pieces: Sequence[Piece], contrast_size: int) -> float:
        """`loss`, of what `unbatch` gave for all of the pieces."""
        logits = np.concatenate([np.atleast_2d(output) for output in outputs])
        return float(self.loss(torch.from_numpy(logits), pieces, contrast_size))


class SequenceHead(FormatHead):
    def build(self, outputs: int, width: int, dropout: float) -> nn.Module:
        return RowHead(width, outputs, dropout)


class ChoiceHead(FormatHead):
    """One score per row; a piece's rows are its choices, [choices]."""

    def build(self, outputs: int, width: int, dropout: float) -> nn.Module:
        return RowHead(width, 1, dropout)

    def loss(self, logits: Tensor, pieces: Sequence[Piece], contrast_size: int) -> Tensor:
        return super().loss(_by_choice(logits, pieces), pieces, contrast_size)

    def unbatch(self, logits: Tensor, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        return super().unbatch(_by_choice(logits, pieces), pieces)


class TaggingHead(FormatHead):
    """The scores of every word's first subword, [words, labels]."""

    def build(self, outputs: int, width: int, dropout: float) -> nn.Module:
        return TokenHead(width, outputs, dropout)

    def reads(self, pieces: Sequence[Piece]) -> list[int]:
        return [place + word for place, piece in _placed(pieces) for word in piece.way_back]

    def loss(self, logits: Tensor, pieces: Sequence[Piece], contrast_size: int) -> Tensor:
        return _sum_loss(logits, [piece.target[word] for piece in pieces for word in piece.way_back])

    def unbatch(self, logits: Tensor, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        return _cut(_array(logits), [len(piece.way_back) for piece in pieces])


class SpanHead(FormatHead):
    """The scores of every token as the answer's start and as its end, [length, 2]; two loss terms a piece."""

    def build(self, outputs: int, width: int, dropout: float) -> nn.Module:
        return TokenHead(width, SPAN_OUTPUTS, dropout=0.0)

    def reads(self, pieces: Sequence[Piece]) -> None:
        return None

    def loss(self, logits: Tensor, pieces: Sequence[Piece], contrast_size: int) -> Tensor:
        scores = _padded(logits, pieces)  # [pieces, length, 2]
        starts, ends = ([piece.target[side] for piece in pieces] for side in (0, 1))
        return _sum_loss(scores[..., 0], starts) + _sum_loss(scores[..., 1], ends)

    def unbatch(self, logits: Tensor, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        return _cut(_array(logits), [len(piece.rows[0]) for piece in pieces])


class MaskedTokensHead(FormatHead):
    """The whole vocabulary's scores of every masked token, of which the best token's id and the right one's loss are
    kept, [masked tokens, 2]."""

    def build(self, outputs: int, width: int, dropout: float) -> nn.Module:
        return LanguageModelHead(width, outputs)

    def reads(self, pieces: Sequence[Piece]) -> list[int]:
        return [
            place + token
            for place, piece in _placed(pieces)
            for token, target in enumerate(piece.target)
            if target != IGNORED
        ]

    def loss(self, logits: Tensor, pieces: Sequence[Piece], contrast_size: int) -> Tensor:
        return _sum_loss(logits, _masked(pieces))

    def unbatch(self, logits: Tensor, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        right = torch.tensor(_masked(pieces), device=logits.device)
        best = logits.argmax(dim=-1).float()  # exact up to 2**24
        losses = torch.cat([  # some at a time: in fp32 all scores would take twice the room
            functional.cross_entropy(some_logits.float(), some_targets, reduction="none")
            for some_logits, some_targets in zip(torch.split(logits, _ROWS), torch.split(right, _ROWS), strict=True)
        ])  # fmt: skip
        outputs = _array(torch.stack([best, losses], dim=1))
        return _cut(outputs, [sum(label != IGNORED for label in piece.target) for piece in pieces])

    def loss_of_outputs(self, outputs: Sequence[NDArray[Any]], pieces: Sequence[Piece], contrast_size: int) -> float:
        return float(sum(output[:, 1].sum(dtype=np.float64) for output in outputs))


class AnswersHead(MaskedTokensHead):
    """How likely prompts' answers are: of each, one behind the other, the log-probability of each of its tokens at that
    token's mask, where all of them are masked at once. No other score leaves the device."""

    def reads(self, pieces: Sequence[Piece]) -> list[int]:
        return [
            place + piece.way_back.start + mask
            for place, piece in _placed(pieces)
            for mask in range(piece.way_back.width)
        ]

    def loss(self, logits: Tensor, pieces: Sequence[Piece], contrast_size: int) -> Tensor:
        return _sum_loss(logits, [label for piece in pieces for label in _under_masks(piece)])

    def unbatch(self, logits: Tensor, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        masks: list[int] = []
        tokens: list[int] = []
        first = 0
        for piece in pieces:
            for answer in piece.way_back.tokens:
                masks.extend(range(first, first + len(answer)))
                tokens.extend(answer)
            first += piece.way_back.width
        # Some at a time: in fp32 all scores would take twice the room.
        normalisers = torch.cat([some_rows.float().logsumexp(dim=1) for some_rows in torch.split(logits, _ROWS)])
        at_masks = torch.tensor(masks, device=logits.device)
        chosen_logits = logits[at_masks, torch.tensor(tokens, device=logits.device)].float()
        return _cut(_array(chosen_logits - normalisers[at_masks]), [_answer_tokens(piece) for piece in pieces])

    def loss_of_outputs(self, outputs: Sequence[NDArray[Any]], pieces: Sequence[Piece], contrast_size: int) -> float:
        losses = 0.0
        for output, piece in zip(outputs, pieces, strict=True):
            right = _under_masks(piece)
            if right in piece.way_back.tokens:
                place = piece.way_back.tokens.index(right) * piece.way_back.width
                losses -= float(output[place : place + piece.way_back.width].sum(dtype=np.float64))
        return losses


def _under_masks(piece: Piece) -> tuple[int, ...]:
    return piece.target[piece.way_back.start : piece.way_back.start + piece.way_back.width]


def _answer_tokens(piece: Piece) -> int:
    return sum(map(len, piece.way_back.tokens))


class QuestionsHead(FormatHead):
    """A vector of every row, [rows, width]; the loss draws questions to their own answers."""

    def build(self, outputs: int, width: int, dropout: float) -> nn.Module:
        return DualEncoderHead(width)

    def loss(self, logits: Tensor, pieces: Sequence[Piece], contrast_size: int) -> Tensor:
        return contrastive_loss(logits, pieces, contrast_size)

    def unbatch(self, logits: Tensor, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        return _cut(_array(logits), [len(piece.rows) for piece in pieces])


_HEADS: dict[str, FormatHead] = {
    "sequence": SequenceHead(),
    "choice": ChoiceHead(),
    "span": SpanHead(),
    "tagging": TaggingHead(),
    "mlm": MaskedTokensHead(),
    "prompted_pair": AnswersHead(),
    "prompted_choice": AnswersHead(),
    "dual_encoder": QuestionsHead(),
}


def build(form: str, outputs: int, width: int, dropout: float) -> nn.Module:
    """An uninitialised head for a format; `outputs`: see `training.model.encoder.HeadKind`."""
    return _HEADS[form].build(outputs, width, dropout)


def fresh(form: str, outputs: int, width: int, dropout: float, seed: int, task: str) -> nn.Module:
    """A new head; its values depend on (seed, task) only, whatever was drawn before."""
    head = build(form, outputs, width, dropout)
    generator = torch.Generator().manual_seed(sub_seed(seed, "head", task))
    with torch.no_grad():
        for name, parameter in sorted(head.named_parameters()):
            if name in _CONSTANTS:
                parameter.fill_(_CONSTANTS[name])
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, _START_DEVIATION, generator=generator)
    return head


def reads(form: str, pieces: Sequence[Piece]) -> list[int] | None:
    """The places, in the packed rows, of the tokens that a format's head reads; None: it reads them all. Of a format
    without a head the first of every row."""
    return _HEADS.get(form, _HEADS["sequence"]).reads(pieces)


def loss(form: str, logits: Tensor, pieces: Sequence[Piece], contrast_size: int = 1) -> Tensor:
    """The SUM of the pieces' loss terms, in fp32; the caller divides by the number of terms of the whole step.

    A piece is one term; span: two, its start and its end; tagging, mlm: one per labelled or masked token.
    """
    return _HEADS[form].loss(logits.float(), pieces, contrast_size)


def unbatch(form: str, logits: Tensor, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
    """One fp32 array per piece.

    Sequence [labels]; choice [choices]; span [length, 2]; tagging [words, labels]; dual_encoder [rows, width];
    mlm [masked tokens, 2]: the best token's id and the right one's loss, for the scores are as many as the vocabulary.
    prompted_* [tokens of all answers that are asked for]: log-probabilities.
    """
    return _HEADS[form].unbatch(logits, pieces)


def loss_of_outputs(
    form: str, outputs: Sequence[NDArray[Any]], pieces: Sequence[Piece], contrast_size: int = 1
) -> float:
    """`loss` once more, of what `unbatch` gave for these pieces, in their order: without another forward pass."""
    return _HEADS[form].loss_of_outputs(outputs, pieces, contrast_size)


def contrastive_loss(vectors: Tensor, pieces: Sequence[Piece], contrast_size: int) -> Tensor:
    """The SUM over pieces of the cross entropy of the own candidate among those of the piece's group.

    vectors [2 · pieces, width]: question, candidate, question, … Groups are `contrast_size` consecutive pieces, the
    last may be smaller; so a micro-batch has to begin where a group does.
    """
    assert len(vectors) == 2 * len(pieces) > 0, (vectors.shape, len(pieces))
    questions, candidates = vectors.float()[0::2], vectors.float()[1::2]
    total = vectors.new_zeros((), dtype=torch.float32)
    for start in range(0, len(pieces), contrast_size):
        group = slice(start, start + contrast_size)
        scores = questions[group] @ candidates[group].T
        targets = torch.arange(len(scores), device=scores.device)
        total = total + functional.cross_entropy(scores, targets, reduction="sum")
    return total


def _placed(pieces: Sequence[Piece]) -> Iterator[tuple[int, Piece]]:
    """Every piece with the place of its first token in the packed rows."""
    place = 0
    for piece in pieces:
        yield place, piece
        place += sum(map(len, piece.rows))


def _masked(pieces: Sequence[Piece]) -> list[int]:
    """The right tokens at the masked places."""
    return [label for piece in pieces for label in piece.target if label != IGNORED]


def _sum_loss(logits: Tensor, targets: Sequence[int]) -> Tensor:
    right = torch.tensor(targets, device=logits.device)
    return functional.cross_entropy(logits, right, ignore_index=IGNORED, reduction="sum")


def _padded(logits: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """[tokens, 2] → [pieces, length of the longest, 2]; padding can be neither start nor end."""
    rows = torch.split(logits, [len(piece.rows[0]) for piece in pieces])
    return pad_sequence(list(rows), batch_first=True, padding_value=torch.finfo(logits.dtype).min)


def _by_choice(logits: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """[rows, 1] → [pieces, choices]."""
    counts = {len(piece.rows) for piece in pieces}
    assert len(counts) == 1, f"pieces of one batch with different numbers of choices: {counts}"
    return logits.reshape(len(pieces), counts.pop())


def _array(values: Tensor) -> NDArray[Any]:
    return values.float().cpu().numpy()


def _cut(values: NDArray[Any], lengths: Sequence[int]) -> list[NDArray[Any]]:
    """Consecutive runs of the first axis."""
    ends = np.cumsum(lengths)
    return [values[end - length : end] for end, length in zip(ends, lengths, strict=True)]
