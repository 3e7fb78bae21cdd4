"""What makes an experiment's table by itself is told by a request, and says in a note how it went.

submissions/<time>-<id>/collect.json  the request: the experiment file as it was when this was sent
results/<experiment>/collected.json   the note of who collected last, by hand or not
"""

import hashlib
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from launch.plan import Plan
from launch.store import records
from launch.store.submissions import Submission
from slurm.base import look
from slurm.base.files import make_folder, remove, to_json, write_atomic

_LOG = re.compile(r"\d+_0_\d+_log\.(out|err)|last\.log")  # of the job; of local workers


@dataclass(frozen=True)
class CollectRequest:
    """What is to be collected: an experiment file as it was at a time, whatever it says now, or if it is gone."""

    file: str  # its absolute path, to whose folder its paths are relative
    text: str  # all that it said
    stages: str  # a hash of the keys of the stages that it asked for: they depend on data and model, too
    schema: Literal[1] = 1


@dataclass(frozen=True)
class CollectNote:
    """How the last collecting went. `ended` None: it is at work, or was ended before it could say more."""

    by: str  # such as `job 123`
    began: float  # Unix time
    ended: float | None = None
    finished: int = 0  # stages whose results it could take
    stages: int = 0  # all that are wanted
    set_aside: int = 0  # results that do not count, since they did not verify or cannot be read
    error: str = ""  # why there is no newer table; empty: there is
    log: str = ""  # what it printed, where that is kept
    schema: Literal[1] = 1


_REQUEST, _NOTE = TypeAdapter(CollectRequest), TypeAdapter(CollectNote)


def request_of(plan: Plan) -> CollectRequest:
    """To collect what a plan asks for, by its file as it was read."""
    return CollectRequest(str(plan.experiment.path), plan.experiment.document.text, stages_hash(plan.stages))


def stages_hash(keys: Iterable[str]) -> str:
    """The same for the same stages, in any order."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]


def request_path(submission: Submission) -> Path:
    """Where a submission's request lies, if it has one."""
    return submission.folder / "collect.json"


def write_request(submission: Submission, request: CollectRequest) -> None:
    write_atomic(request_path(submission), to_json(asdict(request)))


def request_in(submission: Submission) -> CollectRequest | None:
    """None: nothing of it collects."""
    return records.read(request_path(submission), _REQUEST)


def read_request(text: str | bytes) -> CollectRequest:
    """A request as it is handed on to another process."""
    return _REQUEST.validate_json(text)


def results_folder(root: Path, experiment: str) -> Path:
    """Where a store keeps an experiment's tables."""
    return root / "results" / experiment


def write_note(root: Path, experiment: str, note: CollectNote) -> None:
    write_atomic(make_folder(results_folder(root, experiment)) / "collected.json", to_json(asdict(note)))


def remove_note(root: Path, experiment: str) -> None:
    remove(results_folder(root, experiment) / "collected.json")


def last_note(root: Path, experiment: str) -> CollectNote | None:
    """None: nobody has collected since there are notes."""
    return records.read(results_folder(root, experiment) / "collected.json", _NOTE)


def last_table(root: Path, experiment: str) -> float | None:
    """When results were written last (Unix time); None: never."""
    try:
        return look.status(results_folder(root, experiment) / "results.parquet").st_mtime
    except FileNotFoundError:
        return None


def note_by_hand(root: Path, experiment: str, set_aside: int) -> None:
    """A person typed `collect`, and got a table: what was wrong before is over. `set_aside`: as in the note."""
    note = last_note(root, experiment)
    if note is not None and (note.error or note.ended is None or note.set_aside != set_aside):
        now = time.time()
        write_note(root, experiment, CollectNote("stepstone collect", now, now, set_aside=set_aside))


def last_logs(submissions: Sequence[Submission], experiment: str) -> list[Path]:
    """What the last collecting that a job, or local workers, did has printed. submissions: of the store, the oldest
    first."""
    for submission in reversed(submissions):
        if submission.intent.experiment != experiment or not look.exists(request_path(submission)):
            continue
        folder = submission.logs(0) if submission.executor == "slurm" else submission.folder / "local" / "logs"
        names = [name for name in look.names(folder) if _LOG.fullmatch(name)] if look.exists(folder) else []
        if paths := [folder / name for name in sorted(names, reverse=True) if look.size(folder / name)]:
            return paths
    return []
