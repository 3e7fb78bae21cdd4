"""What follows from where a run runs: the same on all ranks, and kept by a resume where it can be."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from training import distributed, math_library, oom, shape
from training.distributed import World
from training.flops import device_peak, sizes_of
from training.math_library import MatmulChoice
from training.model import StageModel
from training.progress import Progress
from training.shape import Shape
from training.spec import Runtime
from training.stage_model import StageModelParts, parameter_count

_GIGA = 1e9


def run_shape(start: StageModelParts, model: StageModel, words: int | None, runtime: Runtime, world: World) -> Shape:
    """The shape by the memory of the rank that has the least. `words`: rows of the compact vocabulary; None: all."""
    settings, sizes = start.spec.settings, sizes_of(start.encoder.config.to_dict())
    on_gpu = world.device.type == "cuda"
    memory = int(torch.cuda.get_device_properties(world.device).total_memory) if on_gpu else None
    return shape.choose(
        sizes if words is None else replace(sizes, vocabulary=words),
        world.size,
        None if memory is None else distributed.least(memory, world),
        runtime,
        bf16=model.bf16,
        gpu=on_gpu,
        max_length=settings.max_length,
        parameters=parameter_count(model),
        predicted=settings.mask_probability if start.needs_all_words else 0.0,
    )


def token_budget(runtime: Runtime, progress: Progress, found: Shape, folders: Sequence[Path], world: World) -> int:
    """Tokens of a forward pass: as told, else as the run began, else by memory; less where that did not fit before."""
    budget = runtime.token_budget or progress.token_budget or found.token_budget
    limits = [event["token_budget"] for event in progress.out_of_memory]
    left: list[int] = distributed.from_first(oom.limits(folders) if world.first else None, world)
    return min([budget, *limits, *left])


def matmul(runtime: Runtime, begun_with: str, world: World) -> MatmulChoice | None:
    """The library for matrix products: what the user wants, else what the run began with where that is exact here, else
    the better one. None: not on a CPU."""
    if world.device.type != "cpu":
        return None
    said = distributed.from_first(asdict(_matmul(runtime, begun_with)) if world.first else None, world)
    return MatmulChoice(**said)


def _matmul(runtime: Runtime, begun_with: str) -> MatmulChoice:
    if runtime.matmul == "auto" and begun_with in ("mkl", "onednn"):
        choice = math_library.choose_matmul(begun_with)
        if math_library.is_exact(choice):
            return choice
    return math_library.choose_matmul(runtime.matmul)


def peak(world: World, found: MatmulChoice | None, *, bf16: bool) -> float | None:
    """FLOP/s of this rank's device, if known: of a CPU what its products were measured at."""
    if found is not None:
        return found.gflops * _GIGA
    return device_peak(torch.cuda.get_device_name(world.device), bf16=bf16)
