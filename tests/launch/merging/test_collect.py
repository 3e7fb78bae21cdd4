"""What `collect` counts, and that it reads and writes no more than what is new."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars
import pytest

from launch.merging import collect, reading, scan
from launch.results import table
from launch.store import Store
from tests.launch.merging import published
from tests.launch.workspace import Workspace

pytestmark = pytest.mark.usefixtures("settled")


# --- the table


def test_every_score_is_a_row(workspace: Workspace) -> None:
    plan = workspace.plan()
    published.publish(plan)
    table = published.collected(plan).table
    assert table.height == 24 and set(table["state"]) == {"scored"}  # 4 x 3 of xnli; 3 x 2 x 2 of tatoeba
    of_squad = table.filter(recipe="squad", target="xnli", language="de", seed=1).to_dicts()
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    assert of_squad == [
        {
            "model": "./model",
            "recipe": "squad", "target": "xnli", "language": "de", "seed": 1, "metric": "accuracy", "profile": "xtreme",
            "primary": True, "score": 70.0, "examples": 3, "state": "scored", "diverged": False, "stage": stage.key,
            "generation": published.generation(plan, stage), "attempt": "attempts/0001", "code": "c",
            "evaluate_seconds": 9.0, "evaluate_gpu_hours": 9 / 3600,
            "path_train_seconds": 200.0, "path_train_gpu_hours": 400 / 3600,
        }
    ]  # fmt: skip
    assert {seed for seed in table.filter(recipe="none", target="tatoeba")["seed"]} == {None}
    assert set(table.filter(recipe="none", target="tatoeba")["path_train_seconds"]) == {0.0}


def test_what_is_missing_is_a_row_without_a_score(workspace: Workspace, monkeypatch: Any) -> None:
    monkeypatch.setitem(published.SCORES, "tatoeba", {})  # no gold
    plan = workspace.plan()
    published.publish(plan, leave=("zh",))
    collection = published.collected(plan)
    assert published.states(collection) == {"scored": 8, "missing": 4, "no gold": 6}
    gaps = collection.table.filter(polars.col("state") != "scored")
    assert set(gaps["score"]) == {None} and set(gaps["metric"]) == {"accuracy"} and set(gaps["primary"]) == {True}
    assert {(gap.target, gap.language, gap.state) for gap in collection.missing} == {
        ("xnli", "zh", "missing"), ("tatoeba", "de", "no gold"), ("tatoeba", "sw", "no gold"),
    }  # fmt: skip
    assert len(collection.rows) == 8


def test_profiles_are_told_apart(workspace: Workspace) -> None:
    plan = workspace.plan(targets=["xquad"])
    published.publish(plan)
    table = published.collected(plan).table
    by_metric = dict(table.select("metric", "profile").unique().iter_rows())
    assert by_metric == {
        "f1": "xtreme", "exact_match": "xtreme", "f1_corrected": "corrected", "exact_match_corrected": "corrected",
    }  # fmt: skip
    assert set(table.filter(primary=True)["metric"]) == {"f1"}


def test_before_anything_ran_nothing_is_written(workspace: Workspace) -> None:
    plan = workspace.plan()
    collection = published.collected(plan)
    assert not collection.changed and not plan.experiment.store.exists()  # which may not be mounted
    assert published.states(collection) == {"missing": 18}


# --- nothing is done twice


@dataclass
class _Reads:
    files: int = 0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Reads]:
    """How many records are read."""
    counter, each = _Reads(), reading.each

    def counted(action: Any, requests: Any, files: int) -> Any:
        counter.files += sum(len(request.files) for request in requests)
        return each(action, requests, files)

    monkeypatch.setattr(reading, "each", counted)
    yield counter


def _identities(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in files}


def test_with_nothing_new_nothing_is_read_or_written(workspace: Workspace, reads: _Reads) -> None:
    plan = workspace.plan()
    root = published.publish(plan).root
    first = published.collected(plan)
    assert first.changed and reads.files == 18 + 6
    before = _identities(root)
    second = published.collected(plan)
    assert not second.changed and reads.files == 24 and second.table.equals(first.table)
    verified = published.collected(plan, verify=True)
    assert not verified.changed and reads.files == 48 and verified.table.equals(first.table)
    assert _identities(root) == before


def test_of_a_race_no_more_is_read_than_of_a_list_of_seeds(
    workspace: Workspace, reads: _Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which runs it can do without, what was read says: with something new, with nothing new, and for the table."""
    plan = workspace.plan(targets=["xnli"], seeds={"min": "2", "max": "4", "until": "0.5"})
    published.publish(plan, leave=("zh",))
    spared_runs = table.spared(plan, Store(plan.experiment.store))

    def fail(*_: object) -> None:
        raise AssertionError("read once more")

    monkeypatch.setattr(Store, "look_at_languages", fail)
    for _ in range(2):
        store = Store(plan.experiment.store)
        collection = collect(plan, store)
        assert table.spared(plan, store) == spared_runs and table.summary(plan, store, collection.rows)
    assert reads.files == 16 + 12


