"""One mount: `python -m tests.filesystem.serve BACKING MOUNTPOINT PANEL`. It ends with the process that started it."""

import os
import subprocess
import sys
import threading
import time
from ctypes.util import find_library
from pathlib import Path
from typing import Any

os.environ.setdefault("FUSE_LIBRARY_PATH", find_library("fuse3") or "")  # read when the binding is imported

from mfusepy import FUSE

from tests.filesystem.mount import Mount
from tests.filesystem.panel import Panel

_NOW = (1 << 30) - 1  # UTIME_NOW of utimensat(2)


class Fuse(FUSE):
    """Tells of an open file which one it is: the binding drops that, and its path is not told (`nullpath_ok`)."""

    def truncate_fuse_3(self, path: bytes | None, length: int, fip: Any) -> int:
        name = path.decode() if path is not None else None
        return int(self.operations.truncate(name, length, fip.contents.fh if fip else None))

    def chmod_fuse_3(self, path: bytes | None, mode: int, fip: Any) -> int:
        return int(self.operations.chmod(self._name(path, fip), mode))

    def chown_fuse_3(self, path: bytes | None, uid: int, gid: int, fip: Any) -> int:
        return int(self._chown(self._name(path, fip).encode(), uid, gid))

    def utimens_fuse_3(self, path: bytes | None, times: Any, fip: Any) -> int:
        is_now = times and times.contents.modtime.tv_nsec == _NOW  # which the binding takes for a time in 1970
        return int(self.utimens_fuse_2(self._name(path, fip).encode(), None if is_now else times))

    def _name(self, path: bytes | None, fip: Any) -> str:
        return path.decode() if path is not None else self.operations.path_of(fip.contents.fh)


def _leave_with(parent: int, mountpoint: str) -> None:
    """A test run that was killed leaves no mount behind."""
    while os.getppid() == parent:
        time.sleep(1)
    subprocess.run(["fusermount3", "-u", "-z", mountpoint], check=False)
    os._exit(1)


def main() -> None:
    backing, mountpoint, panel = (Path(word) for word in sys.argv[1:4])
    threading.Thread(target=_leave_with, args=(os.getppid(), str(mountpoint)), daemon=True).start()
    Fuse(
        Mount(backing, Panel(panel)), str(mountpoint), foreground=True, nothreads=True, use_ino=True, hard_remove=True,
        direct_io=True, allow_other=True, attr_timeout=0, entry_timeout=0, negative_timeout=0, subtype="network",
    )  # fmt: skip


if __name__ == "__main__":
    main()
