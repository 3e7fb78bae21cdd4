"""What lies in the stages' folders now, by listings: names, sizes, times and inodes of the files of results.

A stage whose listing is as it was when its results were read and hashed is not read again. So what writes to a file, or
puts another in its place, is noticed; not noticed is a disk that gives other bytes of a file that nobody touched, which
`collect --verify` is for. A file that changed in the last moments may change again without its time showing it, so what
is as young is read again next time.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from launch.plan import Plan, Stage, keys
from launch.store import Store
from launch.store.artifacts import QUARANTINED
from slurm.base import look

SETTLED_SECONDS = 2.0
_NS = 1_000_000_000
_ENDINGS = (".json", ".jsonl", QUARANTINED)
_WORTH = 2_000  # stages: a fork of a large process takes as long as to list some of them
_RESULT = "result."  # begins a train stage's result, also one that was set aside


class Scan(NamedTuple):
    """Of one stage. `listing`: a hash of it and of the languages asked for, "" where it may change unnoticed; `files`:
    by generation, of a train stage under "", a line each: its name, a slash, and what tells whether it changed;
    `closed_folders`: those of it that this user may not read."""

    key: str
    listing: str
    files: Mapping[str, list[str]]
    closed_folders: list[str]

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
    places = [
        Place(stage.key, f"{store.root}/stages/{stage.folder}", languages.get(stage.definition, ""))
        for stage in stages
        if store.exists(stage)
    ]
    unsettled_from = time.time_ns() - int(SETTLED_SECONDS * _NS)
    return {scan.key: scan for scan in _scans(places, unsettled_from)}


class Place(NamedTuple):
    """A stage's folder. `languages`: a hash of those asked for; "" of a train stage."""

    key: str
    folder: str
    languages: str


def _scans(places: Sequence[Place], unsettled_from: int) -> list[Scan]:
    """Where there are many, a fork lists half of them: it does nothing else, and needs no lock that a thread holds."""
    if len(places) < _WORTH or len(os.sched_getaffinity(0)) < 2:
        return [_scan(place, unsettled_from) for place in places]
    middle = len(places) // 2
    reader, writer = os.pipe()
    try:
        process = os.fork()
    except OSError:  # a login node may have a limit of processes
        os.close(reader)
        os.close(writer)
        return [_scan(place, unsettled_from) for place in places]
    if process == 0:
        os.close(reader)  # else its answer to a parent that was killed would wait for ever to be read
        _answer(writer, places[middle:], unsettled_from)
    os.close(writer)
    first_half = [_scan(place, unsettled_from) for place in places[:middle]]
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:  # its error is ours too, where it comes again
        return first_half + [_scan(place, unsettled_from) for place in places[middle:]]
    return first_half + [Scan(*values) for values in json.loads(answer)]


def _answer(writer: int, places: Sequence[Place], unsettled_from: int) -> NoReturn:
    """Of the fork."""
    try:
        with open(writer, "wb") as pipe:
            pipe.write(json.dumps([_scan(place, unsettled_from) for place in places]).encode())
        os._exit(0)
    except BaseException:
        os._exit(1)


def languages_asked(plan: Plan) -> dict[str, str]:
    """By target's digest: a hash of its languages and their data."""
    return {
        digest: _hash(sorted(f"{code}-{keys.language_identity(split)}" for code, split in target.languages.items()))
        for digest, target in plan.by_digest.items()
    }


def _scan(place: Place, unsettled_from: int) -> Scan:
    closed_folders: list[str] = []
    if not place.languages:
        lines, newest = _files(place.folder, closed_folders)
        files = {"": [line for line in lines if line.startswith(_RESULT)]}
    else:
        files, newest = {}, 0
        for generation in _generations(f"{place.folder}/languages", closed_folders):
            files[generation], newest_of_generation = _files(f"{place.folder}/languages/{generation}", closed_folders)
            newest = max(newest, newest_of_generation)
    if newest > unsettled_from or closed_folders:
        return Scan(place.key, "", files, closed_folders)
    lines = [line for of_generation in files.values() for line in of_generation]
    return Scan(place.key, _hash([place.languages, *lines]), files, closed_folders)


def _generations(folder: str, closed_folders: list[str]) -> list[str]:
    try:
        return look.names(Path(folder))
    except PermissionError:
        closed_folders.append(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return []


def _files(folder: str, closed_folders: list[str]) -> tuple[list[str], int]:
    try:
        return look.surely(Path(folder), lambda: _lines(folder))
    except PermissionError:
        closed_folders.append(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass
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
