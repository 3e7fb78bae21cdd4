"""Removing a leaf training's encoder once its element's evaluates are finished, as quotas are small (`keep:`).

A later submission may have come to need it: a target that was added while the element waited. Then it stays, and
`stepstone gc` takes it when nobody needs it any more; so it does in doubt, for to train again costs more than room.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launch.store import generation_of, read_language
from slurm.base.files import read_sealed, remove_folder
from training import spec

DROPPED = ".dropped-"  # begins the name of what is being removed; gc takes it a day later, where that was interrupted
_LEFT_OVER = 3600.0  # seconds: a lock that was not touched for so long is of a submitter that was killed


def drop(root: Path, submission: Path, folder: str) -> bool:
    """Remove the encoder of a finished train stage, for a job of `submission`. False: it stays.

    It is put out of sight first, and only then looked who needs it: a submitter that still saw it has the lock now, or
    its submission is there already, and one that looks later plans without it.
    """
    result = read_sealed(root / "stages" / folder / "result.json")
    if result is None:
        return True
    encoder = root / "stages" / folder / result["attempt"] / "encoder"
    gone = encoder.with_name(f"{DROPPED}{uuid.uuid4().hex}")
    try:
        os.rename(encoder, gone)
    except FileNotFoundError:
        return True
    if _may_be_awaited(root / "submissions", submission.name, folder, result):
        os.rename(gone, encoder)
        return False
    remove_folder(gone)
    return True


def _may_be_awaited(sent: Path, own: str, folder: str, result: dict[str, Any]) -> bool:
    try:
        if _is_held(sent / "lock"):
            return True  # somebody submits at this moment, and nothing tells yet what
        generation = generation_of(result["encoder_hash"])
        stages = sent.parent / "stages"
        return any(not _is_finished(stages, child, generation) for child in _children(sent, own, folder))
    except Exception:  # whatever cannot be read
        return True


def _is_held(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime < _LEFT_OVER
    except FileNotFoundError:
        return False


def _children(sent: Path, own: str, folder: str) -> Iterator[dict[str, Any]]:
    """The stages under one, as submissions later than `own` tell them to their jobs."""
    for name in sorted(os.listdir(sent)):
        if name <= own or name.startswith((".", "lock")):
            continue
        for path in sorted((sent / name).glob("manifest-*.json")):
            content = path.read_bytes()
            if folder.encode() in content:  # else there is no need to take megabytes apart
                elements = json.loads(content)["elements"].values()
                yield from (entry for entries in elements for entry in entries if entry["parent"] == folder)


def _is_finished(stages: Path, entry: dict[str, Any], generation: str) -> bool:
    if entry["kind"] == "train":
        return read_sealed(stages / entry["folder"] / "result.json") is not None
    languages = spec.evaluate_spec(entry["spec"]).languages
    return all(read_language(stages / entry["folder"], generation, code, split) for code, split in languages.items())
