"""A private folder in the user's cache, one per cluster: what Slurm was asked last, by whom, and how often.

Nothing in it is needed: without a folder that is ours and writable every process keeps for itself what it was told, so
that one that lives long asks no more often than with it; and nothing counts calls.
"""

import hashlib
import json
import os
import re
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path

from slurm.base import UserError, look, processes
from slurm.base.files import make_folder, read_json, to_json, write_atomic, write_chunk, write_once

_CONFIGURATIONS = ("/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf", "/etc/slurm-llnl/slurm.conf")
_IDENTIFYING = re.compile(r"^\s*(ClusterName|SlurmctldHost|ControlMachine|SlurmctldPort)\s*=\s*(\S+)", re.I | re.M)
_ASKER_SECONDS = 90.0  # another host's asker that began so long ago is gone: no command is waited for so long
_LOG_BYTES = 256 << 10  # of one host's log of one kind; the one before it is kept
_WORDS = 2000  # characters of what a command printed on stderr that are kept

# What could not be written, by where it belongs, beside the file that lay there then.
_held: dict[Path, tuple[tuple[int, int] | None, bytes]] = {}


def folder() -> Path | None:
    """$XDG_CACHE_HOME (or ~/.cache)/stepstone/slurm-<cluster>, closed to others (0700); None where it cannot be."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepstone"
        path = make_folder(base / f"slurm-{cluster()}")
        return path if _is_private(base) and _is_private(path) else None
    except (UserError, OSError, RuntimeError):  # RuntimeError: no home
        return None


def keep(folder: Path | None, name: str, content: bytes) -> None:
    """Put a file into the folder, or one in it, for all commands; for this process alone where it cannot be written
    (no folder, a full disk, a quota). Never fails."""
    path = _place(folder, name)
    if folder is not None:
        with suppress(OSError):
            write_atomic(path, content)
            _held.pop(path, None)
            return
    _held[path] = (_file_there(path), content)


def kept(folder: Path | None, name: str) -> bytes | None:
    """What was put there last, by this process or, since then, by another one; None: nothing, or it is closed to us."""
    path = _place(folder, name)
    held = _held.get(path)
    if held is not None and held[0] == _file_there(path):
        return held[1]
    if folder is None:
        return None
    try:
        return look.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def _place(folder: Path | None, name: str) -> Path:
    return Path(cluster()) / name if folder is None else folder / name


def _file_there(path: Path) -> tuple[int, int] | None:
    """What tells it from the file that replaces it."""
    if not path.is_absolute():  # the place of what has no folder
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _is_private(path: Path) -> bool:
    """Whether a folder is ours, closing it to others where it stands open."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    if status.st_mode & 0o077:
        path.chmod(0o700)
    return True


def cluster() -> str:
    """A name for the cluster that Slurm's commands speak to: the same on all its login nodes, another elsewhere.

    Known from slurm.conf, without asking Slurm; where there is none to read, every host counts as its own cluster.
    """
    clusters_named = os.environ.get("SLURM_CLUSTERS", "")
    settings = _configuration()
    name = clusters_named or dict((key.lower(), value) for key, value in settings).get("clustername") or "unknown"
    telling = repr((clusters_named, settings or socket.gethostname()))
    return f"{re.sub(r'[^A-Za-z0-9_-]', '-', name)[:40]}-{hashlib.sha256(telling.encode()).hexdigest()[:8]}"


def _configuration() -> list[tuple[str, str]]:
    for path in (os.environ.get("SLURM_CONF"), *_CONFIGURATIONS):
        with suppress(OSError):
            if path:
                # The file's own place tells two clusters on one machine apart, which may share all names and ports.
                file_entry = [("file", path)] if path == os.environ.get("SLURM_CONF") else []
                return file_entry + _IDENTIFYING.findall(Path(path).read_text(encoding="utf-8", errors="replace"))
    return []


def count(command: str) -> None:
    """Note one call of a command. Never fails."""
    _log("calls", f"{time.time():.3f} {os.path.basename(command)}\n")


def keep_words(command: str, code: int, words: str) -> None:
    """Note what a command printed on stderr. Never fails."""
    text = json.dumps(words[-_WORDS:], ensure_ascii=False)
    _log("stderr", f"{time.time():.3f} {os.path.basename(command)} {code} {text}\n")


def words(since: float) -> list[tuple[float, str, int, str]]:
    """What commands of this user printed on stderr since a time (seconds since 1970), on every host of the cluster, the
    oldest first: time, command, exit code, words."""
    notes = []
    for line in _lines("stderr"):
        moment, command, code, text = [*line.split(" ", 3), "", "", ""][:4]
        with suppress(ValueError):
            if float(moment) >= since:
                notes.append((float(moment), command, int(code), str(json.loads(text))))
    return sorted(notes, key=itemgetter(0))


def _log(kind: str, line: str) -> None:
    """Add a line to this host's log of that kind, the older half of which goes once it is full."""
    path = folder()
    if path is None:
        return
    with suppress(OSError):
        log = path / f"{kind}-{socket.gethostname()}.log"
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            write_chunk(descriptor, line.encode(errors="replace"))
            full = os.fstat(descriptor).st_size > _LOG_BYTES
        finally:
            os.close(descriptor)
        if full:
            os.replace(log, log.with_suffix(".old"))


def _lines(kind: str) -> Iterator[str]:
    """All lines of that kind, of every host of the cluster."""
    path = folder()
    for log in sorted(path.glob(f"{kind}-*")) if path else []:
        with suppress(OSError):
            yield from log.read_text(errors="replace").split("\n")


def calls(since: float) -> dict[str, int]:
    """How often each command was called since a time (seconds since 1970), by this user, on every host of the cluster.

    At least the last 10,000 calls of each host are remembered.
    """
    counts: Counter[str] = Counter()
    for line in _lines("calls"):
        moment, _, command = line.partition(" ")
        if re.fullmatch(r"\d+\.\d+", moment) and float(moment) >= since:
            counts[command] += 1
    return dict(counts)


@contextmanager
def asking(folder: Path | None) -> Iterator[bool]:
    """Whether it is ours to ask: one command at a time, as far as that can be told; two at once do no harm."""
    if folder is None:
        yield True
        return
    path = folder / "asking.json"
    me = {"host": socket.gethostname(), "pid": os.getpid(), "start": processes.start_time(os.getpid())}
    try:
        ours = write_once(path, to_json(me))
        if not ours and _is_left_over(path):
            path.unlink(missing_ok=True)
            ours = write_once(path, to_json(me))
    except (OSError, UserError):
        ours = True  # a full disk keeps nobody from asking
    try:
        yield ours
    finally:
        with suppress(OSError, ValueError):
            if ours and read_json(path) == me:
                path.unlink(missing_ok=True)


def _is_left_over(path: Path) -> bool:
    try:
        holder = read_json(path)
        if holder is not None and holder["host"] == socket.gethostname():
            return not processes.is_alive(holder["pid"], holder["start"])
        return time.time() - path.stat().st_mtime > _ASKER_SECONDS
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True
