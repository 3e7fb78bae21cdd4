"""Ranks as processes on this machine."""

import os
import subprocess
import sys

from tests.paths import ROOT


def start_ranks(module: str, told: str, world: int) -> list[subprocess.Popen[str]]:
    """`python -m module told`, once for each rank."""
    command = [sys.executable, "-m", module, told]
    return [
        subprocess.Popen(command, cwd=ROOT, env=_environment(rank, world), stderr=subprocess.PIPE, text=True)
        for rank in range(world)
    ]


def _environment(rank: int, world: int) -> dict[str, str]:
    ranks = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world, "OMP_NUM_THREADS": 1}
    return os.environ | {name: str(value) for name, value in ranks.items()}


def finish(processes: list[subprocess.Popen[str]], code: int = 0) -> None:
    """Wait for all; each must end with `code`."""
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode == code, error[-3000:]
