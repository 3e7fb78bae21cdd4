"""The estimate as `plan` and `status` show it, beside what the store's file system has left."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from launch.estimate.cost import Accuracy, Estimates, Totals
from launch.plan import Plan
from launch.store import Store
from launch.text import duration
from slurm.room import Room, room
from training.shape import gigabytes

SCHEMA = 1


def lines(plan: Plan, missing: Collection[str], store: Store | None = None) -> list[tuple[str, str]]:
    """What `plan` prints: label and text. `missing`: keys of the stages still to be run."""
    estimates = Estimates(plan, store)
    labelled_lines: list[tuple[str, str]] = []
    if missing:
        totals = estimates.of_plan(missing)
        free = room(plan.experiment.store)
        labelled_lines += [
            ("estimate", _cost(totals)),
            ("", f"rate: {totals.rate_source}; tokens: by {totals.counted}"),
        ]
        labelled_lines += [("disk", _disk(totals, free)), *(("warning", line) for line in warnings(totals, free))]
    return labelled_lines + accuracy_lines(estimates)


def accuracy_lines(estimates: Estimates) -> list[tuple[str, str]]:
    """Estimated beside measured, once something has finished; also for `status`."""
    accuracy = estimates.accuracy()
    if accuracy is None:
        return []
    return [("estimated", _accuracy(accuracy, "GPU" if estimates.cluster.gpus_asked_for else "CPU rank"))]


def record(plan: Plan, missing: Collection[str], store: Store | None = None) -> dict[str, Any]:
    """The same for programs. Durations in hours (gpu_hours) and seconds (wall_clock)."""
    estimates = Estimates(plan, store)
    totals, free, accuracy = estimates.of_plan(missing), room(plan.experiment.store), estimates.accuracy()
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
        "accuracy": asdict(accuracy) if accuracy else None,
    }


def warnings(totals: Totals, free: Room) -> list[str]:
    """What the store's file system, or the quota there, has too little of."""
    shortages = []
    if totals.disk_peak > free.bytes:
        shortages.append(
            f"the store has {gigabytes(free.bytes)} left, and at the peak {gigabytes(totals.disk_peak)} are needed;"
            " set cluster: {throttle: N}, keep: intermediate, or another store:"
        )
    if free.files is not None and totals.inodes_peak > free.files:
        shortages.append(
            f"the store may hold {free.files:,} more files, and {totals.inodes_peak:,} are needed at the peak"
        )
    return shortages


def _cost(totals: Totals) -> str:
    waits = "if all run as soon as they can" if totals.at_once is None else f"with {totals.at_once} at a time"
    return (
        f"{_hours(totals.gpu_hours)} {totals.device}-hours; {duration(totals.wall_clock)} at least {waits},"
        " waiting in the queue not counted"
    )


def _disk(totals: Totals, free: Room) -> str:
    files = "" if free.files is None else f" and {free.files:,} files"
    return (
        f"{gigabytes(totals.disk_peak)} and {totals.inodes_peak:,} files at the peak;"
        f" {'left by the quota' if free.by_quota else 'free'}: {gigabytes(free.bytes)}{files}"
    )


def _accuracy(accuracy: Accuracy, device: str) -> str:
    one_only = accuracy.trainings == 1
    many = "1 finished training" if one_only else f"{accuracy.trainings} finished trainings"
    single = "" if one_only else f"; a single one is {_share(accuracy.typical)} off"
    return (
        f"{many} took {duration(accuracy.measured)} of one {device}. Before any had run the estimate was"
        f" {duration(accuracy.first)} ({_off(accuracy.first, accuracy.measured)}); by the speed measured since, it is"
        f" {duration(accuracy.calibrated)} ({_off(accuracy.calibrated, accuracy.measured)}){single}"
    )


def _off(estimate: float, true: float) -> str:
    """Shares while they say something, else factors."""
    if estimate > 2 * true:
        return f"{estimate / true:.1f} times too long"
    if estimate < true / 2:
        return f"{true / estimate:.1f} times too short"
    share = estimate / true - 1
    return "right" if abs(share) < 0.005 else f"{abs(share):.0%} too {'long' if share > 0 else 'short'}"


def _share(share: float) -> str:
    return "less than 1%" if share < 0.01 else f"{share:.0%}"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"
