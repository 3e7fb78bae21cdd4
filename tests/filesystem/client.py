"""What a network file system's client believes for some seconds, and how the server is asked."""

import errno
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from tests.filesystem.panel import Fault, Panel, Settings

T = TypeVar("T")
Attributes = dict[str, int]
Listing = list[tuple[str, Attributes, int]]  # name, kind and inode, and an offset that is not used
_NAMES = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size")


def attributes(status: os.stat_result) -> Attributes:
    """As FUSE wants them: times in ns."""
    times = {f"st_{name}": getattr(status, f"st_{name}_ns") for name in ("atime", "mtime", "ctime")}
    return {name: getattr(status, name) for name in _NAMES} | times


def listing(folder: str) -> Listing:
    """What is in a folder of the server's."""
    itself = {"st_mode": stat.S_IFDIR, "st_ino": 1}
    with os.scandir(folder) as entries:
        names = [(entry.name, {"st_mode": _kind(entry), "st_ino": entry.inode()}, 0) for entry in entries]
    return [(".", itself, 0), ("..", itself, 0), *names]


def _kind(entry: "os.DirEntry[str]") -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else stat.S_IFREG


class Beliefs:
    """Names and listings, as they were when the server was asked last."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._names: dict[str, dict[str, tuple[float, Attributes | None]]] = {}  # by folder, then by path
        self._listings: dict[str, tuple[float, Listing]] = {}
        self.seconds = 0.0

    def _now(self) -> float:
        told = self._panel.clock
        return time.monotonic() if told is None else told

    def name(self, path: str) -> tuple[Attributes | None] | None:
        """None: unknown; (None,): there is no such name."""
        until, value = self._names.get(os.path.dirname(path), {}).get(path, (-1.0, None))
        return (value,) if self._now() < until else None

    def keep_name(self, path: str, value: Attributes | None) -> None:
        self._names.setdefault(os.path.dirname(path), {})[path] = (self._now() + self.seconds, value)

    def listing(self, path: str) -> Listing | None:
        until, names = self._listings.get(path, (-1.0, []))
        return names if self._now() < until else None

    def keep_listing(self, path: str, names: Listing) -> None:
        self._listings[path] = (self._now() + self.seconds, names)

    def forget(self, *paths: str) -> None:
        """After a change of one's own: the names, what is below them, and their folders' listings and times."""
        for path in paths:
            self._forget_below(path)
            for name in (path, os.path.dirname(path)):
                self._listings.pop(name, None)
                self._doubt(name)

    def _forget_below(self, path: str) -> None:
        for child in self._names.pop(path, {}):
            if child != path:  # the root is its own folder
                self._forget_below(child)

    def _doubt(self, path: str) -> None:
        self._names.get(os.path.dirname(path), {}).update({path: (-1.0, None)})

    def forget_folder(self, path: str) -> None:
        """What is known of a folder, and of the names in it, but not below those."""
        self._listings.pop(path, None)
        self._doubt(path)
        for child in self._names.get(path, {}):
            self._doubt(child)


@dataclass
class Handle:
    """An open file. What is written waits in `writes` until it is synced or closed."""

    descriptor: int
    path: str
    inode: int
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    pages: bytes | None = None  # the whole file, as it was when it was read first

    @property
    def end(self) -> int:
        """Of what waits."""
        return max((offset + len(content) for offset, content in self.writes), default=0)


class Server:
    """Carries out calls, or lets them go wrong as the test says."""

    def __init__(self, panel: Panel, beliefs: Beliefs) -> None:
        self._panel, self._beliefs = panel, beliefs
        self._version = -1
        self._faults: list[list[Any]] = []  # [fault, calls to skip, times left]
        self.settings = Settings()

    def refresh(self) -> None:
        """Read what the test has told since."""
        version = self._panel.version
        if version != self._version:
            self._version = version
            self.settings, faults = self._panel.read()
            self._faults = [[fault, fault.skip, fault.times] for fault in faults]
            self._beliefs.seconds = self.settings.seconds

    def call(self, name: str, path: str, action: Callable[..., T], *arguments: Any) -> T:
        self.refresh()
        self._panel.count()
        fault = self._fault(name, path)
        if fault is None:
            return action(*arguments)
        self._panel.count(fired=True)
        time.sleep(fault.seconds)
        if fault.lost:
            action(*arguments)
        if fault.error:
            raise OSError(fault.error, os.strerror(fault.error))
        return action(*arguments)

    def _fault(self, name: str, path: str) -> Fault | None:
        for entry in self._faults:
            fault: Fault = entry[0]
            if entry[2] and fnmatchcase(name, fault.calls) and fnmatchcase(path, fault.paths):
                if entry[1]:
                    entry[1] -= 1
                    continue
                entry[2] -= 1
                return fault
        return None

    def note(self, event: Any) -> None:
        """For a power cut (tests/trace.py)."""
        if self.settings.journal:
            line = json.dumps(asdict(event) | {"content": event.content.hex()}) + "\n"
            descriptor = os.open(self.settings.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)


def gone(path: str) -> OSError:
    return OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
