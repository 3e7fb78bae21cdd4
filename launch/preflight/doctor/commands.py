"""Each of Slurm's commands, tried as it will be used: which way it takes, what it refuses and in which words."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from launch.draft import request
from launch.experiment import Experiment
from launch.preflight.doctor.lines import Line
from slurm import accounting, arrays, control, jobusage, limits, queue, usercache, ways
from slurm.arrays import Refused
from slurm.base import UserError
from slurm.commands import Output, Silent

_SHOWN = 3  # different words of commands
_DAY = 86400.0
_NO_JOB = str(
    0x3FFFFFF
)  # above MaxJobId as it usually is: there is no such job, and whatever is asked of it is harmless
_WOULD_START = re.compile(r"\bJob \d+ to start at ")  # the answer to `sbatch --test-only`
_TELL = "tell the administrators, with these words"
# What is lost where a command refuses every way of asking.
_LOST = {
    "squeue": "what is queued stays unknown, and nothing is sent",
    "sacct": "why a job ended is told from its log only",
    jobusage.TOPIC: "`stepstone usage` tells only what jobs noted of themselves",
    "scontrol show partition": "time limits of partitions are not known before sbatch says them",
    "sinfo": "nodes, their memory and GPUs are not known before sbatch says them",
    "sacctmgr": "limits of submission are found by trying",
    "scontrol update": "what was sent keeps its throttle",
    "scancel": "no job can be ended from here",
}


def command_lines(experiment: Experiment | None, *, with_accounting: bool) -> Iterator[Line]:
    """A line for all that are taken as they are asked, and one for each other command."""
    plain_ones: list[str] = []
    for topic, every_way, read in _questions(with_accounting=with_accounting):
        line = _line(topic, every_way, read)
        if line is None:
            plain_ones.append(topic)
        else:
            yield line
    for topic, command in change_commands(_NO_JOB, 0):
        change_line = refused_change(topic, command)
        if change_line is None:
            plain_ones.append(topic)
        else:
            yield change_line
    if experiment is not None:
        refusal = _sbatch_line(experiment)
        if refusal is None:
            plain_ones.append("sbatch")
        else:
            yield refusal
    if plain_ones:
        yield Line("ok", "commands", f"taken as they are asked: {', '.join(plain_ones)}")
    yield from _words_line()


def _questions(*, with_accounting: bool) -> Iterator[tuple[str, Sequence[ways.Way], Callable[[str], object]]]:
    yield "squeue", queue.squeue_ways(), queue.read
    yield "scontrol show partition", limits.PARTITION_WAYS, str
    yield "sinfo", limits.NODE_WAYS, str
    if with_accounting:
        yield "sacct --jobs", accounting.ended_ways(["1"]), str
        yield jobusage.TOPIC, jobusage.usage_ways(["1"]), str
        yield "sacctmgr", limits.table_ways(["show", "qos"], "Name"), str


def _line(topic: str, every_way: Sequence[ways.Way], read: Callable[[str], object]) -> Line | None:
    """None where the first way is taken."""
    try:
        trials = list(ways.tried(topic, every_way, read))
    except Silent as silence:
        return Line("warning", topic, f"does not answer ({silence})", "try again later")
    first, last = trials[0], trials[-1]
    if first.refusal is None:
        return None
    if last.refusal is None:
        return Line("ok", topic, f"asked as `{' '.join(last.command)}`, since otherwise: {first.refusal}")
    name = topic.removesuffix(" --jobs")
    fix = f"{_LOST[name]}; {_TELL}"
    return Line("error" if name == "squeue" else "warning", topic, f"refuses: {first.refusal}", fix)


def change_commands(job: str, throttle: int) -> list[tuple[str, list[str]]]:
    """What changes jobs, as it will be used, for an array of one element: its throttle, then its end."""
    return [
        ("scontrol update", control.throttle_command(job, throttle)),
        ("scancel", control.cancel_command([f"{job}_[0]"])),
    ]


def refused_change(topic: str, command: list[str]) -> Line | None:
    """None where it is taken, if only for want of such a job."""
    try:
        refusal = control.refusal(command)
    except UserError as error:
        return Line("warning", topic, str(error), "try again later")
    if refusal is None:
        return None
    return Line("error" if topic == "scancel" else "warning", topic, f"refuses: {refusal}", f"{_LOST[topic]}; {_TELL}")


def _sbatch_line(experiment: Experiment) -> Line | None:
    """Whether sbatch would take what the file asks for: nothing is sent."""
    with tempfile.TemporaryDirectory(prefix="stepstone-doctor-") as folder:
        array = request.of_cluster(
            experiment.cluster, "stepstone-doctor", request.job_command("launch.job"), Path(folder), experiment.store
        )
        try:
            arrays.try_sending(array, Path(folder))
        except Refused as refusal:
            fix = f"change `cluster:` in {experiment.path.name}"
            return Line("error", "sbatch", f"would not take it: {refusal}", fix)
        except UserError as error:
            return Line("warning", "sbatch", str(error), "try again later")
    return None


def _words_line() -> Iterator[Line]:
    """What commands printed on stderr lately, a site's greetings too."""
    counts = Counter((command, Output(code, "", text).said) for _, command, code, text in _words())
    counts = Counter({key: count for key, count in counts.items() if not _WOULD_START.search(key[1])})
    if counts:
        sentences = [
            f"{command}: {words[:120]} ({count} times)" for (command, words), count in counts.most_common(_SHOWN)
        ]
        more = f"; {len(counts) - _SHOWN} others" if len(counts) > _SHOWN else ""
        yield Line("ok", "words", f"on stderr in the last day: {'; '.join(sentences)}{more}")


def _words() -> list[tuple[float, str, int, str]]:
    return usercache.words(time.time() - _DAY)
