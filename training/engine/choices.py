"""How a run computes, as follows from where it runs: its shape, its token budget, its library for matrix products.

Each is the same on all ranks, and a resume keeps to it where it can. Memory that did not suffice counts too: how it is
recognised, and what an attempt that could not go on leaves for the next one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from slurm.base.files import read_sealed, seal, write_atomic
from training import distributed, shape
from training.checkpoints.progress import Progress
from training.distributed import World
from training.engine import matmul as matmul_library
from training.engine.matmul import MatmulChoice
from training.engine.setup import StageModelParts, parameter_count
from training.flops import Sizes, device_peak
from training.model.encoder import StageModel
from training.model.products import LIBRARIES
from training.shape import Shape
from training.spec import Runtime

_GIGA = 1e9
_FILE = "out_of_memory.json"
# torch has a type for it on a GPU; a CPU's allocator and CUDA's libraries say it in words.
_WORDS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def run_shape(start: StageModelParts, model: StageModel, words: int | None, runtime: Runtime, world: World) -> Shape:
    """The shape by the memory of the rank that has the least. `words`: rows of the compact vocabulary; None: all."""
    settings, sizes = start.spec.settings, start.encoder.config.sizes
    on_gpu = world.device.type == "cuda"
    memory = distributed.device_memory(world.device) if on_gpu else None
    return shape.choose(
        sizes if words is None else replace(sizes, vocabulary=words),
        world.size,
        None if memory is None else distributed.least(memory, world),
        runtime,
        bf16=model.bf16,
        gpu=on_gpu,
        max_length=settings.max_length,
        parameters=parameter_count(model),
        predicted_share=max(part.form.predicted_share(settings) for part in start.parts),
    )


def token_budget(runtime: Runtime, progress: Progress, run_shape: Shape, folders: Sequence[Path], world: World) -> int:
    """Tokens of a forward pass: as told, else as the run began, else by memory; less where that did not fit before."""
    budget = runtime.token_budget or progress.token_budget or run_shape.token_budget
    limits = [event["token_budget"] for event in progress.out_of_memory]
    earlier_limits: list[int] = distributed.from_first(remembered_limits(folders) if world.first else None, world)
    return min([budget, *limits, *earlier_limits])


def matmul(runtime: Runtime, sizes: Sizes, begun_with: str, world: World) -> MatmulChoice | None:
    """The library for matrix products: what the user wants, else what the run began with where that is exact here, else
    the better one. None: not on a CPU."""
    if world.device.type != "cpu":
        return None
    choice = distributed.from_first(asdict(_matmul(runtime, sizes, begun_with)) if world.first else None, world)
    return MatmulChoice(**choice)


def _matmul(runtime: Runtime, sizes: Sizes, begun_with: str) -> MatmulChoice:
    if runtime.matmul == "auto" and begun_with in LIBRARIES:
        choice = matmul_library.choose_matmul(begun_with, "training", sizes)
        if matmul_library.is_exact(choice):
            return choice
    return matmul_library.choose_matmul(runtime.matmul, "training", sizes)


def peak(world: World, choice: MatmulChoice | None, *, bf16: bool) -> float | None:
    """FLOP/s of this rank's device, if known: of a CPU what its products were measured at."""
    if choice is not None:
        return choice.gflops * _GIGA
    return device_peak(torch.cuda.get_device_name(world.device), bf16=bf16)


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _WORDS)


def note(out: Path, step: int, token_budget: int) -> None:
    """Leave in an attempt's folder what the next one must not exceed. Any rank."""
    write_atomic(out / _FILE, seal({"step": step, "token_budget": token_budget}))


def remembered_limits(folders: Iterable[Path]) -> list[int]:
    """The token budgets that attempts in these folders left."""
    records = (read_sealed(folder / _FILE) for folder in folders)
    return [int(record["token_budget"]) for record in records if record is not None]
