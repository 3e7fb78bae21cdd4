"""The shape of a run by arithmetic: what is chosen, that it fits, and that what the user says is kept."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base import UserError
from training import shape
from training.engine.batches import cut_pieces
from training.flops import Sizes
from training.formats.base import Piece
from training.shape import Shape, choose
from training.spec import Runtime

LARGE = Sizes(24, 1024, 4096, 16, 250_002, 514, 1)
BASE = Sizes(12, 768, 3072, 12, 250_002, 514, 1)
GB = 10**9


def _of(world: int, memory: float | None, sizes: Sizes = LARGE, gpu: bool = True, **runtime: Any) -> Shape:
    known = None if memory is None else int(memory * GB)
    return choose(sizes, world, known, Runtime(**runtime), bf16=gpu, gpu=gpu, max_length=256)


def test_one_rank_takes_zero_0_and_several_as_much_as_the_memory_asks_for() -> None:
    assert [(s.zero, s.offload) for s in (_of(1, 141), _of(1, 24), _of(1, None))] == [(0, False)] * 3
    assert (_of(1, 10).zero, _of(1, 10).offload) == (2, True)
    by_memory = [(s.zero, s.offload) for s in (_of(8, m) for m in (None, 80, 7.0, 6.0))]
    assert by_memory == [(1, False), (1, False), (2, False), (2, True)]
    compact = replace(LARGE, vocabulary=30_000)
    assert [_of(8, memory, sizes=compact).zero for memory in (80, 4, 3)] == [1, 2, 3]
    assert (_of(8, 2.4, sizes=compact).zero, _of(8, 2.4, sizes=compact).offload) == (3, True)
    assert _of(2, 1.0, sizes=Sizes(4, 256, 1024, 4, 60_000, 514, 1)).zero == 1


def test_sixteen_bytes_a_parameter_and_deepspeeds_copies() -> None:
    count = LARGE.parameters
    alone = shape.states_bytes(LARGE, count, 1, "none")
    assert alone == 16 * count + 4 * LARGE.vocabulary * LARGE.width
    assert shape.states_bytes(LARGE, count, 1, 0) == alone, "one rank sends its gradients nowhere"
    assert shape.states_bytes(LARGE, count, 2, 0) - 16 * count == 4 * 500_000_000
    # Measured peaks in bytes per parameter, 67 M parameters of which 46 % are embeddings; see `states_bytes`.
    small = Sizes(1, 512, 0, 1, 60_000, 0, 0)
    measured = {
        (1, "none"): 17.9, (1, 1): 24.8, (1, 2): 24.8,
        (2, "none"): 18.0, (2, 0): 20.1, (2, 1): 16.6, (2, 2): 16.4, (2, 3): 18.9,
    }  # fmt: skip
    for (world, zero), found in measured.items():
        assert shape.states_bytes(small, 66_966_528, world, zero) / 66_966_528 == pytest.approx(found, rel=0.06)


def test_a_token_of_the_large_model_needs_about_a_megabyte_in_bf16() -> None:
    in_bf16, in_fp32 = (shape.training_token_bytes(LARGE, 256, bf16=bf16, gpu=True) for bf16 in (True, False))
    assert in_bf16 == pytest.approx(1.14e6, rel=0.01) and 1.4 < in_fp32 / in_bf16 < 1.7
    of_language_model = shape.training_token_bytes(LARGE, 256, bf16=True, gpu=True, predicted_share=0.15)
    assert of_language_model - in_bf16 == pytest.approx(0.15 * 250_002 * 12, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("lengths", [[64] * 8, [48 + row % 17 for row in range(11)]], ids=["equal", "unequal"])
def test_the_bytes_of_a_token_are_those_that_a_forward_pass_keeps(lengths: list[int], bf16: bool) -> None:
    import torch

    from training.model.packing import Layout
    from training.model.xlmr import Encoder
    from training.pretrained.config import EncoderConfig

    sizes = Sizes(4, 256, 1024, 4, 500, 130, 1)
    config = EncoderConfig(
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
    model = Encoder(config).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    positions = torch.cat([torch.arange(2, 2 + length) for length in lengths])[None]
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        ids = torch.full_like(positions, 5)
        (hidden,) = model(ids, positions, Layout(lengths, torch.device("cpu")))
    copies = 2 * sizes.matmul_parameters if bf16 else 0  # of the matrices, which are counted among the states
    counted = (sum(kept.values()) - copies) / sum(lengths)
    assert hidden.requires_grad
    assert counted == pytest.approx(shape.training_token_bytes(sizes, 64, bf16=bf16, gpu=False), rel=0.05)


def test_budgets_by_device_and_memory() -> None:
    assert _of(1, 141).token_budget == 16_384
    assert _of(1, 24).token_budget == 8_192
    assert _of(1, None, gpu=False).token_budget == 4_096
    assert _of(2, 9.0).token_budget == 1024
    longest = choose(LARGE, 2, int(8.5 * GB), Runtime(), bf16=True, gpu=True, max_length=1100)
    assert longest.token_budget == 1100  # never less than a whole sequence


def test_evaluation_takes_what_fits_beside_the_model() -> None:
    def of(free: int | None, *, gpu: bool = True) -> int:
        return shape.eval_budget(LARGE, free, bf16=gpu, gpu=gpu)

    assert (of(None), of(None, gpu=False)) == (65_536, 4_096)
    assert of(0) == 512  # never less than a whole sequence
    assert 512 < of(4 * GB) < of(6 * GB) <= 65_536


def test_what_the_user_says_is_kept() -> None:
    told = _of(4, 2, zero=3, offload=True, token_budget=1000)
    assert (told.zero, told.offload, told.token_budget) == (3, True, 1000)
    assert _of(4, None, zero="none").zero == "none" and _of(1, None, zero=2).zero == 2
    assert [_of(world, None, offload=True).zero for world in (1, 4)] == [2, 2]


def test_offload_needs_a_stage_of_zero() -> None:
    with pytest.raises(UserError, match="offload: true does not go with zero: none; set zero: auto, 1, 2 or 3"):
        _of(1, None, zero="none", offload=True)


@pytest.mark.parametrize(
    ("world", "gpu", "asked"), [(1, True, "larger GPUs"), (4, True, "more or larger GPUs"), (1, False, "mem")]
)
def test_where_nothing_fits_one_line_says_what_to_ask_for(world: int, gpu: bool, asked: str) -> None:
    with pytest.raises(UserError, match=rf"needs about \d+\.\d GB a rank.*has 1\.0 GB: ask for.*{asked}") as raised:
        _of(world, 1.0, gpu=gpu)
    assert "\n" not in str(raised.value)


def test_micro_batches_hold_whole_sequences() -> None:
    made = _of(2, None, token_budget=1000)
    assert made.most(32, 256) == (6, 768)  # 16 sequences a rank, 3 in a pass
    assert made.most(32, 256, sequences=4) == (16, 1024)  # an example is not parted
    assert made.most(1, 2000) == (1, 2000)
    assert made.most(33, 100) == (2, 1000)
    assert made.most(32, 100, sequences=2, unit_examples=4) == (
        4,
        800,
    )  # dual encoders: 4 contrasts a rank, 1 in a pass


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_the_most_is_what_cutting_makes_of_the_longest(units: int, sequences: int, whole: int, world: int) -> None:
    batch = units * whole
    made = _of(world, 80.0, token_budget=1000)
    passes, tokens = made.most(batch, 100, sequences, whole)
    pieces = [Piece(number, ((0,) * 100,) * sequences, ()) for number in range(batch)]
    micros = cut_pieces(pieces, whole, made.token_budget, world)
    assert passes == -(-len(micros) // world)
    assert tokens >= max(len(micro) for micro in micros) * sequences * 100


@given(
    sizes=st.sampled_from([LARGE, BASE]),
    world=st.integers(1, 64),
    memory=st.integers(GB // 2, 200 * GB),
    bf16=st.booleans(),
    gpu=st.booleans(),
    length=st.integers(8, 512),
    parameters=st.none() | st.integers(10**6, 10**9),
)
def test_what_is_chosen_fits(
    sizes: Sizes, world: int, memory: int, bf16: bool, gpu: bool, length: int, parameters: int | None
) -> None:
    try:
        made = choose(sizes, world, memory, Runtime(), bf16=bf16, gpu=gpu, max_length=length, parameters=parameters)
    except UserError:
        return
    assert made.states_bytes + made.token_budget * made.token_bytes <= memory
    assert made.token_budget >= length and made.bucket % 2 == 0
    assert gpu or not made.offload
    more = choose(sizes, world, 2 * memory, Runtime(), bf16=bf16, gpu=gpu, max_length=length, parameters=parameters)
    assert (more.offload, more.zero) <= (made.offload, made.zero)


@given(st.integers(0, 10**10))
def test_buckets_are_even_and_follow_the_model(parameters: int) -> None:
    size = shape.bucket_size(parameters)
    assert size % 2 == 0 and 2_000_000 <= size <= 50_000_000


def test_shapes_need_no_torch() -> None:
    told = "import sys, training.shape, training.flops, launch.show; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", told], check=True)


def test_a_gated_feed_forward_part_and_kept_attention_need_more() -> None:
    per_token = shape.training_token_bytes(BASE, 256, bf16=True, gpu=True)
    gated = shape.training_token_bytes(replace(BASE, inner_matrices=3), 256, bf16=True, gpu=True)
    kept = shape.training_token_bytes(replace(BASE, keeps_attention=True), 256, bf16=True, gpu=True)
    assert gated - per_token == BASE.layers * 2 * 2 * BASE.inner
    assert kept - per_token == BASE.layers * 3 * 2 * BASE.heads * 256
    on_cpu = [
        shape.training_token_bytes(sizes, 256, bf16=False, gpu=False)
        for sizes in (BASE, replace(BASE, keeps_attention=True))
    ]
    assert on_cpu[0] == on_cpu[1]
