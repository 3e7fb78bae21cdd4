"""Every published score as one row, and the rows as a table of files. `launch.results` collects them."""

from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

from slurm.base import UsageError, UserError
from slurm.base.files import make_folder, write_atomic

ROW_SCHEMA = 2


@dataclass(frozen=True)
class Row:
    """One score: of a recipe on a target in a language, for one seed and metric. `score` is in percent."""

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


def write_parquet(rows: Sequence[Row], folder: Path) -> Path:
    """Write all rows to `results.parquet`, whole or not at all."""
    import polars

    make_folder(folder)
    path = folder / "results.parquet"
    schema = {"seed": polars.Int64, "score": polars.Float64, "examples": polars.Int64}
    schema |= {"primary": polars.Boolean, "diverged": polars.Boolean}
    names = [name for name in Row.__dataclass_fields__]
    frame = polars.DataFrame(
        [asdict(row) for row in rows], schema={name: schema.get(name, polars.String) for name in names}
    )
    content = BytesIO()
    frame.write_parquet(content)
    write_atomic(path, content.getvalue())
    return path


def read_parquet(path: Path) -> list[Row]:
    """The rows of a `results.parquet`, as `collect` writes it. UserError for another file."""
    import polars

    try:
        frame = polars.read_parquet(path)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: No such file or directory") from error
    except polars.exceptions.PolarsError as error:
        raise UserError(f"{path}: is no table of scores (Parquet) that can be read") from error
    lacking = [field.name for field in fields(Row) if field.name not in frame.columns and field.default is MISSING]
    if lacking:
        raise UserError(f"{path}: is no table of scores: it has no column {', '.join(lacking)}")
    known_names = [name for name in Row.__dataclass_fields__ if name in frame.columns]
    return [Row(**record) for record in frame.select(known_names).to_dicts()]


def as_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON values."""
    return [asdict(row) for row in rows]
