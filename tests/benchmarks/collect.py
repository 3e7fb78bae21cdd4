"""`make bench-collect`: `stepstone collect` of 100,000 result files, the real command beside the obvious pandas loop.

python -m tests.benchmarks.collect [RESULTS]     # how many results, of one language each; a record and predictions each

The grid is a paper's: 16 recipes by 5 targets in 111 languages, over as many seeds as it takes. Predictions are of 40
examples: to hash larger ones takes as long as reading them.
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from launch import experiment
from launch import plan as planning
from launch.plan import Plan, Stage
from launch.store import Store, artifacts
from launch.store.artifacts import generation_of
from slurm.base.files import make_folder, seal, write_atomic
from tests.launch import workspace
from training.tasks import find
from training.tasks.languages import ISO3

RESULTS = 100_000
TARGETS = ("xnli", "xquad", "tydiqa", "panx", "tatoeba")
RECIPES = ["none", "subsets(mnli, squad, hellaswag, qqp)"]
_NEW = 100  # every so many-th stage comes later
_EXAMPLES = 40
_SCORES = ("f1", "exact_match", "f1_corrected", "exact_match_corrected")
# The obvious loop: what one writes in a notebook. It verifies nothing.
_PANDAS = """
import glob, json, sys
import pandas
rows = []
for path in glob.glob(sys.argv[1] + "/stages/*/languages/*/*.json"):
    with open(path) as file:
        record = json.load(file)
    for metric, score in record.pop("scores").items():
        rows.append({**record, "metric": metric, "score": score})
pandas.DataFrame(rows).to_parquet(sys.argv[2])
print(len(rows))
"""


@dataclass(frozen=True)
class Measured:
    """One command: by the clock, of all its processors, and of its largest process in GiB."""

    name: str
    seconds: float
    cpu_seconds: float
    peak: float


def main() -> None:
    """Prints a table in Markdown."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for line in report(folder, count):
            print(line, flush=True)


def report(folder: Path, count: int) -> Iterator[str]:
    """Make the store, then measure."""
    store_root, late_keys = _make(folder, count)
    files = sum(1 for _ in store_root.glob("stages/*/languages/*/*.json"))
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    yield f"{files:,} results, and as many files of predictions; {load}\n"
    stepstone = [str(Path(sys.executable).parent / "stepstone"), "collect", str(folder / "experiment.yaml")]
    loop = _run("pandas", [sys.executable, "-c", _PANDAS, str(store_root), str(folder / "loop.parquet")])
    first = _run("first merge", stepstone)
    nothing_new = _median([_run("nothing new", stepstone) for _ in range(3)])
    _publish_all(folder, late_keys)
    one_percent = _run("1 % new", stepstone)
    verified = _run("--verify, all hashed again", [*stepstone, "--verify"])
    yield "| | seconds | of the loop's | CPU seconds | peak, GiB |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for measured in (loop, first, nothing_new, one_percent, verified):
        yield (
            f"| {measured.name} | {measured.seconds:.1f} | {measured.seconds / loop.seconds:.2f} |"
            f" {measured.cpu_seconds:.1f} | {measured.peak:.2f} |"
        )
    yield f"\nload {os.getloadavg()[0]:.1f} at the end"


