"""What Slurm's accounting says of the elements of an experiment, asked once for each and remembered in its store.

    index/<experiment>.jobs.json: sealed; one list per start of an element that is over

Who asks again soon asks for nothing: of what has no record yet, accounting is asked after an hour. One command asks a
few times at most, the newest elements first; what is left comes with the next one.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from operator import attrgetter
from pathlib import Path

from launch.plan import Plan
from launch.status import Observation
from launch.store import Store
from slurm import jobusage
from slurm.accounting import NoAccounting
from slurm.base import UserError
from slurm.base.files import make_folder, read_sealed, seal, write_atomic
from slurm.commands import Refusal
from slurm.jobusage import JobUsage

_SCHEMA = 1
_AT_ONCE, _TIMES = 1000, 10  # elements that one sacct is asked for, and how often one command asks
_PATIENCE = 3600.0  # seconds until what had no record is asked for again
_WHOLE = 20  # elements of an array; of more, all of it is asked for


@dataclass(frozen=True)
class ElementId:
    """An element of an array, as Slurm and its submission know it."""

    job: str
    index: int
    name: str


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
    path = store.root / "index" / f"{plan.experiment.name}.jobs.json"
    jobs, missing = _read(path)
    known_elements = {ElementId(job.job, job.index, job.name) for job in jobs}
    now = time.time()
    waiting_elements = {(entry.job, entry.index, entry.name) for entry in observation.entries or ()}
    open_elements = [
        element
        for element in elements
        if element not in known_elements
        and (element.job, element.index, element.name) not in waiting_elements
        and not 0 <= now - missing.get(f"{element.job}_{element.index}", 0.0) < _PATIENCE
    ]
    words = None
    for number, chunk in enumerate(_chunks(open_elements)):
        if number == _TIMES:
            words = f"sacct was asked for {_TIMES * _AT_ONCE} elements; type the command again for the rest"
            break
        try:
            answer = jobusage.look(_ids(chunk))
        except NoAccounting:
            words = "this cluster keeps no accounts"
            break
        except Refusal as refusal:
            words = f"sacct refuses ({refusal})"
            break
        if answer is None:
            words = "sacct does not answer now"
            break
        wanted_elements = set(chunk)
        new = [job for job in answer if ElementId(job.job, job.index, job.name) in wanted_elements]
        without = wanted_elements - {ElementId(job.job, job.index, job.name) for job in new}
        missing |= {f"{element.job}_{element.index}": now for element in without}
        jobs += new
    if open_elements and words is None:
        _remember(path, jobs, missing)
    ours = [job for job in jobs if ElementId(job.job, job.index, job.name) in elements]
    return Accounts(tuple(sorted(ours, key=attrgetter("submitted"))), elements, words)


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


def _chunks(elements: Sequence[ElementId]) -> list[Sequence[ElementId]]:
    return [elements[start : start + _AT_ONCE] for start in range(0, len(elements), _AT_ONCE)]


def _ids(elements: Sequence[ElementId]) -> list[str]:
    """As sacct takes them: a whole array by one word, for a command line has an end."""
    by_job: dict[str, list[int]] = {}
    for element in elements:
        by_job.setdefault(element.job, []).append(element.index)
    return [
        word
        for job, indices in by_job.items()
        for word in ([job] if len(indices) > _WHOLE else [f"{job}_{index}" for index in indices])
    ]


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
