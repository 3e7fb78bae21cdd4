"""`stepstone gc`: what of a store no stage of the experiment needs any more, with its size; removed only when told.

It looks at the stages of this experiment's plan only: another experiment may share the store. What runs or may run is
left alone, also of others and of rehearsals, and so are results, histories of attempts and quarantined records. Each
removal leaves a tombstone, `gc/<time>.json`: what went and why, written before anything is removed.
"""

import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launch.plan import Plan, Stage
from launch.status import Observation, under_way
from launch.status.under_way import Queued
from launch.store import Store, attempts, submissions, times
from launch.store import lock as store_lock
from launch.store.artifacts import DROPPED, read_train_result
from launch.store.attempts import Attempt
from launch.store.store import contributions_folder, rehearsal_folder, token_folder
from slurm.base import UserError, look
from slurm.base.files import make_folder, remove_folder, seal, write_atomic

_GONE = ".gone-"  # what an interrupted gc left; the next one takes it
_OLD_SECONDS = 24 * 3600  # what a process may still be writing is younger
_TOKENS_SECONDS = 30 * 24 * 3600
_HISTORY = {"starter.json", "end.json", "heartbeat.json", "open", "fenced"}  # of a dead attempt: these stay
_LOG, _SMALL = "log.jsonl", 1 << 15  # where its time went: so does this, of a larger one what the hours need
_SAMPLES = re.compile(r"usage(-[0-9]+)?\.jsonl")  # what each node used, a hundred lines at most: so do these


@dataclass(frozen=True)
class Waste:
    """Something that can go. `path` is a file or a folder below the store."""

    path: Path
    why: str
    bytes: int
    files: int


def find(plan: Plan, store: Store) -> list[Waste]:
    """What can go, the largest first. UserError while Slurm does not say what runs."""
    rehearsal = rehearsal_folder(store.root, plan.experiment.name)
    queue = under_way.in_queue([*submissions.read_all(store.root), *submissions.read_all(rehearsal)])
    if queue is None:
        raise UserError("Slurm does not say what runs; try again later, nothing was removed")
    observation = Observation(plan, store)
    unknown = [stage.name for stage in plan.stages.values() if observation.state(stage).state == "unknown"]
    if unknown:
        raise UserError(f"Slurm does not say whether {unknown[0]} runs; try again later, nothing was removed")
    candidates = [
        *_of_stages(plan, store, observation, queue),
        *_code(store.root, observation),
        *_rehearsal(rehearsal, queue),
        *_tokens(observation, queue),
        *_contributions(store),
        *_left_over(store.root),
    ]
    return sorted((_measured(path, why) for path, why in candidates), key=lambda waste: -waste.bytes)


def remove(plan: Plan, store: Store) -> list[Waste]:
    """Look again under the submitters' lock, write the tombstone, and remove what is found."""
    with store_lock.lock(store.root) as lock:
        waste = find(plan, store)
        if not waste:
            return []
        record = {
            "schema": 1,
            "experiment": plan.experiment.name,
            "time": time.time(),
            "removed": [
                asdict(item) | {"path": str(item.path.relative_to(store.root))} for item in waste
            ],
        }  # fmt: skip
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S.%f")
        write_atomic(make_folder(store.root / "gc") / f"{stamp}.json", seal(record))
        for item in waste:
            lock.keep()  # whoever takes it over may send what needs the rest
            _remove(item.path)
    return waste


def _remove(path: Path) -> None:
    """At once for whoever looks: under another name first, then piece by piece."""
    if path.is_dir() and not path.is_symlink():
        grave = path if path.name.startswith(_GONE) else path.with_name(f"{_GONE}{uuid.uuid4().hex}")
        if grave != path:
            with suppress(FileNotFoundError):
                os.rename(path, grave)
        remove_folder(grave)
    elif _is_log(path):
        with suppress(FileNotFoundError):
            times.shorten(Attempt(path.parent))
    else:
        path.unlink(missing_ok=True)


def _is_log(path: Path) -> bool:
    """Whether it is an attempt's, which is shortened, not removed."""
    return path.name == _LOG and path.parent.parent.name == "attempts"


