"""`make profile`: where the time of a training step goes, by torch's profiler, and the roofline beside it.

On a CPU the small model's shape (12 layers of 384), on a GPU XLM-R Large; random weights, made-up ids, lengths as in
MNLI, and the engine's own steps (`tests.benchmarks.gpu_ours`). The profiler itself takes some time of each operation.
"""

import argparse
import logging
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.gpu_ours import WAITING, Ours, Variant
from tests.benchmarks.synthetic import FORMS, part, pieces
from tests.benchmarks.windows import Windows, synchronise
from training import distributed
from training.engine.matmul import choose_matmul
from training.flops import Sizes, training_flops
from training.model import products
from training.pretrained.config import EncoderConfig

_COMMON = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
_MODELS = {
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "tiny": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
}
# The first one whose words are in the name of an operation (CPU) or a kernel (GPU). On a CPU attention with dropout
# goes step by step, so its batched products and softmax are named so; gathering its buckets is among the copies.
_GAPS = "host: autograd's own, and gaps"
_KINDS = (
    (_GAPS, r"autograd::|backward\d+$"),
    ("waiting for data", re.escape(WAITING)),
    ("attention", r"attention|flash|fmha|bmm|baddbmm|softmax|masked_fill"),
    ("optimizer", r"adam|_foreach|multi_tensor|vector_norm|lpnorm"),
    ("matrix products", r"::(add)?mm$|gemm|cutlass|cublas|xmma|nvjet|splitk"),
    (
        "copies",
        r"copy|memcpy|memset|index_select|index_add|index_put|gather|scatter|indexing|::cat$|catarray|clone|contiguous"
        r"|fill|zero_|embedding",
    ),
    ("elementwise", r""),
)
KINDS = tuple(kind for kind, _ in _KINDS)


def kind_of(name: str) -> str:
    """What an operation or a kernel of this name is counted as."""
    return next(kind for kind, words in _KINDS if re.search(words, name.lower()))


@dataclass(frozen=True)
class Operation:
    """One that ran: `seconds` without those that it called, from `start` on; `thread`: the host's that ran it, of a
    GPU's kernel 0."""

    name: str
    start: float
    seconds: float
    thread: int = 0


def shares(operations: Sequence[Operation], wall: float) -> dict[str, float]:
    """Seconds by kind; what of `wall` no operation fills are gaps. Of the busiest thread alone: others, such as the one
    that makes the next batch ready, run beside it."""
    by_thread: Counter[int] = Counter()
    for operation in operations:
        by_thread[operation.thread] += operation.seconds  # type: ignore[assignment]
    busiest = max(by_thread, key=lambda thread: by_thread[thread])
    seconds = dict.fromkeys(KINDS, 0.0)
    for operation in operations:
        if operation.thread == busiest:
            seconds[kind_of(operation.name)] += operation.seconds
    return seconds | {_GAPS: max(0.0, wall - sum(seconds.values()) + seconds[_GAPS])}


def main() -> None:
    """Prints a table."""
    told = _arguments()
    warnings.filterwarnings("ignore")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    torch.set_num_threads(told.threads)
    on_gpu = told.device == "cuda"
    sizes = _MODELS[told.model or ("large" if on_gpu else "small")] | _COMMON
    config = EncoderConfig(
        **sizes,  # type: ignore[arg-type]
        vocab_size=250_002 if told.model != "tiny" else 3000,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        classifier_dropout=None,
    )
    if not on_gpu:
        choice = choose_matmul("auto" if told.matmul is None else told.matmul, "training", config.sizes)
        products.apply(choice.name)
        print(f"matrix products: {choice.name} ({choice.why})")
    world = distributed.init(told.device)
    data = pieces(FORMS["mnli"], 60_000, config.vocab_size)
    kind = part(FORMS["mnli"], data)
    side = Ours(Variant("ours", zero=told.zero), config, kind, told.batch, world, bf16=on_gpu)
    try:
        print(_table(config.sizes, told, *_profiled(side, told.steps, on_gpu=on_gpu), on_gpu=on_gpu))
    finally:
        side.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.profile", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", choices=_MODELS, help="whose shape; small on a CPU, large on a GPU")
    parser.add_argument("--zero", choices=("auto", "none", "2"), default="auto")
    parser.add_argument("--matmul", choices=products.LIBRARIES, help="a CPU's; else the faster one")
    parser.add_argument("--batch", type=int, default=32, help="examples a step")
    parser.add_argument("--steps", type=int, default=4, help="that are profiled, after two others")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    told = parser.parse_args()
    told.zero = int(told.zero) if told.zero.isdigit() else told.zero
    return told


