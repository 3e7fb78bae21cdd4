"""What lies in the stages' folders now, by listings: names, sizes, times and inodes of the files of results.

A stage whose listing is as it was when its results were read and hashed is not read again. So what writes to a file, or
puts another in its place, is noticed; not noticed is a disk that gives other bytes of a file that nobody touched, which
`collect --verify` is for. A file that changed in the last moments may change again without its time showing it, so what
is as young is read again next time.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
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
    """Of one stage. `listing`: a hash of it and of the languages asked for, "" where it may change unnoticed; `files`:
    by generation, of a train stage under "", a line each: its name, a slash, and what tells whether it changed."""

    key: str
    listing: str
    files: Mapping[str, list[str]]

    @property
    def has_quarantined(self) -> bool:
        """Whether a record was set aside."""
        mark = f"{QUARANTINED}/"
        return any(mark in line for lines in self.files.values() for line in lines)

    @property
    def names(self) -> dict[str, list[str]]:
        """By generation."""
        return {generation: [line.partition("/")[0] for line in lines] for generation, lines in self.files.items()}


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
        digest: _hash(sorted(f"{code}-{keys.language_identity(split)}" for code, split in target.languages.items()))
        for digest, target in plan.by_digest.items()
    }


def _training(key: str, folder: str, unsettled_from: int) -> Scan:
    lines, newest = _files(folder)
    files = [line for line in lines if line.startswith(_RESULT)]
    return Scan(key, "" if newest > unsettled_from else _hash(files), {"": files})


def _evaluation(key: str, folder: str, languages: str, unsettled_from: int) -> Scan:
    files: dict[str, list[str]] = {}
    for generation in _generations(f"{folder}/languages"):
        files[generation], newest = _files(f"{folder}/languages/{generation}")
        if newest > unsettled_from:
            languages = ""
    return Scan(key, languages and _hash([languages, *(line for lines in files.values() for line in lines)]), files)


def _generations(folder: str) -> list[str]:
    try:
        return look.names(Path(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _files(folder: str) -> tuple[list[str], int]:
    try:
        return look.surely(Path(folder), lambda: _lines(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return [], 0


def _lines(folder: str) -> tuple[list[str], int]:
    """Sorted, and the youngest file's time in ns. No calls but the system's: there are hundreds of thousands."""
    lines, newest = [], 0
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(_ENDINGS) and name[0] != ".":
                try:
                    status = entry.stat()
                except FileNotFoundError:  # just put aside, or a symbolic link to what is gone
                    continue
                time_ns = status.st_ctime_ns  # by whatever way, and nobody can put it back
                newest = time_ns if time_ns > newest else newest
                lines.append(f"{name}/{status.st_size} {status.st_mtime_ns} {time_ns} {status.st_ino}")
    lines.sort()
    return lines, newest


def _hash(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:32]
