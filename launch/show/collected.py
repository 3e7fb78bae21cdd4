"""Where an experiment's results lie, how old they are, and what is wrong with collecting that made no newer ones."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from launch.plan import Plan
from launch.store import Submission, collects
from launch.store.collects import CollectNote
from launch.text import as_typed, brief

_SECONDS = 600.0  # in which most collecting is over


def record(plan: Plan) -> dict[str, Any]:
    """The same for programs; times are Unix times."""
    root, name = plan.experiment.store, plan.experiment.name
    note = collects.last_note(root, name)
    return {
        "folder": str(collects.results_folder(root, name)),
        "written": collects.last_table(root, name),
        "collect": asdict(note) if note else None,
    }


def lines(plan: Plan, submissions: Sequence[Submission]) -> list[str]:
    """None, or one, or two. submissions: of the store, the oldest first."""
    root, name = plan.experiment.store, plan.experiment.name
    note, table_time = collects.last_note(root, name), collects.last_table(root, name)
    table_lines = []
    if table_time is not None:
        of = f"{note.finished} of {note.stages} stages, " if note and note.ended and note.finished else ""
        newest = max(table_time, note.ended or 0.0) if of and note else table_time  # nothing new leaves files untouched
        folder = as_typed(collects.results_folder(root, name))
        table_lines = [f"results: {folder} ({of}{brief(max(0.0, time.time() - newest))} old)"]
    return [*table_lines, *_trouble(plan, submissions, note)]


def _trouble(plan: Plan, submissions: Sequence[Submission], note: CollectNote | None) -> list[str]:
    """What stands in the way of newer results; a line, or none."""
    log = f"; see: stepstone logs {as_typed(plan.experiment.path)} collect" if note is None or note.log else ""
    if note is None:
        logs = collects.last_logs(submissions, plan.experiment.name)
        return [f"collect: it began, and said nothing of how it went{log}"] if logs else []
    age = time.time() - (note.ended or note.began)
    author = f"by {note.by}, {brief(max(0.0, age))} ago"
    if note.error:
        return [f"collect failed ({author}): {note.error}{log}"]
    if note.set_aside:
        return [f"collect ({author}): {note.set_aside} results do not count, as they did not verify{log}"]
    if note.ended is None and age > _SECONDS:
        return [f"collect began ({author}), and did not end{log}"]
    return []
