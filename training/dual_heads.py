"""The head of a dual encoder: a vector of every row, and the loss that draws questions to their own answers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.formats.base import Piece


class DualEncoderHead(nn.Module):
    """From each `<s>`: dense, tanh, length 1, times the root of `scale`: the dot product of two rows' vectors is
    scale · cosine. Vectors [rows, width] in fp32, whatever the encoder computes in.

    `scale` is learned and starts at 100 (XTREME-R's LAReQA); it and the layer have no values before they are given.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width, device="meta").to_empty(device="cpu")
        self.scale = nn.Parameter(torch.empty(1))

    def forward(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            inner = torch.tanh(self.dense(hidden.float()))
            # A scale below 0 would have no root; one near 0 compares nothing.
            return functional.normalize(inner, dim=1) * self.scale.float().clamp(min=1e-3).sqrt()


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
        own = torch.arange(len(scores), device=scores.device)
        total = total + functional.cross_entropy(scores, own, reduction="sum")
    return total
