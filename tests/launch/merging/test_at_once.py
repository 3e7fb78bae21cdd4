"""Several collectors, beside jobs that publish and disks that damage: no good result is ever taken away."""

import subprocess
import sys
import time
from pathlib import Path

import polars
import pytest

from launch.merging import collect
from launch.plan import Plan
from launch.store import Store
from tests.launch.merging import published
from tests.launch.workspace import Workspace
from tests.paths import ROOT

pytestmark = pytest.mark.slow

_COLLECTOR = """
import sys
from pathlib import Path
from launch import experiment, plan
from launch.merging import collect
from launch.store import Store
made = plan.make(experiment.load(Path(sys.argv[1])))
while not Path(sys.argv[2]).exists():
    collect(made, Store(made.experiment.store))
"""


def _start(file: Path, stop: Path) -> list[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _COLLECTOR, str(file), str(stop)]
    return [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]


def _end(collectors: list[subprocess.Popen[bytes]], stop: Path) -> None:
    stop.touch()
    for collector in collectors:
        _, errors = collector.communicate(timeout=120)
        assert collector.returncode == 0, errors.decode()


def _damaged(plan: Plan) -> list[Path]:
    return list(plan.experiment.store.glob("stages/**/*.quarantined"))


@pytest.mark.parametrize("damages", [False, True])
def test_collectors_beside_jobs(workspace: Workspace, damages: bool) -> None:
    """Languages are published one by one while three collectors are at work; some are damaged at once."""
    file = workspace.file()
    plan = workspace.plan()
    stop, store = workspace.root / "stop", Store(plan.experiment.store)
    for stage in plan.stages.values():
        if stage.kind == "train":
            published.publish_training(store, stage)
    collectors = _start(file, stop)
    damaged, path = 0, plan.experiment.store / "results" / "small" / "results.parquet"
    for stage in (stage for stage in plan.stages.values() if stage.kind == "evaluate"):
        for number, language in enumerate(plan.by_digest[stage.definition].languages):
            assert published.publish_language(plan, store, stage, language)
            if damages and number == 0:
                (record,) = (store.stage_folder(stage.folder) / "languages").rglob(f"{language}-*.json")
                record.write_bytes(record.read_bytes().replace(b'"scores"', b'"Scores"'))
                damaged += 1
            time.sleep(0.2)
            if path.exists():
                # Whole at every moment. Of a path polars opens the file more than once, so that two tables could mix.
                polars.read_parquet(path.read_bytes())
    time.sleep(3)
    _end(collectors, stop)
    collection = collect(plan, Store(plan.experiment.store))
    assert len(_damaged(plan)) == damaged == len(collection.set_aside)
    assert len(collection.missing) == damaged
    everything = collect(plan, Store(plan.experiment.store), verify=True)
    assert everything.table.equals(collection.table) and not everything.changed


def test_one_that_saw_damage_does_not_take_what_came_since(workspace: Workspace) -> None:
    """Many set the same aside, while its job publishes it anew each time."""
    file = workspace.file(recipes=["none"], targets=["xnli"], seeds=["1"])
    plan = workspace.plan(recipes=["none"], targets=["xnli"], seeds=["1"])
    stop, store = workspace.root / "stop", published.publish(plan)
    (stage,) = (stage for stage in plan.stages.values() if stage.kind == "evaluate")
    (record,) = (store.stage_folder(stage.folder) / "languages").rglob("de-*.json")
    collectors = _start(file, stop)
    for _ in range(30):
        record.write_bytes(record.read_bytes()[:-2])
        patience = time.monotonic() + 60
        while not published.publish_language(plan, store, stage, "de"):
            assert time.monotonic() < patience
            time.sleep(0.01)
    _end(collectors, stop)
    collection = collect(plan, Store(plan.experiment.store))
    assert collection.set_aside == () and collection.missing == []
    # Each damage was set aside by a collector, or put aside by the job that came after it.
    assert len(_damaged(plan)) == 30
