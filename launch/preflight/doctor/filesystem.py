"""What the store needs of its file system, tried in a folder that goes again."""

import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from launch.preflight.doctor.lines import Level, Line
from slurm.base import UserError
from slurm.base.files import make_folder, move_new, remove_folder, write_atomic, write_file, write_once
from slurm.room import mount_of, mount_options, room

_SKEW_SECONDS = 5.0  # between this machine's clock and the file server's
_SLOW_SECONDS = 0.5  # for one durable write
_BYTES = {"error": 1 << 30, "warning": 20 << 30}  # less free space than that
_INODES = {"error": 1_000, "warning": 50_000}
_NFS_AGE = 60  # seconds: acregmax and acdirmax where the mount does not say otherwise
_OLDEST = 120  # seconds: an attempt counts as dead after 180 without a sign of life
_OF_ONE_MACHINE = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "ramfs", "overlay")


def store_lines(root: Path, *, on_slurm: bool) -> Iterator[Line]:
    """What the store needs of its file system: tried in a folder that goes again."""
    base = next(folder for folder in (root, *root.parents) if folder.exists())
    probe = base / f".stepstone-doctor-{uuid.uuid4().hex}"
    try:
        make_folder(probe)
    except UserError:
        yield Line("error", "store", f"{base}: no permission to write", "choose another `store:`")
        return
    try:
        yield from _tried(base, probe)
    finally:
        remove_folder(probe)
    yield from _room(base)
    _, kind = mount_of(base)
    if kind.startswith("nfs"):
        yield client_line(base, mount_options(base))
    if on_slurm and kind in _OF_ONE_MACHINE:
        yield Line("warning", "shared", f"{base} is on {kind}, which other nodes seldom see",
                   "put the store on the cluster's shared file system")  # fmt: skip
    else:
        yield Line("ok", "shared", f"{base} is on {kind or 'a file system of unknown kind'}")


def _tried(base: Path, probe: Path) -> Iterator[Line]:
    try:
        start = time.monotonic()
        for content in (b"1", b"2"):
            write_atomic(probe / "renamed", content)
        slow = (time.monotonic() - start) / 2
        is_whole = (probe / "renamed").read_bytes() == b"2"
        once = [write_once(probe / "once", content) for content in (b"1", b"2")]
        links = "symbolic links (it has no hard ones)" if (probe / "once").is_symlink() else "links"
        renames = [move_new(_folder(probe / name), probe / "moved") for name in ("1", "2")]
    except OSError as error:
        fix = "choose a `store:` with atomic renames, and hard or symbolic links"
        yield Line("error", "store", f"{error.filename or base}: {error.strerror}", fix)
        return
    if not is_whole or once != [True, False] or renames != [True, False]:
        yield Line("error", "store", f"{base}: renames or links are not atomic", "choose another `store:`")
    elif slow > _SLOW_SECONDS:
        yield Line("warning", "store", f"{base}: a durable write takes {slow:.1f} s", "ask for a faster file system")
    else:
        yield Line("ok", "store", f"{base}: renames and {links} are atomic; a durable write takes {slow * 1000:.0f} ms")
    skew = _skew(probe)
    if abs(skew) > _SKEW_SECONDS:
        yield Line("warning", "clock", f"this machine's is {skew:+.0f} s off the file server's",
                   "tell the administrators: NTP; times in `status` are off, nothing else")  # fmt: skip
    else:
        yield Line("ok", "clock", f"within {_SKEW_SECONDS:.0f} s of the file server's")


def _folder(path: Path) -> Path:
    """One that is not empty: such a one may not be replaced by a rename."""
    write_file(make_folder(path) / "file", path.name)
    return path


def client_line(base: Path, options: Mapping[str, str]) -> Line:
    """How this machine's client of NFS looks at what others write. Nodes may have it mounted otherwise."""
    ages = [int(options[name]) for name in ("acregmax", "acdirmax", "actimeo") if options.get(name, "").isdigit()]
    age = max(ages, default=_NFS_AGE)
    if "nocto" in options:
        return Line("warning", "client", f"{base}: mounted nocto: what a job wrote may be seen {age} s late",
                    "ask for a mount without nocto; until then leave so long between two `submit`s")  # fmt: skip
    if age > _OLDEST:
        return Line("warning", "client", f"{base}: names and times may be {age} s old",
                    f"ask for acregmax and acdirmax of {_OLDEST} s at most")  # fmt: skip
    if "soft" in options or "softerr" in options:
        return Line("warning", "client", f"{base}: mounted soft: a server that is slow for long is an error (EIO)",
                    "nothing is lost by it: `submit` sends again what failed; a hard mount would wait")  # fmt: skip
    return Line("ok", "client", f"{base}: opening shows what others wrote; names may be {age} s old")


def _skew(probe: Path) -> float:
    before = time.time()
    write_atomic(probe / "clock", b"")
    return (before + time.time()) / 2 - (probe / "clock").stat().st_mtime


def _room(base: Path) -> Iterator[Line]:
    space = room(base)
    by = "left by your quota" if space.by_quota else "free"
    fix = "free some, or choose another `store:`; then: stepstone gc FILE"
    level = _level(space.bytes, _BYTES)
    yield Line(level, "space", f"{space.bytes / 2**30:.0f} GiB {by}", fix if level != "ok" else "")
    if space.files is None:
        yield Line("ok", "inodes", "this file system does not count them here; see its own quota command")
    else:
        level = _level(space.files, _INODES)
        yield Line(level, "inodes", f"{space.files:,} {by}", fix if level != "ok" else "")


def _level(value: int, least: dict[str, int]) -> Level:
    return "error" if value < least["error"] else "warning" if value < least["warning"] else "ok"
