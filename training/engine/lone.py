"""ZeRO 0 on a lone rank: what DeepSpeed does there, operation by operation and so bit for bit, without importing it."""

from collections.abc import Callable

import torch
from torch import Tensor

from training.checkpoints.optimizer_state import ZeroState
from training.distributed import World
from training.engine.optimizer import FusedAdamW, gradient_norm
from training.model.encoder import StageModel
from training.model.packing import Packed
from training.spec import Settings

_SMALLEST = 1e-6  # added to the norm that is divided by


class LoneEngine:
    """The same face as `training.engine.zero.ZeroEngine`."""

    def __init__(self, model: StageModel, settings: Settings, world: World) -> None:
        assert world.size == 1, world
        self.model = model
        self._max_norm = settings.max_grad_norm
        self._adam = FusedAdamW(model, settings)
        self.state = ZeroState(self._adam, model, "none", world)

    def backward(
        self, batch: Packed, head: str, loss: Callable[[Tensor], Tensor], terms: float, *, last: bool
    ) -> Tensor:
        value = loss(self.model(batch, head))
        (value * (1 / terms)).backward()  # type: ignore[no-untyped-call]
        return value.detach()

    def update(self, rate: float) -> float:
        for group in self._adam.param_groups:
            group["lr"] = rate
        norm = gradient_norm(self.model.parameters())
        if self._max_norm > 0:
            self._clip()
        self._adam.step()
        self.discard()
        return float(norm)

    def _clip(self) -> None:
        """By a norm of its own, whose last bit may differ from that of `gradient_norm`; by 1 where it is no larger."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        norms = torch.stack([gradient.norm(2.0) for gradient in gradients])
        norm = norms.pow(2.0).sum().pow(0.5)
        max_norm = torch.tensor([float(self._max_norm)], device=norm.device)
        factor = torch.min(torch.ones_like(max_norm), max_norm / (norm + _SMALLEST))
        for gradient in gradients:
            gradient.mul_(factor)

    def discard(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None

    def close(self) -> None:
        """Nothing of it outlives it."""
