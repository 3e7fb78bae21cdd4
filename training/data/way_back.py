"""Ways back from pieces to their examples, as flat arrays: every kind of `Piece.way_back` that a format has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.formats.prompts.cloze import Asked
from training.formats.span import Window

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, one behind the other: row i is values[ends[i] : ends[i + 1]]."""

    values: Array
    ends: NDArray[np.int64]

    def __getitem__(self, row: int) -> Array:
        return self.values[self.ends[row] : self.ends[row + 1]]


def ragged(rows: Sequence[Sequence[int]] | Sequence[Array], kind: Any = np.int32) -> Ragged:
    """The rows as one array of `kind`."""
    ends = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)), out=ends[1:])
    if rows and isinstance(rows[0], np.ndarray):
        return Ragged(np.concatenate(rows).astype(kind, copy=False), ends)
    flat = np.fromiter((value for row in rows for value in row), dtype=kind, count=int(ends[-1]))
    return Ragged(flat, ends)


@dataclass(frozen=True)
class _Kind:
    """One kind of way back: the type of its values, how they become arrays, how the i-th becomes a value again."""

    type: type
    pack: Callable[[Sequence[Any]], dict[str, Array]]
    reader: Callable[[Arrays], Callable[[int], Any]]


def pack(values: Sequence[Any]) -> tuple[str, dict[str, Array]]:
    """(the kind's name, its arrays) of one way back per piece; all are of one kind."""
    types = {type(value) for value in values} or {type(None)}
    (name,) = (name for name, kind in _KINDS.items() if types == {kind.type})
    return name, _KINDS[name].pack(values)


def reader(kind: str, arrays: Arrays) -> Callable[[int], Any]:
    """The inverse: the i-th way back, equal to what was packed."""
    return _KINDS[kind].reader(arrays)


def _pack_texts(values: Sequence[str]) -> dict[str, Array]:
    """The different texts and which of them each is: roles, of which there are few."""
    texts = sorted(set(values))
    numbers = {text: number for number, text in enumerate(texts)}
    return {
        "way_texts": np.frombuffer("\0".join(texts).encode(), dtype=np.uint8),
        "way_number": np.array([numbers[value] for value in values], dtype=np.int32),
    }


def _texts(arrays: Arrays) -> Callable[[int], str]:
    texts = arrays["way_texts"].tobytes().decode().split("\0")
    return lambda index: texts[arrays["way_number"][index]]


def _pack_tuples(values: Sequence[tuple[int, ...]]) -> dict[str, Array]:
    rows = ragged(values)
    return {"way_values": rows.values, "way_ends": rows.ends}


def _tuples(arrays: Arrays) -> Callable[[int], tuple[int, ...]]:
    rows = Ragged(arrays["way_values"], arrays["way_ends"])
    return lambda index: tuple(rows[index].tolist())


def _pack_windows(windows: Sequence[Window]) -> dict[str, Array]:
    spans = ragged([window.spans.reshape(-1) for window in windows])
    best = ragged([window.best for window in windows], np.bool_)
    first = np.array([window.first for window in windows], dtype=np.int32)
    return {"way_first": first, "way_spans": spans.values, "way_best": best.values, "way_ends": best.ends}


def _windows(arrays: Arrays) -> Callable[[int], Window]:
    spans, ends = arrays["way_spans"].reshape(-1, 2), arrays["way_ends"]

    def window(index: int) -> Window:
        start, end = ends[index], ends[index + 1]
        return Window(int(arrays["way_first"][index]), spans[start:end], arrays["way_best"][start:end])

    return window


def _pack_asked(values: Sequence[Asked]) -> dict[str, Array]:
    rows = ragged([(a.template, a.content, a.start, len(a.labels), *a.labels, *chain(*a.tokens)) for a in values])
    return {"way_values": rows.values, "way_ends": rows.ends}


def _asked(arrays: Arrays) -> Callable[[int], Asked]:
    rows = Ragged(arrays["way_values"], arrays["way_ends"])

    def asked(index: int) -> Asked:
        template, content, start, count, *values = rows[index].tolist()
        labels, tokens = tuple(values[:count]), values[count:]
        width = len(tokens) // count
        answers = tuple(tuple(tokens[place : place + width]) for place in range(0, len(tokens), width))
        return Asked(template, content, start, labels, answers)

    return asked


_KINDS = {
    "nothing": _Kind(type(None), lambda values: {}, lambda arrays: lambda index: None),
    "number": _Kind(
        int,
        lambda values: {"way_number": np.array(values, dtype=np.int32)},
        lambda arrays: lambda index: int(arrays["way_number"][index]),
    ),
    "text": _Kind(str, _pack_texts, _texts),
    "numbers": _Kind(tuple, _pack_tuples, _tuples),
    "window": _Kind(Window, _pack_windows, _windows),
    "asked": _Kind(Asked, _pack_asked, _asked),
}
