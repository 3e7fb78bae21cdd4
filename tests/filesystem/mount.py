"""A network file system's client over a folder, which plays the server. `tests.filesystem.serve` is its process.

It believes names, attributes and listings for some seconds; opening a file asks the server; what is written reaches it
with fsync or close; what is unlinked while it is open here is renamed to `.nfs…`; what another client removed meanwhile
is stale. Faults come as the panel says.
"""

import errno
import os
from itertools import count
from pathlib import Path
from typing import Any

from mfusepy import Operations

from tests.filesystem.client import Attributes, Beliefs, Handle, Listing, Server, attributes, gone, listing
from tests.filesystem.panel import Panel
from tests.trace import Event

_PAGES = 4 << 20  # bytes: longer files are not kept


class Mount(Operations):
    """The calls of FUSE, one at a time."""

    use_ns = True
    flag_nullpath_ok = flag_nopath = True  # calls on what is open bring no path

    def __init__(self, backing: Path, panel: Panel) -> None:
        self._backing = str(backing)
        self._beliefs = Beliefs(panel)
        self._server = Server(panel, self._beliefs)
        self._server.refresh()
        self._handles: dict[int, Handle] = {}
        self._folders: dict[int, str] = {}
        self._numbers = count(1)
        self._silly: dict[int, str] = {}  # by inode: the path below the mount that goes with its last handle

    def _real(self, path: str) -> str:
        return self._backing + path.rstrip("/")

    # --- names

    def getattr(self, path: str | None, fh: int | None = None) -> Attributes:
        if fh is not None and fh in self._handles:
            handle = self._handles[fh]
            values = attributes(os.fstat(handle.descriptor))
            return values | {"st_size": max(values["st_size"], handle.end)}
        assert path is not None
        self._server.refresh()
        known = self._beliefs.name(path)
        if known is None:
            known = (self._look(path),)
        if known[0] is None:
            raise gone(path)
        waiting = max((h.end for h in self._handles.values() if h.writes and h.path == path), default=0)
        return known[0] | {"st_size": max(known[0]["st_size"], waiting)} if waiting else known[0]

    def _look(self, path: str) -> Attributes | None:
        try:
            value = attributes(self._server.call("lookup", path, os.lstat, self._real(path)))
        except (FileNotFoundError, NotADirectoryError):
            self._beliefs.keep_name(path, None)
            return None
        self._beliefs.keep_name(path, value)
        return value

    def readlink(self, path: str) -> str:
        return str(self._server.call("readlink", path, os.readlink, self._real(path)))

    def opendir(self, path: str) -> int:
        self._server.refresh()
        if self._server.settings.looks_again:
            self._beliefs.forget_folder(path)
            self.getattr(path)
        number = next(self._numbers)
        self._folders[number] = path
        return number

    def readdir(self, path: str | None, fh: int) -> Listing:
        folder = self._folders[fh]
        names = self._beliefs.listing(folder)
        if names is None:
            names = self._server.call("readdir", folder, listing, self._real(folder))
            self._beliefs.keep_listing(folder, names)
        return names

    def releasedir(self, path: str | None, fh: int) -> int:
        del self._folders[fh]
        return 0

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> int:
        folder = self._folders[fh]
        self._server.call("sync", folder, os.lstat, self._real(folder))
        self._server.note(Event("fsync", folder[1:]))
        return 0

    def _change(self, name: str, paths: tuple[str, ...], action: Any, *arguments: Any) -> int:
        """A change of names; whatever comes of it, what was believed of them is not any more."""

        def act() -> None:
            action(*arguments)
            self._server.note(Event(name, paths[0][1:], paths[1][1:] if len(paths) > 1 else ""))

        try:
            self._server.call(name, paths[-1], act)
        finally:
            self._beliefs.forget(*paths)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        return self._change("mkdir", (path,), os.mkdir, self._real(path), mode)

    def rmdir(self, path: str) -> int:
        return self._change("rmdir", (path,), os.rmdir, self._real(path))

    def link(self, target: str, source: str) -> int:
        self._server.refresh()
        if not self._server.settings.hard_links:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), target)
        return self._change("link", (source, target), os.link, self._real(source), self._real(target))

    def symlink(self, target: str, source: str) -> int:
        return self._change("symlink", (target,), os.symlink, source, self._real(target))

    def unlink(self, path: str) -> int:
        if self._put_away(path):
            return 0
        return self._change("unlink", (path,), os.unlink, self._real(path))

    def rename(self, old: str, new: str) -> int:
        self._put_away(new)
        code = self._change("rename", (old, new), os.rename, self._real(old), self._real(new))
        for handle in self._handles.values():
            if handle.path == old:
                handle.path = new
        return code

    def _put_away(self, path: str) -> bool:
        """Rename what is open here to `.nfs…` instead of losing it; whether that was done."""
        try:
            inode = os.lstat(self._real(path)).st_ino
        except OSError:
            return False
        if all(handle.inode != inode for handle in self._handles.values()) or inode in self._silly:
            return False
        silly = f"{os.path.dirname(path).rstrip('/')}/.nfs{inode:016x}{next(self._numbers):08x}"
        self._change("rename", (path, silly), os.rename, self._real(path), self._real(silly))
        self._silly[inode] = silly
        return True

    # --- what is in files

    def open(self, path: str, flags: int) -> int:
        self._send_all(path)
        try:
            descriptor = self._server.call("open", path, os.open, self._real(path), flags & ~os.O_APPEND)
        except FileNotFoundError:
            self._beliefs.forget(path)
            raise
        self._server.note(Event("open", path[1:], truncates=bool(flags & os.O_TRUNC)))
        return self._handle(descriptor, path)

    def create(self, path: str, mode: int, flags: int) -> int:
        is_new = not os.path.lexists(self._real(path))
        try:
            asked = (flags | os.O_CREAT) & ~os.O_APPEND
            descriptor = self._server.call("create", path, os.open, self._real(path), asked, mode)
        finally:
            self._beliefs.forget(path)
        self._server.note(Event("open", path[1:], truncates=is_new or bool(flags & os.O_TRUNC)))
        return self._handle(descriptor, path)

    def _handle(self, descriptor: int, path: str) -> int:
        status = os.fstat(descriptor)
        self._beliefs.keep_name(path, attributes(status))
        number = next(self._numbers)
        self._handles[number] = Handle(descriptor, path, status.st_ino)
        return number

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        handle = self._handles[fh]
        if handle.pages is None:
            self._send_all(handle.path)
            self._check_fresh(handle)
            length = os.fstat(handle.descriptor).st_size
            if length > _PAGES:
                return self._server.call("read", handle.path, os.pread, handle.descriptor, size, offset)
            handle.pages = self._server.call("read", handle.path, os.pread, handle.descriptor, length, 0)
        return handle.pages[offset : offset + size]

    def _check_fresh(self, handle: Handle) -> None:
        if os.fstat(handle.descriptor).st_nlink == 0:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), handle.path)

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        self._handles[fh].writes.append((offset, data))
        self._handles[fh].pages = None
        return len(data)

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:
        path = self._handles[fh].path if fh is not None else path
        assert path is not None
        self._send_all(path)
        for handle in self._handles.values():
            handle.pages = None
        self._server.call("setattr", path, os.truncate, self._real(path), length)
        self._server.note(Event("open", path[1:], truncates=True))
        self._beliefs.forget(path)
        return 0

    def flush(self, path: str | None, fh: int) -> int:
        self._send(self._handles[fh])
        return 0

    def fsync(self, path: str | None, datasync: int, fh: int) -> int:
        handle = self._handles[fh]
        self._send(handle)
        self._server.call("sync", handle.path, os.fstat, handle.descriptor)
        self._server.note(Event("fsync", handle.path[1:]))
        return 0

    def release(self, path: str | None, fh: int) -> int:
        handle = self._handles.pop(fh)
        try:
            self._send(handle)
        finally:
            os.close(handle.descriptor)
            if handle.inode in self._silly and all(h.inode != handle.inode for h in self._handles.values()):
                silly = self._silly.pop(handle.inode)
                self._change("unlink", (silly,), os.unlink, self._real(silly))
        return 0

    def _send_all(self, path: str) -> None:
        """What this client has not sent yet of a file that is opened here again."""
        for handle in self._handles.values():
            if handle.path == path:
                self._send(handle)

    def _send(self, handle: Handle) -> None:
        """An error is told once, and what it was about is lost: so do real clients."""
        waiting, handle.writes = handle.writes, []
        if not waiting:
            return
        self._check_fresh(handle)
        try:
            for offset, content in _joined(waiting):
                self._server.call("write", handle.path, os.pwrite, handle.descriptor, content, offset)
                self._server.note(Event("write", handle.path[1:], content=content, offset=offset))
        finally:
            self._beliefs.keep_name(handle.path, attributes(os.fstat(handle.descriptor)))

    # --- the rest

    def path_of(self, fh: int) -> str:
        return self._handles[fh].path

    def chmod(self, path: str | None, mode: int) -> int:
        return self._set(path, os.chmod, mode)

    def chown(self, path: str | None, uid: int, gid: int) -> int:
        return self._set(path, os.lchown, uid, gid)

    def utimens(self, path: str | None, times: tuple[int, int] | None = None) -> int:
        """None: now, by the server's clock."""
        told: dict[str, Any] = {} if times is None else {"ns": times}
        return self._set(path, lambda real: os.utime(real, **told, follow_symlinks=False))

    def _set(self, path: str | None, action: Any, *arguments: Any) -> int:
        assert path is not None
        try:
            self._server.call("setattr", path, action, self._real(path), *arguments)
        finally:
            self._beliefs.forget(path)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(self._backing)
        return {name: getattr(status, name) for name in dir(status) if name.startswith("f_")}


def _joined(writes: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Writes that follow one another as one, up to a megabyte."""
    joined: list[tuple[int, bytes]] = []
    for offset, content in writes:
        if joined and joined[-1][0] + len(joined[-1][1]) == offset and len(joined[-1][1]) < 1 << 20:
            joined[-1] = (joined[-1][0], joined[-1][1] + content)
        else:
            joined.append((offset, content))
    return joined
