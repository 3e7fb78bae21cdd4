"""`stepstone export`: an experiment's predictions as folders in XTREME's submission layout."""

import json
import os
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.tables import export
from eval.tables.baseline import AFTER_LABEL, split, with_label
from launch.experiment import recipes
from launch.plan import Plan, Stage, TargetDefinition
from launch.store import Store
from launch.store.artifacts import LanguageScores
from launch.text import as_typed, some
from slurm.base import UsageError, UserError
from slurm.base.files import make_folder
from training import formats
from training.data.load import load_language
from training.data.splits import NAME as SPLITS
from training.data.splits import read_splits

_LISTED = 12  # languages; what is more is counted
Entries = dict[str, Stage]  # by target


@dataclass(frozen=True)
class Submission:
    """A folder that was written. `missing`: what is not finished; `partial`: what is of a part of a published test set
    or of other examples, or may be; both in words, "" where there is nothing."""

    folder: Path
    missing: str
    partial: str


def write(plan: Plan, out: Path, recipe: str | None, seed: int | None) -> Iterator[Submission]:
    """Write a folder below `out` for every recipe and seed (or only these).

    UserError where such a folder is there already, or where nothing is finished; then nothing is written.
    """
    store = Store(plan.experiment.store)
    entries_by_folder = _chosen(plan, recipe, seed)
    finished_entries = {
        name: entries for name, entries in entries_by_folder.items() if _has_begun(plan, store, entries)
    }
    if not finished_entries:
        file = as_typed(plan.experiment.path)
        raise UserError(f"nothing to export is finished; `stepstone status {file}` says why")
    for name in finished_entries:
        if (out / name).exists():
            raise UserError(f"{out / name}: exists already; remove it, or export into another folder")
    make_folder(out, "OUT")
    for name, entries in finished_entries.items():
        yield _write_folder(plan, store, out / name, entries)


def _has_begun(plan: Plan, store: Store, entries: Entries) -> bool:
    """Whether anything of a folder is finished: of a seed that a race may never want, anything of that seed alone."""
    seeds = {stage.seed for stage in entries.values()} - {None}
    are_optional = bool(seeds) and seeds <= set(plan.experiment.optional_seeds)
    return any(_results(plan, store, stage) for stage in entries.values() if stage.seed is not None or not are_optional)


def folder_name(recipe: str, seed: int) -> str:
    """`squad > a + b`, seed 1 → `squad.a+b-s1`; `large: squad` → `large/squad-s1`."""
    model, text = split(recipe)
    folder = f"{text.replace(' > ', '.').replace(' + ', '+')}-s{seed}"
    return f"{model}/{folder}" if model else folder


def _chosen(plan: Plan, recipe: str | None, seed: int | None) -> dict[str, Entries]:
    """The evaluate stages by folder name and target; UsageError where the experiment has no such recipe or seed."""
    recipe_names = _names(plan, recipe) if recipe else None
    entries: dict[str, Entries] = {}
    for (name, target, number), key in plan.paths.items():
        if (recipe_names is None or name in recipe_names) and (seed is None or number == seed):
            entries.setdefault(folder_name(name, number), {})[target] = plan.stages[key]
    if not entries:
        selection = " with ".join([f"recipe '{recipe}'"] * bool(recipe) + [f"seed {seed}"] * (seed is not None))
        raise UsageError(
            f"{plan.experiment.path}: there is no {selection} in this experiment; `stepstone plan` shows all"
        )
    return entries


def _names(plan: Plan, text: str) -> set[str]:
    """Of the recipes that a person means: from the start model whose label stands before them, else from all."""
    model, _, recipe = text.rpartition(AFTER_LABEL.strip())  # with blanks as people put them
    models = [model.strip()] if model else plan.starts
    return {with_label(label, recipes.show(expansion)) for label in models for expansion in recipes.expand(recipe)}


def _write_folder(plan: Plan, store: Store, folder: Path, entries: Entries) -> Submission:
    """All files of one submission, put in place at once."""
    make_folder(folder.parent, "OUT")
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    missing, partial = [], []
    try:
        for target, stage in entries.items():
            definition = plan.targets[target]
            counts = {}
            for language, result in _results(plan, store, stage).items():
                path = temporary / export.file_name(target, definition.task.metric_family, language)
                path.parent.mkdir(parents=True, exist_ok=True)
                records = _records(store, stage, result)
                path.write_text(_content(plan, stage, language, records), encoding="utf-8")
                counts[language] = export.count(definition.task.metric_family, records)
            without = [code for code in definition.languages if code not in counts]
            missing += [f"{target} {some(without, _LISTED)}"] if without else []
            partial += _partial(plan, definition, counts)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Submission(folder, "; ".join(missing), "; ".join(partial))


def _partial(plan: Plan, definition: TargetDefinition, counts: dict[str, int | None]) -> list[str]:
    """Which languages' predictions are not, or may not be, of the whole published test set, and what says so."""
    task, root, limit = definition.task, plan.experiment.data_root, plan.experiment.max_eval
    if task.added:  # the scorer knows nothing of it
        return []
    other_files = root is not None and read_splits(root).get(task.name, task.files).test != task.files.test
    reason = f"max_eval {limit}" if limit else f"{SPLITS} names the files" if other_files else ""
    languages_by_size: dict[str, list[str]] = defaultdict(list)
    for language, count in counts.items():
        published_size = task.test_size(language)
        if count is None or published_size is None:
            if reason:
                languages_by_size["not known how many of the published examples"].append(language)
        elif count != published_size:
            languages_by_size[f"{count:,} of {published_size:,} examples"].append(language)
        elif other_files:
            languages_by_size["as many examples as published"].append(language)
    return [
        f"{task.name} {some(codes, _LISTED)}: {text}" + (f" ({reason})" if reason else "")
        for text, codes in languages_by_size.items()
    ]


def _results(plan: Plan, store: Store, stage: Stage) -> dict[str, LanguageScores]:
    """By language; without those of which there is dev data alone (BUCC), for no submission holds such predictions."""
    definition = plan.by_digest[stage.definition]
    results = store.language_results(plan, stage)
    form = formats.get(definition.task.format)
    return {code: result for code, result in results.items() if form.has_test(definition.languages[code])}


def _content(plan: Plan, stage: Stage, language: str, records: list[dict[str, Any]]) -> str:
    spec, task = plan.evaluate_spec(stage), plan.by_digest[stage.definition].task
    english: dict[str, str] = {}
    if export.needs_english(task.metric_family):
        examples: list[Any] = load_language(
            task, language, spec.languages[language], spec.max_eval, skip_bad_rows=spec.skip_bad_rows
        )
        english = {example.id: example.english for example in examples}
    return export.content(task.name, task.metric_family, records, english)


def _records(store: Store, stage: Stage, result: LanguageScores) -> list[dict[str, Any]]:
    folder = store.stage_folder(stage.folder) / "languages" / result.generation
    with (folder / result.predictions).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
