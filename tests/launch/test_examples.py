"""The example files: every task in them is known, and they plan."""

from pathlib import Path

import pytest

from launch import experiment, plan
from launch.plan import Plan
from tests.launch import every_task_data
from tests.paths import ROOT
from training.tasks import catalogue

EXAMPLES = ROOT / "examples"
PAPER = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba")
NINE = ("anli_plus", "mnli", "qqp", "squad_v2", "squad", "hellaswag", "ccg", "cosmos_qa", "commonsense_qa")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With data cut from the real ones; what they lack is a copy of another language."""
    made = tmp_path_factory.mktemp("examples")
    tasks = [catalogue.find(task) for task in PAPER]
    codes = {code for task in tasks for code in (*task.languages, *task.extra_languages) if "-" not in code}
    every_task_data.write(made / "data", sorted(codes))
    for name in ("udpos", "panx", "xquad", "tatoeba"):
        every_task_data.fill_in(made / "data", name)
    return made


def planned(name: str, folder: Path, model: Path) -> Plan:
    text = (EXAMPLES / name).read_text().replace("FacebookAI/xlm-roberta-large", str(model))
    (folder / name).write_text(text)
    return plan.make(experiment.load(folder / name))


def test_the_papers_grid(folder: Path, tiny_model: Path) -> None:
    made = planned("paper.yaml", folder, tiny_model)
    assert tuple(made.targets) == PAPER
    assert len(made.experiment.recipes) == 14
    assert made.experiment.seeds == (1, 2, 3)
    names = {name for recipe in made.experiment.recipes for step in recipe for name in step}
    assert names == {"mlm", *NINE}


def test_xtreme_r(folder: Path, tiny_model: Path) -> None:
    made = planned("xtreme-r.yaml", folder, tiny_model)
    assert len(made.targets) == 10
    found = {name: len(target.languages) for name, target in made.targets.items()}
    assert (found["udpos"], found["panx"], found["xquad"], found["tatoeba"]) == (38, 48, 12, 41)
    assert made.targets["xnli"].settings.max_length == 128
