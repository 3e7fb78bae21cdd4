"""AdamW and its learning rate."""

import math
from collections.abc import Iterable

import torch
from torch import nn

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
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=_BETAS, eps=settings.adam_epsilon, fused=True)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """The norm of all gradients together."""
    norms = [torch.linalg.vector_norm(p.grad) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms))  # type: ignore[no-any-return]