def test_only_the_stage_with_something_new_is_read(workspace: Workspace, reads: _Reads) -> None:
    plan = workspace.plan()
    store = published.publish(plan, leave=("zh",))
    published.collected(plan)
    reads.files = 0
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    published.publish_language(plan, store, stage, "zh")
    collection = published.collected(plan)
    assert collection.changed and reads.files == 3
    assert [(row.recipe, row.seed) for row in collection.rows if row.language == "zh"] == [("squad", 1)]
    assert collection.table.equals(published.collected(plan, verify=True).table)


def test_an_edited_experiment_gets_another_table_of_the_same_results(workspace: Workspace, reads: _Reads) -> None:
    published.publish(workspace.plan())
    published.collected(workspace.plan())
    reads.files = 0
    smaller = published.collected(workspace.plan(seeds=["2"], languages={"xnli": ["de"]}))
    assert {row.language for row in smaller.rows if row.target == "xnli"} == {"de"}
    assert reads.files == 2  # of the stages whose languages are others
    assert published.states(published.collected(workspace.plan())) == {"scored": 24}


def test_a_table_that_was_damaged_or_removed_is_written_again(workspace: Workspace) -> None:
    plan = workspace.plan()
    published.publish(plan)
    path = published.collected(plan).path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    assert published.collected(plan).changed and path.read_bytes() == content
    path.unlink()
    assert published.collected(plan).changed and path.read_bytes() == content


@pytest.mark.parametrize("name", ["state.json", "evaluations.parquet", "trainings.parquet"])
@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": 7}'])
def test_what_is_remembered_may_be_lost(workspace: Workspace, name: str, content: bytes) -> None:
    plan = workspace.plan()
    store = published.publish(plan, leave=("zh",))
    before = published.collected(plan).table
    (store.root / "index" / "collected" / "small" / name).write_bytes(content)
    _, examples_are_new = published.collected(plan, predictions=True).predictions or (None, False)
    collection = published.collected(plan)
    assert not collection.changed and collection.table.equals(before) and examples_are_new
    published.publish_language(plan, store, plan.stages[plan.paths["none", "xnli", 1]], "zh")
    assert published.states(published.collected(plan)) == {"scored": 21, "missing": 3}


def test_what_is_young_is_read_again(workspace: Workspace, reads: _Reads, monkeypatch: Any) -> None:
    """Where a file system counts times in whole seconds, it may have changed again within one."""
    plan = workspace.plan()
    published.publish(plan)
    monkeypatch.setattr(scan, "SETTLED_SECONDS", 60.0)
    published.collected(plan)
    published.collected(plan)
    assert reads.files == 48
    monkeypatch.setattr(scan, "SETTLED_SECONDS", 0.0)
    published.collected(plan)
    published.collected(plan)
    assert reads.files == 72


def test_a_race_asks_for_no_more_than_it_wants(workspace: Workspace) -> None:
    """What nobody may ever evaluate is no gap."""
    options: dict[str, Any] = {"seeds": {"min": 2, "max": 4, "until": "0.5"}, "targets": ["xnli"]}
    plan = workspace.plan(**options)
    store = Store(plan.experiment.store)
    stage = plan.stages[plan.paths["none", "xnli", 1]]
    assert stage.parent is not None
    published.publish_training(store, plan.stages[stage.parent])
    for language in ("de", "en"):
        published.publish_language(plan, store, stage, language)
    collection = published.collected(plan)
    of_none = [gap for gap in collection.missing if gap.recipe == "none"]
    assert [(gap.seed, gap.language) for gap in of_none] == [
        (1, "zh"), (2, "de"), (2, "en"), (2, "zh"),
    ]  # fmt: skip
    assert len(collection.rows) == 2


def test_without_writing_nothing_is_written(workspace: Workspace) -> None:
    plan = workspace.plan()
    root = published.publish(plan).root
    record, _, _ = published.files_of_a_result(plan, root)
    published.flip(record, 3, 1)
    before = _identities(root)
    collection = published.collected(plan, write=False)
    assert published.states(collection) == {"scored": 23, "missing": 1}
    assert [(aside.moved, aside.path) for aside in collection.set_aside] == [(False, record)]
    assert _identities(root) == before
