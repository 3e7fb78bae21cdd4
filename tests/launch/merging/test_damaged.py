"""What of a result `collect` holds against what was published, and what it sets aside."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.merging import Collected, scan
from launch.plan import Plan
from launch.store import Store
from slurm.base.files import seal, unseal, write_atomic
from tests.anybody import anybody
from tests.launch.merging import published
from tests.launch.workspace import Workspace

pytestmark = pytest.mark.usefixtures("settled")


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
    complete = published.collected(plan)
    for path in published.files_of_a_result(plan, root):
        for place in range(path.stat().st_size):
            content = published.flip(path, place, 1 << (place % 8))
            collection = published.collected(plan)
            _assert_named(plan, path, complete, collection)
            _mend(path, content, collection.set_aside[0].path)
    assert published.collected(plan).table.equals(complete.table)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_byte_of_a_result_counts(workspace: Workspace, data: Any) -> None:
    plan = workspace.plan(recipes=["squad"], targets=["xnli"], seeds=["1"], languages={"xnli": ["de", "en"]})
    if not (plan.experiment.store / "stages").exists():
        published.publish(plan)
    complete = published.collected(plan)
    path = data.draw(st.sampled_from(published.files_of_a_result(plan, plan.experiment.store)))
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    content = published.flip(path, place, data.draw(st.integers(1, 255)))
    collection = published.collected(plan)
    _assert_named(plan, path, complete, collection)
    later = published.collected(plan)
    assert [aside.path for aside in later.set_aside] == [aside.path for aside in collection.set_aside]
    assert later.table.equals(collection.table) and not later.changed  # for as long as nothing took its place
    _mend(path, content, collection.set_aside[0].path)
    mended = published.collected(plan)
    assert mended.set_aside == () and mended.table.equals(complete.table)


def test_what_was_set_aside_is_evaluated_anew(workspace: Workspace) -> None:
    plan = workspace.plan()
    store = published.publish(plan)
    complete = published.collected(plan)
    record, predictions, _ = published.files_of_a_result(plan, store.root)
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    for path in (record, predictions):
        published.flip(path, 20, 1)
        assert len(published.collected(plan).set_aside) == 1
        assert not Store(store.root).is_finished(plan, stage)
        assert published.publish_language(plan, store, stage, "de")
        collection = published.collected(plan)
        assert collection.set_aside == () and collection.table.equals(complete.table)


def test_a_record_of_an_earlier_version_is_held_against_what_it_has(workspace: Workspace) -> None:
    """Eight digits of the hash, in its predictions' name, and their size."""
    plan = workspace.plan()
    store = published.publish(plan)
    record, predictions, _ = published.files_of_a_result(plan, store.root)
    content = unseal(record.read_bytes())
    assert content is not None
    for name in ("predictions_sha256", "attempt", "seconds", "device_name"):
        del content[name]
    write_atomic(record, seal(content))
    collection = published.collected(plan)
    assert collection.set_aside == () and published.states(collection) == {"scored": 24}
    (row,) = [row for row in collection.rows if row.attempt is None]
    assert (row.evaluate_seconds, row.evaluate_gpu_hours) == (None, None)
    published.flip(predictions, 3, 1)
    (aside,) = published.collected(plan).set_aside
    assert aside.why == f"its predictions ({predictions.name}) were changed after they were published"


def test_a_silent_disk_is_what_verify_is_for(workspace: Workspace, monkeypatch: Any) -> None:
    """Other bytes under the same size, times and inode."""
    plan = workspace.plan()
    store = published.publish(plan)
    published.collected(plan)
    _, predictions, _ = published.files_of_a_result(plan, store.root)
    lines_of = scan._lines
    before = {path: lines_of(str(path)) for path in store.root.rglob("languages/*")}
    monkeypatch.setattr(scan, "_lines", lambda folder: before.get(Path(folder)) or lines_of(folder))
    published.flip(predictions, 3, 1)
    assert published.collected(plan).set_aside == ()
    monkeypatch.setattr(scan, "_lines", lines_of)
    assert len(published.collected(plan, verify=True).set_aside) == 1


