"""Pieces of the parameters and of Adam's moments: what one rank writes, and what ranks of any number read again.

A file `rank-00000.safetensors` holds flat fp32 tensors; the key `exp_avg/1200/encoder.layer.0.weight` is the piece of
that parameter's first moment which starts at element 1200 of the flattened parameter.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor

StateKind = Literal["parameters", "exp_avg", "exp_avg_sq"]
MOMENTS: tuple[StateKind, ...] = ("exp_avg", "exp_avg_sq")
KINDS: tuple[StateKind, ...] = ("parameters", *MOMENTS)


@dataclass(frozen=True)
class Fragment:
    """Elements start … start + len(values) of the flattened parameter `name`, or of one of its moments."""

    kind: StateKind
    name: str
    start: int
    values: Tensor  # flat, fp32; a view where it can be

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.start}/{self.name}"


def file_name(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"


@dataclass(frozen=True)
class _StoredFragment:
    start: int
    length: int
    file: Any  # a safetensors file opened by safe_open
    key: str


class FragmentReader:
    """The fragments in a checkpoint's files, by name and place, whoever wrote them. Reads no more than is asked for."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """`names`: the files' names in `folder`."""
        self._pieces: dict[tuple[str, str], list[_StoredFragment]] = {}
        for name in names:
            file: Any = safe_open(folder / name, framework="pt")
            for key in file.keys():  # noqa: SIM118 - it is no dict
                kind, start, parameter = key.split("/", 2)
                (length,) = file.get_slice(key).get_shape()
                self._pieces.setdefault((kind, parameter), []).append(_StoredFragment(int(start), length, file, key))
        for pieces in self._pieces.values():
            pieces.sort(key=lambda piece: piece.start)

    def tensor(self, kind: StateKind, name: str, shape: Sequence[int]) -> Tensor:
        """The whole tensor, in fp32, on the CPU."""
        return self.read(kind, name, 0, math.prod(shape)).reshape(tuple(shape))

    def read(self, kind: StateKind, name: str, start: int, length: int) -> Tensor:
        """Elements start … start + length, flat, in fp32, on the CPU. They must all be there."""
        values = torch.empty(length, dtype=torch.float32)
        position = start
        for piece in self._pieces.get((kind, name), []):
            until = min(piece.start + piece.length, start + length)
            if piece.start <= position < until:
                part = piece.file.get_slice(piece.key)[position - piece.start : until - piece.start]
                values[position - start : until - start] = part
                position = until
        assert position == start + length, f"no {kind} of {name} from element {position} to {start + length}"
        return values
