"""One DeepSpeed engine behind a small face: a micro-batch, an update, and the state of the optimizer by name.

Everything is fp32: parameters, gradients, Adam's moments; only a forward pass may run in bf16 (StageModel).
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.checkpoints.optimizer_state import ZeroState
from training.distributed import World
from training.engine.optimizer import adamw, gradient_norm
from training.model.encoder import StageModel
from training.model.heads import LanguageModelHead
from training.model.packing import Packed
from training.shape import Shape
from training.spec import Settings

# How many forward passes an update has differs from step to step: DeepSpeed is told of each whether it is the last. It
# looks at its own count only for whether gradients add up at all.
_SEVERAL = 2


class ZeroEngine:
    """A StageModel under DeepSpeed at some ZeRO stage."""

    def __init__(self, model: StageModel, settings: Settings, shape: Shape, world: World) -> None:
        assert shape.zero != "none", shape
        self._stage, self._world = shape.zero, world
        self._plain_linear = functional.linear
        self._engine = _initialize(model, adamw(model, settings), _config(settings, shape, world))
        if shape.zero == 0 and world.size == 1:
            self._engine.enable_backward_allreduce = False  # else it copies all gradients, to send them nowhere
        self._adam = getattr(self._engine.optimizer, "optimizer", self._engine.optimizer)
        self.state = ZeroState(self._engine, model, shape.zero, world)

    @property
    def model(self) -> StageModel:
        return self._engine.module  # type: ignore[no-any-return]

    def backward(
        self, batch: Packed, head: str, loss: Callable[[Tensor], Tensor], terms: float, *, last: bool
    ) -> Tensor:
        """Add the gradients of `loss(logits)` / terms; returns the undivided loss. `terms`: those of all ranks. `last`:
        whether an update comes next."""
        self._engine.set_gradient_accumulation_boundary(last)
        value = loss(self._engine(batch, head))
        # DeepSpeed averages the gradients over the ranks (and, were it not told otherwise, over the micro-batches).
        self._engine.backward(value * (self._world.size / terms), scale_wrt_gas=False)
        if not last:
            self._engine.step()
        return value.detach()

    def update(self, rate: float) -> float:
        """After the step's last backward: clip, update. Returns the norm of the gradients before clipping."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        # Without ZeRO, DeepSpeed clips but does not say by which norm.
        norm = gradient_norm(self.model.parameters()) if self._stage == 0 else None
        self._engine.step()
        return float(self._engine.get_global_grad_norm() if norm is None else norm)

    def discard(self) -> None:
        """Forget the gradients of a step that is begun anew. Without ZeRO only: with it they may be on their way."""
        assert self._stage == 0, self._stage
        self._adam.zero_grad()

    def close(self) -> None:
        self._engine.destroy()
        # ZeRO-3 puts its own in this place, for the whole process: what comes later would round otherwise.
        functional.linear = self._plain_linear


def _config(settings: Settings, shape: Shape, world: World) -> dict[str, Any]:
    zero: dict[str, Any] = {
        "stage": shape.zero,
        "contiguous_gradients": False,
        "overlap_comm": False,
        "reduce_bucket_size": shape.bucket,
        "allgather_bucket_size": shape.bucket,
    }
    if shape.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,  # a number that DeepSpeed wants and that nothing depends on
        "gradient_accumulation_steps": _SEVERAL,
        "train_batch_size": _SEVERAL * world.size,
        "gradient_clipping": settings.max_grad_norm,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": zero,
        "steps_per_print": 10**9,
    }


def _initialize(model: StageModel, optimizer: torch.optim.Optimizer, config: dict[str, Any]) -> Any:
    import deepspeed

    # About names of torch's collectives inside DeepSpeed, once per call.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed\.c10d_logger")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # Else ranks on a CPU compile a C++ extension for shared memory at their first start; gloo needs none.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    if config["zero_optimization"]["stage"] == 3:
        _share_word_embeddings(model)
    return engine


def _share_word_embeddings(model: StageModel) -> None:
    """Have ZeRO-3 gather the word embeddings for the heads that use them too: it does so for a module's own only."""
    import deepspeed

    for head in model.heads.values():
        if isinstance(head, LanguageModelHead):
            deepspeed.zero.register_external_parameter(head, model.word_embeddings)
