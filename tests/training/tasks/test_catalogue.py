"""The catalogue: names, labels, pins, presets."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eval import metrics
from slurm.base import UsageError
from tests.paths import ROOT
from training import formats
from training.spec import SETTING_NAMES, Settings
from training.tasks import Task, catalogue

TASKS = list(catalogue.TASKS.values())
NLI = ("mnli", "anli", "xnli")


def test_every_name_of_the_study_is_there() -> None:
    assert {*catalogue.INTERMEDIATE, *catalogue.TARGETS, "squad_retrieval"} == set(catalogue.TASKS)


def test_translated_training_data_are_a_task_in_the_same_form() -> None:
    task, base = catalogue.find("squad@de"), catalogue.find("squad")
    assert (task.name, task.format, task.files.dev) == ("squad@de", base.format, base.files.dev)
    assert [file.path for file in task.files.train] == ["translate-train/de/squad/train-v1.1.json"]
    for wrong in ("squad@", "squad@German", "xnli@de", "squad@de@fr", "nothing@de"):
        with pytest.raises(UsageError, match="unknown"):
            catalogue.find(wrong)
    with pytest.raises(UsageError, match="translate its parts"):
        catalogue.find("anli_plus@de")


def test_anli_plus_is_sources_of_one_meaning() -> None:
    task = catalogue.find("anli_plus")
    for name in task.sources:
        source = catalogue.find(name)
        assert (source.format, source.labels, source.metric) == (task.format, task.labels, task.metric)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("task = replace(find('mnli'), name='theirs')", "theirs added"),
        ("def task(): return replace(find('mnli'), name='theirs')", "theirs added"),
        ("task = replace(find('mnli'), name='xnli')", "its task's name xnli is taken; mend or uninstall their-tasks"),
        ("def task(): return 3", "it gives a int, not a training.tasks.Task; mend or uninstall their-tasks"),
        (
            "import nothing_of_this_name",
            "ModuleNotFoundError: No module named 'nothing_of_this_name'; mend or",
        ),
    ],
)
def test_an_installed_package_adds_tasks(code: str, said: str, tmp_path: Path) -> None:
    """As pip leaves it: a module, and metadata that names the entry point."""
    (tmp_path / "their_tasks.py").write_text(
        "from dataclasses import replace\nfrom training.tasks import Task\nfrom training.tasks.entries import ENTRIES\n"
        f"find = {{task.name: task for task in ENTRIES}}.get\n{code}\n"
    )
    metadata = tmp_path / "their_tasks-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-tasks\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[stepstone.tasks]\ntheirs = their_tasks:task\n")
    program = (
        "from slurm.base import UserError\nfrom training.tasks import find\n"
        "try:\n    task = find('theirs')\n    print(task.name, 'added' * task.added)\n"
        "except UserError as error:\n    print(error)\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert said in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("wrong", "right"), [("xnil", "xnli"), ("squad2", "squad"), ("helaswag", "hellaswag")])
def test_an_unknown_name_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UsageError, match=rf"{wrong}: unknown; did you mean {right}\?"):
        catalogue.find(wrong)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_an_entry_is_whole(task: Task) -> None:
    assert formats.get(task.format).name == task.format
    assert task.sources or set(task.label_map.values()) == set(task.labels)
    assert (task.name in catalogue.TARGETS) == bool(task.languages) == (task.training_path is not None)
    assert task.trains or task.languages
    assert len(set(task.languages)) == len(task.languages)
    assert len(set(task.known_languages)) == len(task.known_languages)
    if task.name in catalogue.INTERMEDIATE:
        assert task.intermediate


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_hub_is_namespaced_and_pinned(task: Task) -> None:
    if not task.hub.repo:  # on no hub: licensed, or whatever text a user has
        assert task.hub.revision is None
        return
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", task.hub.repo)
    assert task.hub.revision is None or re.fullmatch(r"[0-9a-f]{40}", task.hub.revision)
    assert bool(task.hub.train) == task.trains
    assert bool(task.hub.test) == bool(task.languages)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_presets_are_settings(task: Task) -> None:
    for preset in (task.intermediate, task.target, task.xtreme or {}):
        assert set(preset) <= set(SETTING_NAMES)
        dataclasses.replace(Settings(), **preset)


@pytest.mark.parametrize("name", ["mnli", "squad", "hellaswag", "copa"])
def test_the_papers_intermediate_settings(name: str) -> None:
    settings = Settings(**catalogue.find(name).intermediate)
    assert (settings.learning_rate, settings.epochs, settings.global_batch_size, settings.max_length) == (
        1e-5,
        3,
        32,
        256,
    )


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "length"),
    [
        ("mnli", 2, 32, 256),
        ("pawsx", 5, 32, 256),
        ("udpos", 10, 32, 256),
        ("panx", 10, 32, 256),
        ("squad", 2, 16, 384),
        ("tydiqa", 2, 16, 384),
    ],
)
def test_the_papers_target_settings(name: str, epochs: int, batch: int, length: int) -> None:
    settings = Settings(**catalogue.find(name).target)
    assert (settings.epochs, settings.global_batch_size, settings.max_length) == (epochs, batch, length)
    assert settings.learning_rate == 1e-5


def test_nli_sets_agree_in_meaning_not_only_in_number() -> None:
    anli = catalogue.find("anli").label_map
    assert (anli["e"], anli["n"], anli["c"]) == ("entailment", "neutral", "contradiction")
    for name in NLI:
        task = catalogue.find(name)
        assert task.labels == ("entailment", "neutral", "contradiction")
        assert all(task.label_map[label] == label for label in task.labels)
        assert [task.label_map[str(number)] for number in range(3)] == list(task.labels)


@pytest.mark.parametrize("target", [task for task in TASKS if task.training_path not in (None, "none")])
def test_a_target_reads_the_labels_of_the_head_that_its_training_path_leaves(target: Task) -> None:
    assert target.training_path is not None
    last = catalogue.find(target.training_path.split(" > ")[-1])
    assert last.trains
    assert (last.format, last.labels) == (target.format, target.labels)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("xnli", 15),
        ("pawsx", 7),
        ("udpos", 33),
        ("panx", 40),
        ("xquad", 11),
        ("mlqa", 7),
        ("tydiqa", 9),
        ("tatoeba", 36),
        ("xcopa", 11),
    ],
)
def test_the_benchmarks_numbers_of_languages(name: str, count: int) -> None:
    assert len(catalogue.find(name).languages) == count


def test_tatoeba_knows_an_iso3_code_of_every_language() -> None:
    task = catalogue.find("tatoeba")
    names = [task.iso3.get(code, code) for code in task.known_languages]
    assert len(set(names)) == len(names) == 112  # of LASER's data
    assert all(re.fullmatch("[a-z]{3}", name) for name in names)
    assert set(task.iso3) < set(task.known_languages)


# What each family scores as fully right: a gold and its prediction.
RIGHT = {
    "accuracy": ("entailment", "entailment"),
    "paraphrase": ("paraphrase", "paraphrase"),
    "squad": (["a"], "a"),
    "squad_v2": (["a"], {"text": "a", "span": "a", "null_odds": -1.0}),
    "mlqa": (["a"], "a"),
    "ner": (["B-LOC"], ["B-LOC"]),
    "pos": (["NOUN"], ["NOUN"]),
    "words": (["N/N"], ["N/N"]),
    "retrieval": ("0", ["0", "0"]),
    "alignment": ("0", ["0", "0", "0", "0"]),
    "image_text": ("a", ([["a"]], ["a"])),
    "map20": (["a"], ["a"]),
    "mrr20": ("a", ["a"]),
}


@pytest.mark.parametrize("task", [task for task in TASKS if task.format != "mining"], ids=lambda task: task.name)
def test_the_primary_metric_is_the_first_that_is_scored(task: Task) -> None:
    gold, prediction = RIGHT[task.metric_family]
    scores = metrics.score(task.metric_family, [gold], [prediction], "en")
    assert next(iter(scores)) == task.metric
    assert (task.corrected or task.metric) in scores
