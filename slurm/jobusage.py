"""What jobs that are over asked for, got and used, as Slurm's accounting says: a question of its own, beside how they
ended.

The numbers are worked out as `seff` does it: CPU time is the sum over a job's steps; memory is, of the step with the
most, the peaks of all its tasks together, as they were sampled while it ran. Energy where the site measures it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from slurm.accounting import asked
from slurm.jobstates import base, phase

# The name comes last, since others' names may hold a `|`.
FORMAT = (
    "JobID,State,ElapsedRaw,TimelimitRaw,AllocTRES,TotalCPU,MaxRSS,NTasks,TRESUsageInTot,ConsumedEnergyRaw,"
    "Submit,JobName"
)
# Older versions do not know three of them: others stand in their places, of which less is read.
_OLD_FORMAT = "JobID,State,ElapsedRaw,Timelimit,AllocTRES,TotalCPU,MaxRSS,NTasks,AveRSS,ConsumedEnergy,Submit,JobName"
TOPIC = "sacct --jobs (used)"
_COLUMNS = FORMAT.count(",") + 1
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)")
_CLOCK = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class JobUsage:
    """One start of an array element that is over. Memory is that of all its nodes together."""

    job: str  # of the array
    index: int
    name: str
    submitted: str  # YYYY-MM-DDTHH:MM:SS of the cluster; of a later start, when it was queued again
    state: str  # Slurm's long name
    elapsed: int = 0  # seconds
    limit: int | None = None  # seconds; None: it had none, or it is not known
    cpus: int = 1  # that it had
    nodes: int = 1
    gpus: int = 0
    allocated: int = 0  # bytes of memory that it had; 0: not known
    cpu: float = 0.0  # seconds of CPUs that its steps used
    memory: int = 0  # bytes: the most that a step used; 0: not known
    energy: int = 0  # joules; 0: nobody measures

    @property
    def cpu_efficiency(self) -> float | None:
        """The share of its CPUs' time that was used; None where it took no time."""
        return self.cpu / (self.elapsed * self.cpus) if self.elapsed else None

    @property
    def memory_efficiency(self) -> float | None:
        """The share of its memory that was used; None where either is not known."""
        return self.memory / self.allocated if self.allocated and self.memory else None


def look(jobs: Sequence[str]) -> list[JobUsage] | None:
    """Every start that is over of some elements (`12_3`), or of all of an array (`12`): one sacct. None where nobody
    answers; NoAccounting where there is none, Refusal with its words where it will not tell.

    Compare the names: Slurm uses its ids again.
    """
    output = asked(TOPIC, *usage_ways(jobs))
    return None if output is None else list(_jobs(output.split("\n")))


def usage_ways(jobs: Sequence[str]) -> list[list[str]]:
    """How sacct may be asked what jobs used."""
    ids = ",".join(jobs)
    return [
        ["sacct", "--noheader", "--parsable2", "--duplicates", "--jobs", ids, "--format", FORMAT],
        ["sacct", "-n", "-P", "-D", "-j", ids, "-o", FORMAT],
        ["sacct", "-n", "-P", "-D", "-j", ids, "-o", _OLD_FORMAT],
    ]


def _jobs(lines: Iterable[str]) -> Iterator[JobUsage]:
    """Each start with what its steps add; sacct's own line of a job comes before those of its steps."""
    latest: JobUsage | None = None
    has_steps = False  # that say what CPU time they took; else the job's own line does
    for line in lines:
        row = line.split("|", _COLUMNS - 1)
        if len(row) < _COLUMNS:
            continue
        identifier, _, step = row[0].partition(".")
        if not step:
            if latest is not None:
                yield latest
            latest, has_steps = _job(identifier, row), False
        elif latest is not None and identifier == f"{latest.job}_{latest.index}":
            latest = _with_step(latest, row, is_first=not has_steps)
            has_steps = has_steps or bool(_seconds(row[5]))
    if latest is not None:
        yield latest


def _job(identifier: str, row: Sequence[str]) -> JobUsage | None:
    """None for elements that wait, of which several stand on one line, and for what runs."""
    job, _, index = identifier.partition("_")
    state = base(row[1])
    if not (job.isdigit() and index.isdigit()) or (phase(state) != "ended" and state != "REQUEUED"):
        return None
    tres = dict(part.partition("=")[::2] for part in row[4].split(","))
    gpus = [count for name, count in tres.items() if name == "gres/gpu"] or [
        count for name, count in tres.items() if name.startswith("gres/gpu:")
    ]
    return JobUsage(
        job, int(index), row[11], row[10], state,
        elapsed=_whole(row[2]),
        limit=_whole(row[3]) * 60 if row[3].isdigit() else round(_seconds(row[3])) or None,
        cpus=_whole(tres.get("cpu", "")) or 1,
        nodes=_whole(tres.get("node", "")) or 1,
        gpus=sum(map(_whole, gpus)),
        allocated=_bytes(tres.get("mem", "")),
        cpu=_seconds(row[5]),
        energy=_energy(row[9]),
    )  # fmt: skip


def _with_step(job: JobUsage, row: Sequence[str], *, is_first: bool) -> JobUsage:
    """Where a step says no sum of its tasks' memory, the largest task's times their number stands for it."""
    tasks = dict(part.partition("=")[::2] for part in row[8].split(","))
    memory = _bytes(tasks.get("mem", "")) or _bytes(row[6]) * (_whole(row[7]) or 1)
    seconds = _seconds(row[5])
    cpu = seconds + (0.0 if is_first else job.cpu) if seconds else job.cpu
    return replace(job, cpu=round(cpu, 3), memory=max(job.memory, memory), energy=max(job.energy, _energy(row[9])))


def _seconds(text: str) -> float:
    """Of `1-02:03:04`, `02:03:04`, `03:04.567`."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return 0.0
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _bytes(text: str) -> int:
    """Of `310000K`, `1.50G`, `1024`; 0 of what is no amount."""
    match = _AMOUNT.match(text.strip())
    return round(float(match[1]) * _UNITS[match[2]]) if match else 0


def _energy(text: str) -> int:
    """Joules; sites that measure nothing say 0, or a number that nobody can have used."""
    joules = _bytes(text)
    return joules if joules < 1 << 50 else 0


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0