def _measured(path: Path, why: str) -> Waste:
    sizes = []
    for file in _files(path):
        with suppress(FileNotFoundError):
            sizes.append(file.lstat())
    return Waste(path, why, sum(status.st_blocks * 512 for status in sizes), len(sizes))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir() or path.is_symlink():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


# --- stages


def _of_stages(plan: Plan, store: Store, observation: Observation, queue: Queued) -> Iterator[tuple[Path, str]]:
    keys_of_others = _of_others(plan, store, observation, queue)
    for stage in plan.stages.values():
        if stage.key in keys_of_others:
            continue
        if store.exists(stage) and observation.state(stage).state in ("finished", "failed", "new", "held", "cancelled"):
            yield from _of_attempts(store.stage_folder(stage.folder), is_finished=observation.is_finished(stage))
            if stage.kind == "train" and observation.is_finished(stage) and not _is_needed(plan, stage, observation):
                yield from _encoder(store, stage)


def _of_others(plan: Plan, store: Store, observation: Observation, queue: Queued) -> set[str]:
    """Stages that another experiment in this store sent too, and those that its stages start from: whether it is done
    with them, only its own file says. Also what stages under way start from, which this file sent before an edit."""
    other_submissions = [s for s in observation.submissions if s.intent.experiment != plan.experiment.name]
    sent_keys = {key for s in other_submissions for key in s.keys}
    own_submissions = (s for s in observation.submissions if s.intent.experiment == plan.experiment.name)
    children = sent_keys | {key for location in under_way.under_way(own_submissions, queue) for key in location.keys}
    parents = {parent for key in children & plan.stages.keys() if (parent := plan.stages[key].parent)}
    return sent_keys | parents | store.parents_of(children - plan.stages.keys())


def _is_needed(plan: Plan, stage: Stage, observation: Observation) -> bool:
    """Whether an encoder must stay: a stage still takes it, or may where pairs race; or the file keeps it (`keep:`)."""
    children = [plan.stages[key] for key in plan.children[stage.key]]
    if plan.experiment.keep == "all" or any(child.kind == "train" for child in children):
        return True
    return any(
        not observation.is_finished(child) and child.key not in observation.racing.unwanted_keys for child in children
    )


def _encoder(store: Store, stage: Stage) -> Iterator[tuple[Path, str]]:
    result = store.train_result(stage)
    if result is None:
        return
    folder = store.stage_folder(stage.folder) / result.attempt / "encoder"
    if result.attempt and folder.is_dir():
        yield folder, "encoder that no stage needs (`keep: all` would keep it)"


def _of_attempts(folder: Path, *, is_finished: bool) -> Iterator[tuple[Path, str]]:
    """Checkpoints of a finished stage, and what its dead attempts left but their history."""
    if not is_finished:
        return  # its next attempt resumes from one of them
    attempt_of_result = _attempt_of_result(folder)
    for attempt in attempts.attempts_of(folder):
        if (attempt.folder / "checkpoints").is_dir():
            yield attempt.folder / "checkpoints", "checkpoints of a finished stage"
        if attempt.folder.name == attempt_of_result:
            continue
        for name in sorted(os.listdir(attempt.folder)):
            if name in _HISTORY or _SAMPLES.fullmatch(name) or name == "checkpoints" or name.startswith("."):
                continue
            if name != _LOG:
                yield attempt.folder / name, "of an attempt that made no result"
            elif (attempt.folder / name).stat().st_size > _SMALL:
                yield attempt.folder / name, "of an attempt that made no result (its first and last lines stay)"


def _attempt_of_result(folder: Path) -> str | None:
    """The name of the attempt's folder; of an evaluate there is no such result."""
    result = read_train_result(folder)
    return Path(result.attempt).name if result and result.attempt else None


