"""What Slurm's accounting remembers of elements that left the queue: `sacct` in a fixed format.

It lags behind the queue by seconds, misses some elements that were cancelled while they waited, and keeps calling the
others of such an array PENDING (seen on 22.05): what is not in it is unknown, and the queue is asked first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from slurm import ways
from slurm.commands import Refusal, Silent
from slurm.jobstates import Phase, base, phase
from slurm.queue import Unreadable, expand

# The name comes last, since others' names may hold a `|`.
FORMAT = "JobID,State,ExitCode,Submit,NodeList,JobName"
ASKED_AT_ONCE = 500  # ids on one command line
_MISSING = "there is no sacct"
_DISABLED = ("accounting storage is disabled", "not running a supported accounting_storage plugin")


@dataclass(frozen=True)
class Ended:
    """The last record of an array element. `state` may still be PENDING or RUNNING: accounting lags."""

    job: str  # of the array
    index: int
    state: str  # Slurm's long name; of a step, where that says more
    exit_code: int
    signal: int  # that ended it; 0: none
    name: str
    submitted: str  # YYYY-MM-DDTHH:MM:SS of the cluster; of the last requeue where there was one
    node: str = ""  # that it ran on, where it was one

    @property
    def phase(self) -> Phase:
        """Whether it waits, runs or is over, as far as accounting knows."""
        return phase(self.state)


class NoAccounting(Exception):
    """The cluster keeps no accounts, or this machine has no command to read them."""


def ended(jobs: Iterable[str]) -> dict[tuple[str, int], Ended] | None:
    """The last record of some elements (`12_3`), or of all of an array (`12`); None where accounting does not answer,
    Refusal with its words where it will not, NoAccounting where there is none.

    An element without a record is not in it. Compare the name: Slurm uses its ids again after years or a reset.
    """
    elements = sorted(set(jobs))
    lines: list[str] = []
    for start in range(0, len(elements), ASKED_AT_ONCE):
        output = asked("sacct --jobs", *ended_ways(elements[start : start + ASKED_AT_ONCE]))
        if output is None:
            return None
        lines += output.split("\n")
    return _last_of_each(_elements(lines))


def named(name: str, since: str) -> list[str] | None:
    """Ids of this user's arrays of that name since a time (YYYY-MM-DDTHH:MM:SS), the lowest first; None as above.

    Those that still wait for another job are not in it (seen on 22.05): the queue knows them.
    """
    try:
        # Not the time of day only: by default sacct begins at midnight.
        long = ["--noheader", "--parsable2", "--allocations", "--name", name, "--starttime", since, "--format", FORMAT]
        short = ["-n", "-P", "-X", "--name", name, "-S", since, "-o", FORMAT]
        output = asked("sacct --name", ["sacct", *long], ["sacct", *short])
    except NoAccounting:
        return []
    except Refusal:
        return None
    if output is None:
        return None
    ids = {
        row[0].partition("_")[0].partition("+")[0] for row in map(_row, output.split("\n")) if row and row[-1] == name
    }
    return sorted(filter(str.isdigit, ids), key=int)


def available() -> bool | None:
    """Whether the cluster keeps accounts; None where nobody answers, such as while slurmdbd is down."""
    try:
        return None if asked("sacct --jobs", *ended_ways(["1"])) is None else True
    except NoAccounting:
        return False
    except Refusal:
        return None


def ended_ways(elements: Sequence[str]) -> list[list[str]]:
    """How sacct may be asked how elements ended. Without `--duplicates` it tells of the last start only, which is the
    one that counts; but where ids were used again, it may tell of another job, and then names differ."""
    jobs = ",".join(elements)
    return [
        ["sacct", "--noheader", "--parsable2", "--duplicates", "--jobs", jobs, "--format", FORMAT],
        ["sacct", "-n", "-P", "-D", "-j", jobs, "-o", FORMAT],
        ["sacct", "-n", "-P", "-j", jobs, "-o", FORMAT],
    ]


def asked(topic: str, *every_way: list[str]) -> str | None:
    """What sacct prints; None where it does not answer. NoAccounting where it never will, Refusal with its words."""
    try:
        return ways.ask(topic, every_way, str)
    except Silent:
        return None
    except Refusal as refusal:
        if any(words in str(refusal).lower() for words in (*_DISABLED, _MISSING)):
            raise NoAccounting from None
        raise


def _row(line: str) -> list[str]:
    """A record's fields in FORMAT's order; empty for a line that is none."""
    fields = line.split("|", FORMAT.count(","))
    return fields if len(fields) == FORMAT.count(",") + 1 else []


def _elements(lines: Iterable[str]) -> Iterator[Ended]:
    """One record per start of an element, in sacct's order, with what its steps add."""
    latest: Ended | None = None
    for row in filter(None, map(_row, lines)):
        identifier, _, step = row[0].partition(".")
        if step:
            if latest is not None and identifier == f"{latest.job}_{latest.index}":
                latest = _with_step(latest, step, row)
            continue
        if latest is not None:
            yield latest
            latest = None
        records = list(_records(identifier, row))
        yield from records[:-1]
        latest = records[-1] if records else None
    if latest is not None:
        yield latest


def _records(identifier: str, row: Sequence[str]) -> Iterator[Ended]:
    _, state, exit_code, submitted_at, nodes, name = row
    job, _, indices = identifier.partition("_")
    code, signal = _exit(exit_code)
    try:
        numbers = expand(indices) if indices else []
    except Unreadable:
        numbers = []  # elements that wait, of a list that was cut off: squeue knows them
    for index in numbers:
        yield Ended(job, index, base(state), code, signal, name, submitted_at, _one(nodes))


def _with_step(element: Ended, step: str, row: Sequence[str]) -> Ended:
    """srun hides why a task died: the job is FAILED, and only its step is OUT_OF_MEMORY; or it is even COMPLETED, where
    the step's log could not be created or the step was ended from outside (both seen on 22.05)."""
    state = base(row[1])
    if state == "OUT_OF_MEMORY" and element.state in ("FAILED", "CANCELLED"):
        return replace(element, state=state)
    if step.isdecimal() and element.state == "COMPLETED" and state != "COMPLETED" and phase(state) == "ended":
        exit_code, signal = _exit(row[2])
        return replace(element, state=state, exit_code=exit_code, signal=signal)
    return element


def _last_of_each(records: Iterable[Ended]) -> dict[tuple[str, int], Ended]:
    last: dict[tuple[str, int], Ended] = {}
    for record in records:
        before = last.get((record.job, record.index))
        if before is None or before.submitted <= record.submitted:
            last[record.job, record.index] = record
    return last


def _one(nodes: str) -> str:
    """The name, where a list of nodes is one; sacct says `None assigned` of none."""
    return nodes if nodes and not set(nodes) & set("[], ") else ""


def _exit(text: str) -> tuple[int, int]:
    """(exit code, signal) of `1:0`."""
    code, _, signal = text.partition(":")
    return _number(code), _number(signal)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
