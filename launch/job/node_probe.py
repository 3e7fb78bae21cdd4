"""What a node is like, seen by a job of `stepstone doctor --nodes`: `python -m launch.job.node_probe FOLDER`.

It writes `node.json` into a folder of the store, which whoever sent it reads. Only the first of several processes does.
"""

import os
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from launch.store import provenance
from slurm import granted, rlimits
from slurm.base.files import seal, write_atomic, write_once


@dataclass(frozen=True)
class NodeRecord:
    """What was seen on one node. Words are empty where all is well."""

    node: str  # as Slurm calls it
    skew: float  # seconds that its clock is ahead of the file server's
    store: str = ""
    home: str = ""
    torch: str = ""  # why it cannot be imported
    packages: dict[str, str] = field(default_factory=dict)  # versions, Python's too
    gpus: int = 0
    cores: int = 0
    memory: int | None = None  # MB; None: no limit
    limits: tuple[str, ...] = ()  # that it met, of processes


def look(folder: Path) -> NodeRecord:
    """This node. Files are made in a folder, and left there."""
    torch_words, gpus = _torch()
    store, skew = _store(folder)
    return NodeRecord(
        node=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        skew=skew,
        store=store,
        home=_home(),
        torch=torch_words,
        packages=provenance.versions(),
        gpus=gpus,
        cores=granted.cores(),
        memory=granted.memory(),
        limits=rlimits.met(),
    )


def _store(folder: Path) -> tuple[str, float]:
    """What does not work in it, and how far this clock is ahead of its."""
    try:
        before = time.time()
        write_atomic(folder / "probe", b"1")
        skew = (before + time.time()) / 2 - (folder / "probe").stat().st_mtime
        once = [write_once(folder / "once", content) for content in (b"1", b"2")]
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror}", 0.0
    return ("" if once == [True, False] else f"{folder}: links are not atomic"), skew


def _home() -> str:
    home = os.environ.get("HOME", "")
    if not home:
        return "HOME is not set"
    return "" if os.path.isdir(home) else f"{home} is not there"


def _torch() -> tuple[str, int]:
    """Why torch cannot be imported, and how many GPUs it sees."""
    try:
        import torch

        return "", torch.cuda.device_count() if torch.cuda.is_available() else 0
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0], 0


def main(folder: Path) -> None:
    """Write what was seen, where this is the first process of the job."""
    if os.environ.get("SLURM_PROCID", "0") == "0":
        write_atomic(folder / "node.json", seal(asdict(look(folder))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
