"""The shape of a run, by arithmetic: the ZeRO stage, the tokens of a forward pass, the sizes of buckets. No torch.

Everything is fp32 (weights, gradients, Adam's two moments), whatever the forward pass computes in. `plan` shows the
shape with the memory still unknown; the engine chooses again with the true memory and the true number of parameters.
"""

import math
from dataclasses import dataclass
from typing import Literal

from slurm.base import UserError
from training.flops import Sizes
from training.spec import Runtime

ZeroStage = Literal["none", 0, 1, 2, 3]

_FP32, _BF16 = 4, 2  # bytes
_USED = 0.9  # of the memory: the rest is for the allocator's gaps and the libraries
_GPU_TOKENS, _GPU_EVAL_TOKENS = 16_384, 65_536
_CPU_TOKENS, _CPU_EVAL_TOKENS = 4_096, 4_096
_PLAIN_BUFFER = 500_000_000  # elements that DeepSpeed copies together for an all-reduce without ZeRO


@dataclass(frozen=True)
class Shape:
    """How one train stage runs on each of its ranks. Memory is arithmetic, in bytes per rank."""

    zero: ZeroStage
    offload: bool
    world: int
    token_budget: int  # tokens per forward pass in training
    bucket: int  # elements per collective of ZeRO, even
    states_bytes: int  # weights, gradients, optimizer and DeepSpeed's copies, on the device
    token_bytes: int  # what the backward pass needs of one token
    why: str  # a sentence: how the ZeRO stage came about

    def most(
        self, global_batch_size: int, max_length: int, sequences: int = 1, unit_examples: int = 1
    ) -> tuple[int, int]:
        """(micro-batches per rank and step, tokens of the largest), where every sequence is as long as can be.

        `sequences`: of one example; `unit_examples`: how many examples no micro-batch parts.
        """
        unit = min(unit_examples, global_batch_size) * sequences * max_length
        units = math.ceil(global_batch_size / unit_examples)
        per_pass = max(1, self.token_budget // unit)
        passes = math.ceil(math.ceil(units / self.world) / per_pass)
        return passes, min(per_pass, math.ceil(units / self.world)) * unit


def choose(
    sizes: Sizes,
    world: int,
    memory: int | None,
    runtime: Runtime,
    *,
    bf16: bool,
    gpu: bool = True,
    max_length: int = 512,
    parameters: int | None = None,
    predicted_share: float = 0.0,
) -> Shape:
    """The shape of a train stage on `world` ranks.

    sizes: with a compact vocabulary, those with the kept rows (`dataclasses.replace(sizes, vocabulary=rows)`).
    memory: bytes that one rank has on its device, None: unknown, which counts as enough. parameters: trained ones,
    heads included; None: the encoder's. predicted_share: the share of tokens that a language model's head predicts.
    UserError where `zero: auto` finds no stage whose states and one sequence of `max_length` tokens fit.
    """
    count = sizes.parameters if parameters is None else parameters
    token_bytes = training_token_bytes(sizes, max_length, bf16=bf16, gpu=gpu, predicted_share=predicted_share)
    room = None if memory is None else int(memory * _USED)

    def shape(zero: ZeroStage, offload: bool, why: str) -> Shape:
        states = states_bytes(sizes, count, world, zero, offload=offload, bf16=bf16)
        free_bytes = None if room is None else room - states
        budget = runtime.token_budget or _budget(
            _GPU_TOKENS if gpu else _CPU_TOKENS, free_bytes, token_bytes, max_length
        )
        return Shape(zero, offload, world, budget, bucket_size(count), states, token_bytes, why)

    if runtime.offload and runtime.zero in ("none", 0):
        raise UserError(
            f"offload: true does not go with zero: {runtime.zero}; set zero: auto, 1, 2 or 3, or offload: false"
        )
    if runtime.zero != "auto":
        return shape(runtime.zero, runtime.offload, f"zero: {runtime.zero} is what the experiment says")
    shapes = [shape(*candidate) for candidate in _candidates(world, offload=runtime.offload, gpu=gpu)]
    least = max_length * token_bytes
    for candidate in shapes:
        if room is None or candidate.states_bytes + least <= room:
            return candidate
    assert memory is not None, "without a known memory the first shape fits"
    smallest = min(shapes, key=lambda candidate: candidate.states_bytes)
    name = f"ZeRO {smallest.zero}{' and offload' if smallest.offload else ''}"
    needed_bytes = (smallest.states_bytes + least) / _USED
    raise UserError(
        f"this model needs about {gigabytes(needed_bytes)} a rank even with {name}, but a rank has"
        f" {gigabytes(memory)}: ask for {_more(world, gpu=gpu)}, or set a smaller max_length."
    )


def eval_budget(sizes: Sizes, free: int | None, *, bf16: bool, gpu: bool, max_length: int = 512) -> int:
    """Tokens of a forward pass without gradients, by arithmetic. free: bytes of the device that nothing uses, None:
    unknown, which counts as enough."""
    room = None if free is None else int(free * _USED)
    return _budget(_GPU_EVAL_TOKENS if gpu else _CPU_EVAL_TOKENS, room, _eval_token_bytes(sizes, bf16=bf16), max_length)


def _candidates(world: int, *, offload: bool, gpu: bool) -> list[tuple[ZeroStage, bool, str]]:
    """What `zero: auto` tries, from the fastest to the smallest: stage, offload, why."""
    alone = "one rank has nothing to share out"
    several = "ranks share the optimizer's state"
    small = "else the memory is too small"
    beside: list[tuple[ZeroStage, bool, str]] = [(2, True, f"the optimizer lies in the host's memory, {small}")]
    if world == 1:
        stages: list[tuple[ZeroStage, bool, str]] = [(0, False, alone)]
    else:
        stages = [
            (1, False, several),
            (2, False, f"ranks share optimizer and gradients, {small}"),
            (3, False, f"ranks share everything, {small}"),
        ]
        beside.append((3, True, f"ranks share everything and the optimizer lies in the host's memory, {small}"))
    if offload:
        return [(stage, True, f"the experiment says offload: {why}") for stage, _, why in beside]
    # On a CPU the host's memory is the device's.
    return [*stages, *beside] if gpu else stages


def _more(world: int, *, gpu: bool) -> str:
    if gpu:
        return "larger GPUs" if world == 1 else "more or larger GPUs"
    return "more memory (mem)"


def _budget(largest: int, free_bytes: int | None, token_bytes: int, max_length: int) -> int:
    """The largest power of two up to `largest` whose tokens fit into `free_bytes`; never less than one sequence."""
    fitting = largest if free_bytes is None else min(largest, max(1, free_bytes // token_bytes))
    return max(max_length, 1 << (fitting.bit_length() - 1))


def bucket_size(parameters: int) -> int:
    """Elements per collective: large buckets cost small models time (measured: 2e6 against 5e7 at 21 M parameters)."""
    return min(50_000_000, max(2_000_000, parameters // 20)) // 2 * 2  # DeepSpeed refuses odd ones


def states_bytes(
    sizes: Sizes, parameters: int, world: int, zero: ZeroStage, *, offload: bool = False, bf16: bool = False
) -> int:
    """Bytes per rank on the device when most is there, without activations.

    Measured with deepspeed 0.19.8 on a CPU (67 M parameters, 1 and 2 ranks, gradients of two passes added up): within
    6 % of this; stage 3 on one rank, which nothing chooses, takes a fifth less.
    """
    share = math.ceil(parameters / world)
    optimizer = 0 if offload else 3 * share  # under ZeRO: Adam's moments and a copy of the weights that it updates
    buffers = 2 * bucket_size(parameters)  # one is filled while the other is sent
    largest = min(parameters, sizes.vocabulary * sizes.width)  # the word embeddings' gradient comes in one piece
    elements = {
        # DDP's all-reduces have buffers of their own, DeepSpeed's work on a copy of the gradients, on one rank too.
        "none": 4 * parameters + largest,
        0: 4 * parameters + (largest if world == 1 else max(largest, min(parameters, _PLAIN_BUFFER))),
        1: 2 * parameters + share + optimizer + buffers,  # `share`: the gradients of its share, flat for Adam
        2: parameters + 2 * share + optimizer + buffers + largest,
        # Word embeddings are gathered whole; their gradient is made, added up and sent whole.
        3: 3 * share + optimizer + buffers + 4 * largest,
    }[zero]
    # Autocast keeps the matrices' bf16 copies from the forward pass for the backward pass.
    return _FP32 * elements + (_BF16 * sizes.matmul_parameters if bf16 else 0)


def training_token_bytes(sizes: Sizes, max_length: int, *, bf16: bool, gpu: bool, predicted_share: float = 0.0) -> int:
    """Bytes that a training forward pass keeps of one token for the backward pass.

    A layer keeps: the inputs of its six matrices (in bf16 autocast every matrix has a cast of its own), query, key,
    value and output of attention, the inputs of both layer norms (fp32) and of GELU, and two dropout masks. On a CPU
    (counted there, exact to 5 %) attention keeps its weights, before and after dropout, and their mask; the
    fused kernels of GPUs keep none of these, but rows padded in buckets where flash-attn is missing (not measured).
    Of a gated feed-forward part its four inner tensors (not measured).
    """
    compute, d = (_BF16 if bf16 else _FP32), sizes.width
    inputs = (3 + 1) * compute * d if bf16 else 2 * compute * d  # of query, key, value; of the feed-forward part
    attention = (6 if gpu else 4) * compute * d
    weights = 0 if gpu and not sizes.keeps_attention else sizes.heads * max_length * 3 * compute
    inner = 2 * (sizes.inner_matrices - 1) * compute * sizes.inner
    mask = d if gpu else compute * d
    layer = inputs + attention + weights + inner + 2 * (_FP32 * d + mask)
    embeddings = 3 * _FP32 * d
    # Logits after softmax, their gradient and its input's.
    language_model = predicted_share * sizes.vocabulary * 3 * _FP32
    return sizes.layers * layer + embeddings + math.ceil(language_model)


def _eval_token_bytes(sizes: Sizes, *, bf16: bool) -> int:
    """Without gradients one layer's tensors are there at a time; retrieval keeps every layer's output."""
    compute, d = (_BF16 if bf16 else _FP32), sizes.width
    return _FP32 * d * (sizes.layers + 1) + 5 * compute * d + 2 * compute * sizes.inner + 2 * _FP32 * d


def gigabytes(count: float) -> str:
    """Bytes as people read them: GB of 10⁹, or MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
