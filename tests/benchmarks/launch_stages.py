"""`plan` and `status` at 100,000 stages, nearly all finished, the rest in the queue of the scripted scheduler.

python -m tests.benchmarks.launch_stages make FOLDER SEEDS     # the experiment, and results as jobs publish them
python -m tests.benchmarks.launch_stages measure FOLDER        # one line of JSON; twice: cold, then warm
"""

import gc
import hashlib
import io
import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console

from launch import experiment
from launch import plan as planning
from launch.demo import data
from launch.plan import Plan, Stage
from launch.show import status
from launch.status import Observation
from launch.store import Store, artifacts
from launch.store.artifacts import generation_of
from launch.submit import submit
from slurm.base.files import make_folder, seal, to_json, write_atomic
from tests.slurm.scripted import Limits, Scheduler
from training.pretrained import small

EXPERIMENT = """\
name: many
store: ./store
model: ./model
recipes: ["orders(mnli, squad, hellaswag)"]
targets: [xnli, panx, tydiqa, tatoeba]
languages: {{xnli: [de], panx: [de], tydiqa: [ru], tatoeba: [de]}}
seeds: {seeds}
data: {{root: ./data}}
cluster: {{executor: slurm, gpus-per-node: 1}}
"""
_IN_QUEUE = 100  # every so many-th seed is not done


def main() -> None:
    """`make` or `measure`."""
    what, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    if what == "make":
        _make(folder, int(sys.argv[3]))
    else:
        print(json.dumps(_measure(folder)))


def _plan(folder: Path) -> Plan:
    gc.disable()  # as the commands do
    return planning.make(experiment.load(folder / "experiment.yaml"))


def _make(folder: Path, seeds: int) -> None:
    small.tiny(folder / "model")
    data.write(folder / "data")
    (folder / "experiment.yaml").write_text(EXPERIMENT.format(seeds=list(range(seeds))))
    plan = _plan(folder)
    with (
        mock.patch.object(os, "fsync", lambda descriptor: None),
        mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")),
    ):
        kept = Store(plan.experiment.store)
        for stage in plan.stages.values():
            if stage.seed is None or stage.seed % _IN_QUEUE:
                _finish(plan, kept, stage)
        scheduler = Scheduler(limits=Limits(array_size=1001, jobs=1_000_000))
        with scheduler.installed():
            submit(plan)
    shutil.rmtree(plan.experiment.store / "index", ignore_errors=True)  # the first look is to be a cold one
    # The queue as squeue will print it again in `measure`.
    (folder / "scripts.json").write_text(json.dumps([array.script for array in scheduler.arrays]))


def _finish(plan: Plan, kept: Store, stage: Stage) -> None:
    """A stage's attempt and result, without the encoder's files: nothing here looks at them."""
    folder = make_folder(kept.stage_folder(stage.folder))
    attempt = make_folder(folder / "attempts" / "0001")
    write_atomic(attempt / "starter.json", to_json({"job": "1_1", "time": 1000.0}))
    write_atomic(attempt / "end.json", to_json({"failure": None, "time": 1060.0}))
    trained = stage.key if stage.kind == "train" else stage.parent or ""
    digest = hashlib.sha256(trained.encode()).hexdigest()
    if stage.kind == "train":
        record: dict[str, Any] = {"key": stage.key, "encoder_hash": f"sha256:{digest}", "dev_score": 50.0}
        write_atomic(folder / "result.json", seal(record | {"attempt": "attempts/0001", "files": {}, "at_chance": []}))
        return
    generation = generation_of(f"sha256:{digest}" if stage.parent else plan.start_of(stage).identity)
    definition = plan.by_digest[stage.definition]
    for code, split in definition.languages.items():
        result = {"language": code, "generation": generation, "scores": {definition.task.metric: 50.0}, "code": "c"}
        artifacts.publish_language(folder, generation, code, split, result | {"examples": 1}, b"{}\n")


def _measure(folder: Path) -> dict[str, Any]:
    scheduler = Scheduler(limits=Limits(array_size=1001, jobs=1_000_000))
    with scheduler.installed(), mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")):
        for script in json.loads((folder / "scripts.json").read_text()):
            scheduler.accept(script)
        begun = time.monotonic()
        plan = _plan(folder)
        planned = time.monotonic()
        kept = Store(plan.experiment.store)
        seen = Observation(plan, kept)
        looked = time.monotonic()
        status.print_all(plan, kept, seen, Console(file=io.StringIO(), width=100))
        shown = time.monotonic()
    return {
        "stages": len(plan.stages), "states": {name: count for name, count in seen.counts().items() if count},
        "plan": planned - begun, "look": looked - planned, "show": shown - looked, "status": shown - begun,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "calls": dict(scheduler.calls),
    }  # fmt: skip


if __name__ == "__main__":
    main()
