"""Out of memory: how it is recognised, and what an attempt that could not go on leaves for the next one."""

from collections.abc import Iterable
from pathlib import Path

import torch

from slurm.base.files import read_sealed, seal, write_atomic

_FILE = "out_of_memory.json"
# torch has a type for it on a GPU; a CPU's allocator and CUDA's libraries say it in words.
_WORDS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _WORDS)


def note(out: Path, step: int, token_budget: int) -> None:
    """Leave in an attempt's folder what the next one must not exceed. Any rank."""
    write_atomic(out / _FILE, seal({"step": step, "token_budget": token_budget}))


def limits(folders: Iterable[Path]) -> list[int]:
    """The token budgets that attempts in these folders left."""
    found = (read_sealed(folder / _FILE) for folder in folders)
    return [int(record["token_budget"]) for record in found if record is not None]
