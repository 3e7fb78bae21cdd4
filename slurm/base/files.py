"""Files on a shared file system: written whole or not at all, private to the user, read only when they verify.

Whatever changes a disk goes through `os.open`, `write`, `fsync`, `replace`, `link`, `mkdir`, `unlink` and `rmdir`, with
whole paths: so a test can record every step, and show what a crash between any two of them leaves.

A network file system may carry a call out and lose its reply: the client asks again, and is told that the file is gone,
or there already. So where a rename or link fails, what is at its target now decides whether it was done.
"""

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slurm.base import look
from slurm.base.errors import UserError, advice

CHUNK_BYTES = 1 << 20  # what is written and hashed at a time
_CHECKSUM = "sha256"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # said where a file system has no hard links
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP)  # the same of folders that cannot be synced


def make_folder(path: Path, chosen_by: str = "store:") -> Path:
    """Make `path` and its parents, closed to others (0700), their names durable.

    `chosen_by`: what a person chose the place with, as UserError tells where no folder can be made there.
    """
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing or [path]):  # one by one: with `parents`, mkdir gives its mode to the last only
            look.again(lambda folder=folder: folder.mkdir(mode=0o700, exist_ok=True))  # type: ignore[misc]
        for folder in missing:
            sync_folder(folder.parent)
    except OSError as error:
        what_to_do = None if error.errno in _FORBIDDEN else advice(error)
        fix = what_to_do or f"Choose another `{chosen_by}`."
        raise UserError(f"{path}: cannot make this folder: {error.strerror}. {fix}") from error
    return path


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = look.again(lambda: os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    try:
        with look.named(path):
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
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


def write_in_place(path: Path, content: bytes) -> None:
    """The durable content of a private file that is there; FileNotFoundError where it is not: nothing is made."""
    _write(path, [content], os.O_TRUNC, create=0)


def copy_file(source: Path, target: Path) -> None:
    """A durable copy, in chunks. The same in place of `target`'s content where there is one."""
    with source.open("rb") as file:
        _write(target, iter(lambda: file.read(CHUNK_BYTES), b""), os.O_TRUNC)


def link_file(source: Path, target: Path) -> None:
    """A second name for a file, or a durable copy where the file system has no hard links."""
    inode = _inode(source)
    try:
        look.again(lambda: os.link(source, target))
    except OSError as error:
        if _is(target, inode):
            return
        if error.errno not in (*_NO_LINKS, errno.EXDEV):
            raise
        copy_file(source, target)


def write_chunk(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of `content`: one call of the system may take a part only."""
    view = memoryview(content)
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def _write(path: Path, chunks: Iterable[bytes], flags: int, create: int = os.O_CREAT) -> None:
    descriptor = look.again(lambda: os.open(path, os.O_WRONLY | create | flags, 0o600))
    with look.named(path):
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


def move(source: Path, target: Path) -> None:
    """Rename a file, in place of what is at `target`, or a folder."""
    inode = _inode(source)
    try:
        look.again(lambda: os.replace(source, target))
    except OSError:
        if not _is(target, inode):
            raise


def move_new(source: Path, target: Path) -> bool:
    """Rename a folder that is not empty to a name that is free; False where it is taken, also by what cannot be seen
    here yet."""
    inode = _inode(source)
    try:
        look.again(lambda: os.rename(source, target))
    except OSError as error:
        if _is(target, inode):
            return True
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def _is(path: Path, inode: int | None) -> bool:
    """Whether that file or folder is at `path` now: what is believed of it is asked anew."""
    try:
        return inode is not None and look.status(path).st_ino == inode
    except OSError:
        return False


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content`: a reader sees the old file or the new one, also after a crash."""
    data = content.encode() if isinstance(content, str) else content
    temporary = write_new(path, data)
    move(temporary, path)
    sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A private file to be written, too large for memory, that takes the place of `path` once it is whole: as with
    `write_atomic`. Where writing fails nothing of it is left."""
    make_folder(path.parent)
    temporary = write_new(path, b"")
    try:
        yield temporary
        descriptor = look.again(lambda: os.open(temporary, os.O_RDONLY))
        try:
            with look.named(temporary):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        move(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def write_once(path: Path, content: bytes, author: str = "") -> bool:
    """Put `content` at `path` unless something is there already (first wins); whether it was ours.

    Where the file system has no hard links, a symbolic link leads to a file beside it. `author_of` then tells `author`
    from the link alone.
    """
    temporary = write_new(path, content)
    try:
        is_ours = _link_new(temporary, path)
        if is_ours:
            sync_folder(path.parent)  # before anything else may fail: others count on what they see
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    return _point_once(path, content, author) if is_ours is None else is_ours


def _link_new(source: Path, target: Path) -> bool | None:
    """Whether `target` is a second name of `source` now; None where the file system has no hard links."""
    inode = _inode(source)
    try:
        look.again(lambda: os.link(source, target))
    except OSError as error:
        if not _is(target, inode):
            if error.errno == errno.EEXIST:
                return False
            if error.errno in _NO_LINKS:
                return None
            raise
    return True


def _point_once(path: Path, content: bytes, author: str) -> bool:
    content_file = path.parent / f".{path.name}.{author}.{uuid.uuid4().hex}.once"
    _write(content_file, [content], os.O_EXCL | os.O_NOFOLLOW)
    sync_folder(path.parent)  # else a power cut may leave the link and take what it leads to
    try:
        look.again(lambda: os.symlink(content_file.name, path))
    except OSError as error:
        leads_to = _leads_to(path)
        if leads_to != content_file.name:
            if leads_to is not None and error.errno == errno.EEXIST:
                os.unlink(content_file)  # only where that is certain: else the link might lead nowhere
                return False
            error.filename = str(path)
            raise
    sync_folder(path.parent)
    return True


def _leads_to(path: Path) -> str | None:
    """None: to nothing, or that cannot be told."""
    look.refresh(path.parent)
    try:
        return os.readlink(path)
    except OSError:
        return None


def author_of(path: Path) -> str | None:
    """Who put there what is at `path`, as `write_once` was told; None where there is no symbolic link."""
    leads_to = _leads_to(path)
    return None if leads_to is None else leads_to.removeprefix(f".{path.name}.").rpartition(".")[0].rpartition(".")[0]


def remove(path: Path) -> None:
    """Remove what `write_once` put there; nothing where it is gone."""
    content_file = path.parent / os.readlink(path) if path.is_symlink() else None
    with suppress(FileNotFoundError):
        os.unlink(path)
    if content_file is not None:
        sync_folder(path.parent)  # else a power cut may bring back the link alone
        with suppress(FileNotFoundError):
            os.unlink(content_file)


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
        return unseal(look.read_bytes(path))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def read_json(path: Path) -> Any:
    """The JSON value at `path`; None where there is no such file, or none that is open to this user (yet)."""
    try:
        return json.loads(look.read_bytes(path))
    except (FileNotFoundError, PermissionError):
        return None


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""

    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return look.surely(path, digest)
