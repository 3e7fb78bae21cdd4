"""Training without DeepSpeed: torch's own data parallelism. The control that DeepSpeed's speed is compared with."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from training.checkpoints.optimizer_state import ZeroState
from training.distributed import World
from training.engine.optimizer import adamw, gradient_norm
from training.model.encoder import StageModel
from training.model.packing import Packed
from training.spec import Settings


class PlainEngine:
    """The same face as `training.engine.zero.ZeroEngine`."""

    def __init__(self, model: StageModel, settings: Settings, world: World) -> None:
        self.model = model
        self._world, self._max_norm = world, settings.max_grad_norm
        self._parallel = (
            DistributedDataParallel(model, gradient_as_bucket_view=True, broadcast_buffers=False)
            if world.size > 1
            else None
        )
        self._adam = adamw(model, settings)
        self.state = ZeroState(self._adam, model, "none", world)

    def backward(
        self, batch: Packed, head: str, loss: Callable[[Tensor], Tensor], terms: float, *, last: bool
    ) -> Tensor:
        if self._parallel is None:
            value = loss(self.model(batch, head))
            (value / terms).backward()  # type: ignore[no-untyped-call]
            return value.detach()
        self._parallel.require_backward_grad_sync = last
        value = loss(self._parallel(batch, head))
        (value * (self._world.size / terms)).backward()  # type: ignore[no-untyped-call]
        return value.detach()

    def update(self, rate: float) -> float:
        for group in self._adam.param_groups:
            group["lr"] = rate
        norm = gradient_norm(self.model.parameters())
        if self._max_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self._max_norm, norm)
        self._adam.step()
        self._adam.zero_grad()
        return float(norm)

    def discard(self) -> None:
        self._adam.zero_grad()

    def close(self) -> None:
        """Nothing of it outlives it."""
