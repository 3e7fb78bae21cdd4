"""Named tensors on disk (safetensors, durable) and their hash. No pickles."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors` to `path` and make the bytes durable. transformers wants the metadata "format"."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
    sync_file(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors at `path`, on the CPU."""
    return dict(load_file(path))


def sync_file(path: Path) -> None:
    """Make a file's bytes durable, whoever wrote it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted names, each with dtype, shape and bytes: equal exactly where the tensors are."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
