"""Dropout on a CPU: torch draws its masks one number at a time on one core, which took a seventh of a training step.

Here a mask comes from raw 64-bit words, 16 bits for each element, so that a probability is a multiple of 2⁻¹⁶ (0.1 is
0.100006); what is kept is scaled by exactly that. The words are seeded from torch's generator: as with torch's own
dropout, `torch.manual_seed` decides what is dropped.
"""

import numpy as np
import torch
from torch import Tensor, nn

_UNITS = 1 << 16


class CpuDropout(nn.Dropout):
    """In place of an nn.Dropout of the same `p`; on another device it is that."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        return dropout(input, self.p)


def dropout(values: Tensor, p: float) -> Tensor:
    """`values` with each element zeroed with probability `p`, else divided by 1 - p. On the CPU."""
    dropped_units = round(p * _UNITS)
    if dropped_units == 0:
        return values
    mask = (_words(values.numel()) >= dropped_units - _UNITS // 2).view(values.shape)
    scale = _UNITS / (_UNITS - dropped_units) if dropped_units < _UNITS else 0.0
    return values * mask.to(values.dtype).mul_(scale)


def _words(count: int) -> Tensor:
    """So many random numbers of 16 bits, from -2¹⁵ on."""
    seed = int(torch.empty((), dtype=torch.int64).random_())
    raw = np.asarray(np.random.PCG64(seed).random_raw(-(-count // 4)), dtype=np.uint64)
    return torch.from_numpy(raw.view(np.int16))[:count]


def use_on_cpu(module: nn.Module) -> None:
    """Put CpuDropout in the place of every nn.Dropout below `module`."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, CpuDropout(child.p))
