"""The dual encoder's head and loss: a scaled cosine, and the own candidate among those of the group."""

import math

import pytest
import torch

from training.formats.base import Piece
from training.model import heads
from training.model.heads import contrastive_loss

WIDTH = 8


def pieces(count: int) -> list[Piece]:
    return [Piece(number, ((0, 2), (0, 2)), ()) for number in range(count)]


def vectors(rows: int) -> torch.Tensor:
    head = heads.fresh("dual_encoder", 0, WIDTH, 0.0, 1, "t")
    made: torch.Tensor = head(torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(3)))
    return made.detach()


def test_a_dot_product_is_100_cosines_at_first() -> None:
    made = vectors(4)
    cosines = torch.nn.functional.cosine_similarity(made[:, None], made[None], dim=2)
    torch.testing.assert_close(made @ made.T, 100 * cosines)


def test_the_head_computes_in_fp32() -> None:
    head = heads.fresh("dual_encoder", 0, WIDTH, 0.0, 1, "t")
    hidden = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", torch.bfloat16):
        inside = head(hidden)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, head(hidden))


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_the_loss_is_that_of_each_group_summed(size: int) -> None:
    made, count = vectors(10), 5
    expected = 0.0
    for number in range(count):
        group = range(number // size * size, min((number // size + 1) * size, count))
        scores = [float(made[2 * number] @ made[2 * other + 1]) for other in group]
        top = max(scores)
        expected += (
            top + math.log(sum(math.exp(s - top) for s in scores)) - float(made[2 * number] @ made[2 * number + 1])
        )
    assert math.isclose(float(contrastive_loss(made, pieces(count), size)), expected, rel_tol=1e-4, abs_tol=1e-4)


def test_the_scale_learns() -> None:
    head = heads.fresh("dual_encoder", 0, WIDTH, 0.0, 1, "t")
    hidden = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(3))
    contrastive_loss(head(hidden), pieces(4), 4).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in head.parameters())
