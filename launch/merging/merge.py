"""The long table: what an experiment asks for, joined with what was read of its results. Columns, no loop over rows."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars
from polars import col

from eval.tables import rows as score_rows
from eval.tables.baseline import split
from launch.merging.reading import Training
from launch.merging.scan import Scan
from launch.plan import Plan, keys
from launch.results import scores, table
from launch.store import Store
from launch.store.artifacts import QUARANTINED, generation_of
from training.pretrained import StartModel

_HOUR = 3600.0
_PATH = {
    "place": polars.Int64, "model": polars.String, "recipe": polars.String, "target": polars.String,
    "seed": polars.Int64, "stage": polars.String, "definition": polars.String, "own_metric": polars.String,
    "diverged": polars.Boolean, "path_train_seconds": polars.Float64, "path_train_gpu_hours": polars.Float64,
    "is_spared": polars.Boolean,
}  # fmt: skip
_LANGUAGE = {"definition": polars.String, "language_place": polars.Int64, "language": polars.String}
_ASIDE = {"stage": polars.String, "language": polars.String, "is_aside": polars.Boolean}


@dataclass(frozen=True)
class Cost:
    """Of trainings, steps alone. None: of one of them nothing is known."""

    seconds: float | None = 0.0
    gpu_hours: float | None = 0.0

    def plus(self, training: Training | None) -> "Cost":
        if training is None or self.seconds is None or self.gpu_hours is None:
            return Cost(None, None)
        return Cost(self.seconds + training.seconds, self.gpu_hours + training.seconds * training.gpus / _HOUR)


@dataclass(frozen=True)
class Merger:
    """What the table is made of. `store` knows what was read of trainings."""

    plan: Plan
    store: Store
    trainings: Mapping[str, Training]  # by stage key
    scans: Mapping[str, Scan]

    def table(self, evaluations: polars.DataFrame) -> polars.DataFrame:
        """Every score, and every language without one, in the plan's order; columns are `score_rows.columns()`."""
        cells = self._paths.join(self._languages, on="definition")
        cells = cells.join(evaluations.rename({"key": "stage"}), on=["stage", "language"], how="left")
        cells = cells.filter(~col("is_spared") | col("metrics").is_not_null())
        cells = cells.join(self._aside, on=["stage", "language"], how="left").with_columns(state=_state())
        long = cells.with_columns(
            metric=polars.when(col("state") == "scored").then("metrics").otherwise(polars.concat_list("own_metric")),
            score=polars.when(col("state") == "scored").then("scores").otherwise(_no_score()),
            evaluate_seconds=col("seconds"),
            evaluate_gpu_hours=col("seconds") * col("gpus") / _HOUR,
        ).explode("metric", "score")
        long = long.with_columns(
            primary=col("metric") == col("own_metric"),
            profile=polars.when(_is_corrected()).then(polars.lit("corrected")).otherwise(polars.lit("xtreme")),
        )
        return long.sort("place", "language_place", "metric").select(
            col(name).cast(kind) for name, kind in score_rows.columns().items()
        )

    @cached_property
    def _paths(self) -> polars.DataFrame:
        return polars.DataFrame(list(self._each_path()), schema=_PATH, orient="row")

    def _each_path(self) -> Iterator[tuple[object, ...]]:
        costs: dict[str | None, Cost] = {None: Cost()}
        rests_on_chance: dict[str | None, bool] = {None: False}
        for stage in self.plan.stages.values():  # parents first
            if stage.kind == "train":
                costs[stage.key] = costs[stage.parent].plus(self.trainings.get(stage.key))
                at_chance = scores.at_chance(self.plan, self.store, stage)
                rests_on_chance[stage.key] = rests_on_chance[stage.parent] or bool(at_chance)
        spared_runs = table.spared(self.plan, self.store)
        models = {label: label or _unlabelled(start) for label, start in self.plan.starts.items()}
        combinations: set[tuple[str, str, int | None]] = set()
        for place, ((recipe, target, seed), key) in enumerate(self.plan.paths.items()):
            stage = self.plan.stages[key]
            # What a race never asked for is not missing.
            is_asked = key in self.scans or seed not in self.plan.experiment.optional_seeds
            if is_asked and (recipe, target, stage.seed) not in combinations:
                combinations.add((recipe, target, stage.seed))
                cost, metric = costs[stage.parent], self.plan.targets[target].task.metric
                yield (
                    place, models[stage.model], split(recipe)[1], target, stage.seed, key, stage.definition, metric,
                    rests_on_chance[stage.parent], cost.seconds, cost.gpu_hours, (recipe, target, seed) in spared_runs,
                )  # fmt: skip

    @cached_property
    def _languages(self) -> polars.DataFrame:
        values = [
            (digest, place, language)
            for digest, target in self.plan.by_digest.items()
            for place, language in enumerate(target.languages)
        ]
        return polars.DataFrame(values, schema=_LANGUAGE, orient="row")

    @cached_property
    def _aside(self) -> polars.DataFrame:
        values = [
            (key, language, True)
            for key, of_stage in self.scans.items()
            if self.plan.stages[key].kind == "evaluate"
            for language, *_ in languages_aside(self.plan, self.trainings, of_stage)
        ]
        return polars.DataFrame(values, schema=_ASIDE, orient="row").unique()


def _unlabelled(start: StartModel) -> str:
    """A start model as the table names it where the file gives no label. With a `/`, as no label has one; of a folder
    its name alone, for the table travels."""
    return start.repo or f"./{Path(start.folder or '').name}"


def generations(plan: Plan, trainings: Mapping[str, Training], scan: Scan) -> Collection[str]:
    """Of an evaluate stage's results the one that counts; any, where the parent's own result is lost and so cannot
    say."""
    stage = plan.stages[scan.key]
    parent = stage.parent
    if parent is None:
        return (generation_of(plan.start_of(stage).identity),)
    if parent in trainings:
        return (trainings[parent].generation,)
    return tuple(scan.files)


def languages_aside(plan: Plan, trainings: Mapping[str, Training], scan: Scan) -> Iterator[tuple[str, str, str]]:
    """The languages of which a record that would count was set aside, and none took its place: each with its generation
    and a file."""
    if not scan.has_quarantined:
        return
    stage = plan.stages[scan.key]
    for generation in generations(plan, trainings, scan):
        names = scan.names.get(generation, [])
        aside_names = [name for name in names if name.endswith(QUARANTINED)]
        if aside_names:
            for language, split in plan.by_digest[stage.definition].languages.items():
                stem = f"{language}-{keys.language_identity(split)}"
                of_language = [name for name in aside_names if name.startswith(f"{stem}.")]
                if of_language and f"{stem}.json" not in names:
                    yield language, generation, of_language[-1]


def _state() -> polars.Expr:
    return (
        polars.when(col("metrics").is_null() & col("is_aside").fill_null(False))
        .then(polars.lit("set aside"))
        .when(col("metrics").is_null())
        .then(polars.lit("missing"))
        .when(col("metrics").list.len() == 0)
        .then(polars.lit("no gold"))
        .otherwise(polars.lit("scored"))
    )


def _no_score() -> polars.Expr:
    return polars.concat_list(polars.lit(None, dtype=polars.Float64))


def _is_corrected() -> polars.Expr:
    return col("metric").str.ends_with("_corrected") | (col("metric") == "pos_accuracy")
