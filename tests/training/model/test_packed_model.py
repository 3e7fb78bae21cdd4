"""Packed rows through the unmodified encoder equal padded ones: logits, gradients, layers; and how rows are cut."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.training.reference import Reference
from training.formats.base import IGNORED, Piece
from training.model import attention, heads, products
from training.model.encoder import StageModel
from training.model.packing import FIRST_POSITION, Layout, Packed, cut, pack
from training.model.parent import read_parent

CPU = torch.device("cpu")
LABELS = 5
FORMS = ("sequence", "choice", "span", "tagging", "mlm", "dual_encoder")
LENGTHS = (17, 3, 512, 40, 3, 41)  # for choice and dual_encoder two rows make a piece
SHORT = (17, 3, 29)  # mlm: the reference scores the whole vocabulary for every token


def made_pieces(form: str) -> list[Piece]:
    """Pieces of random tokens, with rows of very different lengths."""
    draw = np.random.default_rng(1)
    lengths = SHORT if form == "mlm" else LENGTHS
    rows = [(0, *draw.integers(4, 5000, length - 2).tolist(), 2) for length in lengths]
    if form in ("choice", "dual_encoder"):
        pairs = zip(rows[::2], rows[1::2], strict=True)
        return [Piece(n, pair, (n % 2,) if form == "choice" else ()) for n, pair in enumerate(pairs)]
    return [Piece(number, (row,), *_target(form, row, draw)) for number, row in enumerate(rows)]


def _target(form: str, row: tuple[int, ...], draw: np.random.Generator) -> tuple[tuple[int, ...], object]:
    inside = range(1, len(row) - 1)
    if form == "sequence":
        return (int(draw.integers(LABELS)),), None
    if form == "span":
        return (int(draw.integers(len(row))), int(draw.integers(len(row)))), None
    chosen = tuple(inside[::3])
    most = LABELS if form == "tagging" else 5000
    target = [int(draw.integers(most)) if place in chosen else IGNORED for place in range(len(row))]
    return tuple(target), chosen if form == "tagging" else None


def stage_model(folder: Path, form: str) -> StageModel:
    """The encoder and a fresh head."""
    encoder = read_parent(folder).encoder(dropout=0.0)
    config = encoder.config
    outputs = config.vocab_size if form == "mlm" else LABELS  # type: ignore[union-attr]
    head = heads.fresh(form, outputs, config.hidden_size, 0.0, 1, form)  # type: ignore[arg-type, union-attr]
    if form == "dual_encoder":
        head.scale.data.fill_(1.0)  # type: ignore[union-attr]  # 100 makes 100 times as much of every difference
    return StageModel(encoder, {form: head})


def packed_run(model: StageModel, form: str, pieces: Sequence[Piece], multiple: int) -> tuple[Tensor, Tensor]:
    logits = model(pack(pieces, heads.reads(form, pieces), multiple).to(model.device), form)
    return logits, heads.loss(form, logits, pieces, contrast_size=2)


def compare(folder: Path, form: str, multiple: int, device: torch.device, tolerance: float, *, bf16: bool) -> None:
    model, pieces = stage_model(folder, form).to(device), made_pieces(form)
    model.bf16 = bf16
    reference = Reference(model, form, form)
    terms = max(1, sum(sum(label != IGNORED for label in piece.target) for piece in pieces))
    model.train()
    mine, my_loss = packed_run(model, form, pieces, multiple)
    logits, loss = reference.run(pieces, model)
    near(mine, logits, tolerance, "logits")
    near(my_loss / terms, loss / terms, tolerance, "loss")
    (my_loss / terms).backward()  # type: ignore[no-untyped-call]
    (loss / terms).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        theirs = reference.model.get_parameter(reference.names(model)[name]).grad
        assert parameter.grad is not None and theirs is not None, name
        near(parameter.grad, theirs, tolerance, name)
    model.eval()
    with torch.inference_mode():  # attention goes another way
        near(packed_run(model, form, pieces, multiple)[0], logits, tolerance, "logits without gradients")
        if form == "sequence" and not bf16:
            layers = model.every_layer(pack(pieces, multiple=multiple).to(device))
            for number, states in enumerate(reference.every_layer(pieces, device)):
                near(layers[number], states, tolerance, f"layer {number}")
                alone = model(pack(pieces, multiple=multiple).to(device), layer=number)
                near(alone, states, tolerance, f"layer {number}")


def near(mine: Tensor, theirs: Tensor, tolerance: float, what: str) -> None:
    """To `tolerance`, of the largest value where that is more than 1."""
    assert mine.shape == theirs.shape, what
    scale = max(1.0, float(theirs.detach().abs().max()))
    assert float((mine.detach().float() - theirs.detach().float()).abs().max()) <= tolerance * scale, what


@pytest.mark.slow
@pytest.mark.parametrize(("form", "multiple"), [*((form, 1) for form in FORMS), ("sequence", 256), ("span", 256)])
def test_packed_equals_padded(form: str, multiple: int, tiny_model: Path) -> None:
    compare(tiny_model, form, multiple, CPU, 1e-5, bf16=False)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["sequence", "mlm"])
def test_packed_equals_padded_in_a_real_model(form: str, small_model: Path) -> None:
    compare(small_model, form, 1, CPU, 1e-5, bf16=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("form", FORMS)
def test_packed_equals_padded_on_a_gpu(form: str, small_model: Path) -> None:
    compare(small_model, form, 1, torch.device("cuda"), 1e-2, bf16=True)


# --- rows in one long row

rows_of = st.lists(st.integers(2, 30), min_size=1, max_size=12)


@cache
def row(length: int) -> tuple[int, ...]:
    """A row of so many tokens."""
    return (0, *range(100, 98 + length), 2)


@given(rows_of, st.integers(1, 40))
def test_rows_are_packed_whole_and_in_order(lengths: list[int], multiple: int) -> None:
    pieces = [Piece(number, (row(length),), ()) for number, length in enumerate(lengths)]
    packed = pack(pieces, multiple=multiple)
    total = sum(lengths)
    assert packed.ids.shape == packed.positions.shape == (1, total + packed.filler)
    assert (total + packed.filler) % multiple == 0 and packed.filler < multiple
    assert packed.ids[0, :total].tolist() == [token for length in lengths for token in row(length)]
    places = [FIRST_POSITION + place for length in lengths for place in range(length)]
    assert packed.positions[0, :total].tolist() == places
    assert packed.layout.lengths[: len(lengths)] == tuple(lengths) and packed.layout.tokens == total + packed.filler
    assert packed.layout.ends[: len(lengths) + 1].tolist() == np.cumsum([0, *lengths]).tolist()


@given(rows_of)
def test_buckets_and_runs_have_every_token_once(lengths: list[int]) -> None:
    layout = Layout(lengths, CPU)
    buckets, back = layout.buckets
    shown = torch.cat([bucket.places.flatten() for bucket in buckets])
    assert shown[back].tolist() == list(range(sum(lengths))), "back is the inverse"
    for bucket in buckets:
        inside = torch.ones_like(bucket.places) if bucket.mask is None else bucket.mask[:, 0, 0].long()
        filled = inside.sum(1)
        assert int(filled.min()) >= 0.7 * bucket.places.shape[1] and int(filled.max()) == bucket.places.shape[1]
    assert sum(b.places.numel() if b.mask is None else int(b.mask.sum()) for b in buckets) == sum(lengths)
    flat = [length for _, rows, length in layout.runs for _ in range(rows)]
    assert flat == lengths
    assert [start for start, *_ in layout.runs] == np.cumsum([0, *(r * n for _, r, n in layout.runs)])[:-1].tolist()
    assert all(a[2] != b[2] for a, b in zip(layout.runs, layout.runs[1:], strict=False))


@pytest.mark.slow
@given(rows_of, st.integers(0, 99))
def test_every_way_of_attention_is_that_of_each_row_alone(lengths: list[int], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, sum(lengths), 2, 4, generator=draw)
    layout = Layout(lengths, CPU)
    alone = []
    for some in zip(*(states.split(lengths) for states in (q, k, v)), strict=True):
        one = [states.transpose(0, 1)[None] for states in some]  # [1, heads, length, width]
        alone.append(scaled_dot_product_attention(*one)[0].transpose(0, 1))
    expected = torch.cat(alone)
    torch.testing.assert_close(attention._by_runs(q, k, v, layout, None), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(attention._by_buckets(q, k, v, layout, 0.0, None), expected, atol=1e-6, rtol=1e-5)


def test_evaluation_computes_attention_by_mkl_and_leaves_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = []

    def kernel(*states: Tensor, scale: float) -> Tensor:
        settings.append(torch.backends.mkldnn.matmul.fp32_precision)
        return scaled_dot_product_attention(*states, scale=scale)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", kernel)
    q, k, v = torch.randn(3, 13, 2, 8)
    before = products.apply("onednn")
    try:
        attention._by_runs(q, k, v, Layout((5, 5, 3), CPU), 1.0)
        assert settings == ["ieee", "ieee"]
        assert products.apply("onednn") == "bf16"
    finally:
        products.restore(before)


# --- micro-batches


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 200), st.integers(1, 4))
def test_micro_batches_keep_the_budget(sizes: list[int], budget: int, world: int) -> None:
    parts = cut(sizes, budget, world)
    assert [unit for part in parts for unit in part] == list(range(len(sizes))), "all units, once, in order"
    assert all(len(part) > 0 for part in parts)
    for part in parts:
        assert len(part) == 1 or sum(sizes[part.start : part.stop]) <= budget
    assert len(parts) % world == 0 or len(parts) == len(sizes)


@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 4))
def test_units_of_one_size_are_cut_evenly(size: int, count: int, world: int) -> None:
    sizes = [size] * (count * world * 3)
    parts = cut(sizes, 3 * size, world)
    assert len(parts) == count * world and {len(part) for part in parts} == {3}


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(50, 400))
def test_no_micro_batch_is_far_from_its_share(sizes: list[int], budget: int) -> None:
    parts = cut(sizes, budget)
    share = sum(sizes) / len(parts)
    if len(parts) < len(sizes):
        assert all(sum(sizes[part.start : part.stop]) <= share + 2 * max(sizes) for part in parts)


def test_a_batch_moves_as_it_is() -> None:
    packed: Packed = pack([Piece(0, (row(5),), ())], [0])
    assert packed.to(CPU) is packed
