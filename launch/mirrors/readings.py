"""What there is to mirror of a stage: points of its attempts' log.jsonl, and its scores by language.

Every step is taken once, as its first attempt logged it: a resumed attempt repeats the few after its checkpoint, and
goes on in the same run. What cannot be read (a torn line) is passed over; a line that is not whole yet is left for the
next look.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.tables.baseline import split
from launch.plan import Plan, Stage, keys
from launch.store import Store, attempts
from launch.store.artifacts import LanguageScores, generation_of
from launch.store.attempts import Attempt
from slurm.base import look

_STEP = ("loss", "learning_rate", "grad_norm", "examples", "tokens", "seconds", "epoch")
_SPEED = ("tokens_per_second", "samples_per_second", "mfu", "padding", "data_wait", "optimizer", "stall")


@dataclass(frozen=True)
class Run:
    """One stage, as a run of a mirror. `config`: what is worth a column there; it tells nothing of the machine."""

    key: str
    name: str
    kind: str
    group: str  # the recipe that it belongs to
    config: Mapping[str, str | int | float]

    @property
    def unique_name(self) -> str:
        return f"{self.name.replace('/', '.')}-{self.key}"


@dataclass(frozen=True)
class Point:
    """Values at one step. `time`: Unix seconds, counted from the attempt's begin, as log.jsonl has no clock."""

    step: int
    values: Mapping[str, float]
    time: float


@dataclass(frozen=True)
class Cursor:
    """How far a stage was mirrored."""

    attempt: int = 0
    offset: int = 0  # bytes of its log.jsonl
    elapsed: float = 0.0  # seconds of its steps so far
    step: int = -1  # the last one, of all attempts; likewise:
    interval: int = -1
    epoch: int = -1
    languages: tuple[str, ...] = ()  # <generation>/<code>
    done: bool = False


@dataclass(frozen=True)
class Reading:
    """What is new of a stage, and how far that goes."""

    points: tuple[Point, ...]
    cursor: Cursor


def run_of(plan: Plan, stage: Stage) -> Run:
    recipes = [recipe for recipe, _ in plan.users[stage.key]]
    config: dict[str, str | int | float] = {
        "experiment": plan.experiment.name,
        "task": stage.task,
        "recipe": split(recipes[0])[1],
        "model": plan.start_of(stage).repo or plan.start_of(stage).identity,
        "stage_key": stage.key,
    }
    if stage.seed is not None:
        config["seed"] = stage.seed
    if stage.kind == "train":
        definition = plan.steps[stage.definition]
        settings = keys.step_settings(definition.parts, definition.settings)
        config |= {name: value for name, value in settings.items() if value is not None}
    return Run(stage.key, stage.name, stage.kind, recipes[0], config)


def read(plan: Plan, store: Store, stage: Stage, cursor: Cursor) -> Reading:
    """What a stage has that was not mirrored yet."""
    if stage.kind == "evaluate":
        return _scores(plan, store, stage, cursor)
    is_finished = (
        store.train_result(stage) is not None
    )  # before its log is read: what was there then is read to its end
    points: list[Point] = []
    for attempt in attempts.attempts_of(store.stage_folder(stage.folder)):
        if attempt.number >= cursor.attempt:
            if attempt.number > cursor.attempt:
                cursor = replace(cursor, attempt=attempt.number, offset=0, elapsed=0.0)
            new_points, cursor = _points(attempt, cursor)
            points += new_points
    return Reading(tuple(points), replace(cursor, done=is_finished))


def is_still_over(plan: Plan, store: Store, stage: Stage, cursor: Cursor) -> bool:
    """Whether a stage that was mirrored to its end is as it was: a training may have lost its result, and an encoder
    that was trained anew gets other scores."""
    if stage.kind == "train":
        return store.train_result(stage) is not None
    result = store.train_result(plan.stages[stage.parent]) if stage.parent else None
    if result is None:
        return True
    generation = generation_of(result.encoder_hash)
    return any(entry.partition("/")[0] == generation for entry in cursor.languages)


def _points(attempt: Attempt, cursor: Cursor) -> tuple[list[Point], Cursor]:
    began = attempts.starter_of(attempt).time or 0.0
    points = []
    for record, offset in _records(attempt.folder / "log.jsonl", cursor.offset):
        point, cursor = _point(record, replace(cursor, offset=offset), began)
        if point is not None and point.values:
            points.append(point)
    return points, cursor


def _records(path: Path, offset: int) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The whole lines after `offset`, each with where it ends."""
    if (look.size(path) or 0) <= offset:  # nothing new; or shortened by gc since
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record, offset


def _point(record: Mapping[str, Any], cursor: Cursor, began: float) -> tuple[Point | None, Cursor]:
    """What one line says, unless an earlier attempt's said it; and the cursor behind it."""
    step, interval, epoch = record.get("step"), record.get("interval"), record.get("epoch")
    if isinstance(step, int) and "loss" in record:
        cursor = replace(cursor, elapsed=cursor.elapsed + float(record.get("seconds") or 0.0))
        if step <= cursor.step:
            return None, cursor
        values = _numbers(record, _STEP, "train")
        return Point(step, values, began + cursor.elapsed), replace(cursor, step=step)
    if isinstance(interval, list) and len(interval) == 2 and isinstance(interval[1], int):
        if interval[1] <= cursor.interval:
            return None, cursor
        values = _numbers(record, _SPEED, "speed")
        return Point(interval[1], values, began + cursor.elapsed), replace(cursor, interval=interval[1])
    if isinstance(epoch, int) and "dev_score" in record and epoch > cursor.epoch:
        values = _numbers(record, ("dev_score",), "dev")
        return Point(max(0, cursor.step), values, began + cursor.elapsed), replace(cursor, epoch=epoch)
    return None, cursor


def _numbers(record: Mapping[str, Any], names: tuple[str, ...], group: str) -> dict[str, float]:
    return {
        f"{group}/{name}": record[name]
        for name in names
        if isinstance(record.get(name), int | float) and not isinstance(record[name], bool)
    }


def _scores(plan: Plan, store: Store, stage: Stage, cursor: Cursor) -> Reading:
    results = store.language_results(plan, stage)
    points = []
    for language, result in results.items():
        name = f"{result.generation}/{language}"
        if name not in cursor.languages:
            step = len({entry.partition("/")[0] for entry in cursor.languages} - {result.generation})
            points.append(_score_point(stage, language, result, step))
            cursor = replace(cursor, languages=(*cursor.languages, name))
    is_finished = len(results) == len(plan.by_digest[stage.definition].languages)
    time = _last_sign(store, stage)
    return Reading(tuple(replace(point, time=time) for point in points), replace(cursor, done=is_finished))


def _score_point(stage: Stage, language: str, result: LanguageScores, step: int) -> Point:
    """`step`: 0, and one more for each encoder that was trained anew since."""
    return Point(step, {f"{stage.task}/{metric}/{language}": score for metric, score in result.scores.items()}, 0.0)


def _last_sign(store: Store, stage: Stage) -> float:
    every = attempts.attempts_of(store.stage_folder(stage.folder))
    return (attempts.starter_of(every[-1]).time or 0.0) if every else 0.0