def _profiled(side: Ours, steps: int, *, on_gpu: bool) -> tuple[list[Operation], float, int, int]:
    """The operations of `steps` steps, the seconds these took by the clock, their tokens, and the sum of the squares of
    their rows' lengths."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    profiler = profile(activities=activities)
    marks: list[float] = []

    def between() -> int:
        """Two steps to warm up, those that count, no more."""
        marks.append(time.perf_counter())
        if len(marks) == 2:
            synchronise()
            side.lengths.clear()
            profiler.start()
            marks[-1] = time.perf_counter()
        return (2, steps, 0)[len(marks) - 1]

    side.train(Windows(between, lambda _: None))
    profiler.stop()
    squares = sum(length**2 for length in side.lengths)
    operations = list(_operations(profiler.events(), on_gpu=on_gpu))  # type: ignore[no-untyped-call]
    return operations, marks[2] - marks[1], sum(side.lengths), squares


def _operations(events: Any, *, on_gpu: bool) -> Iterator[Operation]:
    for event in events:
        if on_gpu and event.device_type == DeviceType.CUDA and not event.is_user_annotation:
            yield Operation(event.name, event.time_range.start / 1e6, event.self_device_time_total / 1e6)
        elif not on_gpu and event.device_type == DeviceType.CPU:
            seconds = event.self_cpu_time_total / 1e6
            yield Operation(event.name, event.time_range.start / 1e6, seconds, event.thread)


def _table(
    sizes: Sizes,
    told: argparse.Namespace,
    operations: Sequence[Operation],
    wall: float,
    tokens: int,
    squares: int,
    *,
    on_gpu: bool,
) -> str:
    seconds = shares(operations, wall)
    peak = _peak(4096 if on_gpu else 1024, on_gpu=on_gpu)
    flops = training_flops(sizes, tokens, 0)  # of the layers' matrices: without attention
    lines = [
        f"| {told.device}, {told.steps} steps of {told.batch}, zero {told.zero} | ms a step | share |",
        "|---|---:|---:|",
    ]
    lines += [f"| {kind} | {1e3 * value / told.steps:.1f} | {value / wall:.1%} |" for kind, value in seconds.items()]
    lines += [f"| together | {1e3 * wall / told.steps:.1f} | {tokens / wall:,.0f} tokens/s |", ""]
    attention_flops = training_flops(sizes, tokens, squares) - flops
    at_peak = tokens * peak / (flops + attention_flops)
    lines.append(
        f"roofline: a large product reaches {peak / 1e9:,.0f} GFLOP/s,"
        f" a copy {_bandwidth(on_gpu=on_gpu) / 1e9:,.0f} GB/s read and written"
    )
    lines.append(
        f"matrix products: {flops / told.steps / 1e12:.3f} TFLOP a step at"
        f" {flops / seconds['matrix products'] / 1e9:,.0f} GFLOP/s;"
        f" the whole step at {(flops + attention_flops) / wall / 1e9:,.0f}"
    )
    lines.append(
        f"were all of it products at the roofline: {at_peak:,.0f} tokens/s; this is {tokens / wall / at_peak:.0%}"
    )
    names: Counter[str] = Counter()
    for operation in operations:
        names[operation.name] += operation.seconds  # type: ignore[assignment]
    most = ", ".join(f"{name[:60]} {1e3 * value / told.steps:.1f}" for name, value in names.most_common(12))
    return "\n".join([*lines, f"most, ms a step: {most}"])


def _peak(size: int, *, on_gpu: bool) -> float:
    """FLOP/s of the fastest of a few square products, in the type that training has."""
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    left, right = torch.randn(2, size, size, device=device, dtype=dtype)
    return 2 * size**3 / _fastest(lambda: left @ right)


def _bandwidth(*, on_gpu: bool, size: int = 1 << 26) -> float:
    """Bytes a second, of a copy that no cache holds."""
    values = torch.zeros(size, device="cuda" if on_gpu else "cpu")
    target = torch.ones_like(values)
    return 2 * 4 * size / _fastest(lambda: target.copy_(values))


def _fastest(work: Callable[[], object], times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        synchronise()
        start = time.perf_counter()
        work()
        synchronise()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
