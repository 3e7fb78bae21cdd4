"""What the experiment file may better ask for, with the numbers that say so. Nothing is advised from fewer than three
elements that ended well, nor less of what a job has died of, nor while nothing is known of a whole kind of stages; and
what is advised is a quarter more than the most seen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from launch.experiment import Cluster
from launch.plan import Plan
from launch.text import brief
from launch.usage.measured import KindUse, Measured
from slurm.limits import seconds as seconds_of_limit
from slurm.resources import megabytes

LEAST = 3  # elements that ended well
MARGIN = 1.25  # times the most that was seen
_WORTH = 0.8  # of what is asked for: what would save less is not worth a change
_MEGABYTE = 1 << 20
_BUSY = 80.0  # percent that GPUs are to be busy, where fewer are advised
_SHORT, _MANY = 600.0, 10  # seconds that an element takes, and how many of them, for which a bundle is advised
_BUNDLE = 1800.0  # seconds
_CORES_MARGIN = 1.5  # times the cores that were busy in the mean, as there are moments with more


@dataclass(frozen=True)
class Advice:
    """Another value for a key of `cluster:`."""

    key: str
    asked: str | None  # as it is in the file; None: it is not
    value: str
    why: str  # one line for people, with the numbers
    seen: int  # elements, or attempts, that it rests on

    @property
    def yaml(self) -> str:
        """As it is pasted into the file."""
        return f"{self.key}: {quoted(self.value)}"


def amount(count: int) -> str:
    """Bytes in sbatch's form, in powers of 1024, with a digit more: `3.2G`, `310M`."""
    return f"{count / 2**30:.1f}G" if count >= 2**30 else f"{count / 2**20:.0f}M"


def quoted(value: str) -> str:
    """As YAML wants a value: one with colons in quotes."""
    return value if value.replace(".", "").isalnum() else f'"{value}"'


def advise(plan: Plan, uses: Measured) -> list[Advice]:
    """All that is worth a change."""
    cluster = plan.experiment.cluster
    if cluster.chosen_executor != "slurm" or uses.elements.seen < LEAST:
        return []
    ways: list[Callable[[Cluster, Measured], Advice | None]] = [_time, _memory, _cores, _gpus, _bundle]
    advices = [advice for way in ways if (advice := way(cluster, uses)) is not None]
    # In bundles elements take another time than they were seen to.
    has_bundle = any(advice.key == "bundle" for advice in advices)
    return [advice for advice in advices if not (has_bundle and advice.key == "time")]


def _time(cluster: Cluster, uses: Measured) -> Advice | None:
    elements, limit = uses.elements, cluster.time and seconds_of_limit(cluster.time)
    if not limit or cluster.time is None or uses.unseen or elements.stopped_by & {"time"}:
        return None
    proposal = _round_time(elements.longest * MARGIN)
    if proposal > _WORTH * limit:
        return None
    value = clock(proposal)
    why = f"{cluster.time} asked, {clock(elements.longest)} the longest of {elements.seen} elements: jobs start sooner"
    return Advice("time", cluster.time, value, why, elements.seen)


def _round_time(seconds: float) -> int:
    """Up to five minutes, a quarter of an hour, an hour, by how long it is; a quarter of an hour at the least."""
    unit = 300 if seconds <= 3600 else 900 if seconds <= 6 * 3600 else 3600
    return max(900, math.ceil(seconds / unit) * unit)


def clock(seconds: float) -> str:
    """In sbatch's form: `12:00:00`."""
    minutes, last = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hours:02d}:{minutes:02d}:{last:02d}"


def _memory(cluster: Cluster, uses: Measured) -> Advice | None:
    elements, request = uses.elements, cluster.asked
    asked_values = {"mem": cluster.mem, "mem-per-cpu": cluster.mem_per_cpu, "mem-per-gpu": cluster.mem_per_gpu}
    key = next((name for name, value in asked_values.items() if value is not None), None)
    if (
        uses.unseen
        or key is None
        or request.memory is None
        or not elements.memory
        or elements.stopped_by & {"host-oom"}
    ):
        return None
    shares = {"mem": 1, "mem-per-cpu": request.tasks * (request.cores or 1), "mem-per-gpu": max(1, request.gpus)}
    current = asked_values[key]
    proposal = _round_memory(elements.memory / _MEGABYTE * MARGIN / shares[key])
    if current is None or proposal > _WORTH * (megabytes(current) or 0):
        return None
    value = f"{proposal // 1024}G" if proposal % 1024 == 0 else f"{proposal}M"
    of_node = "" if key == "mem" else f" ({amount(request.memory * _MEGABYTE)} a node)"
    why = f"{current} asked{of_node}, {amount(elements.memory)} the most of a node in {elements.seen} elements"
    return Advice(key, current, value, why, elements.seen)


def _round_memory(proposal: float) -> int:
    """MB: up to a quarter, a half, a whole gigabyte, by how much it is."""
    unit = 256 if proposal <= 2048 else 512 if proposal <= 8192 else 1024
    return math.ceil(proposal / unit) * unit


def _cores(cluster: Cluster, uses: Measured) -> Advice | None:
    """By the kind whose attempts kept the most cores busy."""
    current, sampled_kinds = cluster.cpus_per_task, _sampled(uses)
    cores = [use.cores / cluster.ranks for use in sampled_kinds if use.cores is not None]
    if current is None or not cores or uses.unseen:
        return None
    proposal = max(1, math.ceil(max(cores) * _CORES_MARGIN))
    if proposal > _WORTH * current:
        return None
    count = sum(use.sampled for use in sampled_kinds)
    why = f"{current} asked, {max(cores):.1f} busy in the mean of the busiest of {count} attempts"
    return Advice("cpus-per-task", str(current), str(proposal), why, count)


def _gpus(cluster: Cluster, uses: Measured) -> Advice | None:
    """Where all of them together do no more than fewer could."""
    of_node = cluster.asked.gpus
    trains = [use for use in _sampled(uses) if use.kind.startswith("train ") and use.busy is not None]
    if any(kind.startswith("train ") for kind in uses.unseen):
        return None
    if of_node < 2 or cluster.gpus_per_node is None or cluster.ntasks_per_node is not None or not trains:
        return None
    busiest = max(use.busy for use in trains if use.busy is not None)
    proposal = max(1, math.ceil(of_node * busiest / _BUSY))
    model, mark, number = cluster.gpus_per_node.rpartition(":")
    if proposal >= of_node or not number.isdecimal() or "," in model:
        return None
    count = sum(use.sampled for use in trains)
    why = f"{of_node} asked a node, {busiest:.0f} % busy in the busiest kind of training ({count} attempts)"
    return Advice("gpus-per-node", cluster.gpus_per_node, f"{model}{mark}{proposal}", why, count)


def _bundle(cluster: Cluster, uses: Measured) -> Advice | None:
    elements = uses.elements
    limit = seconds_of_limit(cluster.time) if cluster.time else None
    if cluster.bundle is not None or elements.seen < _MANY or elements.usual > _SHORT:
        return None
    length = min(_BUNDLE, limit / 2) if limit else _BUNDLE
    if length < 2 * elements.usual:
        return None
    start = f", {brief(elements.before)} of it before the first stage" if elements.before >= 1 else ""
    why = f"half of {elements.seen} elements took less than {brief(elements.usual)}{start}: several wait and start once"
    return Advice("bundle", None, clock(length), why, elements.seen)


def _sampled(uses: Measured) -> list[KindUse]:
    return [use for use in uses.kinds if use.sampled]
