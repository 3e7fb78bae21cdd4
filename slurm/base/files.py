"""Files on a shared file system: written whole or not at all, private to the user, read only when they verify.

Whatever changes a disk goes through `os.open`, `write`, `fsync`, `replace`, `link`, `mkdir`, `unlink` and `rmdir`, with
whole paths: so a test can record every step, and show what a crash between any two of them leaves.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from slurm.base.errors import UserError

CHUNK_BYTES = 1 << 20  # what is written and hashed at a time
_CHECKSUM = "sha256"


def make_folder(path: Path) -> Path:
    """Make `path` and its parents, closed to others (0700), their names durable."""
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing or [path]):  # one by one: with `parents`, mkdir gives its mode to the last only
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in missing:
            sync_folder(folder.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot make this folder: {error.strerror}. Choose another `store:`.") from error
    return path


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, content: bytes) -> Path:
    """Write a private file beside `path` under a name of its own, durable, and return its path."""
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    _write(temporary, [content], os.O_EXCL | os.O_NOFOLLOW)
    return temporary


def write_file(path: Path, content: bytes | str) -> None:
    """Write a private, durable file in place: for folders that count only once a manifest in them is written."""
    _write(path, [content.encode() if isinstance(content, str) else content], os.O_TRUNC)


def copy_file(source: Path, target: Path) -> None:
    """A durable copy, in chunks. The same in place of `target`'s content where there is one."""
    with source.open("rb") as file:
        _write(target, iter(lambda: file.read(CHUNK_BYTES), b""), os.O_TRUNC)


def link_file(source: Path, target: Path) -> None:
    """A second name for a file, or a durable copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        copy_file(source, target)


def write_chunk(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of `content`: one call of the system may take a part only."""
    view = memoryview(content)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def _write(path: Path, chunks: Iterable[bytes], flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    try:
        for chunk in chunks:
            write_chunk(descriptor, chunk)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, as far as it can be; nothing where there is none."""
    for folder, folders, names in os.walk(path, topdown=False):
        for name in names:
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
        for name in folders:
            with suppress(OSError):
                os.rmdir(os.path.join(folder, name))
    with suppress(OSError):
        os.rmdir(path)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content`: a reader sees the old file or the new one, also after a crash."""
    data = content.encode() if isinstance(content, str) else content
    temporary = write_new(path, data)
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_once(path: Path, content: bytes) -> bool:
    """Put `content` at `path` unless something is there already (first wins); whether it was ours."""
    temporary = write_new(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    sync_folder(path.parent)
    return True


def to_json(value: Any) -> bytes:
    """The canonical bytes of a JSON value: sorted keys, no NaN, one newline at the end."""
    return (
        json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
    ).encode()


def seal(record: dict[str, Any]) -> bytes:
    """`record` as JSON with a checksum over its other fields, so that a torn or edited file is noticed."""
    assert _CHECKSUM not in record, record
    return to_json(record | {_CHECKSUM: hashlib.sha256(to_json(record)).hexdigest()})


def unseal(content: bytes) -> dict[str, Any] | None:
    """The record that `seal` made these bytes from; None where they do not verify."""
    try:
        record = json.loads(content)
        del record[_CHECKSUM]
        return record if seal(record) == content else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The sealed record at `path`; None where there is none that this user may read, or it does not verify."""
    try:
        return unseal(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def read_json(path: Path) -> Any:
    """The JSON value at `path`; None where there is no such file, or none that is open to this user (yet)."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, PermissionError):
        return None


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
