"""Every published score as one row, in long form, and the file of them. `launch.collecting` makes it.

A score that the experiment asks for and that is not there is a row too, without a score: its `state` says why. So means
over rows leave it out, as pandas, polars, DuckDB and R do with what is null, and a look at `state` shows the gaps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from eval.tables.baseline import AFTER_LABEL
from slurm.base import UsageError, UserError

if TYPE_CHECKING:
    import polars

ROW_SCHEMA = 3
RowState = Literal["scored", "missing", "set aside", "no gold"]
ProfileName = Literal["xtreme", "corrected"]  # metrics as published; with their flaws mended
_GAP = ("recipe", "target", "language", "seed", "metric", "stage", "state")


class Row(NamedTuple):  # of hundreds of thousands, dataclasses take six times as long
    """One score: of a recipe on a target in a language, for one seed and metric. `score` is in percent.

    `recipe` is its name (`eval.tables.baseline`), with the label of the start model where that has one; in the file
    the label is in `model` alone. A `model` that is no label, but a Hub id or a path, has a `/`, which labels have not.
    `evaluate_…`: of evaluating this language, so equal in the rows of its metrics. `path_train_…`: of all trainings
    that the score rests on, which other rows share, so sums over rows count them again and again.
    """

    recipe: str
    target: str
    language: str
    seed: int | None  # None: chance played no part
    metric: str
    primary: bool  # the target's own metric, which tables show
    score: float
    examples: int
    stage: str  # key of the evaluate stage
    generation: str  # which training of the encoder
    code: str  # hash of the code that made it
    diverged: bool = False  # a training on its path did no better on English dev than a constant answer
    profile: str = "xtreme"
    attempt: str | None = None  # the stage's that made it, as a folder below the stage's; None: not known
    evaluate_seconds: float | None = None
    evaluate_gpu_hours: float | None = None
    path_train_seconds: float | None = None  # None: of one of them nothing is known
    path_train_gpu_hours: float | None = None
    model: str | None = None  # the start model's label, or its Hub id or folder; None: an earlier version's file


@dataclass(frozen=True)
class Gap:
    """A language of which there is no score. `missing`: no result; `set aside`: one that did not verify; `no gold`: a
    result without scores, as its data have no answers. `metric`: the target's own."""

    recipe: str
    target: str
    language: str
    seed: int | None
    metric: str
    stage: str
    state: RowState


def profile_of(metric: str) -> ProfileName:
    """The profile that a metric is of; what both have is as published."""
    return "corrected" if metric.endswith("_corrected") or metric == "pos_accuracy" else "xtreme"


def columns() -> "dict[str, type[polars.DataType]]":
    """Of `results.parquet`, in order, with their types."""
    import polars

    text, number, integer, flag = polars.String, polars.Float64, polars.Int64, polars.Boolean
    return {
        "model": text, "recipe": text, "target": text, "language": text, "seed": integer, "metric": text,
        "profile": text, "primary": flag, "score": number, "examples": integer, "state": text, "diverged": flag,
        "stage": text, "generation": text, "attempt": text, "code": text, "evaluate_seconds": number,
        "evaluate_gpu_hours": number, "path_train_seconds": number, "path_train_gpu_hours": number,
    }  # fmt: skip


def rows_of(frame: "polars.DataFrame") -> list[Row]:
    """The scores of a table with these columns, or with those of earlier versions."""
    names = [name for name in Row._fields if name in frame.columns]
    scores = _with_names(frame.drop_nulls("score")).select(names)
    if len(names) == len(Row._fields):
        return list(map(Row._make, scores.iter_rows()))
    return [Row(**{"profile": profile_of(record["metric"])} | record) for record in scores.to_dicts()]


def gaps_of(frame: "polars.DataFrame") -> list[Gap]:
    """The scores that are not there."""
    return [Gap(*values) for values in _with_names(frame.filter(frame["score"].is_null())).select(_GAP).iter_rows()]


def _with_names(frame: "polars.DataFrame") -> "polars.DataFrame":
    """The recipes by their names, with labels of start models where those have some."""
    import polars

    if "model" not in frame.columns:
        return frame
    model, recipe = polars.col("model"), polars.col("recipe")
    is_label = model.is_not_null() & ~model.str.contains("/", literal=True)
    name = polars.concat_str(model, polars.lit(AFTER_LABEL), recipe)
    return frame.with_columns(recipe=polars.when(is_label).then(name).otherwise(recipe))


def read_parquet(path: Path) -> list[Row]:
    """The scores of a `results.parquet`, as `collect` writes it or did. UserError for another file."""
    import polars

    try:
        frame = polars.read_parquet(path)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: No such file or directory") from error
    except polars.exceptions.PolarsError as error:
        raise UserError(f"{path}: is no table of scores (Parquet) that can be read") from error
    lacking = [name for name in Row._fields if name not in frame.columns and name not in Row._field_defaults]
    if lacking:
        raise UserError(f"{path}: is no table of scores: it has no column {', '.join(lacking)}")
    return rows_of(frame)
