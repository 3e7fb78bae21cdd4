"""What the processes of an element have, held against what was asked for: for the log, and for each attempt's notes."""

import os
import sys
from dataclasses import replace

import torch

from slurm import granted
from slurm.granted import Granted
from slurm.resources import Asked
from training import distributed
from training.distributed import World


def measure(request: Asked | None, world: World) -> Granted:
    """What the process with the least has, and a warning for each thing of which that is less than was asked for.

    Called by every rank.
    """
    gpus = torch.cuda.device_count() if world.device.type == "cuda" else None
    least = _of_all(granted.look(world.size, gpus), world)
    least = granted.compare(request, least, os.environ) if request else least
    if world.first:
        for line in least.short_of:
            print(f"warning: {line}", file=sys.stderr, flush=True)
    return least


def _of_all(process: Granted, world: World) -> Granted:
    """The least of each, of all ranks; what a rank does not know counts for nothing."""
    plenty = 2**31 - 1  # more than there is of anything
    gpus, memory = (
        distributed.least(plenty if count is None else count, world) for count in (process.gpus, process.memory)
    )
    return replace(
        process,
        cores=distributed.least(process.cores, world),
        gpus=None if gpus == plenty else gpus,
        memory=None if memory == plenty else memory,
    )
