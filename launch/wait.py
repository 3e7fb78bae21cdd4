"""Following an experiment until nothing of it is queued or running."""

import time
from collections.abc import Callable
from pathlib import Path

from launch import attempts
from launch.plan import Plan, Stage
from launch.states import Observation
from launch.store import Store
from slurm.files import read_json

_FIRST_SECONDS, _LAST_SECONDS, _GROWTH = 2.0, 60.0, 1.15  # between two looks at a scheduler that others share


def follow(plan: Plan, report: Callable[[str], None]) -> bool:
    """Report changes until nothing is queued or running; whether every stage is finished.

    Every look asks Slurm once, so looks become rarer: one a minute after some eight. Local workers cost nothing to ask.
    """
    pause, before = _FIRST_SECONDS, ""
    on_slurm = plan.experiment.cluster.chosen_executor == "slurm"
    while True:
        store = Store(plan.experiment.store)
        seen = Observation(plan, store)
        line = _line(plan, store, seen)
        if line != before:
            report(line)
        before = line
        counts = seen.counts()
        if not counts["queued"] + counts["running"] + counts["unknown"]:
            return counts["finished"] == len(plan.stages)
        time.sleep(pause)
        pause = min(pause * _GROWTH, _LAST_SECONDS) if on_slurm else pause


def _line(plan: Plan, store: Store, seen: Observation) -> str:
    counts = seen.counts()
    shown = f"{counts['finished']} of {len(plan.stages)} stages finished"
    shown += "".join(
        f", {counts[state]} {state}" for state in ("running", "queued", "failed", "held", "unknown") if counts[state]
    )
    running = [s for s in plan.stages.values() if seen.state(s).state == "running"]
    return shown + "".join(f"; {_progress(store, stage)}" for stage in running[:2])


def _progress(store: Store, stage: Stage) -> str:
    made = attempts.attempts_of(store.stage_folder(stage.folder))
    beat = read_json(Path(made[-1].folder) / "heartbeat.json") if made else None
    return f"{stage.name} {beat['step']}/{beat['total']}" if beat and beat.get("total") else stage.name
