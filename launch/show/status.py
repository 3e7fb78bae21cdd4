"""What `stepstone status` prints: where every stage stands, and why."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.tables.cells import DIVERGED
from launch.draft import budget
from launch.estimate.cost import Estimates
from launch.plan import Plan, Stage
from launch.results import scores
from launch.results import table as result_table
from launch.show import estimate
from launch.show.plan import SCHEMA, stage_json, states_line
from launch.status import Observation, State, history
from launch.store import Store
from launch.store.attempts import attempts_of

_LISTED = 40  # stages, unless all are asked for
# What needs a person first. New and finished stages are counted only.
_ORDER: tuple[State, ...] = ("failed", "held", "unknown", "cancelled", "running", "queued")


def record(plan: Plan, store: Store, seen: Observation) -> dict[str, Any]:
    """The contract of `stepstone status FILE --json`: the plan's stages with attempts, job id and score."""
    accuracy = Estimates(plan, store).accuracy()
    return {
        "schema": SCHEMA,
        "experiment": plan.experiment.name,
        "stages": [
            stage_json(stage, seen)
            | {
                "attempts": _tries(store, stage),
                "history": _history(store, seen, stage),
                "job": seen.state(stage).job,
                "reason": seen.state(stage).reason,
                "cause": seen.state(stage).cause,
                "since": seen.state(stage).since,
                "score": scores.score(plan, store, stage),
                "at_chance": list(scores.at_chance(plan, store, stage)),
            }
            for stage in plan.stages.values()
        ],
        "totals": {"states": seen.counts()},
        "gpu_hours": asdict(budget.of(plan, seen)),
        "estimate_accuracy": asdict(accuracy) if accuracy else None,
    }


def print_all(plan: Plan, store: Store, seen: Observation, console: Console, *, everything: bool) -> None:
    """A line per stage that is under way or needs a person (of `everything` each), then the counts and what to type."""
    listed = list(plan.stages.values()) if everything else _chosen(seen)
    shown = listed if everything else listed[:_LISTED]
    if shown:
        console.print(_drawn(plan, store, seen, shown), markup=False)
    if len(shown) < len(listed):
        console.print(f"… {len(listed) - len(shown)} more (--all lists every stage)", highlight=False)
    console.print(f"{plan.experiment.name}: {states_line(seen)}", markup=False, highlight=False)
    for line in result_table.diverged(plan, store):
        console.print(f"{DIVERGED} {line}", markup=False, highlight=False, soft_wrap=True)
    if plan.experiment.cluster.gpus_asked_for:
        console.print(budget.of(plan, seen).line(), markup=False, highlight=False)
    for label, line in estimate.accuracy_lines(Estimates(plan, store)):
        console.print(f"{label}: {line}", markup=False, highlight=False)
    for advice in next_steps(seen):
        console.print(advice, markup=False, highlight=False, soft_wrap=True)


def print_history(plan: Plan, store: Store, seen: Observation, stages: list[Stage], console: Console) -> None:
    """Some stages with every attempt that was made at them."""
    console.print(_drawn(plan, store, seen, stages), markup=False)
    for stage in stages:
        lines = history.lines(store.stage_folder(stage.folder), seen.failures(stage)) if store.exists(stage) else []
        console.print(f"{stage.name}, key {stage.key}: {'' if lines else 'no attempt yet'}", markup=False)
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _history(store: Store, seen: Observation, stage: Stage) -> list[dict[str, Any]]:
    return history.records(store.stage_folder(stage.folder), seen.failures(stage)) if store.exists(stage) else []


def _tries(store: Store, stage: Stage) -> int:
    return len(attempts_of(store.stage_folder(stage.folder))) if store.exists(stage) else 0


def _chosen(seen: Observation) -> list[Stage]:
    """What is under way or needs a person, most urgent first."""
    return sorted(seen.among(_ORDER), key=lambda stage: _ORDER.index(seen.state(stage).state))


def _drawn(plan: Plan, store: Store, seen: Observation, stages: list[Stage]) -> Table:
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("state", "stage", "tries", "job", "score"):
        drawn.add_column(name, justify="right" if name in ("tries", "score") else "left", overflow="fold")
    for stage in stages:
        state, score = seen.state(stage), scores.score(plan, store, stage)
        shown = "" if score is None else f"{score:.1f}"
        shown += f" {DIVERGED}" if scores.at_chance(plan, store, stage) else ""
        drawn.add_row(state.state, stage.name, str(_tries(store, stage)), state.job or "", shown)
        if state.reason:
            drawn.add_row("", f"  {_why(state.cause, state.reason)}", "", "", "")
    return drawn


def _why(cause: str | None, reason: str) -> str:
    """The cause is what `failures:` and `retry --class` call it."""
    return reason if cause in (None, "unknown") else f"{cause}: {reason}"


def next_steps(seen: Observation) -> list[str]:
    """What to type next, where something is to be done."""
    counts, file = seen.counts(), seen.plan.experiment.path.name
    if counts["failed"]:
        failed = _chosen(seen)[0]
        return [f"why: stepstone logs {file} {failed.key}", f"again: stepstone retry {file}"]
    if counts["cancelled"]:
        return [f"to send what was cancelled again: stepstone submit {file}"]
    if counts["new"]:
        return [f"to send what is new: stepstone submit {file}"]
    if counts["finished"] == len(seen.plan.stages):
        return [f"all finished; the table: stepstone collect {file}"]
    return []
