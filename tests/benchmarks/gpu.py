"""`make bench-gpu`: XLM-R Large at full size on one GPU, bf16, against Hugging Face Trainer + DeepSpeed ZeRO-2.

Random weights and made-up ids: speed does not depend on them; lengths are as in real tasks. Needs torch, transformers
and deepspeed alone (and what these need), run from the repository: `python -m tests.benchmarks.gpu`.
"""

import argparse
import gc
import importlib.util
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import peer
from tests.benchmarks.synthetic import FORMS, SPECIALS, Form, part, pieces
from tests.benchmarks.windows import Measured, Windows
from training import distributed
from training.distributed import World
from training.flops import Sizes, device_peak, mfu, sizes_of, training_flops
from training.formats.base import Piece
from training.model import attention

_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_TRAIN_TOKENS, _EVAL_TOKENS = 400_000, 262_144  # of data
_BATCH = 32
_BIG_STEP = 16_384  # tokens of a step with large micro-batches
_COLUMNS = ("batch", "train samples/s", "train tokens/s", "MFU", "eval tokens/s", "eval MFU", "peak GiB")


@dataclass(frozen=True)
class Bench:
    """What all measurements share. `peak`: FLOP/s of the device, None where it is not known."""

    config: Any
    sizes: Sizes
    world: World
    steps: int
    scale: float  # of the amounts of data: a trial needs little
    peak: float | None
    has_deepspeed: bool

    @property
    def on_gpu(self) -> bool:
        return self.world.device.type == "cuda"

    @property
    def head_width(self) -> int:
        """Of one of attention's heads."""
        return int(self.config.hidden_size // self.config.num_attention_heads)


def main() -> None:
    """Prints a table per form of data. Exit code 2: there is no GPU."""
    told = _arguments()
    if told.device == "cuda" and not torch.cuda.is_available():
        print("bench-gpu: no GPU here; for a trial of the code: --device cpu --layers 2 --steps 2", file=sys.stderr)
        sys.exit(2)
    bench = _bench(told)
    print(_hardware(bench))
    if not bench.has_deepspeed:
        print("deepspeed is missing: our engine without it alone, and no peer (pip install deepspeed)")
    for name in told.forms:
        print(f"\n| {name} | {' | '.join(_COLUMNS)} |\n|{'---|' * (len(_COLUMNS) + 1)}")
        for line in _lines(bench, FORMS[name], told.only):
            print(line, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--layers", type=int, default=_LARGE["num_hidden_layers"])
    parser.add_argument("--width", type=int, default=_LARGE["hidden_size"])
    parser.add_argument("--vocabulary", type=int, default=250_002)
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps that are measured, after 5 others")
    parser.add_argument("--scale", type=float, default=1.0, help="of the amounts of data and of large batches")
    parser.add_argument("--only", default="", help="measure those alone whose name has this in it")
    return parser.parse_args()


def _bench(told: argparse.Namespace) -> Bench:
    from transformers import XLMRobertaConfig

    warnings.filterwarnings("ignore")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    sizes = _LARGE | {"num_hidden_layers": told.layers, "hidden_size": told.width, "intermediate_size": 4 * told.width}
    config = XLMRobertaConfig(
        **sizes,
        vocab_size=told.vocabulary,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    world = distributed.init(told.device)
    name = torch.cuda.get_device_name(world.device) if told.device == "cuda" else ""
    peak = device_peak(name, bf16=True) if name else None
    has_deepspeed = importlib.util.find_spec("deepspeed") is not None
    return Bench(config, sizes_of(config.to_dict()), world, told.steps, told.scale, peak, has_deepspeed)


def _hardware(bench: Bench) -> str:
    device = bench.world.device
    name = torch.cuda.get_device_name(device) if bench.on_gpu else "CPU (a trial: no numbers to compare)"
    kernels = {f"{p}": attention.kernel_name(device, bench.head_width, p, half=bench.on_gpu) for p in (0.1, 0.0)}
    peak = f"{bench.peak / 1e12:.0f} TFLOP/s (data sheet, dense bf16)" if bench.peak else "peak not known"
    used = ", ".join(f"{kernel} (dropout {p})" for p, kernel in kernels.items())
    return f"{name}; {peak}; torch {torch.__version__}; attention: {used}"


def _lines(bench: Bench, form: Form, only: str) -> Iterator[str]:
    """The table's lines, as they are measured."""
    data = pieces(form, round(_TRAIN_TOKENS * bench.scale), bench.config.vocab_size)
    test = pieces(form, round(_EVAL_TOKENS * bench.scale), bench.config.vocab_size, seed=2)
    mean = sum(len(row) for piece in data for row in piece.rows) / len(data)
    big = max(_BATCH, round(_BIG_STEP * bench.scale / mean))
    for name, batch, work in _work(bench, form, data, test, (_BATCH, big)):
        if only not in name:
            continue
        try:
            trained, evaluated = work()
        except Exception as error:  # a kernel or compiler that is missing; the rest is still of use
            reason = "out of memory" if isinstance(error, torch.OutOfMemoryError) else " ".join(repr(error).split())
            yield f"| {name} | {batch} | failed: {reason[:120]} |{' |' * (len(_COLUMNS) - 2)}"
        else:
            yield _line(name, batch, trained, evaluated, _flops_per_token(bench.sizes, data), bench)
        _forget(bench)


Work = Callable[[], tuple[Measured, Measured]]


def _work(
    bench: Bench, form: Form, data: Sequence[Piece], test: Sequence[Piece], batches: Sequence[int]
) -> Iterator[tuple[str, int, Work]]:
    from tests.benchmarks.gpu_ours import VARIANTS

    variants = VARIANTS if bench.has_deepspeed else tuple(v for v in VARIANTS if v.zero == "none")
    ways = (peer.DEFAULT, peer.BEST) if bench.has_deepspeed else ()
    for batch in dict.fromkeys(batches):
        for way in ways:
            # Rows padded to the full length would not fit in large batches; nobody's defaults are such.
            if batch == _BATCH or not way.by_script:
                yield f"HF Trainer + ZeRO-2, {way.name}", batch, partial(_peer, bench, form, data, test, batch, way)
        for variant in variants:
            yield variant.name, batch, partial(_ours, bench, form, data, test, batch, variant)


def _ours(
    bench: Bench, form: Form, data: Sequence[Piece], test: Sequence[Piece], batch: int, variant: Any
) -> tuple[Measured, Measured]:
    from tests.benchmarks.gpu_ours import Ours

    side = Ours(variant, bench.config, part(form, data), batch, bench.world, bf16=bench.on_gpu)
    try:
        windows, found = _windows(bench)
        side.train(windows)
        return found[-1], side.evaluate(test)
    finally:
        side.close()


def _peer(
    bench: Bench, form: Form, data: Sequence[Piece], test: Sequence[Piece], batch: int, way: peer.Way
) -> tuple[Measured, Measured]:
    import transformers

    kind = part(form, data)
    told = {key: value for key, value in bench.config.to_dict().items() if key not in ("id2label", "label2id")}
    config = bench.config.__class__(**told, num_labels=max(2, len(kind.head.labels)))
    with torch.device(bench.world.device):
        model = getattr(transformers, peer.MODELS[kind.task.format]).from_config(config)
    train, tested = ([peer.features(kind.task.format, p.rows, p.target) for p in some] for some in (data, test))
    job = peer.Job(
        kind.task.format,
        model,
        _padder(),
        train,
        tested,
        form.pad_to,
        batch,
        bf16=bench.on_gpu,
        on_gpu=bench.on_gpu,
    )
    windows, found = _windows(bench)
    with tempfile.TemporaryDirectory() as out:
        trainer = peer.build(job, way, windows, Path(out))
        trainer.train()
        peer.evaluate(trainer, tested)  # the first one allocates
        measured = peer.evaluate(trainer, tested)
        trainer.accelerator.free_memory()
    return found[-1], measured


def _padder() -> Any:
    """A tokenizer that knows no word, but how to pad."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = WordLevel({word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}, "<unk>")
    assert SPECIALS > 4
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), pad_token="<pad>", model_max_length=512)


def _windows(bench: Bench) -> tuple[Windows, list[Measured]]:
    """Two windows: a few steps to warm up, and those that count."""
    grants = iter((min(5, bench.steps), bench.steps, 0))
    found: list[Measured] = []
    return Windows(lambda: next(grants), found.append), found


def _flops_per_token(sizes: Sizes, data: Sequence[Piece]) -> float:
    """Of training, on average over the data."""
    lengths = [len(row) for piece in data for row in piece.rows]
    return training_flops(sizes, sum(lengths), sum(length**2 for length in lengths)) / sum(lengths)


def _line(name: str, batch: int, trained: Measured, evaluated: Measured, flops: float, bench: Bench) -> str:
    # MFU counts real tokens alone: what is computed of padding is no use.
    of_training = mfu(flops * trained.tokens, trained.seconds, bench.peak)
    of_evaluation = mfu(flops / 3 * evaluated.tokens, evaluated.seconds, bench.peak)
    peak = torch.cuda.max_memory_allocated(bench.world.device) / 2**30 if bench.on_gpu else None
    shown = (
        f"{batch}",
        f"{trained.examples / trained.seconds:,.1f}",
        f"{trained.rate:,.0f}",
        "–" if of_training is None else f"{of_training:.1%}",
        f"{evaluated.rate:,.0f}",
        "–" if of_evaluation is None else f"{of_evaluation:.1%}",
        "–" if peak is None else f"{peak:.1f}",
    )
    return f"| {name} | {' | '.join(shown)} |"


def _forget(bench: Bench) -> None:
    """Free what a measurement leaves behind."""
    gc.collect()
    if bench.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.world.device)


if __name__ == "__main__":
    main()
