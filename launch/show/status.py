"""What `stepstone status` prints: the matrix recipe x target, why what stands still does, totals, what to type next."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from eval.tables.cells import DIVERGED
from launch.draft import budget
from launch.estimate.cost import Estimates
from launch.plan import Plan, Stage
from launch.results import scores
from launch.results import table as result_table
from launch.show import cells, collected, estimate, matrix, race, stages, totals
from launch.show.lines import hanging, print_lines
from launch.show.plan import SCHEMA, seeds_of, stage_json, states_line
from launch.standing import Overview, take
from launch.standing.records import Fold
from launch.standing.when import WhenDone, when_done
from launch.status import Observation, history
from launch.store import Store
from launch.usage import hours
from slurm import starts


def record(
    plan: Plan, store: Store, observation: Observation, chosen_stages: Sequence[Stage] | None = None
) -> dict[str, Any]:
    """The contract of `stepstone status FILE --json`: the plan's stages (or those that were chosen) with attempts,
    job id and score; the cells of the matrix and the trainings that they share; totals and when it is done (Unix
    times)."""
    accuracy, overview = Estimates(plan, store).accuracy(), take(plan, store, observation)
    when = _when(plan, store, observation, overview)
    return {
        "schema": SCHEMA,
        "experiment": plan.experiment.name,
        "stages": [
            stage_json(stage, observation)
            | {
                "attempts": stages.tries(store, stage),
                "history": _history(store, observation, stage),
                "job": observation.state(stage).job,
                "reason": observation.state(stage).reason,
                "cause": observation.state(stage).cause,
                "since": observation.state(stage).since,
                "score": scores.score(plan, store, stage),
                "at_chance": list(scores.at_chance(plan, store, stage)),
            }
            for stage in (plan.stages.values() if chosen_stages is None else chosen_stages)
        ],
        "cells": [
            {"recipe": cell.recipe, "target": cell.target} | _fold_record(cell) for cell in overview.cells.values()
        ],
        "shared": [
            {"name": training.name, "users": training.users} | _fold_record(training) for training in overview.shared
        ],
        "totals": {"states": observation.counts()},
        **({"race": race.record(observation)} if plan.experiment.race else {}),
        "gpu_hours": asdict(budget.of(plan, observation)),
        "estimate_accuracy": asdict(accuracy) if accuracy else None,
        "when_done": asdict(when) if when else None,
        "silence": asdict(overview.silence) if overview.silence else None,
        "results": collected.record(plan),
    }


def _fold_record(fold: Fold) -> dict[str, Any]:
    return {
        "state": fold.state,
        "counts": dict(fold.counts),
        "causes": fold.causes,
        "place": fold.place,
        "share": fold.share,
        "seconds_left": fold.seconds_left,
        "score": fold.score,
        "deviation": fold.deviation,
        "diverged": fold.diverged,
        "seeds": [{"seed": seed.seed, "stage": seed.stage, "state": seed.state, "at": seed.at} for seed in fold.seeds],
    }


def _history(store: Store, observation: Observation, stage: Stage) -> list[dict[str, Any]]:
    return history.records(store.stage_folder(stage.folder), observation.failures(stage)) if store.exists(stage) else []


def print_all(plan: Plan, store: Store, observation: Observation, console: Console) -> None:
    """The whole look, in the console's width."""
    overview, width = take(plan, store, observation), console.width
    e = plan.experiment
    models = {"start model": str(len(e.models))} if len(e.models) > 1 else {}
    sizes = models | {"recipe": str(len(e.recipes)), "target": str(len(e.targets)), "seed": seeds_of(e)}
    size = " x ".join(f"{count} {name}{'s' * (count != '1')}" for name, count in sizes.items())
    print_lines(console, hanging(f"{e.name}: {size}", width))
    if (silence := totals.silence(overview)) is not None:
        print_lines(console, hanging(silence, width), "yellow")
    print_lines(console, ["", *matrix.matrix(overview, width)])
    if overview.shared:
        print_lines(console, ["", *matrix.shared_trainings(overview, width)])
    meanings = cells.legend([*overview.cells.values(), *overview.shared])
    print_lines(console, hanging("; ".join(meanings), width) if meanings else [], "dim")
    if observation.racing.pairs:
        print_lines(console, ["", *race.lines(observation, width)])
    print_lines(console, ["", *totals.reasons(observation, width)])
    for line in result_table.diverged(plan, store):
        print_lines(console, hanging(f"{DIVERGED} {line}", width))
    print_lines(console, hanging(f"{len(plan.stages)} stages: {states_line(observation)}", width))
    account = hours.of(plan, observation)
    print_lines(console, hanging(totals.hours_line(account, budget.of(plan, observation)), width))
    for line in totals.when_lines(_when(plan, store, observation, overview), overview.taken):
        print_lines(console, hanging(line, width))
    for label, line in estimate.accuracy_lines(Estimates(plan, store)):
        print_lines(console, hanging(f"{label}: {line}", width))
    for line in collected.lines(plan, observation.submissions):
        print_lines(console, hanging(line, width))
    for step in totals.next_steps(observation):
        print_lines(console, step.lines(width))


def _when(plan: Plan, store: Store, observation: Observation, overview: Overview) -> WhenDone | None:
    return when_done(plan, store, observation, overview, _starts(observation, overview))


def _starts(observation: Observation, overview: Overview) -> Mapping[str, float]:
    """When Slurm means to start jobs (Unix times); it is asked only where something waits for no more than room."""
    if overview.silence is not None or not any(entry.pending for entry in observation.entries or ()):
        return {}
    answer = starts.look()
    return {} if answer is None else {f"{job.job}_{job.index}": when for job, when in answer.times.items()}
