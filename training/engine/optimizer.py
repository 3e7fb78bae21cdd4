"""AdamW and its learning rate."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from training.spec import Settings

_BETAS = (0.9, 0.999)


def learning_rate(step: int, total: int, settings: Settings) -> float:
    """Linear warm-up, then linear decay, for steps 0 ≤ step < total. No step is without effect: neither end is 0."""
    by_ratio = math.ceil(settings.warmup_ratio * total)
    warm = by_ratio if settings.warmup_steps is None else min(settings.warmup_steps, total)
    if step < warm:
        return settings.learning_rate * (step + 1) / (warm + 1)
    return settings.learning_rate * (total - step) / max(1, total - warm)


def adamw(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """torch's own fused AdamW, which needs no compiler; no weight decay on biases and layer norms."""
    groups = _groups(model, settings)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=_BETAS, eps=settings.adam_epsilon, fused=True)


def _groups(model: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    return [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


class FusedAdamW:
    """What `adamw` gives, by the same call of torch's kernel, without importing torch's compiler as torch.optim does.

    Its state is made by whoever has it (`training.checkpoints.optimizer_state`).
    """

    def __init__(self, model: nn.Module, settings: Settings) -> None:
        self.param_groups = [group | {"lr": settings.learning_rate} for group in _groups(model, settings)]
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self._epsilon = settings.adam_epsilon

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            states = [self.state[parameter] for parameter in parameters]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                parameters,
                [parameter.grad for parameter in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=_BETAS[0],
                beta2=_BETAS[1],
                weight_decay=group["weight_decay"],
                eps=self._epsilon,
                amsgrad=False,
                maximize=False,
            )


def gradient_norm(parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """The norm of all gradients together."""
    norms = [torch.linalg.vector_norm(p.grad) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms))  # type: ignore[no-any-return]