def _left_over(root: Path) -> Iterator[tuple[Path, str]]:
    """What interrupted writers and an interrupted gc left in folders that are cheap to list."""
    dropped_encoders = f"stages/*/attempts/*/{DROPPED}*"
    for pattern in (
        dropped_encoders,
        "stages/*/attempts/.tmp-*",
        "code/.tmp-*",
        "stages/*/.*.tmp",
        "submissions/*/.*.tmp",
        "results/*/.*.tmp",
        "results/*/history/.*.tmp",
        "index/collected/*/.*.tmp",
        "cache/contributions/.*.tmp",
    ):
        for path in root.glob(pattern):
            if _is_old(path, _OLD_SECONDS):
                yield path, "left by a process that was killed"
    for pattern in (f"{_GONE}*", f"*/{_GONE}*", f"stages/*/attempts/*/{_GONE}*", f"cache/tokens/{_GONE}*"):
        for path in root.glob(pattern):
            yield path, "left by a gc that was interrupted"


def _is_old(path: Path, seconds: float) -> bool:
    """By this machine's clock; a day is longer than clocks differ."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return time.time() - max(status.st_mtime, status.st_ctime) > seconds and not stat.S_ISLNK(status.st_mode)


# --- code, rehearsals, tokens


def _code(root: Path, observation: Observation) -> Iterator[tuple[Path, str]]:
    """Frozen code that no stage was last sent with. Other experiments' submissions keep theirs."""
    ours = {location.submission.folder for location in observation.locations.values()}
    name = observation.plan.experiment.name
    last_jobs = [s for s in observation.submissions if s.is_last_job and s.intent.experiment == name]
    newest = [*observation.submissions[-1:], *last_jobs[-1:]]  # the last job waits for all others, and may come to run
    used = set()
    for submission in observation.submissions:
        of_others = submission.intent.experiment != name
        if of_others or submission.folder in ours or submission in newest:
            used.add(submission.intent.code)
    for folder in _folders(root / "code"):
        if folder.name not in used and not folder.name.startswith(".") and _is_old(folder, _OLD_SECONDS):
            yield folder, "code that no stage was last sent with"


def _rehearsal(folder: Path, queue: Queued) -> Iterator[tuple[Path, str]]:
    """This experiment's own; it goes on where its file was edited, so all that was sent from there counts."""
    if folder.is_dir() and not under_way.is_busy(submissions.read_all(folder), queue):
        yield folder, "store of a rehearsal that is over"


def _tokens(observation: Observation, queue: Queued) -> Iterator[tuple[Path, str]]:
    """Encoded examples: made again where they are needed, so only time is lost. While anything runs from this store
    they stay: a stage has them mapped into its memory, and on a network file system it would die of their removal."""
    if under_way.is_busy(observation.submissions, queue):
        return
    for folder in _folders(token_folder(observation.store.root)):
        if folder.name.startswith("."):
            continue
        if observation.is_complete and _is_old(folder, _OLD_SECONDS):
            yield folder, "encoded examples; every stage is finished"
        elif _is_old(folder, _TOKENS_SECONDS):
            yield folder, "encoded examples, made more than 30 days ago"


def _contributions(store: Store) -> Iterator[tuple[Path, str]]:
    """Of whatever experiment: what is left of a stage that was removed by hand, or trained anew. Nothing of value."""
    try:
        names = look.names(contributions_folder(store.root))
    except (FileNotFoundError, NotADirectoryError):
        return
    files = {name: name.split("-")[:2] for name in names if name.endswith(".arrays") and name.count("-") >= 2}
    stage_folders = store.folders_of({key for key, _ in files.values()})
    for name, (key, generation) in files.items():
        folder = stage_folders.get(key)
        if folder is None or not look.exists(store.stage_folder(folder) / "languages" / generation):
            yield contributions_folder(store.root) / name, "what examples contribute to scores that are gone"


def _folders(path: Path) -> list[Path]:
    try:
        return [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def to_record(waste: list[Waste], *, was_removed: bool) -> dict[str, Any]:
    """The contract of `stepstone gc --json`."""
    return {
        "schema": 1,
        "removed": was_removed,
        "bytes": sum(item.bytes for item in waste),
        "files": sum(item.files for item in waste),
        "waste": [asdict(item) | {"path": str(item.path)} for item in waste],
    }
