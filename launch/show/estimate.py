"""The estimate as `plan` and `status` show it, beside what the store's file system has left."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from launch.estimate.cost import Accuracy, Estimates, Totals
from launch.plan import Plan
from launch.store import Store
from slurm.room import Room, room
from training.shape import gigabytes

SCHEMA = 1


def lines(plan: Plan, needed: Collection[str], store: Store | None = None) -> list[tuple[str, str]]:
    """What `plan` prints: label and text. `needed`: keys of the stages still to be run."""
    estimates = Estimates(plan, store)
    shown: list[tuple[str, str]] = []
    if needed:
        totals = estimates.of_plan(needed)
        free = room(plan.experiment.store)
        shown += [("estimate", _cost(totals)), ("", f"rate: {totals.rate_source}; tokens: by {totals.counted}")]
        shown += [("disk", _disk(totals, free)), *(("warning", line) for line in warnings(totals, free))]
    return shown + accuracy_lines(estimates)


def accuracy_lines(estimates: Estimates) -> list[tuple[str, str]]:
    """Estimated beside measured, once something has finished; also for `status`."""
    found = estimates.accuracy()
    if found is None:
        return []
    return [("estimated", _accuracy(found, "GPU" if estimates.cluster.gpus_asked_for else "CPU rank"))]


def record(plan: Plan, needed: Collection[str], store: Store | None = None) -> dict[str, Any]:
    """The same for programs. Durations in hours (gpu_hours) and seconds (wall_clock)."""
    estimates = Estimates(plan, store)
    totals, free, found = estimates.of_plan(needed), room(plan.experiment.store), estimates.accuracy()
    return {
        "schema": SCHEMA,
        "gpu_hours": round(totals.gpu_hours, 4),
        "device": totals.device,
        "wall_clock": round(totals.wall_clock, 1),
        "at_once": totals.at_once,
        "disk_peak": round(totals.disk_peak),
        "inodes_peak": totals.inodes_peak,
        "free_bytes": free.bytes,
        "free_inodes": free.files,
        "by_quota": free.by_quota,
        "rate": asdict(totals.rate),
        "tokens_by": totals.counted,
        "accuracy": asdict(found) if found else None,
    }


def warnings(totals: Totals, free: Room) -> list[str]:
    """What the store's file system, or the quota there, has too little of."""
    found = []
    if totals.disk_peak > free.bytes:
        found.append(
            f"the store has {gigabytes(free.bytes)} left, and at the peak {gigabytes(totals.disk_peak)} are needed;"
            " set cluster: {throttle: N}, keep: intermediate, or another store:"
        )
    if free.files is not None and totals.inodes_peak > free.files:
        found.append(f"the store may hold {free.files:,} more files, and {totals.inodes_peak:,} are needed at the peak")
    return found


def _cost(totals: Totals) -> str:
    waits = "if all run as soon as they can" if totals.at_once is None else f"with {totals.at_once} at a time"
    return (
        f"{_number(totals.gpu_hours)} {totals.device}-hours; {duration(totals.wall_clock)} at least {waits},"
        " waiting in the queue not counted"
    )


def _disk(totals: Totals, free: Room) -> str:
    files = "" if free.files is None else f" and {free.files:,} files"
    return (
        f"{gigabytes(totals.disk_peak)} and {totals.inodes_peak:,} files at the peak;"
        f" {'left by the quota' if free.by_quota else 'free'}: {gigabytes(free.bytes)}{files}"
    )


def _accuracy(found: Accuracy, device: str) -> str:
    many = "1 finished training" if found.trainings == 1 else f"{found.trainings} finished trainings"
    return (
        f"{many} took {duration(found.measured)} of one {device}; the first estimate was"
        f" {_off(found.first, found.measured)}, with the measured rate {_off(found.calibrated, found.measured)}"
        f" (of one training typically {found.typical:.0%} off)"
    )


def _off(estimated: float, true: float) -> str:
    """Shares while they say something, else factors."""
    share = estimated / true - 1
    if abs(share) < 0.005:
        return "right"
    if share > 1:
        return f"{estimated / true:.1f} times as much"
    return f"{abs(share):.0%} too {'high' if share > 0 else 'low'}"


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"


def duration(seconds: float) -> str:
    """Seconds for people: 40 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
