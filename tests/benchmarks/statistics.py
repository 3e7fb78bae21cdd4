"""`make bench-statistics`: how long `stepstone table` and `report` take of a grid of a paper's size.

14 recipes x XTREME's nine targets in all of their languages x 5 seeds, each test set as large as the published one, all
made up. The store has the records that jobs publish and what examples contribute as `cache/contributions` keeps it
(warm); of one run of each target also its predictions, from which the contributions are worked out (cold).
"""

import argparse
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from rich.console import Console

from launch import experiment
from launch import plan as planning
from launch.merging import collect
from launch.plan import Plan, Stage
from launch.report import writing
from launch.results import contributions, sheets, table
from launch.results.compared import compared
from launch.results.sheets import Options
from launch.show import tables
from launch.store import Store, artifacts
from launch.store.artifacts import generation_of
from launch.store.store import contributions_folder
from slurm.base.files import make_folder, seal, write_atomic
from tests.benchmarks.statistics_predictions import lines_of
from training.pretrained import small
from training.tasks import find

EXPERIMENT = """\
name: paper
store: ./store
model: ./model
recipes: [none, anli_plus, mnli, qqp, squad_v2, squad, hellaswag, commonsense_qa, mnli > squad, squad > mnli,
  mnli > hellaswag, squad > hellaswag, hellaswag > mnli, hellaswag > squad]
targets: [xnli, pawsx, udpos, panx, xquad, mlqa, tydiqa, bucc, tatoeba]
seeds: {seeds}
data: {{root: ./data, revisions: {{google/xtreme: ec5f1f46e9af79639a90684a7a70a956c4998f04}}}}
cluster: {{executor: local}}
"""
# Examples of each language's test set, where they differ: as published, in thousands where the task's table is rounded.
_SIZES = {"xnli": 5010, "pawsx": 2000, "udpos": 1000, "xquad": 1190, "bucc": 9000}
_MLQA = {"en": 11590, "de": 4517, "es": 5253, "ar": 5335, "hi": 4918, "vi": 5495, "zh": 5137}
_UDPOS = {"de": 22458, "fr": 9465, "en": 5440, "tl": 55, "mr": 47, "yo": 100}


def size_of(target: str, code: str) -> int:
    """How many test examples a language has."""
    task = find(target)
    if target in _SIZES:
        return _UDPOS.get(code, _SIZES[target]) if target == "udpos" else _SIZES[target]
    if target == "mlqa":
        return _MLQA[code]
    name = {"tatoeba": f"tatoeba.{task.iso3.get(code, code)}/validation", "tydiqa": f"{code}/validation"}
    return task.sizes[name.get(target, f"{code}/test")]


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the test sets")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "WHAT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(_measure(Path(arguments.measure[0]), arguments.measure[1])))
        return
    with tempfile.TemporaryDirectory() as name, mock.patch.object(os, "fsync", lambda descriptor: None):
        folder = Path(name)
        _make(folder, arguments.seeds, arguments.scale)
        for what in ("cold", "statistics", "table", "by family", "all languages", "report"):
            _show(what, folder)


