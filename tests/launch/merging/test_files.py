"""`results.parquet` and `predictions.parquet` as other programs open them."""

from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow.parquet
import pytest

from launch.merging import collect, predictions
from launch.plan import Plan
from launch.store import Store
from tests.launch.merging import published
from tests.launch.workspace import Workspace


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    """With results but in one language."""
    plan = workspace.plan(targets=["xnli", "xquad", "tatoeba"])
    published.publish(plan, leave=("zh",))
    return plan


def _files(plan: Plan) -> tuple[Path, Path]:
    collection = collect(plan, Store(plan.experiment.store), predictions=True)
    assert collection.predictions is not None
    return collection.path, collection.predictions[0]


# By recipe, of xnli's scores: how many rows, and the mean of what is there.
MEANS = {("none", 6, 70.0), ("squad", 6, 70.0)}


def test_polars_opens_them(plan: Plan) -> None:
    results, examples = _files(plan)
    of_xnli = polars.read_parquet(results).filter(target="xnli").group_by("recipe")
    assert set(of_xnli.agg(polars.len(), polars.col("score").mean()).iter_rows()) == MEANS
    assert polars.scan_parquet(examples).filter(target="xnli").select("numerator").sum().collect().item() == 24.0


def test_pandas_opens_them(plan: Plan) -> None:
    results, examples = _files(plan)
    of_xnli = pandas.read_parquet(results).query("target == 'xnli'").groupby("recipe")["score"]
    assert {(name, len(scores), scores.mean()) for name, scores in of_xnli} == MEANS
    assert pandas.read_parquet(examples, columns=["numerator"])["numerator"].count() == 24 + 8 + 12


def test_duckdb_opens_them(plan: Plan) -> None:
    results, examples = _files(plan)
    query = "select recipe, count(*), avg(score) from read_parquet(?) where target = 'xnli' group by recipe"
    assert set(duckdb.execute(query, [str(results)]).fetchall()) == MEANS
    query = "select state, count(*) from read_parquet(?) group by state order by state"
    assert duckdb.execute(query, [str(results)]).fetchall() == [("missing", 4), ("scored", 8 + 32 + 12)]
    query = "select sum(numerator) / sum(denominator) from read_parquet(?) where target = 'tatoeba' and language = 'de'"
    assert duckdb.execute(query, [str(examples)]).fetchone() == (0.5,)


def test_every_example_is_a_row(plan: Plan) -> None:
    _, path = _files(plan)
    frame = polars.read_parquet(path)
    of_language = frame.filter(recipe="squad", target="tatoeba", language="de", seed=1)
    assert of_language.select(
        "example", "prediction", "gold", "metric", "numerator", "denominator"
    ).rows() == [
        ("0", '["0", "1"]', "0", "accuracy", 1.0, 1.0),
        ("1", '["0", "1"]', "1", "accuracy", 0.0, 1.0),
    ]  # fmt: skip
    of_answers = frame.filter(recipe="none", target="xquad", language="en", seed=2)
    assert of_answers.select("prediction", "gold", "metric", "numerator").rows() == [("Bonn", '["Bonn"]', "f1", 1.0)]
    assert frame.filter(language="zh").is_empty()


def test_examples_without_gold_have_no_part(workspace: Workspace, monkeypatch: Any) -> None:
    monkeypatch.setitem(published.SCORES, "xnli", {})
    monkeypatch.setitem(published.PREDICTIONS, "xnli", [{"id": "0", "prediction": "neutral", "gold": None}])
    plan = workspace.plan(targets=["xnli"])
    published.publish(plan)
    frame = polars.read_parquet(_files(plan)[1])
    assert set(frame.select("prediction", "gold", "metric", "numerator").iter_rows()) == {("neutral", None, None, None)}


def test_they_are_written_in_pieces(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_ROW_GROUP", 8)
    file = pyarrow.parquet.ParquetFile(_files(plan)[1])
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert sum(sizes) == 24 + 8 + 12 and len(sizes) > 3 and max(sizes) < 11  # a language is never cut


def test_nothing_new_leaves_them_as_they_are(plan: Plan) -> None:
    _, path = _files(plan)
    before = path.stat()
    assert collect(plan, Store(plan.experiment.store), predictions=True).predictions == (path, False)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    published.publish_language(plan, Store(plan.experiment.store), plan.find("squad.mnli-s1--xnli"), "zh")
    assert collect(plan, Store(plan.experiment.store), predictions=True).predictions == (path, True)
    assert polars.read_parquet(path).filter(language="zh").height == 3


def test_what_was_interrupted_leaves_the_file_as_it_was(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = _files(plan)
    content = path.read_bytes()
    published.publish_language(plan, Store(plan.experiment.store), plan.find("squad.mnli-s1--xnli"), "zh")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predictions, "_records", full)
    with pytest.raises(OSError, match="No space"):
        collect(plan, Store(plan.experiment.store), predictions=True)
    assert path.read_bytes() == content
    assert [name.name for name in path.parent.iterdir() if name.name.startswith(".")] == []
