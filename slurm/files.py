"""Files on a shared file system: written whole or not at all, private to the user, read only when they verify."""

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

from slurm.errors import UserError

_CHECKSUM = "sha256"


def make_folder(path: Path) -> Path:
    """Make `path` and its parents, closed to others (0700)."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


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
    """The sealed record at `path`; None where there is none or it does not verify."""
    try:
        return unseal(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_json(path: Path) -> Any:
    """The JSON value at `path`; None where there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
