"""The token cache: what encoding made, kept in flat memory-mapped arrays that all stages and ranks share. No torch.

An entry `<key>/` holds `.npy` arrays and `manifest.json` with their checksums. It is made in a folder of its own and
renamed into place whole; who finds another's there takes that. Its key says what the pieces depend on: the examples
themselves, the tokenizer's files, the lengths, and the code and packages that encode.
"""

import hashlib
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from slurm.base import UserError
from slurm.base.files import make_folder, read_sealed, seal, sha256_file, sync_folder, to_json, write_atomic
from training import formats
from training.data import way_back
from training.data.way_back import Ragged, ragged
from training.formats.base import Example, Format, Piece
from training.pretrained import tokenizer_hash
from training.pretrained.tokenizer import Tokenizer, packages
from training.spec import Settings
from training.stopwatch import phase
from training.tasks import Task

_SCHEMA = 1
_MANIFEST = "manifest.json"
_FACTS = "tokenizer-"  # begins the names of records of tokenizers
_ABANDONED_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Entry:
    """One entry, as its manifest describes it. `made`: now, and not found."""

    folder: Path
    pieces: int
    examples: int
    tokens: int
    bytes: int
    made: bool


class TokenCache:
    """Encodes each list of examples once. Without a folder it keeps nothing."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._opened: dict[str, Sequence[Piece]] = {}

    def pieces(
        self, form: Format[Any], examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings
    ) -> Sequence[Piece]:
        """What `form.encode` gives for these examples: from the cache, else made and put there.

        A cache that cannot be written (a full disk, no permission) costs time, not the stage: a line on stderr says it.
        """
        key = self.key(form, examples, tokenizer, task, settings)
        if key is None:
            return form.encode(examples, tokenizer, task, settings)
        if key not in self._opened:
            cached_pieces = self._found(key)
            self._opened[key] = (
                self._made(key, form, examples, tokenizer, task, settings) if cached_pieces is None else cached_pieces
            )
        return self._opened[key]

    def prepare(
        self, form: Format[Any], examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings
    ) -> Entry:
        """See that the entry is there, whole. OSError where it cannot be written."""
        key = self.key(form, examples, tokenizer, task, settings)
        assert key is not None and self.folder is not None, "a cache without a folder, or a tokenizer without files"
        is_new = read(self.folder / key) is None
        if is_new:
            self._put(key, form.encode(examples, tokenizer, task, settings), len(examples))
        manifest = read_sealed(self.folder / key / _MANIFEST)
        assert manifest is not None, key
        size = sum(file["size"] for file in manifest["files"].values())
        return Entry(self.folder / key, manifest["pieces"], manifest["examples"], manifest["tokens"], size, is_new)

    def key(
        self, form: Format[Any], examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings
    ) -> str | None:
        """The entry's name; None where nothing is kept: no folder, or a tokenizer that comes from no folder."""
        if self.folder is None or not isinstance(tokenizer, Tokenizer):
            return None
        meaning = {
            "schema": _SCHEMA,
            "code": _code_hash(),
            "packages": packages(),
            "tokenizer": tokenizer.hash,
            "format": form.name,
            "labels": list(task.labels),
            "metric_family": task.metric_family,
            # Not those that only decoding or training uses: they must not make it happen again.
            "settings": {name: getattr(settings, name) for name in form.encode_settings},
            "examples": _examples_hash(examples),
        }
        if task.prompting is not None:
            meaning["prompting"] = asdict(task.prompting)
        if tokenizer.is_causal:
            meaning["model"] = "causal"
        return hashlib.sha256(to_json(meaning)).hexdigest()[:32]

    def tokenizer(self, folder: Path) -> Tokenizer:
        """That of a model folder; the cache keeps what else is asked of it."""
        if self.folder is None:
            return Tokenizer(folder)
        return Tokenizer(folder, self.folder / f"{_FACTS}{tokenizer_hash(folder)[:32]}.json")

    def _found(self, key: str) -> Sequence[Piece] | None:
        assert self.folder is not None
        return read(self.folder / key)

    def _made(
        self,
        key: str,
        form: Format[Any],
        examples: Sequence[Example],
        tokenizer: Any,
        task: Task,
        settings: Settings,
    ) -> Sequence[Piece]:
        pieces = form.encode(examples, tokenizer, task, settings)
        try:
            return self._put(key, pieces, len(examples))
        except OSError as error:
            print(f"{self.folder}: the token cache cannot be written ({error.strerror}): going on", file=sys.stderr)
            return pieces

    def _put(self, key: str, pieces: Sequence[Piece], n_examples: int) -> Sequence[Piece]:
        """Write the entry and move it into its place; the first one that is whole stays."""
        assert self.folder is not None
        make_folder(self.folder)
        target = self.folder / key
        temporary = make_folder(self.folder / f"{key}.{uuid.uuid4().hex}.tmp")
        try:
            _write(temporary, pieces, n_examples)
            if target.exists() and read(target) is None:
                _put_aside(target)
            try:
                os.rename(temporary, target)
            except OSError:  # another process was first
                if not target.exists():
                    raise
            sync_folder(self.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        cached_pieces = read(target)
        return pieces if cached_pieces is None else cached_pieces

    def remove_abandoned(self) -> None:
        """Remove what killed processes left behind more than a day ago."""
        for folder in self.folder.glob("*.tmp") if self.folder else ():
            with suppress(FileNotFoundError):  # its maker has just moved it into place
                if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


_CURRENT: ContextVar[TokenCache | None] = ContextVar("_CURRENT", default=None)


def has_facts(folder: Path) -> bool:
    """Whether a cache keeps what is asked of a tokenizer beside encoding: something was encoded there before."""
    return any(folder.glob(f"{_FACTS}*"))


@contextmanager
def caching(cache: TokenCache) -> Iterator[None]:
    """Inside, `encode` uses this cache."""
    token = _CURRENT.set(cache)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def tokenizer_of(folder: Path, known_hash: str) -> Tokenizer:
    """A model folder's tokenizer, which is loaded only where the cache that this process uses lacks something.

    known_hash: of the tokenizer that the model in memory was read with. UserError where the folder has another by now.
    """
    tokenizer = (_CURRENT.get() or TokenCache()).tokenizer(folder)
    if tokenizer.hash != known_hash:
        raise UserError(f"{folder}: the tokenizer is another than when the model was read; submit again.")
    return tokenizer


@phase("tokenise")
def encode(
    form: Format[Any], examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings
) -> Sequence[Piece]:
    """The pieces of all examples, through the cache that this process uses (see `caching`), if any."""
    cache = _CURRENT.get() or TokenCache()
    return cache.pieces(form, examples, tokenizer, task, settings)


def token_values(pieces: Sequence[Piece]) -> Iterator[NDArray[Any]]:
    """All tokens of the pieces, in arrays: of a cached entry as they lie on disk."""
    if isinstance(pieces, _Pieces):
        yield pieces.tokens
    else:
        yield from (np.array(row) for piece in pieces for row in piece.rows)


@cache
def _code_hash() -> str:
    """Of the formats' source: a changed encoder finds nothing that an earlier one made."""
    paths = sorted(Path(formats.__file__).parent.rglob("*.py"))
    assert paths, formats.__file__
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _examples_hash(examples: Sequence[Example]) -> str:
    """Of everything that the examples hold: what they were read from, how and how many is in it thereby."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example!r}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


# --- an entry on disk


class _Pieces(Sequence[Piece]):
    """The pieces of an entry, made anew whenever they are asked for: the arrays stay on disk."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], kind: str) -> None:
        self._example = arrays["example"]
        self.tokens = arrays["tokens"]
        self._rows = Ragged(arrays["tokens"], arrays["row_ends"])
        self._row_of = arrays["piece_rows"]  # piece i has the rows from row_of[i] to row_of[i + 1]
        self._targets = Ragged(arrays["targets"], arrays["target_ends"])
        self._way_back = way_back.reader(kind, arrays)

    def __len__(self) -> int:
        return len(self._example)

    @overload
    def __getitem__(self, index: int) -> Piece: ...

    @overload
    def __getitem__(self, index: slice) -> list[Piece]: ...

    def __getitem__(self, index: int | slice) -> Piece | list[Piece]:
        if isinstance(index, slice):
            return [self._piece(i) for i in range(*index.indices(len(self)))]
        return self._piece(range(len(self))[index])

    def __iter__(self) -> Iterator[Piece]:
        return map(self._piece, range(len(self)))

    def _piece(self, index: int) -> Piece:
        rows = tuple(tuple(self._rows[row].tolist()) for row in range(self._row_of[index], self._row_of[index + 1]))
        target = tuple(self._targets[index].tolist())
        return Piece(int(self._example[index]), rows, target, self._way_back(index))


def _write(folder: Path, pieces: Sequence[Piece], n_examples: int) -> None:
    """All arrays, durable, and then the manifest."""
    kind, arrays = way_back.pack([piece.way_back for piece in pieces])
    rows = ragged([row for piece in pieces for row in piece.rows])
    targets = ragged([piece.target for piece in pieces])
    piece_rows = np.cumsum([0, *(len(piece.rows) for piece in pieces)], dtype=np.int64)
    arrays |= {
        "example": np.array([piece.example for piece in pieces], dtype=np.int32),
        "piece_rows": piece_rows,
        "tokens": rows.values,
        "row_ends": rows.ends,
        "targets": targets.values,
        "target_ends": targets.ends,
    }
    manifest = {
        "schema": _SCHEMA,
        "key": folder.name.partition(".")[0],
        "way_back": kind,
        "pieces": len(pieces),
        "examples": n_examples,
        "tokens": len(rows.values),
        "files": {name: _write_array(folder / f"{name}.npy", array) for name, array in arrays.items()},
    }
    write_atomic(folder / _MANIFEST, seal(manifest))


def _write_array(path: Path, array: NDArray[Any]) -> dict[str, Any]:
    with path.open("xb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {"size": path.stat().st_size, "sha256": sha256_file(path)}


def read(folder: Path) -> Sequence[Piece] | None:
    """The pieces of an entry; None where there is none, and where it is not whole: then it is put aside."""
    if not folder.is_dir():
        return None
    manifest = read_sealed(folder / _MANIFEST)
    if manifest is None or manifest["key"] != folder.name or not _verifies(folder, manifest["files"]):
        _put_aside(folder)
        return None
    arrays = {name: _open(folder / f"{name}.npy") for name in manifest["files"]}
    return _Pieces(arrays, manifest["way_back"])


def _open(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # nothing in it: an empty array cannot be mapped
        array = np.load(path, allow_pickle=False)
    return np.asarray(array)  # the same memory; slices of a numpy.memmap cost ten times those of an array


def _verifies(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> bool:
    for name, file in files.items():
        path = folder / f"{name}.npy"
        if not path.is_file() or path.stat().st_size != file["size"] or sha256_file(path) != file["sha256"]:
            return False
    return True


def _put_aside(folder: Path) -> None:
    """Under another name, for people to look at. Another process may be quicker."""
    with suppress(FileNotFoundError):
        os.rename(folder, folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.quarantined"))
