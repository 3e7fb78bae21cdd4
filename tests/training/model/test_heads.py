"""Heads: their start is a function of (seed, task); they read what is theirs; their loss is a sum of terms."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from training import formats
from training.formats.base import IGNORED, Piece
from training.model import heads
from training.model.packing import pack

WIDTH = 8
PIECES = {
    "sequence": [Piece(0, ((0, 5, 6, 2),), (2,)), Piece(1, ((0, 2),), (0,))],
    "choice": [Piece(0, ((0, 5, 2), (0, 6, 7, 2)), (1,)), Piece(1, ((0, 2), (0, 3, 2)), (0,))],
    "span": [Piece(0, ((0, 5, 6, 2),), (1, 2)), Piece(1, ((0, 4, 2),), (0, 0))],
    "tagging": [
        Piece(0, ((0, 5, 6, 2),), (IGNORED, 2, 1, IGNORED), (1, 2)),
        Piece(1, ((0, 4, 2),), (IGNORED, 0, IGNORED), (1,)),
    ],
}
READS = {"sequence": [0, 4], "choice": [0, 3, 7, 9], "span": None, "tagging": [1, 2, 5]}


def fresh(form: str, seed: int = 1, task: str = "t") -> torch.nn.Module:
    return heads.fresh(form, 3, WIDTH, 0.1, seed, task).eval()


def logits_of(form: str, head: torch.nn.Module, pieces: list[Piece]) -> torch.Tensor:
    """Logits on made-up hidden states that depend on the token id only."""
    packed = pack(pieces, heads.reads(form, pieces))
    table = torch.randn(10, WIDTH, generator=torch.Generator().manual_seed(3))
    hidden = table[packed.ids[0]]
    made: torch.Tensor = head(hidden if packed.reads is None else hidden[packed.reads])
    return made.detach()


@pytest.mark.parametrize("form", PIECES)
def test_a_fresh_head_depends_on_seed_and_task_only(form: str) -> None:
    torch.manual_seed(1)
    first, before = fresh(form).state_dict(), torch.random.get_rng_state()
    torch.manual_seed(2)
    second = fresh(form).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["out.weight"], fresh(form, seed=2).state_dict()["out.weight"])
    assert not torch.equal(first["out.weight"], fresh(form, task="u").state_dict()["out.weight"])
    torch.manual_seed(1)
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator was used"


@pytest.mark.parametrize("form", PIECES)
def test_heads_read_their_own_tokens(form: str) -> None:
    assert heads.reads(form, PIECES[form]) == READS[form]
    assert heads.reads("mlm", PIECES["tagging"]) == READS["tagging"], "where there is a target"


@pytest.mark.parametrize("form", PIECES)
def test_the_loss_is_a_sum_over_pieces(form: str) -> None:
    head, pieces = fresh(form), PIECES[form]
    together = heads.loss(form, logits_of(form, head, pieces), pieces)
    alone = sum(float(heads.loss(form, logits_of(form, head, [piece]), [piece])) for piece in pieces)
    assert math.isclose(float(together), alone, rel_tol=1e-6)


@pytest.mark.parametrize("form", PIECES)
def test_a_head_that_knows_nothing_loses_the_logarithm_of_the_choices_per_term(form: str) -> None:
    pieces = PIECES[form]
    head = fresh(form)
    torch.nn.init.zeros_(head.out.weight)  # type: ignore[arg-type]
    terms = sum(formats.get(form).count(piece) for piece in pieces)
    assert terms == {"sequence": 2, "choice": 2, "span": 4, "tagging": 3}[form]
    found = float(heads.loss(form, logits_of(form, head, pieces), pieces))
    expected = {
        "sequence": 2 * math.log(3),
        "choice": 2 * math.log(2),
        "span": 2 * math.log(4) + 2 * math.log(3),  # each piece over its own tokens
        "tagging": 3 * math.log(3),
    }[form]
    assert math.isclose(found, expected, rel_tol=1e-6)


@pytest.mark.parametrize("form", PIECES)
def test_unbatch_gives_each_piece_what_it_gets_alone(form: str) -> None:
    head, pieces = fresh(form), PIECES[form]
    outputs = heads.unbatch(form, logits_of(form, head, pieces), pieces)
    shapes = {"sequence": [(3,)] * 2, "choice": [(2,)] * 2, "span": [(4, 2), (3, 2)], "tagging": [(2, 3), (1, 3)]}
    assert [output.shape for output in outputs] == shapes[form]
    for piece, output in zip(pieces, outputs, strict=True):
        assert output.dtype == np.float32
        alone: Any = heads.unbatch(form, logits_of(form, head, [piece]), [piece])[0]
        np.testing.assert_allclose(output, alone, rtol=1e-5, atol=1e-6)
