"""What `collect` counts, what it sets aside, and that it reads and writes no more than what is new."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import polars
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.merging import Collected, collect, history, reading, scan
from launch.plan import Plan
from launch.results import table
from launch.store import Store
from slurm.base.files import seal, unseal, write_atomic
from tests.anybody import anybody
from tests.launch.merging import published
from tests.launch.workspace import Workspace


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every listing counts: what a test changes has another time by then."""
    monkeypatch.setattr(scan, "SETTLED_SECONDS", 0.0)


def _collect(plan: Plan, **options: bool) -> Collected:
    return collect(plan, Store(plan.experiment.store), **options)


def _states(collection: Collected) -> dict[str, int]:
    return dict(collection.table["state"].value_counts().iter_rows())


# --- the table


def test_every_score_is_a_row(workspace: Workspace) -> None:
    plan = workspace.plan()
    published.publish(plan)
    table = _collect(plan).table
    assert table.height == 24 and set(table["state"]) == {"scored"}  # 4 x 3 of xnli; 3 x 2 x 2 of tatoeba
    of_squad = table.filter(recipe="squad", target="xnli", language="de", seed=1).to_dicts()
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    assert of_squad == [
        {
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
    collection = _collect(plan)
    assert _states(collection) == {"scored": 8, "missing": 4, "no gold": 6}
    gaps = collection.table.filter(polars.col("state") != "scored")
    assert set(gaps["score"]) == {None} and set(gaps["metric"]) == {"accuracy"} and set(gaps["primary"]) == {True}
    assert {(gap.target, gap.language, gap.state) for gap in collection.missing} == {
        ("xnli", "zh", "missing"), ("tatoeba", "de", "no gold"), ("tatoeba", "sw", "no gold"),
    }  # fmt: skip
    assert len(collection.rows) == 8


def test_profiles_are_told_apart(workspace: Workspace) -> None:
    plan = workspace.plan(targets=["xquad"])
    published.publish(plan)
    table = _collect(plan).table
    by_metric = dict(table.select("metric", "profile").unique().iter_rows())
    assert by_metric == {
        "f1": "xtreme", "exact_match": "xtreme", "f1_corrected": "corrected", "exact_match_corrected": "corrected",
    }  # fmt: skip
    assert set(table.filter(primary=True)["metric"]) == {"f1"}


def test_before_anything_ran_nothing_is_written(workspace: Workspace) -> None:
    plan = workspace.plan()
    collection = _collect(plan)
    assert not collection.changed and not plan.experiment.store.exists()  # which may not be mounted
    assert _states(collection) == {"missing": 18}


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
    first = _collect(plan)
    assert first.changed and reads.files == 18 + 6
    before = _identities(root)
    second = _collect(plan)
    assert not second.changed and reads.files == 24 and second.table.equals(first.table)
    verified = _collect(plan, verify=True)
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
    _collect(plan)
    reads.files = 0
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    published.publish_language(plan, store, stage, "zh")
    collection = _collect(plan)
    assert collection.changed and reads.files == 3
    assert [(row.recipe, row.seed) for row in collection.rows if row.language == "zh"] == [("squad", 1)]
    assert collection.table.equals(_collect(plan, verify=True).table)


def test_an_edited_experiment_gets_another_table_of_the_same_results(workspace: Workspace, reads: _Reads) -> None:
    published.publish(workspace.plan())
    _collect(workspace.plan())
    reads.files = 0
    smaller = _collect(workspace.plan(seeds=["2"], languages={"xnli": ["de"]}))
    assert {row.language for row in smaller.rows if row.target == "xnli"} == {"de"}
    assert reads.files == 2  # of the stages whose languages are others
    assert _states(_collect(workspace.plan())) == {"scored": 24}


def test_a_table_that_was_damaged_or_removed_is_written_again(workspace: Workspace) -> None:
    plan = workspace.plan()
    published.publish(plan)
    path = _collect(plan).path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    assert _collect(plan).changed and path.read_bytes() == content
    path.unlink()
    assert _collect(plan).changed and path.read_bytes() == content


@pytest.mark.parametrize("name", ["state.json", "evaluations.parquet", "trainings.parquet"])
@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": 7}'])
def test_what_is_remembered_may_be_lost(workspace: Workspace, name: str, content: bytes) -> None:
    plan = workspace.plan()
    store = published.publish(plan, leave=("zh",))
    before = _collect(plan).table
    (store.root / "index" / "collected" / "small" / name).write_bytes(content)
    _, examples_are_new = _collect(plan, predictions=True).predictions or (None, False)
    collection = _collect(plan)
    assert not collection.changed and collection.table.equals(before) and examples_are_new
    published.publish_language(plan, store, plan.stages[plan.paths["none", "xnli", 1]], "zh")
    assert _states(_collect(plan)) == {"scored": 21, "missing": 3}


def test_what_is_young_is_read_again(workspace: Workspace, reads: _Reads, monkeypatch: Any) -> None:
    """Where a file system counts times in whole seconds, it may have changed again within one."""
    plan = workspace.plan()
    published.publish(plan)
    monkeypatch.setattr(scan, "SETTLED_SECONDS", 60.0)
    _collect(plan)
    _collect(plan)
    assert reads.files == 48
    monkeypatch.setattr(scan, "SETTLED_SECONDS", 0.0)
    _collect(plan)
    _collect(plan)
    assert reads.files == 72


# --- what does not verify


def _files_of_a_result(plan: Plan, root: Path) -> list[Path]:
    """One language's record and predictions, and the result of the training under it."""
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    assert stage.parent is not None
    record, predictions = sorted((root / "stages" / stage.folder / "languages").rglob("de-*.json*"))[::-1]
    return [record, predictions, root / "stages" / plan.stages[stage.parent].folder / "result.json"]


def _flip(path: Path, place: int, bits: int) -> bytes:
    """Change one byte in place; the content before."""
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[place] ^= bits
    with path.open("r+b") as file:
        file.write(damaged)
    return content


def _assert_named(plan: Plan, path: Path, complete: Collected, collection: Collected) -> None:
    """The result that a file is of does not count, is named and set aside; all others count as before."""
    (aside,) = collection.set_aside
    assert aside.moved and aside.path.exists() and aside.path.name.endswith(".quarantined")
    assert aside.path.parent == path.parent
    if path.name == "result.json":
        assert aside.what == plan.stages[aside.stage].name and not path.exists()
        assert len(collection.rows) == len(complete.rows)
        return
    assert aside.what == f"{plan.stages[aside.stage].name} de"
    (gap,) = collection.missing
    assert (gap.stage, gap.language, gap.state) == (aside.stage, "de", "set aside")
    assert collection.rows == [row for row in complete.rows if (row.stage, row.language) != (gap.stage, "de")]


def _mend(path: Path, content: bytes, aside: Path) -> None:
    """As it was before it was damaged and set aside."""
    record = aside.with_name(f"{aside.name.split('.')[0]}.json")
    if path == record:
        aside.unlink()
    else:
        os.rename(aside, record)
    write_atomic(path, content)


@pytest.mark.slow
def test_every_single_byte_of_a_result_counts(workspace: Workspace) -> None:
    plan = workspace.plan(recipes=["squad"], targets=["xnli"], seeds=["1"], languages={"xnli": ["de", "en"]})
    root = published.publish(plan).root
    complete = _collect(plan)
    for path in _files_of_a_result(plan, root):
        for place in range(path.stat().st_size):
            content = _flip(path, place, 1 << (place % 8))
            collection = _collect(plan)
            _assert_named(plan, path, complete, collection)
            _mend(path, content, collection.set_aside[0].path)
    assert _collect(plan).table.equals(complete.table)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_byte_of_a_result_counts(workspace: Workspace, data: Any) -> None:
    plan = workspace.plan(recipes=["squad"], targets=["xnli"], seeds=["1"], languages={"xnli": ["de", "en"]})
    if not (plan.experiment.store / "stages").exists():
        published.publish(plan)
    complete = _collect(plan)
    path = data.draw(st.sampled_from(_files_of_a_result(plan, plan.experiment.store)))
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    content = _flip(path, place, data.draw(st.integers(1, 255)))
    collection = _collect(plan)
    _assert_named(plan, path, complete, collection)
    later = _collect(plan)
    assert [aside.path for aside in later.set_aside] == [aside.path for aside in collection.set_aside]
    assert later.table.equals(collection.table) and not later.changed  # for as long as nothing took its place
    _mend(path, content, collection.set_aside[0].path)
    mended = _collect(plan)
    assert mended.set_aside == () and mended.table.equals(complete.table)


def test_what_was_set_aside_is_evaluated_anew(workspace: Workspace) -> None:
    plan = workspace.plan()
    store = published.publish(plan)
    complete = _collect(plan)
    record, predictions, _ = _files_of_a_result(plan, store.root)
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    for path in (record, predictions):
        _flip(path, 20, 1)
        assert len(_collect(plan).set_aside) == 1
        assert not Store(store.root).is_finished(plan, stage)
        assert published.publish_language(plan, store, stage, "de")
        collection = _collect(plan)
        assert collection.set_aside == () and collection.table.equals(complete.table)


def test_a_record_of_an_earlier_version_is_held_against_what_it_has(workspace: Workspace) -> None:
    """Eight digits of the hash, in its predictions' name, and their size."""
    plan = workspace.plan()
    store = published.publish(plan)
    record, predictions, _ = _files_of_a_result(plan, store.root)
    content = unseal(record.read_bytes())
    assert content is not None
    for name in ("predictions_sha256", "attempt", "seconds", "device_name"):
        del content[name]
    write_atomic(record, seal(content))
    collection = _collect(plan)
    assert collection.set_aside == () and _states(collection) == {"scored": 24}
    (row,) = [row for row in collection.rows if row.attempt is None]
    assert (row.evaluate_seconds, row.evaluate_gpu_hours) == (None, None)
    _flip(predictions, 3, 1)
    (aside,) = _collect(plan).set_aside
    assert aside.why == f"its predictions ({predictions.name}) were changed after they were published"


def test_a_silent_disk_is_what_verify_is_for(workspace: Workspace, monkeypatch: Any) -> None:
    """Other bytes under the same size, times and inode."""
    plan = workspace.plan()
    store = published.publish(plan)
    _collect(plan)
    _, predictions, _ = _files_of_a_result(plan, store.root)
    lines_of = scan._lines
    before = {path: lines_of(str(path)) for path in store.root.rglob("languages/*")}
    monkeypatch.setattr(scan, "_lines", lambda folder: before.get(Path(folder)) or lines_of(folder))
    _flip(predictions, 3, 1)
    assert _collect(plan).set_aside == ()
    monkeypatch.setattr(scan, "_lines", lines_of)
    assert len(_collect(plan, verify=True).set_aside) == 1


def test_a_result_of_another_version_stays(workspace: Workspace) -> None:
    plan = workspace.plan()
    store = published.publish(plan)
    record, _, result = _files_of_a_result(plan, store.root)
    for path in (record, result):
        content = unseal(path.read_bytes())
        assert content is not None
        write_atomic(path, seal(content | {"schema": 2}))
    for _ in range(2):
        collection = _collect(plan)
        assert [(of_result.moved, of_result.path) for of_result in collection.set_aside] == [
            (False, result), (False, record),
        ]  # fmt: skip
        assert "written by another version of stepstone (schema 2, not 1)" in collection.set_aside[0].why
        assert record.exists() and _states(collection) == {"scored": 23, "missing": 1}


@pytest.mark.parametrize("name", ["*/languages", "*/languages/*", "squad-s1-*"])
def test_a_folder_that_one_may_not_read_is_named(workspace: Workspace, name: str) -> None:
    plan = workspace.plan(seeds=["1"])
    published.publish(plan)
    folder = next((plan.experiment.store / "stages").glob(name))
    for path in (plan.experiment.store, *plan.experiment.store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    folder.chmod(0)
    with anybody(plan.experiment.store):
        (named,) = _collect(plan, write=False).set_aside
    folder.chmod(0o755)
    assert (named.path, named.why, named.moved) == (folder, "may not be read by you", False)
    assert not _collect(plan).set_aside


def test_each_that_does_not_count_is_named_once(workspace: Workspace) -> None:
    """Also one of another version beside one that is damaged, after which both are read again."""
    plan = workspace.plan()
    record, _, _ = _files_of_a_result(plan, published.publish(plan).root)
    content = unseal(record.read_bytes())
    assert content is not None
    write_atomic(record, seal(content | {"schema": 2}))
    (record_of_en,) = record.parent.glob("en-*.json")
    _flip(record_of_en, 3, 1)
    assert [of_result.moved for of_result in _collect(plan).set_aside] == [False, True]


def test_what_was_set_aside_of_an_encoder_before_is_only_missing_of_the_new_one(workspace: Workspace) -> None:
    plan = workspace.plan()
    record, _, result = _files_of_a_result(plan, published.publish(plan).root)
    _flip(record, 3, 1)
    assert _states(_collect(plan)) == {"scored": 23, "set aside": 1}
    content = unseal(result.read_bytes())
    assert content is not None
    write_atomic(result, seal(content | {"encoder_hash": f"sha256:{'e' * 64}"}))  # trained anew
    collection = _collect(plan)
    assert _states(collection) == {"scored": 21, "missing": 3} and not collection.set_aside


@pytest.mark.parametrize("field", ["key", "language", "generation"])
def test_a_result_in_anothers_place_does_not_count(workspace: Workspace, field: str) -> None:
    plan = workspace.plan()
    record, _, _ = _files_of_a_result(plan, published.publish(plan).root)
    content = unseal(record.read_bytes())
    assert content is not None
    write_atomic(record, seal(content | {field: "other"}))
    (aside,) = _collect(plan).set_aside
    assert aside.why.startswith("is of another ") and aside.moved


def test_a_lost_result_of_a_training_leaves_its_scores(workspace: Workspace) -> None:
    """They count; what is not known any more is what it cost, and whether it diverged."""
    plan = workspace.plan()
    _, _, result = _files_of_a_result(plan, published.publish(plan).root)
    result.unlink()
    collection = _collect(plan)
    assert _states(collection) == {"scored": 24}
    (unknown,) = {row.stage for row in collection.rows if row.path_train_seconds is None}
    assert unknown == plan.paths["squad", "xnli", 1]


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
    collection = _collect(plan)
    of_none = [gap for gap in collection.missing if gap.recipe == "none"]
    assert [(gap.seed, gap.language) for gap in of_none] == [
        (1, "zh"), (2, "de"), (2, "en"), (2, "zh"),
    ]  # fmt: skip
    assert len(collection.rows) == 2


def test_without_writing_nothing_is_written(workspace: Workspace) -> None:
    plan = workspace.plan()
    root = published.publish(plan).root
    record, _, _ = _files_of_a_result(plan, root)
    _flip(record, 3, 1)
    before = _identities(root)
    collection = _collect(plan, write=False)
    assert _states(collection) == {"scored": 23, "missing": 1}
    assert [(aside.moved, aside.path) for aside in collection.set_aside] == [(False, record)]
    assert _identities(root) == before


@pytest.mark.parametrize("fails", [False, True])
def test_a_fork_lists_half_of_many_stages(workspace: Workspace, monkeypatch: Any, fails: bool) -> None:
    plan = workspace.plan()
    store, stages = published.publish(plan), plan.stages.values()
    scans = scan.of_stages(plan, store, stages)
    monkeypatch.setattr(scan, "_WORTH", 3)
    here, lines_of = os.getpid(), scan._lines

    def in_the_fork(folder: str) -> Any:
        if os.getpid() != here:
            raise OSError(5, "Input/output error")
        return lines_of(folder)

    if fails:
        monkeypatch.setattr(scan, "_lines", in_the_fork)
    children_before = _children()
    assert scan.of_stages(plan, store, stages) == scans and len(scans) == 13
    assert _children() <= children_before  # none is left


def _children() -> set[int]:
    """This process's, those too that nobody waited for."""
    return {child.pid for child in psutil.Process().children()}


def _killed_elsewhere(request: int) -> int:
    if parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return request


def test_without_room_for_a_second_process_one_does_all(workspace: Workspace, monkeypatch: Any) -> None:
    def no_room() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(reading, "_WORTH", 0)
    assert list(reading.each(_killed_elsewhere, range(50), 50)) == list(range(50))
    plan = workspace.plan()
    store = published.publish(plan)
    scans = scan.of_stages(plan, store, plan.stages.values())
    monkeypatch.setattr(scan, "_WORTH", 0)
    monkeypatch.setattr(os, "fork", no_room)
    assert scan.of_stages(plan, store, plan.stages.values()) == scans


def test_one_that_is_killed_leaves_the_day_to_the_next(workspace: Workspace, monkeypatch: Any) -> None:
    plan = workspace.plan()
    published.publish(plan)
    with monkeypatch.context() as broken:
        broken.setattr(history, "keep", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _collect(plan)
    collection = _collect(plan)
    (of_today,) = (collection.path.parent / "history").iterdir()
    assert collection.changed and of_today.read_bytes() == collection.path.read_bytes()


_READS = """
import os
from launch.merging import reading
reading._WORTH = 0
if __name__ == "__main__":
    reading.each(os.system, ["echo a worker; sleep 0.1"] * 10_000, 1)
"""
_LISTS = """
import os, signal
from launch.merging import scan
here, scan._WORTH = os.getpid(), 0
def list_stage(place, unsettled_from):
    if os.getpid() == here:
        print("first", flush=True)
        os.kill(here, signal.SIGKILL)
    return scan.Scan("k" * 1000, "", {}, [])
scan._scan = list_stage
scan._scans([scan.Place("", "", "")] * 1000, 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [_READS, _LISTS])
def test_nothing_outlives_a_collector_that_is_killed(script: str, tmp_path: Path) -> None:
    path = tmp_path / "collector.py"
    path.write_text(script)
    command, environment = [sys.executable, str(path)], os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.kill()
        try:
            process.communicate(timeout=60)  # until the last that has its stdout is gone
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def test_many_files_are_read_by_two_processes(workspace: Workspace, monkeypatch: Any) -> None:
    monkeypatch.setattr(reading, "_WORTH", 10)
    plan = workspace.plan()
    published.publish(plan)
    began = time.monotonic()
    assert _states(_collect(plan)) == {"scored": 24}
    assert time.monotonic() - began < 60
