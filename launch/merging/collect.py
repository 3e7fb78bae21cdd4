"""The scores of an experiment out of its store: verified, merged, written where something is new."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import polars
from polars import col

from eval.tables import rows as score_rows
from eval.tables.cells import STAND_INS
from eval.tables.rows import ROW_SCHEMA, Gap, Row
from launch.merging import history, scan
from launch.merging.memory import NOTHING, Memory, State, content_of
from launch.merging.merge import Merger
from launch.merging.stages import Reader, SetAside
from launch.plan import Plan
from launch.store import Store, collects, owner
from launch.store.store import TrainFacts
from slurm.base import look
from slurm.base.files import make_folder, write_atomic

_VERSION = 3  # of how the table is made from what was read: goes up with every change that older tables do not have


@dataclass(frozen=True)
class Collected:
    """What came of it. `path`: `results.parquet`, of which `table` is the content; `changed`: it was written anew.

    `set_aside`: results that do not count, since they did not verify or cannot be read. `predictions`: the file of all
    examples, where it was asked for, and whether it was written anew.
    """

    table: polars.DataFrame
    set_aside: tuple[SetAside, ...]
    changed: bool
    path: Path
    predictions: tuple[Path, bool] | None = None

    @cached_property
    def rows(self) -> list[Row]:
        """The scores, in the plan's order."""
        return score_rows.rows_of(self.table)

    @cached_property
    def missing(self) -> list[Gap]:
        """The languages that the experiment asks for and that have no score."""
        return score_rows.gaps_of(self.table)


def collect(
    plan: Plan, store: Store, *, verify: bool = False, predictions: bool = False, write: bool = True
) -> Collected:
    """Verify and merge every result that the experiment asks for; `store` remembers what was read.

    Only what is new is read, but with `verify` all. With `predictions` all examples are written beside. Without `write`
    nothing is written and nothing set aside, as in a store that is another user's. Any number of collectors may run at
    once, beside jobs: each leaves whole files. UsageError where it would write over the table of another file that has
    the same name.
    """
    if write:
        owner.check(plan)
    memory, folder = (
        Memory.of(store.root, plan.experiment.name),
        collects.results_folder(store.root, plan.experiment.name),
    )
    scans = scan.of_stages(plan, store, plan.stages.values())
    state = State() if verify else memory.state()
    reader = Reader(plan, store, dict(scans), may_set_aside=write)
    path, is_new = folder / "results.parquet", False
    remembered = memory.read(state)
    table = _kept(path, state, _identity(plan, scans)) if remembered else None
    remembered = remembered or NOTHING
    if table is not None:
        reader.take_trainings(remembered.trainings)
        evaluations = remembered.evaluations
    else:
        evaluations = reader.read(remembered.trainings, remembered.evaluations)
    store.languages_read = _languages_of_race(plan, evaluations)
    if table is None:
        _tell_trainings(store, reader)
        table = Merger(plan, store, reader.trainings, reader.scans).table(evaluations)
        if write and scans:  # else nothing was ever sent, or the store's file system is not mounted here
            is_new = _remember(plan, memory, reader, table, evaluations, path)
    if write and scans:
        owner.note(plan)
    _tell(store, reader, table)
    examples = _write_examples(plan, store, table, evaluations, folder) if predictions and write else None
    return Collected(table, reader.set_aside(), is_new, path, examples)


def _remember(
    plan: Plan, memory: Memory, reader: Reader, table: polars.DataFrame, evaluations: polars.DataFrame, path: Path
) -> bool:
    """Write the table, and what was read for it; whether it is another than the one that was there."""
    content = content_of(table)
    is_new = _write(path, content, is_empty=not table["score"].count())
    identity = "" if reader.unread else _identity(plan, reader.scans)
    digest = hashlib.sha256(content).hexdigest()
    memory.write(identity, digest, reader.trainings_read(), reader.with_listings(evaluations))
    return is_new


def _write_examples(
    plan: Plan, store: Store, table: polars.DataFrame, evaluations: polars.DataFrame, folder: Path
) -> tuple[Path, bool]:
    from launch.merging import predictions  # with it comes pyarrow, which nothing else here needs

    path = folder / "predictions.parquet"
    return path, predictions.write(plan, store, table, evaluations, path)


def _identity(plan: Plan, scans: Mapping[str, scan.Scan]) -> str:
    """A hash of all that the table depends on; "" where a file may change without its listing showing it."""
    if not all(of_stage.listing for of_stage in scans.values()):
        return ""
    digest = hashlib.sha256(repr((ROW_SCHEMA, _VERSION, polars.__version__)).encode())
    digest.update(repr([(name, target.digest, target.task.metric) for name, target in plan.targets.items()]).encode())
    digest.update(repr(scan.languages_asked(plan)).encode())
    digest.update(repr((list(plan.paths.items()), plan.experiment.optional_seeds)).encode())
    digest.update("".join(f"{key}{of_stage.listing}" for key, of_stage in scans.items()).encode())
    return digest.hexdigest()


def _kept(path: Path, state: State, identity: str) -> polars.DataFrame | None:
    """The table as it was written; None where it is to be made anew."""
    if identity == "" or state.stages != identity:
        return None
    with suppress(OSError):
        content = look.read_bytes(path)
        if hashlib.sha256(content).hexdigest() == state.table:
            return polars.read_parquet(BytesIO(content))
    return None


def _write(path: Path, content: bytes, *, is_empty: bool) -> bool:
    """Whether there was something to write: the same is not written again, nor a first table without a score."""
    try:
        if look.read_bytes(path) == content:
            return False
    except FileNotFoundError:
        if is_empty:
            return False
    make_folder(path.parent)
    history.keep(path.parent, content)  # first: whoever is killed in between leaves a table that is still to be written
    write_atomic(path, content)
    return True


def _tell_trainings(store: Store, reader: Reader) -> None:
    store.trained = {
        key: TrainFacts(training.at_chance, training.steps, training.code) for key, training in reader.trainings.items()
    }


def _languages_of_race(plan: Plan, evaluations: polars.DataFrame) -> dict[str, frozenset[str]] | None:
    """By stage those with a result: which runs are there in full is asked of a race alone."""
    if plan.experiment.race is None:
        return None
    return {key: frozenset(of_stage) for key, of_stage in evaluations.group_by("key").agg("language").iter_rows()}


def _tell(store: Store, reader: Reader, table: polars.DataFrame) -> None:
    """The store, what those who draw tables would else read of it again."""
    _tell_trainings(store, reader)
    is_stand_in = polars.any_horizontal(col("metric").str.ends_with(ending) for ending in STAND_INS)
    odd = table.filter((col("state") == "no gold") | is_stand_in)
    languages: dict[str, dict[str, list[str]]] = {}
    for stage, language, state, metric in odd.select("stage", "language", "state", "metric").iter_rows():
        metrics = languages.setdefault(stage, {}).setdefault(language, [])
        metrics += [metric] if state == "scored" else []
    store.stand_ins = languages
