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


def record(plan: Plan, store: Store, observation: Observation) -> dict[str, Any]:
    """The contract of `stepstone status FILE --json`: the plan's stages with attempts, job id and score."""
    accuracy = Estimates(plan, store).accuracy()
    return {
        "schema": SCHEMA,
        "experiment": plan.experiment.name,
        "stages": [
            stage_json(stage, observation)
            | {
                "attempts": _tries(store, stage),
                "history": _history(store, observation, stage),
                "job": observation.state(stage).job,
                "reason": observation.state(stage).reason,
                "cause": observation.state(stage).cause,
                "since": observation.state(stage).since,
                "score": scores.score(plan, store, stage),
                "at_chance": list(scores.at_chance(plan, store, stage)),
            }
            for stage in plan.stages.values()
        ],
        "totals": {"states": observation.counts()},
        "gpu_hours": asdict(budget.of(plan, observation)),
        "estimate_accuracy": asdict(accuracy) if accuracy else None,
    }


def print_all(plan: Plan, store: Store, observation: Observation, console: Console, *, every_stage: bool) -> None:
    """A line per stage that is under way or needs a person (of `every_stage` each), the counts, what to type."""
    candidates = list(plan.stages.values()) if every_stage else _chosen(observation)
    stages = candidates if every_stage else candidates[:_LISTED]
    if stages:
        console.print(_drawn(plan, store, observation, stages), markup=False)
    if len(stages) < len(candidates):
        console.print(f"… {len(candidates) - len(stages)} more (--all lists every stage)", highlight=False)
    console.print(f"{plan.experiment.name}: {states_line(observation)}", markup=False, highlight=False)
    for line in result_table.diverged(plan, store):
        console.print(f"{DIVERGED} {line}", markup=False, highlight=False, soft_wrap=True)
    if plan.experiment.cluster.gpus_asked_for:
        console.print(budget.of(plan, observation).line(), markup=False, highlight=False)
    for label, line in estimate.accuracy_lines(Estimates(plan, store)):
        console.print(f"{label}: {line}", markup=False, highlight=False)
    for advice in next_steps(observation):
        console.print(advice, markup=False, highlight=False, soft_wrap=True)


def print_history(plan: Plan, store: Store, observation: Observation, stages: list[Stage], console: Console) -> None:
    """Some stages with every attempt that was made at them."""
    console.print(_drawn(plan, store, observation, stages), markup=False)
    for stage in stages:
        lines = (
            history.lines(store.stage_folder(stage.folder), observation.failures(stage)) if store.exists(stage) else []
        )
        console.print(f"{stage.name}, key {stage.key}: {'' if lines else 'no attempt yet'}", markup=False)
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _history(store: Store, observation: Observation, stage: Stage) -> list[dict[str, Any]]:
    return history.records(store.stage_folder(stage.folder), observation.failures(stage)) if store.exists(stage) else []


def _tries(store: Store, stage: Stage) -> int:
    return len(attempts_of(store.stage_folder(stage.folder))) if store.exists(stage) else 0


def _chosen(observation: Observation) -> list[Stage]:
    """What is under way or needs a person, most urgent first."""
    return sorted(observation.among(_ORDER), key=lambda stage: _ORDER.index(observation.state(stage).state))


def _drawn(plan: Plan, store: Store, observation: Observation, stages: list[Stage]) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("state", "stage", "tries", "job", "score"):
        grid.add_column(name, justify="right" if name in ("tries", "score") else "left", overflow="fold")
    for stage in stages:
        state, score = observation.state(stage), scores.score(plan, store, stage)
        score_text = "" if score is None else f"{score:.1f}"
        score_text += f" {DIVERGED}" if scores.at_chance(plan, store, stage) else ""
        grid.add_row(state.state, stage.name, str(_tries(store, stage)), state.job or "", score_text)
        if state.reason:
            grid.add_row("", f"  {_why(state.cause, state.reason)}", "", "", "")
    return grid


def _why(cause: str | None, reason: str) -> str:
    """The cause is what `failures:` and `retry --class` call it."""
    return reason if cause in (None, "unknown") else f"{cause}: {reason}"


def next_steps(observation: Observation) -> list[str]:
    """What to type next, where something is to be done."""
    counts, file = observation.counts(), observation.plan.experiment.path.name
    if counts["failed"]:
        first_failure = _chosen(observation)[0]
        return [f"why: stepstone logs {file} {first_failure.key}", f"again: stepstone retry {file}"]
    if counts["cancelled"]:
        return [f"to send what was cancelled again: stepstone submit {file}"]
    if counts["new"]:
        return [f"to send what is new: stepstone submit {file}"]
    if counts["finished"] == len(observation.plan.stages):
        return [f"all finished; the table: stepstone collect {file}"]
    return []
