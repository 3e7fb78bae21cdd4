"""Two experiment files of one name in one store: neither takes the other's table away."""

from pathlib import Path

import pytest

from launch import experiment, report
from launch import plan as planning
from launch.collecting import collecting
from launch.merging import Collected, collect
from launch.plan import Plan
from launch.report import figures
from launch.store import Store, collects
from slurm.base import UsageError
from tests.launch.merging.published import publish
from tests.launch.workspace import Workspace


def _collect(plan: Plan) -> Collected:
    return collect(plan, Store(plan.experiment.store))


def _of(path: Path) -> Plan:
    return planning.make(experiment.load(path))


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "collected.json"}


def _two(workspace: Workspace) -> tuple[Plan, Plan]:
    """The first is collected, the second asks for less."""
    first = _of(workspace.file("first.yaml"))
    publish(first)
    _collect(first)
    return first, _of(workspace.file("second.yaml", seeds=["1"]))


def test_another_file_of_that_name_writes_nothing(workspace: Workspace) -> None:
    first, second = _two(workspace)
    folder = collects.results_folder(first.experiment.store, "small")
    contents = _contents(folder)
    with pytest.raises(UsageError, match=r"first\.yaml, which has the same `name:` .* into .*second\.yaml$"):
        _collect(second)
    with pytest.raises(UsageError, match=r"holds the table of .*first\.yaml"):
        report.write(second)
    with pytest.raises(UsageError, match=r"holds the table of .*first\.yaml"):
        figures.write(second, None, 5.5, ("pdf",))
    second.experiment.path.unlink()
    note = collecting.collect(collects.request_of(second), "job 7")  # sent before, and its file is gone
    assert note.error.startswith(f"{folder}: holds the table of")
    assert _contents(folder) == contents
    assert collect(second, Store(second.experiment.store), write=False).rows
    renamed = _of(workspace.file("second.yaml", seeds=["1"], name="smaller"))
    assert _collect(renamed).changed and _contents(folder) == contents


def test_the_file_itself_may_change(workspace: Workspace) -> None:
    _two(workspace)
    assert _collect(_of(workspace.file("first.yaml", seeds=["1"]))).changed


def test_a_copy_has_the_same_table_until_it_asks_for_others(workspace: Workspace) -> None:
    _two(workspace)
    assert not _collect(_of(workspace.file("copy.yaml"))).changed
    with pytest.raises(UsageError):
        _collect(_of(workspace.file("copy.yaml", seeds=["2"])))


@pytest.mark.parametrize("becomes", ["gone", "renamed", "of another store", "a link to it"])
def test_a_file_that_no_longer_asks_for_it_leaves_it(workspace: Workspace, becomes: str) -> None:
    first, second = _two(workspace)
    path = first.experiment.path
    if becomes == "gone":
        path.unlink()
    elif becomes == "renamed":
        workspace.file("first.yaml", name="large")
    elif becomes == "of another store":
        workspace.file("first.yaml", store="./elsewhere")
    else:
        path.unlink()
        path.symlink_to(second.experiment.path)
    assert _collect(second).changed
    workspace.file("third.yaml", seeds=["2"])
    with pytest.raises(UsageError, match=r"second\.yaml, which"):
        _collect(_of(workspace.root / "third.yaml"))


@pytest.mark.parametrize("content", ["name: [", ""])
def test_a_half_written_file_keeps_it(workspace: Workspace, content: str) -> None:
    first, second = _two(workspace)
    first.experiment.path.write_text(content)
    with pytest.raises(UsageError, match="holds the table"):
        _collect(second)


def test_a_store_of_before_is_of_who_collects_next(workspace: Workspace) -> None:
    first, second = _two(workspace)
    folder = collects.results_folder(first.experiment.store, "small")
    (folder / "experiment.json").unlink()
    assert not _collect(first).changed and (folder / "experiment.json").exists()
    with pytest.raises(UsageError):
        _collect(second)
