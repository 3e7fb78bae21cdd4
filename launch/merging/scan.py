"""What lies in the stages' folders now, by listings: names, sizes, times and inodes of the files of results.

A stage whose listing is as it was when its results were read and hashed is not read again. So what writes to a file, or
puts another in its place, is noticed; not noticed is a disk that gives other bytes of a file that nobody touched, which
`collect --verify` is for. A file that changed in the last moments may change again without its time showing it, so what
is as young is read again next time.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from launch.plan import Plan, Stage, keys
from launch.store import Store
from launch.store.artifacts import QUARANTINED
from slurm.base import look

SETTLED_SECONDS = 2.0
_NS = 1_000_000_000
_ENDINGS = (".json", ".jsonl", QUARANTINED)
_RESULT = "result."  # begins a train stage's result, also one that was set aside


class Scan(NamedTuple):
    """Of one stage. `listing`: a hash of it and of the languages asked for, "" where it may change unnoticed; `names`:
    the files by generation, of a train stage under ""."""

    key: str
    listing: str
    names: Mapping[str, tuple[str, ...]]


def of_stages(plan: Plan, store: Store, stages: Iterable[Stage]) -> dict[str, Scan]:
    """Of those of the stages that were ever sent, by key."""
    languages = languages_asked(plan)
    unsettled_from = time.time_ns() - int(SETTLED_SECONDS * _NS)
    scans: dict[str, Scan] = {}
    for stage in stages:
        key = stage.key
        if store.exists(stage):
            folder = f"{store.root}/stages/{stage.folder}"
            scans[key] = (
                _training(key, folder, unsettled_from)
                if stage.kind == "train"
                else _evaluation(key, folder, languages[stage.definition], unsettled_from)
            )
    return scans


def languages_asked(plan: Plan) -> dict[str, str]:
    """By target's digest: a hash of its languages and their data."""
    return {
        digest: _hash(sorted((code, keys.language_identity(split)) for code, split in target.languages.items()))
        for digest, target in plan.by_digest.items()
    }


File = tuple[str, int, int, int, int]  # name, size, times of content and inode in ns, inode


def _training(key: str, folder: str, unsettled_from: int) -> Scan:
    files = [file for file in _files(folder) if file[0].startswith(_RESULT)]
    return Scan(key, _listing(files, unsettled_from), {"": tuple(file[0] for file in files)})


def _evaluation(key: str, folder: str, languages: str, unsettled_from: int) -> Scan:
    by_generation = {name: _files(f"{folder}/languages/{name}") for name in _generations(f"{folder}/languages")}
    listing = _listing([file for files in by_generation.values() for file in files], unsettled_from)
    names = {name: tuple(file[0] for file in files) for name, files in by_generation.items()}
    return Scan(key, listing and _hash([languages, listing]), names)


def _generations(folder: str) -> list[str]:
    try:
        return look.names(Path(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _files(folder: str) -> list[File]:
    try:
        return look.surely(Path(folder), lambda: sorted(_entries(folder)))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _entries(folder: str) -> Iterator[File]:
    """No calls but the system's: there are hundreds of thousands."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(_ENDINGS) and name[0] != ".":
                try:
                    status = entry.stat()
                except FileNotFoundError:  # just put aside, or a symbolic link to what is gone
                    continue
                yield name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _listing(files: list[File], unsettled_from: int) -> str:
    if any(file[2] > unsettled_from or file[3] > unsettled_from for file in files):
        return ""
    return _hash(files)


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:32]
