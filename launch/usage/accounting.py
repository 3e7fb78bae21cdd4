"""What Slurm's accounting says of the elements of an experiment, asked once for each and remembered in its store.

    index/jobs/<experiment>.json: sealed; one list per start of an element that is over

Who asks again soon asks for nothing: of what has no record yet, or only one of a start after which Slurm may start it
again, accounting is asked after an hour. One command asks a few times at most, the newest elements first; what is left
comes with the next one. While nobody says what runs, nothing is asked: of what is not over no record would be the last.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from itertools import islice
from operator import attrgetter
from pathlib import Path

from launch.plan import Plan
from launch.status import Observation
from launch.store import Store
from slurm import endings, jobusage
from slurm.accounting import NoAccounting
from slurm.base import UserError
from slurm.base.files import make_folder, read_sealed, seal, write_atomic
from slurm.commands import Refusal
from slurm.endings import ElementId
from slurm.jobusage import JobUsage
from slurm.queue import QueueEntry

_SCHEMA = 1
_AT_ONCE, _TIMES = 1000, 10  # elements that one sacct is asked for, and how often one command asks
_PATIENCE = 3600.0  # seconds until what had no record is asked for again
_COMES_BACK = {"PREEMPTED", "REQUEUED", "NODE_FAIL"}  # so a start ends after which there may be another


@dataclass(frozen=True)
class Accounts:
    """What is known of an experiment's elements."""

    jobs: tuple[JobUsage, ...] = ()  # the starts that are over, the oldest first
    stages: dict[ElementId, tuple[str, ...]] = field(default_factory=dict)  # the keys of those it runs
    words: str | None = None  # why there is no more; None: nothing is missing


def look(plan: Plan, store: Store, observation: Observation) -> Accounts:
    """All that accounting says, or said, of elements that left the queue. Never fails."""
    elements = _elements(plan, observation)
    if not elements:
        return Accounts()
    path = store.root / "index" / "jobs" / f"{plan.experiment.name}.json"
    jobs, missing = _read(path)
    words: str | None = "Slurm does not say what runs, so accounting was not asked"
    if observation.entries is not None:
        open_elements = _open(elements, observation.entries, jobs, missing)
        has_new = bool(open_elements)
        words = _ask(open_elements, jobs, missing)
        if has_new:
            _remember(path, jobs, missing)
    ours = [job for job in jobs if _element(job) in elements]
    return Accounts(tuple(sorted(ours, key=attrgetter("submitted"))), elements, words)


def _open(
    elements: Iterable[ElementId], entries: Iterable[QueueEntry], jobs: Iterable[JobUsage], missing: Mapping[str, float]
) -> dict[ElementId, None]:
    """Those to ask for: of which no end is known, which are not in the queue and were not asked for just now."""
    now = time.time()
    over_elements = {_element(job) for job in jobs if job.state not in _COMES_BACK}
    queued_elements = {(entry.job, entry.index, entry.name) for entry in entries}
    return {
        element: None
        for element in elements
        if element not in over_elements
        and astuple(element) not in queued_elements
        and not 0 <= now - missing.get(_word(element), 0.0) < _PATIENCE
    }


def _ask(open_elements: dict[ElementId, None], jobs: list[JobUsage], missing: dict[str, float]) -> str | None:
    """Ask for elements, and add what is said to what is known; why some are left, if any are."""
    for _ in range(_TIMES):
        if not open_elements:
            return None
        chunk = list(islice(open_elements, _AT_ONCE))
        ids = endings.ids_for_sacct(chunk)
        try:
            answer = jobusage.look(ids)
        except NoAccounting:
            return "this cluster keeps no accounts"
        except Refusal as refusal:
            return f"sacct refuses ({refusal})"
        if answer is None:
            return "sacct does not answer now"
        told_jobs = [job for job in answer if _element(job) in open_elements]
        told_starts = set(map(_start, told_jobs))
        jobs[:] = [*(job for job in jobs if _start(job) not in told_starts), *told_jobs]
        whole_arrays = {word for word in ids if word.isdigit()}
        answered_elements = {*chunk, *(element for element in open_elements if element.job in whole_arrays)}
        over_elements = {_element(job) for job in told_jobs if job.state not in _COMES_BACK}
        missing |= dict.fromkeys(map(_word, answered_elements - over_elements), time.time())
        for element in answered_elements:
            del open_elements[element]
    return f"sacct was asked {_TIMES} times; type the command again for the rest" if open_elements else None


def _element(job: JobUsage) -> ElementId:
    return ElementId(job.job, job.index, job.name)


def _start(job: JobUsage) -> tuple[ElementId, str]:
    return _element(job), job.submitted


def _word(element: ElementId) -> str:
    """As sacct takes it."""
    return f"{element.job}_{element.index}"


def _elements(plan: Plan, observation: Observation) -> dict[ElementId, tuple[str, ...]]:
    """Those that ran stages of the plan, the newest first."""
    elements: dict[ElementId, tuple[str, ...]] = {}
    for submission in reversed(observation.submissions):
        if submission.executor != "slurm":
            continue
        for number, array in enumerate(submission.arrays):
            receipt = submission.receipt(number)
            for index, keys in array.elements.items() if receipt is not None and receipt.job is not None else ():
                ours = tuple(key for key in keys if key in plan.stages)
                if ours:
                    assert receipt is not None and receipt.job is not None
                    elements[ElementId(receipt.job, index, array.name)] = ours
    return elements


def _read(path: Path) -> tuple[list[JobUsage], dict[str, float]]:
    """What was remembered: starts, and when what had no record was asked for."""
    with suppress(OSError, KeyError, TypeError):
        content = read_sealed(path)
        if content is not None and content["schema"] == _SCHEMA:
            return [JobUsage(*row) for row in content["jobs"]], dict(content["missing"])
    return [], {}


def _remember(path: Path, jobs: Sequence[JobUsage], missing: Mapping[str, float]) -> None:
    content = {"schema": _SCHEMA, "jobs": [astuple(job) for job in jobs], "missing": dict(missing)}
    with suppress(OSError, UserError):  # a store that is only read: it is asked again
        make_folder(path.parent)
        write_atomic(path, seal(content))