def _show(what: str, folder: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.statistics", "--measure", str(folder), what]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    for line, facts in json.loads(done.stdout).items():
        print(f"{line:48}" + "  ".join(f"{name} {value:,.2f}" for name, value in facts.items()), flush=True)


# --- the store


def _make(folder: Path, seeds: int, scale: float) -> None:
    small.tiny(folder / "model")
    make_folder(folder / "data" / "bucc2018")
    for code in find("bucc").languages:  # the only target that is not on the Hub
        for split in ("dev", "test"):
            for suffix, text in ((code, "a\tb\n"), ("en", "A\tB\n"), ("gold", "a\tA\n")):
                (folder / f"data/bucc2018/{code}-en.{split}.{suffix}").write_text(text, encoding="utf-8")
    seed_list = list(range(1, seeds + 1))
    (folder / "experiment.yaml").write_text(EXPERIMENT.format(seeds=seed_list), encoding="utf-8")
    plan = _plan(folder)
    store = Store(plan.experiment.store)
    with_predictions = {plan.paths["none", target, seed_list[0]] for target in plan.targets}
    for number, stage in enumerate(plan.stages.values()):
        _finish(plan, store, stage, np.random.default_rng(number), scale, predicted=stage.key in with_predictions)


def _plan(folder: Path) -> Plan:
    return planning.make(experiment.load(folder / "experiment.yaml"))


def _finish(
    plan: Plan, store: Store, stage: Stage, random: np.random.Generator, scale: float, *, predicted: bool
) -> None:
    folder = make_folder(store.stage_folder(stage.folder))
    trained = stage.key if stage.kind == "train" else stage.parent or ""
    digest = hashlib.sha256(trained.encode()).hexdigest()
    if stage.kind == "train":
        record = {"key": stage.key, "encoder_hash": f"sha256:{digest}", "dev_score": 50.0, "at_chance": []}
        write_atomic(folder / "result.json", seal(record))
        return
    generation = generation_of(f"sha256:{digest}" if stage.parent else plan.start_of(stage).identity)
    definition = plan.by_digest[stage.definition]
    task, kept = definition.task, {}
    skill = 0.6 + 0.1 * random.random()
    for code, split in definition.languages.items():
        examples = max(20, round(scale * size_of(task.name, code)))
        lines, language, score = lines_of(task.metric_family, code, examples, skill, random, predicted)
        facts = {"scores": {task.metric: score}, "examples": examples, "generation": generation, "code": "c"}
        artifacts.publish_language(folder, generation, code, split, facts, lines)
        kept[artifacts.read_language(folder, generation, code, split).predictions] = language  # type: ignore[union-attr]
    if not predicted:
        path = contributions_folder(store.root) / f"{stage.key}-{generation}-{task.metric}.arrays"
        make_folder(path.parent)
        write_atomic(path, contributions._content(kept))


# --- what is measured


def _measure(folder: Path, what: str) -> dict[str, dict[str, float]]:
    begun = time.monotonic()
    plan = _plan(folder)
    store = Store(plan.experiment.store)
    measured = dict(_cold(plan, store)) if what == "cold" else {what: _warm(plan, store, what)}
    if what != "cold":
        measured[what] = {"seconds": time.monotonic() - begun, "of processors": _processor_seconds()} | measured[what]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return measured | {f"{what}: peak": {"GiB": peak}}


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _cold(plan: Plan, store: Store) -> Iterator[tuple[str, dict[str, float]]]:
    total = 0.0
    for (recipe, target, seed), key in plan.paths.items():
        if recipe == "none" and seed in (None, plan.experiment.seeds[0]):
            begun = _processor_seconds()
            languages = contributions.of_stage(plan, store, plan.stages[key], plan.targets[target].task.metric)
            total += _processor_seconds() - begun
            examples = sum(len(language.parts) for language in languages.values())
            assert len(languages) == len(plan.targets[target].languages), target
            yield (
                f"cold, a run on {target}",
                {"of a processor": _processor_seconds() - begun, "examples": float(examples)},
            )
    runs = len(table.recipe_names(plan)) * len(plan.experiment.seeds)
    yield "cold, a run on all; all runs, by that", {"of a processor": total, "minutes": total * runs / 60}


def _warm(plan: Plan, store: Store, what: str) -> dict[str, float]:
    if what == "report":
        return {"MB": writing.write(plan).stat().st_size / 1e6}
    rows = collect(plan, store, write=False).rows
    if what == "statistics":
        begun = time.monotonic()
        comparisons = compared(plan, store, rows, table.metrics(plan, rows))
        assert all(comparison.over_examples for comparison in comparisons.values())
        return {"of them compared()": time.monotonic() - begun, "cells": float(len(comparisons))}
    options = {
        "table": Options(intervals=True),
        "by family": Options(by="family"),
        "all languages": Options(languages="all"),
    }[what]
    all_sheets = sheets.of_plan(plan, store, rows, options)
    tables.print_tables(all_sheets, Console(file=io.StringIO(), width=100))
    return {"sheets": float(len(all_sheets))}


if __name__ == "__main__":
    main()
