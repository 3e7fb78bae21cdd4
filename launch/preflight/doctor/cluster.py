"""What doctor asks Slurm: version, limits, accounting, requeue, and how often we ask."""

import time
from collections.abc import Iterator
from typing import Any

from launch.experiment import Experiment
from launch.preflight.doctor.commands import command_lines
from launch.preflight.doctor.lines import Line
from slurm import accounting, limits, usercache
from slurm.base import UserError

_NONE_HERE = "none here"
_CALLS_PER_HOUR = 240  # more questions to Slurm than that are a loop around `status`


def slurm_lines(experiment: Experiment | None) -> Iterator[Line]:
    """Version, limits, accounting, requeue, and how often we ask."""
    try:
        config = limits.config()
    except UserError as error:
        # Without a file, local workers may be all that is wanted.
        yield Line("error" if experiment else "warning", "Slurm", str(error), "log in where sbatch and scontrol are")
        return
    yield Line("ok", "Slurm", f"{config.get('SLURM_VERSION', 'version unknown')}, cluster {config.get('ClusterName')}")
    yield _limits_line(experiment)
    accounting_line = _accounting_line()
    yield accounting_line
    yield from command_lines(experiment, with_accounting=accounting_line.found != _NONE_HERE)
    if config.get("JobRequeue") == "0":
        fix = "after a time limit or preemption type: stepstone submit FILE (or: submit --wait)"
        yield Line("warning", "requeue", "switched off here (JobRequeue=0)", fix)
    else:
        preemption = config.get("PreemptMode", "OFF")
        yield Line("ok", "requeue", f"allowed; preemption: {preemption}")
    yield _calls_line()


def _limits_line(experiment: Experiment | None) -> Line:
    cluster = experiment.cluster if experiment else None
    account, partition, qos = (cluster.account, cluster.partition, cluster.qos) if cluster else (None, None, None)
    try:
        cluster_limits = limits.discover(account, partition, qos)
    except UserError as error:
        return Line("error", "limits", str(error), "try again later")
    names = cluster_limits.partitions(partition)
    missing = [name for name in names if cluster_limits.times and name not in cluster_limits.times]
    if missing:
        fix = f"cluster: {{partition: {_any_of(cluster_limits.times)}}}"
        return Line("error", "limits", f"no partition {' or '.join(missing)}", fix)
    least = min(cluster_limits.submit, key=lambda limit: limit.most, default=None)
    submit = f"{least.most} jobs in the queue ({least.name})" if least else "no limit of jobs per user"
    summary = f"MaxArraySize {cluster_limits.array_size}; {submit}"
    seconds = limits.seconds(cluster.time) if cluster and cluster.time else None
    longest, where = min(
        ((longest, name) for name in names if (longest := cluster_limits.times.get(name))), default=(0, "")
    )
    if cluster and seconds and longest and seconds > longest:
        return Line("error", "limits", f"{summary}; time {cluster.time} is over {where}'s limit",
                    f"set `cluster: {{time: …}}` to {longest // 60} minutes or less")  # fmt: skip
    return Line("ok", "limits", summary)


def _any_of(names: dict[str, Any]) -> str:
    return " | ".join(sorted(names)[:8])


def _accounting_line() -> Line:
    answer = accounting.available()
    if answer:
        return Line("ok", "accounting", "sacct answers")
    if answer is None:
        return Line("warning", "accounting", "sacct does not answer",
                    "what ended meanwhile shows as unknown until it does")  # fmt: skip
    return Line("warning", "accounting", _NONE_HERE, "a killed job's cause is told from its log only")


def _calls_line() -> Line:
    now = time.time()
    hour, day = (usercache.calls(now - seconds) for seconds in (3600, 86400))
    summary = f"Slurm was asked {sum(hour.values())} times in the last hour, {sum(day.values())} in the last day"
    by_command = ", ".join(f"{name} {count}" for name, count in sorted(day.items(), key=lambda item: -item[1])[:4])
    summary += f" ({by_command})" if by_command else ""
    if sum(hour.values()) > _CALLS_PER_HOUR:
        return Line("warning", "calls", summary, "use `submit --wait` instead of a loop around `submit` or `status`")
    return Line("ok", "calls", summary)
