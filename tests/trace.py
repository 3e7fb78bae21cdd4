"""Records every change that code makes to a folder, and shows what a crash after any of them leaves.

All of our durable writes go through functions of `os` with whole paths (slurm/base/files.py); these are what is
recorded.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

# What a crash takes. all: everything up to it is on the disk. torn: of the last write, the first half. bytes: what was
# not fsynced is lost. names: that, and names made in a folder since its last fsync; what was removed stays removed.
Loss = Literal["all", "torn", "bytes", "names"]
LOSSES: tuple[Loss, ...] = ("all", "torn", "bytes", "names")


@dataclass(frozen=True)
class Event:
    """One call. `path` and `target` are below the traced folder, which is "" itself."""

    call: str
    path: str
    target: str = ""
    content: bytes = b""
    truncates: bool = False
    offset: int | None = None  # of what is written; None: the end

    @property
    def completes(self) -> str | None:
        """The folder of a checkpoint that counts from here on."""
        named = self.call == "rename" and self.target.endswith("/manifest.json")
        return str(Path(self.target).parent) if named else None


class Trace:
    """Patches `os` while it records, in all threads; the calls follow one another in the order of the events."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._lock = threading.RLock()
        self._open: dict[int, str] = {}
        self.events: list[Event] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        names = ("open", "write", "fsync", "close", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir")
        real = {name: getattr(os, name) for name in names}
        for name in names:
            setattr(os, name, self._wrapped(name, real[name]))
        try:
            yield
        finally:
            for name in names:
                setattr(os, name, real[name])

    def _wrapped(self, name: str, real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            with self._lock:
                result = real(*args, **more)
                self._note(name, args, more, result)
                return result

        return call

    def _note(self, name: str, args: tuple[Any, ...], more: dict[str, Any], result: Any) -> None:
        if name == "open":
            self._note_open(args, result)
        elif name in ("write", "fsync", "close"):
            self._note_descriptor(name, args, result)
        elif (path := self._below(args[0])) is not None:
            assert more.get("dir_fd") is None, f"os.{name} of {path} with a folder's descriptor cannot be told"
            two = name in ("replace", "rename", "link")
            call = {"replace": "rename", "remove": "unlink"}.get(name, name)
            self.events.append(Event(call, path, self._below(args[1]) or "" if two else ""))

    def _note_open(self, args: tuple[Any, ...], descriptor: int) -> None:
        path, flags = self._below(args[0]), args[1]
        if path is not None:
            self._open[descriptor] = path
            if flags & os.O_ACCMODE != os.O_RDONLY:
                self.events.append(Event("open", path, truncates=bool(flags & os.O_TRUNC)))

    def _note_descriptor(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        path = self._open.pop(args[0], None) if name == "close" else self._open.get(args[0])
        if path is not None and name != "close":
            self.events.append(Event(name, path, content=bytes(args[1][:result]) if name == "write" else b""))

    def _below(self, path: Any) -> str | None:
        if isinstance(path, int):
            return None
        text = os.path.abspath(os.fspath(path))
        return text[len(self._folder) + 1 :] if (text + os.sep).startswith(self._folder + os.sep) else None


@dataclass
class _Inode:
    content: bytes = b""
    synced: bytes = b""


@dataclass
class _Disk:
    """A file system that remembers what was made durable. Keys are paths; None is a folder."""

    names: dict[str, _Inode | None] = field(default_factory=dict)
    durable: set[str] = field(default_factory=set)

    def apply(self, event: Event) -> None:
        getattr(self, f"_{event.call}")(event)

    def _open(self, event: Event) -> None:
        inode = self.names.setdefault(event.path, _Inode())
        assert inode is not None
        if event.truncates:
            inode.content = b""

    def _write(self, event: Event) -> None:
        inode = self.names[event.path]
        assert inode is not None
        offset = len(inode.content) if event.offset is None else event.offset
        inode.content = (
            inode.content[:offset].ljust(offset, b"\0") + event.content + inode.content[offset:][len(event.content) :]
        )

    def _fsync(self, event: Event) -> None:
        inode = self.names.get(event.path)
        if inode is not None:
            inode.synced = inode.content
        else:
            self.durable |= {name for name in self.names if os.path.dirname(name) == event.path}

    def _rename(self, event: Event) -> None:
        moved = [name for name in self.names if name == event.path or name.startswith(event.path + "/")]
        for name in moved:
            new = event.target + name[len(event.path) :]
            self.names[new] = self.names.pop(name)
            # In place of a durable name, the old file or the new one is there: not nothing.
            if name != event.path and name in self.durable:
                self.durable.add(new)
            self.durable.discard(name)

    def _link(self, event: Event) -> None:
        self.names[event.target] = self.names[event.path]

    def _mkdir(self, event: Event) -> None:
        self.names[event.path] = None

    def _unlink(self, event: Event) -> None:
        del self.names[event.path]
        self.durable.discard(event.path)

    _rmdir = _unlink

    def left(self, loss: Loss) -> dict[str, bytes | None]:
        """What a crash now leaves: contents by path, None for a folder."""
        kept = {name: inode for name, inode in self.names.items() if loss != "names" or self._stays(name)}
        synced = loss in ("bytes", "names")
        return {
            name: None if inode is None else (inode.synced if synced else inode.content) for name, inode in kept.items()
        }

    def _stays(self, name: str) -> bool:
        parts = name.split("/")
        return all("/".join(parts[: length + 1]) in self.durable for length in range(len(parts)))


def crashes(events: list[Event], loss: Loss) -> Iterator[tuple[int, dict[str, bytes | None]]]:
    """(number of events done, what is left) for a crash before the first event and after each that changes a thing."""
    disk = _Disk()
    last: dict[str, bytes | None] = {}
    yield 0, last
    for number, event in enumerate(events, 1):
        half = len(event.content) // 2 if loss == "torn" else 0
        if half:
            disk.apply(replace(event, content=event.content[:half]))
            yield number, disk.left(loss)
            event = replace(event, content=event.content[half:])
        disk.apply(event)
        if loss != "torn" and (left := disk.left(loss)) != last:
            yield number, left
            last = left


def disk_of(folder: Path) -> _Disk:
    """What is in a folder now, all of it durable."""
    disk = _Disk()
    for path in sorted(folder.rglob("*")):
        content = None if path.is_dir() else path.read_bytes()
        disk.names[str(path.relative_to(folder))] = None if content is None else _Inode(content, content)
    disk.durable = set(disk.names)
    return disk


def left_after(disk: _Disk, journal: Path, loss: Loss) -> dict[str, bytes | None]:
    """What a crash leaves of a disk after the events of a journal: a line of JSON each, contents in hex."""
    for line in journal.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        disk.apply(Event(**told | {"content": bytes.fromhex(told["content"])}))
    return disk.left(loss)


def make(left: dict[str, bytes | None], folder: Path) -> Path:
    """What a crash left, as a real folder."""
    folder.mkdir(exist_ok=True)
    for name in sorted(left):
        content = left[name]
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    return folder
