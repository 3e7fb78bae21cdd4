"""One collecting: plan what was asked for, make the table of what is there, leave a note. Fails nobody but itself."""

import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from launch import experiment
from launch import plan as planning
from launch.experiment import Experiment
from launch.merging.stages import SetAside
from launch.plan import Plan
from launch.status import Observation
from launch.status.finished import finished
from launch.store import Store, collects, sharing
from launch.store.collects import CollectNote, CollectRequest
from launch.text import as_typed
from slurm.base import UserError
from slurm.base.errors import one_line


@dataclass(frozen=True)
class Collected:
    """What was made."""

    finished: int  # stages
    stages: int  # that are wanted
    table: Path | None  # None: there is no score yet
    set_aside: tuple[SetAside, ...]  # results that do not count


def collect(request: CollectRequest, by: str, log: str = "") -> CollectNote:
    """Collect what a request asks for; the note that was left in the store. `by`, `log`: as in it."""
    note = CollectNote(by, time.time(), log=log)
    asked_for: Experiment | None = None
    try:
        asked_for = experiment.load(Path(request.file), request.text)
        collects.write_note(asked_for.store, asked_for.name, note)
        plan = _plan(request, asked_for)
        outcome = write(plan)
        for of_result in outcome.set_aside:
            print(f"does not count: {of_result.what}: {of_result.why}; it lies at {of_result.path}")
        count = len(outcome.set_aside)
        note = replace(note, finished=outcome.finished, stages=outcome.stages, set_aside=count)
        if outcome.table is not None and asked_for.collect.report:
            _write_report(plan)
    except Exception as error:  # told in a line, whatever it is; what else it says is for the log
        note = replace(note, error=_line(error))
    note = replace(note, ended=time.time())
    return note if asked_for is None else _leave(asked_for, note)


def _leave(asked_for: Experiment, note: CollectNote) -> CollectNote:
    """Put the note into the store; the note, with an error where that could not be done."""
    root, name = asked_for.store, asked_for.name
    try:
        try:
            collects.write_note(root, name, note)
        except OSError:
            collects.remove_note(root, name)  # else it would be at work for ever; and on a full disk that makes room
            collects.write_note(root, name, note)
        sharing.let_in(asked_for.cluster.share_group, root, [collects.results_folder(root, name)])
    except Exception as error:
        return replace(note, error=note.error or f"no note of how it went: {_line(error)}")
    return note


def _write_report(plan: Plan) -> None:
    """Over the one before. The table is there already, whatever becomes of this; UserError says so."""
    from launch import report

    try:
        report.write(plan)
    except Exception as error:
        raise UserError(f"the table is there, and no report: {_line(error)}") from None


def _line(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    line = one_line(error) if isinstance(error, OSError) else None
    if line is None:
        traceback.print_exception(error)
    return line or f"{type(error).__name__}: {error}"


def _plan(request: CollectRequest, asked_for: Experiment) -> Plan:
    """UserError where its stages are no longer those that were asked for: a table of them would be almost empty."""
    plan = planning.make(asked_for)
    if collects.stages_hash(plan.stages) != request.stages:
        file = as_typed(Path(request.file))
        raise UserError(
            f"data or model of {asked_for.name} are not what they were when it was sent, so these are other stages;"
            f" type stepstone submit {file} for these, or put back what was there, and type stepstone collect {file}"
        )
    return plan


def write(plan: Plan) -> Collected:
    """Make the table of what is finished; nothing is written where there is no score yet."""
    from launch import merging
    from launch.results import table

    store = Store(plan.experiment.store)
    collection = merging.collect(plan, store)
    rows = collection.rows
    finished_count = len(finished(plan, store))  # of what was not set aside
    path = table.write(plan, table.summary(plan, store, rows)) if rows else None
    # Where seeds are raced, not every stage is wanted.
    total = Observation(plan, store).total if plan.experiment.race else len(plan.stages)
    return Collected(finished_count, total, path, collection.set_aside)
