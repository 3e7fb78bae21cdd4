"""What a folder's file system still takes from this user: what is free, and what a quota leaves of it."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 10.0  # seconds: on NFS the file server is asked
_KIB = 1024
_MOUNTS = Path("/proc/self/mounts")
# Of quota-tools 4; on one line per file system, columns always filled.
_QUOTA = ("quota", "--no-wrap", "--raw-grace", "--show-mntpoint", "--hide-device")


@dataclass(frozen=True)
class Room:
    """Bytes and files that can be added; files None: nobody counts them. `by_quota`: it leaves less than is free."""

    bytes: int
    files: int | None
    by_quota: bool = False


def room(folder: Path) -> Room:
    """Of the file system that a folder is on, or would be, with this user's quota there.

    A quota of a group or a project is seen only where the file system counts it as its size (XFS, Lustre do).
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    stat = os.statvfs(there)
    size, files = stat.f_bavail * stat.f_frsize, stat.f_favail if stat.f_files else None
    left_size, left_files = quota_left(there)
    least_size = min(size, left_size) if left_size is not None else size
    least_files = min((count for count in (files, left_files) if count is not None), default=None)
    return Room(least_size, least_files, by_quota=(least_size, least_files) != (size, files))


def quota_left(folder: Path) -> tuple[int | None, int | None]:
    """(bytes, files) that this user's quota leaves on a folder's file system; None: no limit, or nobody can tell."""
    mount, kind = mount_of(folder)
    if kind == "lustre":
        user = pwd.getpwuid(os.getuid()).pw_name
        words = _said(("lfs", "quota", "-q", "-u", user, mount)).split()  # a long name stands on a line of its own
    else:
        rows = (line.split() for line in _said(_QUOTA).splitlines())
        words = next((row for row in rows if row and row[0] == mount), [])
    return _left(words[1:9]) if words[:1] == [mount] else (None, None)


def _left(columns: list[str]) -> tuple[int | None, int | None]:
    """Of `used soft hard grace` in KiB, then of files. The soft limit counts, since it becomes hard after its grace."""
    numbers = [int(word.rstrip("*")) if word.rstrip("*").isdigit() else 0 for word in columns]
    if len(numbers) < 8:
        return None, None
    size, files = (_below(*numbers[first : first + 3]) for first in (0, 4))
    return None if size is None else size * _KIB, files


def _below(used: int, soft: int, hard: int) -> int | None:
    limit = soft or hard
    return max(0, limit - used) if limit else None


def mount_of(folder: Path) -> tuple[str, str]:
    """(mount point, type such as nfs4) of a folder's file system; empty where /proc does not tell."""
    point, kind, _ = _mount(folder)
    return point, kind


def mount_options(folder: Path) -> dict[str, str]:
    """How its file system is mounted: `{"acdirmax": "60", "nocto": ""}`; empty where /proc does not tell."""
    *_, options = _mount(folder)
    return {name: value for name, _, value in (option.partition("=") for option in options.split(",") if option)}


def _mount(folder: Path) -> tuple[str, str, str]:
    try:
        lines = os.fsdecode(_MOUNTS.read_bytes()).splitlines()
    except OSError:
        return "", "", ""
    real = folder.resolve()
    rows = [(words[1].replace("\\040", " "), words[2], words[3]) for words in (line.split(" ") for line in lines)]
    mounts = [row for row in rows if real.is_relative_to(row[0])]
    return max(reversed(mounts), key=lambda row: len(row[0]), default=("", "", ""))  # of two on one point, the later


def _said(command: tuple[str, ...]) -> str:
    """What a command printed; nothing where it is missing or hangs. Its exit code says whether a quota is exceeded."""
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout
