"""The curves of trainings, from their log.jsonl: short ones whole, of a long one pieces from all over it."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from eval.report.content import CURVE_POINTS, Curve
from eval.tables.baseline import with_label
from launch.plan import Plan, Stage
from launch.results import scores
from launch.store import Store, attempts
from launch.store.artifacts import TrainResult

_WHOLE = 1 << 20  # bytes of a log that are read as they are
_PIECE = 1 << 12  # bytes of each piece of a longer one
_DIGITS = 4  # of a loss, all that a picture can show
_MOST_CURVES = 1000
_ALL_POINTS = 60_000  # of all curves together: what a page has room for
_FEWEST_POINTS = 20


def of_plan(plan: Plan, store: Store) -> tuple[Curve, ...]:
    """Of all trainings that have begun; of more than a thousand the first, in the plan's order."""
    stages = [stage for stage in plan.stages.values() if stage.kind == "train" and store.exists(stage)][:_MOST_CURVES]
    points = max(_FEWEST_POINTS, min(CURVE_POINTS, _ALL_POINTS // max(1, len(stages))))
    curves = (_of_stage(plan, store, stage, points) for stage in stages)
    return tuple(curve for curve in curves if curve.loss or curve.dev)


def _of_stage(plan: Plan, store: Store, stage: Stage, points: int) -> Curve:
    losses: dict[int, float] = {}
    dev: list[tuple[int, float]] = []
    for attempt in attempts.attempts_of(store.stage_folder(stage.folder)):
        new_losses, new_dev = _read(attempt.folder / "log.jsonl")
        first = min(new_losses, default=None)
        if first is not None:  # it did these steps again
            losses = {step: loss for step, loss in losses.items() if step < first} | new_losses
            dev = [point for point in dev if point[0] <= first]
        dev += new_dev
    result = store.train_result(stage)
    steps, mean_losses = _binned(losses, points)
    return Curve(
        trained_on(plan, stage),
        stage.seed or 0,
        stage.key,
        steps,
        mean_losses,
        _dev_of(result) or tuple(dev),
        result.selected_epoch if result else None,
        bool(scores.at_chance(plan, store, stage)),
    )


def trained_on(plan: Plan, stage: Stage) -> str:
    """The tasks of a path up to a training, as recipes are named: `squad > mnli`, `large: squad > mnli`."""
    path = [stage, *scores.trainings_under(plan, stage)]
    return with_label(stage.model, " > ".join(training.task for training in reversed(path)))


def _dev_of(result: TrainResult | None) -> tuple[tuple[int, float], ...]:
    """The scores at the ends of the epochs, which are taken to be equally long."""
    if result is None or result.steps is None or not result.dev_scores:
        return ()
    length = result.steps / len(result.dev_scores)
    return tuple((round(length * (epoch + 1)), score) for epoch, score in enumerate(result.dev_scores))


def _read(path: Path) -> tuple[dict[int, float], list[tuple[int, float]]]:
    """Losses by step, and (step, dev score); nothing of what is not there or no number."""
    losses: dict[int, float] = {}
    dev: list[tuple[int, float]] = []
    with suppress(OSError):
        for line in _lines(path):
            with suppress(ValueError, KeyError, TypeError, OverflowError):
                record = json.loads(line)
                if "step" in record and math.isfinite(float(record["loss"])):
                    losses[int(record["step"])] = float(record["loss"])
                elif "dev_score" in record and losses:
                    dev.append((max(losses) + 1, float(record["dev_score"])))
    return losses, dev


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines of a log."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _WHOLE:
            yield from file.read().splitlines()
            return
        for place in range(CURVE_POINTS):
            file.seek(place * (size - _PIECE) // (CURVE_POINTS - 1))
            lines = file.read(_PIECE).split(b"\n")
            yield from lines[1 if place else 0 : -1]


def _binned(losses: dict[int, float], points: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """At most so many points: the last step of each piece, and its mean loss."""
    steps = sorted(losses)
    length = math.ceil(len(steps) / points) if steps else 1
    pieces = [steps[at : at + length] for at in range(0, len(steps), length)]
    return tuple(piece[-1] + 1 for piece in pieces), tuple(_mean([losses[step] for step in piece]) for piece in pieces)


def _mean(values: Sequence[float]) -> float:
    return float(f"{math.fsum(values) / len(values):.{_DIGITS}g}")
