"""Named tensors on disk (safetensors, durable) and their hash. No pickles."""

import hashlib
import json
import math
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
_LARGE = 32 << 20  # bytes of a tensor that gets huge pages
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


def empty(shape: Sequence[int], kind: torch.dtype) -> Tensor:
    """A tensor on the CPU with any values. A large one lies in huge pages where the system grants them: to touch small
    ones for the first time takes longer than to copy what they then hold."""
    count = math.prod(shape)
    if count * kind.itemsize < _LARGE:
        return torch.empty(tuple(shape), dtype=kind)
    pages = mmap.mmap(-1, count * kind.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=kind, count=count).reshape(tuple(shape))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write `tensors` to `path` as a safetensors file, durable. Returns {"size", "sha256"} of the file.

    Hashed by a thread while it is written, so that no second pass over the bytes is needed: one chunk at a time, since
    what waits to be hashed is held in memory. transformers wants "format". OSError where the disk is full, or what the
    thread failed with; what was written so far stays.
    """
    digest, size = hashlib.sha256(), 0
    hashing: Future[None] | None = None
    # Never into a file that is there: it may be mapped into memory (as by `read_tensors`), or be another folder's too.
    with suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
            for chunk in _chunks(tensors):
                if hashing is not None:
                    hashing.result()
                hashing = pool.submit(digest.update, chunk)
                write_chunk(descriptor, chunk)
                _begin_to_store(descriptor, size, chunk.nbytes)
                size += chunk.nbytes
            if hashing is not None:
                hashing.result()
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return {"size": size, "sha256": digest.hexdigest()}


def _begin_to_store(descriptor: int, start: int, length: int) -> None:
    """Have the system begin to bring these bytes to the disk, so that syncing the whole file does not wait for all."""
    with suppress(OSError):  # a wish only
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


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
    return _read(path, is_needed, digest.update, lambda name, tensor: digest.update), digest.hexdigest()


def read_passing(path: Path, is_needed: Callable[[str], bool], passing: "PassingHash") -> dict[str, Tensor]:
    """The same tensors, given to `passing` instead of a hash of the file."""
    return _read(path, is_needed, _unseen, passing.begin)


_See = Callable[[bytes | memoryview], None]  # what is given the bytes that were read, in a thread of its own


def _unseen(content: bytes | memoryview) -> None:
    """Nobody asks for these bytes."""


def _read(
    path: Path, is_needed: Callable[[str], bool], see: _See, see_tensor: Callable[[str, Tensor], _See]
) -> dict[str, Tensor]:
    """`see` is given what lies around the tensors, `see_tensor` says what is given a tensor's bytes."""
    tensors: dict[str, Tensor] = {}
    with path.open("rb") as file, ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
        try:
            for name, kind, shape, size in _contents(file, see):
                tensor = empty(shape, kind) if is_needed(name) else empty([size], torch.uint8)
                see_bytes = see_tensor(name, tensor)
                if is_needed(name) or see_bytes is not _unseen:
                    _read_into(file, _bytes_of(tensor), see_bytes, pool)
                else:
                    _pass_over(file, size)
                if is_needed(name):
                    tensors[name] = tensor
        except (ValueError, KeyError, TypeError, struct.error) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: not a whole safetensors file ({reason}); copy or download it again.") from error
        see(file.read())
    return tensors


def _contents(file: BinaryIO, see: _See) -> list[tuple[str, torch.dtype, list[int], int]]:
    """What the header at the beginning says of each tensor, in the order of their bytes."""
    prefix = file.read(_LENGTH.size)
    (length,) = _LENGTH.unpack(prefix)
    header = file.read(length)
    see(prefix + header)
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


def _pass_over(file: BinaryIO, size: int) -> None:
    """What nobody asks for is not read: an image tower is as large as the text tower beside it."""
    if file.seek(size, os.SEEK_CUR) > os.fstat(file.fileno()).st_size:
        raise ValueError("it ends too early")


def _read_into(file: BinaryIO, memory: memoryview, see: _See, pool: ThreadPoolExecutor) -> None:
    """Fill the memory from the file; what has been read is hashed while more is read."""
    hashing: Future[None] | None = None
    for start in range(0, memory.nbytes, _CHUNK):
        chunk = memory[start : start + _CHUNK]
        if file.readinto(chunk) != chunk.nbytes:  # type: ignore[attr-defined]
            raise ValueError("it ends too early")
        if hashing is not None:
            hashing.result()
        hashing = pool.submit(see, chunk)
    if hashing is not None:
        hashing.result()


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted names, each with dtype, shape and bytes: equal exactly where the tensors are."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(_heading(name, tensors[name]))
        digest.update(_bytes_of(tensors[name]))
    return digest.hexdigest()


def _heading(name: str, tensor: Tensor) -> bytes:
    return f"{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode()


class PassingHash:
    """`tensors_hash` of fp32 tensors that are read one after the other, worked out meanwhile.

    `name_of`: what a tensor of a file is called in the hash; None: it is no part of it.
    """

    def __init__(self, name_of: Callable[[str], str | None]) -> None:
        self._name_of = name_of
        self._digest = hashlib.sha256()
        self._names = [""]
        self._can_tell = True

    def begin(self, name: str, tensor: Tensor) -> _See:
        """What is to be given this tensor's bytes."""
        own_name = self._name_of(name)
        if own_name is None:
            return _unseen
        self._can_tell &= own_name > self._names[-1] and tensor.dtype == torch.float32
        self._names.append(own_name)
        if not self._can_tell:
            return _unseen
        self._digest.update(_heading(own_name, tensor))
        return self._digest.update

    @property
    def value(self) -> str | None:
        """None where the tensors did not come sorted by name, or one of them was not fp32."""
        return self._digest.hexdigest() if self._can_tell else None
