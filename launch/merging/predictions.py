"""`predictions.parquet`: every example of every result that counts, written in pieces: hundreds of millions may be.

`sum(numerator) / sum(denominator)` over a language's examples is its score under `metric`, as a share: of accuracy the
numerator is 1 where the example is right. Both are null where no sum over examples gives the score, and where there is
no gold. `prediction` and `gold` are texts as they are, and else JSON: tags, rankings, several answers.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars
import pyarrow
import pyarrow.parquet
from polars import col

from eval.metrics import contributions
from eval.metrics.contributions import Parts
from launch.plan import Plan
from launch.store import Store
from slurm.base import UserError, look
from slurm.base.files import replacing

_VERSION = 2
_ROW_GROUP = 1 << 16  # examples; a language is never cut
_OF = b"stepstone.of"  # in the file's own notes: a hash of what it was made of
_RESULT = ("model", "recipe", "target", "language", "seed")
_TEXT = pyarrow.string()
SCHEMA = pyarrow.schema(
    {
        "model": _TEXT, "recipe": _TEXT, "target": _TEXT, "language": _TEXT, "seed": pyarrow.int64(),
        "example": _TEXT, "prediction": _TEXT, "gold": _TEXT, "metric": _TEXT, "numerator": pyarrow.float32(),
        "denominator": pyarrow.float32(), "stage": _TEXT,
    }
)  # fmt: skip


class Source(NamedTuple):
    """One file of predictions, and what it is of."""

    model: str
    recipe: str
    target: str
    language: str
    seed: int | None
    metric: str | None  # None: without a score
    stage: str
    generation: str
    predictions: str


def write(plan: Plan, store: Store, table: polars.DataFrame, evaluations: polars.DataFrame, path: Path) -> bool:
    """Write the examples of all results in `table`, in its order. False where the file there is of the same."""
    sources = _sources(table, evaluations)
    of = hashlib.sha256(repr((_VERSION, pyarrow.__version__, sources)).encode()).hexdigest().encode()
    if _made_of(path) == of or not sources:
        return False
    with (
        replacing(path) as temporary,
        pyarrow.parquet.ParquetWriter(temporary, SCHEMA.with_metadata({_OF: of}), compression="zstd") as writer,
    ):
        for piece in _pieces(_of_source(plan, store, source) for source in sources):
            writer.write_table(piece)
    return True


def _sources(table: polars.DataFrame, evaluations: polars.DataFrame) -> list[Source]:
    """Each with the target's own metric, or what stands in for it: the first that it has."""
    of_results = table.filter(col("state").is_in(["scored", "no gold"])).sort(
        "primary", descending=True, maintain_order=True
    )
    one_each = of_results.unique(_RESULT, keep="first", maintain_order=True)
    order = table.select(_RESULT).unique(maintain_order=True).with_row_index("place")
    files = evaluations.select("language", "predictions", stage="key")
    results_with_files = one_each.join(files, on=["stage", "language"]).join(order, on=_RESULT, nulls_equal=True)
    metric = polars.when(col("state") == "scored").then("metric")
    values = results_with_files.sort("place").with_columns(metric=metric).select(Source._fields)
    return [Source(*of_file) for of_file in values.iter_rows()]


def _made_of(path: Path) -> bytes | None:
    try:
        return (pyarrow.parquet.read_metadata(path).metadata or {}).get(_OF)
    except (FileNotFoundError, pyarrow.ArrowInvalid):
        return None


def _pieces(tables: Iterator[pyarrow.Table]) -> Iterator[pyarrow.Table]:
    """Together until they are worth a row group."""
    waiting: list[pyarrow.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= _ROW_GROUP:
            yield pyarrow.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pyarrow.concat_tables(waiting).combine_chunks()


def _of_source(plan: Plan, store: Store, source: Source) -> pyarrow.Table:
    folder = store.stage_folder(plan.stages[source.stage].folder) / "languages" / source.generation
    records = _records(folder / source.predictions)
    numerators, denominators = _parts(plan, source, records)
    count = len(records)
    return pyarrow.table(
        [
            [source.model] * count, [source.recipe] * count, [source.target] * count, [source.language] * count,
            [source.seed] * count,
            [str(record["id"]) for record in records],
            [_text(record.get("prediction", record.get("score"))) for record in records],
            [_text(record.get("gold")) for record in records],
            [source.metric] * count, numerators, denominators, [source.stage] * count,
        ],
        schema=SCHEMA,
    )  # fmt: skip


def _records(path: Path) -> list[dict[str, Any]]:
    content = look.read_bytes(path)
    if hashlib.sha256(content).hexdigest()[:8] != path.name.split(".")[-2]:
        raise UserError(f"{path}: was changed since it was verified; type the command again")
    return [json.loads(line) for line in content.splitlines()]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parts(
    plan: Plan, source: Source, records: Sequence[dict[str, Any]]
) -> tuple[list[float | None], list[float | None]]:
    """What each example contributes to the score."""
    places = [
        place for place, record in enumerate(records) if record.get("gold") is not None and "prediction" in record
    ]
    numerators: list[float | None] = [None] * len(records)
    denominators: list[float | None] = [None] * len(records)
    if places and source.metric is not None:
        golds = [records[place]["gold"] for place in places]
        guesses = [records[place]["prediction"] for place in places]
        family = plan.targets[source.target].task.metric_family
        of_examples = contributions.of_examples(family, source.metric, golds, guesses, source.language)
        if of_examples is not None and of_examples[0] != "mean_and_ratio":
            for place, parts in zip(places, _as_ratios(of_examples[1]), strict=True):
                numerators[place], denominators[place] = parts
    return numerators, denominators


def _as_ratios(parts: Parts) -> list[tuple[float, float]]:
    return [(float(part[0]), float(part[1]) if len(part) > 1 else 1.0) for part in parts]
