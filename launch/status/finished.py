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
from launch.status import history, spent
from launch.store import Store
from launch.store.artifacts import LanguageScores, generation_of
from launch.store.store import Known
from slurm.base import UserError
from slurm.base.files import make_folder, to_json, write_atomic
from training.spec import Split

_SCHEMA = 4
_SETTLED_SECONDS = 2.0  # a folder that changed so recently may change again without its time showing it
_SILENT_SECONDS = 86400.0  # since when an attempt that noted no end does not run any more, though nobody asks
_REWRITE_SHARE = 100  # the file is rewritten when a hundredth of it is new


def finished(plan: Plan, store: Store, *, verify: bool = False) -> set[str]:
    """Keys of the finished stages. `store.known(stage)` then says their scores. With `verify` every record is read."""
    path = store.root / "index" / f"{plan.experiment.name}.json"
    before = {} if verify else _read(path)
    index, stages_to_read = _still_holding(plan, store, before)
    finished_keys, holding = set(index), len(index)
    languages = _languages_by_digest(plan)
    for stage in stages_to_read:  # parents first
        results = store.look_at_languages(plan, stage) if stage.kind == "evaluate" else {}
        if store.is_finished(plan, stage, results):
            finished_keys.add(stage.key)
            if entry := _look(plan, store, stage, results, _generation(plan, stage, index), languages):
                index[stage.key] = entry
    store.index = index
    _remember(path, index, changed=(len(before) - holding) + (len(index) - holding))
    return finished_keys


def _still_holding(plan: Plan, store: Store, before: Mapping[str, Known]) -> tuple[dict[str, Known], list[Stage]]:
    """What is remembered and still holds; and the stages that are to be read. One loop without calls: it is long."""
    index: dict[str, Known] = {}
    stages_to_read: list[Stage] = []
    languages, root = _languages_by_digest(plan), f"{store.root}/stages"
    starts = {model: generation_of(start.identity) for model, start in plan.starts.items()}
    for key, stage in plan.stages.items():  # parents first
        entry = before.get(key)
        if entry is None:
            if store.exists(stage):
                stages_to_read.append(stage)
            continue
        time_then, generation, languages_then = entry[0], entry[1], entry[2]
        folder = f"{root}/{stage.folder}"
        if stage.kind == "evaluate":
            parent = index.get(stage.parent) if stage.parent else None
            current = parent[1] if parent else None if stage.parent else starts[stage.model]
            if generation != current or languages_then != languages[stage.definition]:
                stages_to_read.append(stage)
                continue
            folder = f"{folder}/languages/{generation}"
        try:
            holds = os.stat(folder).st_mtime_ns == time_then
        except OSError:
            holds = False
        if holds:
            index[key] = entry
        elif store.exists(stage):
            stages_to_read.append(stage)
    return index, stages_to_read


def _generation(plan: Plan, stage: Stage, index: Mapping[str, Known]) -> str | None:
    """Of the encoder that a stage starts from; None where that is not known for certain."""
    if stage.parent is None:
        return generation_of(plan.start_of(stage).identity)
    return index[stage.parent][1] if stage.parent in index else None


def _look(
    plan: Plan,
    store: Store,
    stage: Stage,
    results: Mapping[str, LanguageScores],
    generation: str | None,
    languages: Mapping[str, str],
) -> Known | None:
    """What to remember of a stage that is finished; None where it may not be safe to, or an attempt may run."""
    if stage.kind == "train":
        result = store.train_result(stage)
        generation = generation_of(result.encoder_hash) if result else None
    if generation is None:
        return None  # an evaluate whose parent's result is lost
    before = _time_of(_folder(store, stage, generation))
    if before is None or time.time() - before / 1e9 < _SETTLED_SECONDS:
        return None
    is_train = stage.kind == "train"
    score = scores.score(plan, store, stage) if is_train else scores.mean_over_languages(plan, stage, results)
    target_languages = languages.get(stage.definition, "")
    chance = list(scores.at_chance(plan, store, stage))
    spent_seconds = _spent(store.stage_folder(stage.folder))
    if spent.RUNNING in spent_seconds:
        return None
    seconds = round(sum(spent_seconds.values()), 3)
    return Known(before, generation, target_languages, score, chance, seconds, spent_seconds)


def _spent(stage_folder: Path) -> spent.Spent:
    """What became of the seconds of all attempts at a stage; nothing where one's notes cannot be read."""
    with suppress(UserError):
        every = history.notes_of(stage_folder)
        may_run = bool(every) and time.time() - every[-1].last_sign < _SILENT_SECONDS
        return spent.of_stage(every, history.failures_of(stage_folder, every=every), may_run=may_run)
    return {}


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
    identities = sorted(f"{code}-{keys.language_identity(split)}" for code, split in languages.items())
    return hashlib.sha256("\n".join(identities).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Known]:
    """What was remembered; nothing where the file is torn, of another version or not there."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        if json.loads(head) != {"schema": _SCHEMA, "sha256": hashlib.sha256(body).hexdigest()}:
            return {}
        index: dict[str, Known] = json.loads(body)  # lists: 100,000 tuples would take as long as reading them
        return index
    except (OSError, ValueError, TypeError):
        return {}


def _remember(path: Path, index: Mapping[str, Known], changed: int) -> None:
    """changed: how many are new, or gone, since the file was read."""
    if changed * _REWRITE_SHARE < max(len(index), 1):
        return
    body = to_json(index)
    head = to_json({"schema": _SCHEMA, "sha256": hashlib.sha256(body).hexdigest()})
    with suppress(OSError, UserError):  # a store that is only read, or full: it is slower, and right
        make_folder(path.parent)
        write_atomic(path, head + body)
