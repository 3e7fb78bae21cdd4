"""What was read of an experiment's results, remembered between two collections: a cache, made anew where it is gone.

    index/collected/<experiment>/state.json   the SHA-256 of what lies beside it, written last
                                 evaluations.parquet, trainings.parquet   what was read of each stage, with its listing

Two collectors at once may leave files of both: those do not fit the state, and all is read anew.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path

import polars
from pydantic import TypeAdapter

from launch.merging.reading import Evaluation, Training
from launch.store import records
from slurm.base import UserError, look
from slurm.base.files import make_folder, to_json, write_atomic

_TEXT, _TEXTS, _INT, _FLOAT = polars.String, polars.List(polars.String), polars.Int64, polars.Float64
_TRAINING = {
    "key": _TEXT, "generation": _TEXT, "score": _FLOAT, "at_chance": _TEXTS, "steps": _INT, "seconds": _FLOAT,
    "gpus": _INT, "attempt": _TEXT, "code": _TEXT,
}  # fmt: skip
_EVALUATION = {
    "key": _TEXT, "generation": _TEXT, "language": _TEXT, "metrics": _TEXTS, "scores": polars.List(_FLOAT),
    "examples": _INT, "predictions": _TEXT, "attempt": _TEXT, "code": _TEXT, "seconds": _FLOAT, "gpus": _INT,
}  # fmt: skip
assert (tuple(_TRAINING), tuple(_EVALUATION)) == (Training._fields, Evaluation._fields)
_LISTING = {"listing": _TEXT}


def trainings(values: Sequence[Training]) -> polars.DataFrame:
    """As columns."""
    return polars.DataFrame(values, schema=_TRAINING, orient="row")


def evaluations(values: Sequence[Evaluation]) -> polars.DataFrame:
    """As columns."""
    return polars.DataFrame(values, schema=_EVALUATION, orient="row")


@dataclass(frozen=True)
class State:
    """`stages`: a hash of the plan and of all listings that the table was made of; "" where something may change
    unnoticed. The others: of files' content, by name."""

    stages: str = ""
    table: str = ""
    cache: Mapping[str, str] = field(default_factory=dict)
    schema: int = 1


_STATE = TypeAdapter(State)
_NOTHING = State()


@dataclass(frozen=True)
class Remembered:
    """What was read, with the listings that it was read at as the column `listing`. A stage of which nothing could be
    read is not among them."""

    trainings: polars.DataFrame
    evaluations: polars.DataFrame


NOTHING = Remembered(
    polars.DataFrame(schema=_TRAINING | _LISTING),
    polars.DataFrame(schema=_EVALUATION | _LISTING),
)


@dataclass(frozen=True)
class Memory:
    """Where it lies."""

    folder: Path

    @classmethod
    def of(cls, root: Path, experiment: str) -> "Memory":
        return cls(root / "index" / "collected" / experiment)

    def state(self) -> State:
        """As it was written last; an empty one where it cannot be read, or is another version's."""
        with suppress(UserError, OSError):
            state = records.read(self.folder / "state.json", _STATE)
            return state if state and state.schema == _NOTHING.schema else _NOTHING
        return _NOTHING

    def read(self, state: State) -> Remembered | None:
        """None where some of it is not what the state is of: then no table is, as far as can be told."""
        all_trainings = self._read("trainings.parquet", state, _TRAINING | _LISTING)
        all_evaluations = self._read("evaluations.parquet", state, _EVALUATION | _LISTING)
        if all_trainings is None or all_evaluations is None:
            return None
        return Remembered(all_trainings, all_evaluations)

    def _read(self, name: str, state: State, schema: Mapping[str, object]) -> polars.DataFrame | None:
        with suppress(OSError, polars.exceptions.PolarsError):
            content = look.read_bytes(self.folder / name)
            if hashlib.sha256(content).hexdigest() == state.cache.get(name):
                frame = polars.read_parquet(BytesIO(content))
                if dict(frame.schema) == dict(schema):
                    return frame
        return None

    def write(
        self, stages: str, table: str, all_trainings: polars.DataFrame, all_evaluations: polars.DataFrame
    ) -> None:
        """Remember all this; nothing where the store is only read, or full: it is slower then, and right."""
        contents = {"trainings.parquet": content_of(all_trainings), "evaluations.parquet": content_of(all_evaluations)}
        state = State(stages, table, {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
        if state == self.state():
            return
        with suppress(OSError, UserError):
            make_folder(self.folder)
            for name, content in contents.items():
                write_atomic(self.folder / name, content)
            write_atomic(self.folder / "state.json", to_json(asdict(state)))


def content_of(frame: polars.DataFrame) -> bytes:
    """A table as Parquet: the same bytes of the same table."""
    content = BytesIO()
    frame.write_parquet(content)
    return content.getvalue()