def test_a_result_of_another_version_stays(workspace: Workspace) -> None:
    plan = workspace.plan()
    store = published.publish(plan)
    record, _, result = published.files_of_a_result(plan, store.root)
    for path in (record, result):
        content = unseal(path.read_bytes())
        assert content is not None
        write_atomic(path, seal(content | {"schema": 2}))
    for _ in range(2):
        collection = published.collected(plan)
        assert [(of_result.moved, of_result.path) for of_result in collection.set_aside] == [
            (False, result), (False, record),
        ]  # fmt: skip
        assert "written by another version of stepstone (schema 2, not 1)" in collection.set_aside[0].why
        assert record.exists() and published.states(collection) == {"scored": 23, "missing": 1}


@pytest.mark.parametrize("name", ["*/languages", "*/languages/*", "squad-s1-*"])
def test_a_folder_that_one_may_not_read_is_named(workspace: Workspace, name: str) -> None:
    plan = workspace.plan(seeds=["1"])
    published.publish(plan)
    folder = next((plan.experiment.store / "stages").glob(name))
    for path in (plan.experiment.store, *plan.experiment.store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    folder.chmod(0)
    with anybody(plan.experiment.store):
        (named,) = published.collected(plan, write=False).set_aside
    folder.chmod(0o755)
    assert (named.path, named.why, named.moved) == (folder, "may not be read by you", False)
    assert not published.collected(plan).set_aside


def test_each_that_does_not_count_is_named_once(workspace: Workspace) -> None:
    """Also one of another version beside one that is damaged, after which both are read again."""
    plan = workspace.plan()
    record, _, _ = published.files_of_a_result(plan, published.publish(plan).root)
    content = unseal(record.read_bytes())
    assert content is not None
    write_atomic(record, seal(content | {"schema": 2}))
    (record_of_en,) = record.parent.glob("en-*.json")
    published.flip(record_of_en, 3, 1)
    assert [of_result.moved for of_result in published.collected(plan).set_aside] == [False, True]


def test_what_was_set_aside_of_an_encoder_before_is_only_missing_of_the_new_one(workspace: Workspace) -> None:
    plan = workspace.plan()
    record, _, result = published.files_of_a_result(plan, published.publish(plan).root)
    published.flip(record, 3, 1)
    assert published.states(published.collected(plan)) == {"scored": 23, "set aside": 1}
    content = unseal(result.read_bytes())
    assert content is not None
    write_atomic(result, seal(content | {"encoder_hash": f"sha256:{'e' * 64}"}))  # trained anew
    collection = published.collected(plan)
    assert published.states(collection) == {"scored": 21, "missing": 3} and not collection.set_aside


@pytest.mark.parametrize("field", ["key", "language", "generation"])
def test_a_result_in_anothers_place_does_not_count(workspace: Workspace, field: str) -> None:
    plan = workspace.plan()
    record, _, _ = published.files_of_a_result(plan, published.publish(plan).root)
    content = unseal(record.read_bytes())
    assert content is not None
    write_atomic(record, seal(content | {field: "other"}))
    (aside,) = published.collected(plan).set_aside
    assert aside.why.startswith("is of another ") and aside.moved


def test_a_lost_result_of_a_training_leaves_its_scores(workspace: Workspace) -> None:
    """They count; what is not known any more is what it cost, and whether it diverged."""
    plan = workspace.plan()
    _, _, result = published.files_of_a_result(plan, published.publish(plan).root)
    result.unlink()
    collection = published.collected(plan)
    assert published.states(collection) == {"scored": 24}
    (unknown,) = {row.stage for row in collection.rows if row.path_train_seconds is None}
    assert unknown == plan.paths["squad", "xnli", 1]
