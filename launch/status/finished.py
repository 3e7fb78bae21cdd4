"""Which stages are finished, remembered per experiment, so that 100,000 results are not opened at every `status`.

A finished stage never changes; what may happen to it is that somebody removes it or puts it aside. That changes the
time of the folder that holds its result, so one look at that folder (`stat`) tells whether what is remembered still
holds: a stage whose folder changed is read again in full. Not noticed so is a file that was damaged in place: jobs,
`collect` and `status --verify` read and verify the records themselves.

    index/<experiment>.json: a line with the SHA-256 of the next one; then an object, one list per stage key
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from launch.plan import Plan, Stage, keys
from launch.results import scores
from launch.store import Store, attempts
from launch.store.artifacts import generation_of
from launch.store.store import Known
from slurm.base import UserError
from slurm.base.files import make_folder, to_json, write_atomic
from training.spec import Split

_SCHEMA = 2
_SETTLED_SECONDS = 2.0  # a folder that changed so recently may change again without its time showing it
_REWRITE_SHARE = 100  # the file is rewritten when a hundredth of it is new


def finished(plan: Plan, store: Store, *, verify: bool = False) -> set[str]:
    """Keys of the finished stages. `store.known(stage)` then says their scores. With `verify` every record is read."""
    path = store.root / "index" / f"{plan.experiment.name}.json"
    before = {} if verify else _read(path)
    kept, rest = _still_holding(plan, store, before)
    done, holding = set(kept), len(kept)
    languages = _languages_by_digest(plan)
    for stage in rest:  # parents first
        if store.is_finished(plan, stage):
            done.add(stage.key)
            if made := _look(plan, store, stage, _generation(plan, stage, kept), languages):
                kept[stage.key] = made
    store.index = kept
    _remember(path, kept, changed=(len(before) - holding) + (len(kept) - holding))
    return done


def _still_holding(plan: Plan, store: Store, before: Mapping[str, Known]) -> tuple[dict[str, Known], list[Stage]]:
    """What is remembered and still holds; and the stages that are to be read. One loop without calls: it is long."""
    kept: dict[str, Known] = {}
    rest: list[Stage] = []
    languages, start, root = _languages_by_digest(plan), generation_of(plan.start.identity), f"{store.root}/stages"
    for key, stage in plan.stages.items():  # parents first
        known = before.get(key)
        if known is None:
            if store.exists(stage):
                rest.append(stage)
            continue
        time_then, generation, wanted = known[0], known[1], known[2]
        folder = f"{root}/{stage.name}-{key}"
        if stage.kind == "evaluate":
            parent = kept.get(stage.parent) if stage.parent else None
            current = parent[1] if parent else None if stage.parent else start
            if generation != current or wanted != languages[stage.definition]:
                rest.append(stage)
                continue
            folder = f"{folder}/languages/{generation}"
        try:
            holds = os.stat(folder).st_mtime_ns == time_then
        except OSError:
            holds = False
        if holds:
            kept[key] = known
        elif store.exists(stage):
            rest.append(stage)
    return kept, rest


def _generation(plan: Plan, stage: Stage, kept: Mapping[str, Known]) -> str | None:
    """Of the encoder that a stage starts from; None where that is not known for certain."""
    if stage.parent is None:
        return generation_of(plan.start.identity)
    return kept[stage.parent][1] if stage.parent in kept else None


def _look(plan: Plan, store: Store, stage: Stage, generation: str | None, languages: Mapping[str, str]) -> Known | None:
    """What to remember of a stage that is finished; None where it may not be safe to."""
    if stage.kind == "train":
        result = store.train_result(stage)
        generation = generation_of(result["encoder_hash"]) if result else None
    if generation is None:
        return None  # an evaluate whose parent's result is lost
    before = _time_of(_folder(store, stage, generation))
    if before is None or time.time() - before / 1e9 < _SETTLED_SECONDS:
        return None
    score, wanted = scores.score(plan, store, stage), languages.get(stage.definition, "")
    chance = list(scores.at_chance(plan, store, stage))
    spent = sum(attempts.seconds_of(attempt) for attempt in attempts.attempts_of(store.stage_folder(stage.folder)))
    return Known(before, generation, wanted, score, chance, round(spent, 3))


def _folder(store: Store, stage: Stage, generation: str) -> str:
    """The folder whose time changes when the stage's result is removed, put aside or replaced."""
    folder = f"{store.root}/stages/{stage.folder}"
    return folder if stage.kind == "train" else f"{folder}/languages/{generation}"


def _time_of(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return None


def _languages_by_digest(plan: Plan) -> dict[str, str]:
    return {digest: _languages(target.languages) for digest, target in plan.by_digest.items()}


def _languages(languages: Mapping[str, Split]) -> str:
    named = sorted(f"{code}-{keys.language_identity(split)}" for code, split in languages.items())
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Known]:
    """What was remembered; nothing where the file is torn, of another version or not there."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        if json.loads(head) != {"schema": _SCHEMA, "sha256": hashlib.sha256(body).hexdigest()}:
            return {}
        found: dict[str, Known] = json.loads(body)  # lists: 100,000 tuples would take as long as reading them
        return found
    except (OSError, ValueError, TypeError):
        return {}


def _remember(path: Path, kept: Mapping[str, Known], changed: int) -> None:
    """changed: how many are new, or gone, since the file was read."""
    if changed * _REWRITE_SHARE < max(len(kept), 1):
        return
    body = to_json(kept)
    head = to_json({"schema": _SCHEMA, "sha256": hashlib.sha256(body).hexdigest()})
    with suppress(OSError, UserError):  # a store that is only read, or full: it is slower, and right
        make_folder(path.parent)
        write_atomic(path, head + body)
