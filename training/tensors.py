"""Named tensors on disk (safetensors, durable) and their hash. No pickles."""

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor

from slurm.base import UserError
from slurm.base.files import write_chunk

_CHUNK = 4 << 20  # bytes written and hashed at a time: both calls let other threads run
_ALIGNMENT = 8  # of the first tensor's bytes, as safetensors' own writer has it
_LENGTH = struct.Struct("<Q")  # of the header's length, with which a file begins
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write `tensors` to `path` as a safetensors file, durable. Returns {"size", "sha256"} of the file.

    Hashed while it is written, so that no second pass over the bytes is needed. transformers wants "format".
    OSError where the disk is full; what was written so far stays.
    """
    digest, size = hashlib.sha256(), 0
    # Never into a file that is there: it may be mapped into memory (as by `read_tensors`), or be another folder's too.
    with suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for chunk in _chunks(tensors):
            write_chunk(descriptor, chunk)
            digest.update(chunk)
            size += chunk.nbytes
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return {"size": size, "sha256": digest.hexdigest()}


def _chunks(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    """The file's bytes. Small tensors go together: a call of the system for each is slow on a network file system."""
    waiting = bytearray(_header(tensors))
    for name in _order(tensors):
        content = _bytes_of(tensors[name])
        if len(waiting) + content.nbytes <= _CHUNK:
            waiting += content
            continue
        yield memoryview(waiting)
        waiting = bytearray()
        for start in range(0, content.nbytes, _CHUNK):
            yield content[start : start + _CHUNK]
    yield memoryview(waiting)


def _order(tensors: Mapping[str, Tensor]) -> Iterable[str]:
    """Wide elements first, then by name: so every tensor lies at a multiple of its element's size."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in _order(tensors):
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    content = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    content += b" " * (-len(content) % _ALIGNMENT)
    return len(content).to_bytes(8, "little") + content


def _bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's bytes; copied only where it is not on the CPU or not contiguous."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors at `path`, on the CPU."""
    return dict(load_file(path))


def read_hashed(path: Path, is_needed: Callable[[str], bool]) -> tuple[dict[str, Tensor], str]:
    """The needed tensors at `path`, each in memory of its own, and the SHA-256 of the whole file: one pass over it.

    UserError where it is no safetensors file, or not a whole one.
    """
    digest = hashlib.sha256()
    tensors: dict[str, Tensor] = {}
    with path.open("rb") as file, ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
        try:
            for name, kind, shape, size in _contents(file, digest):
                tensor = torch.empty(shape, dtype=kind) if is_needed(name) else torch.empty(size, dtype=torch.uint8)
                _read_into(file, _bytes_of(tensor), digest, pool)
                if is_needed(name):
                    tensors[name] = tensor
        except (ValueError, KeyError, TypeError, struct.error) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: not a whole safetensors file ({reason}); copy or download it again.") from error
        digest.update(file.read())
    return tensors, digest.hexdigest()


def _contents(file: BinaryIO, digest: Any) -> list[tuple[str, torch.dtype, list[int], int]]:
    """What the header at the beginning says of each tensor, in the order of their bytes."""
    prefix = file.read(_LENGTH.size)
    (length,) = _LENGTH.unpack(prefix)
    header = file.read(length)
    digest.update(prefix + header)
    entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
    kinds = {word: kind for kind, word in _NAMES.items()}
    contents, place = [], 0
    for name in sorted(entries, key=lambda name: entries[name]["data_offsets"]):
        start, end = entries[name]["data_offsets"]
        kind, shape = kinds[entries[name]["dtype"]], entries[name]["shape"]
        if start != place or end - start != math.prod(shape) * kind.itemsize:
            raise ValueError(f"{name} does not lie where it should")
        contents.append((name, kind, shape, end - start))
        place = end
    return contents


def _read_into(file: BinaryIO, memory: memoryview, digest: Any, pool: ThreadPoolExecutor) -> None:
    """Fill the memory from the file; what has been read is hashed while more is read."""
    hashing: Future[None] | None = None
    for start in range(0, memory.nbytes, _CHUNK):
        chunk = memory[start : start + _CHUNK]
        if file.readinto(chunk) != chunk.nbytes:  # type: ignore[attr-defined]
            raise ValueError("it ends too early")
        if hashing is not None:
            hashing.result()
        hashing = pool.submit(digest.update, chunk)
    if hashing is not None:
        hashing.result()


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted names, each with dtype, shape and bytes: equal exactly where the tensors are."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()