def _run(name: str, command: Sequence[str]) -> Measured:
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    assert os.waitstatus_to_exitcode(status) == 0, command
    return Measured(name, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def _median(runs: Sequence[Measured]) -> Measured:
    middle = statistics.median_low([run.seconds for run in runs])
    return next(run for run in runs if run.seconds == middle)


def _make(folder: Path, count: int) -> tuple[Path, list[str]]:
    """The experiment and its results, but of one stage in a hundred: the store, and which stages these are."""
    _write_data(workspace.make(folder).root / "data")
    languages = sum(len(find(target).languages) for target in TARGETS)
    seeds = max(1, round(count / (16 * languages)))
    content = workspace.BASE | {"recipes": RECIPES, "targets": list(TARGETS), "seeds": [str(n) for n in range(seeds)]}
    (folder / "experiment.yaml").write_text(json.dumps(content), encoding="utf-8")
    plan = _plan(folder)
    store = Store(plan.experiment.store)
    late_keys: list[str] = []
    with mock.patch.object(os, "fsync", lambda descriptor: None):
        for number, stage in enumerate(plan.stages.values(), start=1):
            if stage.kind == "train":
                _publish_training(store, stage)
            elif number % _NEW == 0:
                late_keys.append(stage.key)
            else:
                _publish_languages(plan, store, stage)
    return store.root, late_keys


def _plan(folder: Path) -> Plan:
    gc.disable()  # as the commands do
    return planning.make(experiment.load(folder / "experiment.yaml"))


def _write_data(folder: Path) -> None:
    """Of every language of the targets; what is in them plays no part."""
    tydiqa = "tydiqa: {train: [squad.json], dev: [squad.json], test: ['xquad-{lang}.json']}\n"
    (folder / "splits.yaml").write_text(workspace.SPLITS + tydiqa, encoding="utf-8")
    sources = {"xnli": "xnli-{}.tsv", "xquad": "xquad-{}.json", "tydiqa": "xquad-{}.json", "panx": "panx-{}.tsv"}
    for target, name in sources.items():
        content = (folder / name.format("de")).read_bytes()
        for language in find(target).languages:
            (folder / name.format(language)).write_bytes(content)
    for language in find("tatoeba").languages:
        for ending in ("", ".eng"):
            (folder / f"tatoeba.{ISO3[language]}{ending}").write_text("Eins.\nZwei.\n", encoding="utf-8")


def _publish_training(store: Store, stage: Stage) -> None:
    record: dict[str, Any] = {
        "schema": 1, "kind": "train", "key": stage.key, "encoder_hash": _encoder_hash(stage.key), "dev_score": 50.0,
        "attempt": "attempts/0001", "files": {}, "at_chance": [], "steps": 1000, "seconds": 600.0, "world_size": 1,
        "device": "cuda", "code": "0123456789abcdef",
    }  # fmt: skip
    folder = make_folder(store.stage_folder(stage.folder))
    write_atomic(folder / "result.json", seal(record))


def _encoder_hash(key: str) -> str:
    return f"sha256:{key * 4}"


def _publish_languages(plan: Plan, store: Store, stage: Stage) -> None:
    """As a job does, all fields included."""
    target = plan.by_digest[stage.definition]
    generation = generation_of(_encoder_hash(stage.parent) if stage.parent else plan.start_of(stage).identity)
    names = _SCORES if target.task.corrected == "f1_corrected" else (target.task.metric,)
    versions = {name: "1.2.3" for name in ("python", "torch", "transformers", "tokenizers", "deepspeed", "numpy")}
    for number, (language, split) in enumerate(target.languages.items()):
        record = {
            "schema": 1, "kind": "evaluate", "key": stage.key, "language": language, "generation": generation,
            "scores": {name: 40 + (int(stage.key, 16) + number) % 977 / 31 for name in names}, "seconds": 12.5,
            "examples": _EXAMPLES, "attempt": "attempts/0001", "code": "0123456789abcdef", "cores": 8,
            "device_name": "NVIDIA A100-SXM4-40GB", "runtime": {"device": "cuda", "token_budget": 16384},
            "made_by": {"job": "1234_5", "host": "node17", "pid": 4711, "time": 1795753502.5}, "versions": versions,
        }  # fmt: skip
        lines = "".join(
            json.dumps({"id": f"{stage.key}-{language}-{n}", "prediction": "entailment", "gold": "neutral"}) + "\n"
            for n in range(_EXAMPLES)
        )
        folder = store.stage_folder(stage.folder)
        artifacts.publish_language(folder, generation, language, split, record, lines.encode())


def _publish_all(folder: Path, late_keys: Sequence[str]) -> None:
    plan = _plan(folder)
    store = Store(plan.experiment.store)
    with mock.patch.object(os, "fsync", lambda descriptor: None):
        for key in late_keys:
            _publish_languages(plan, store, plan.stages[key])
    time.sleep(2.5)  # else what is as young is read once more next time


if __name__ == "__main__":
    main()
