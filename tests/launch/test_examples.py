"""The example files: all plan in a fresh clone; with the lines that need local data, where there are such data."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from launch import experiment, plan
from launch.demo import data as sample_data
from launch.plan import Plan
from launch.preflight import checks
from tests.launch import every_task_data
from tests.paths import ROOT
from training.formats import image_features
from training.formats.image_text import read_captions
from training.tasks import catalogue

EXAMPLES = ROOT / "examples"
PAPER = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba")
NINE = ("anli_plus", "mnli", "qqp", "squad_v2", "squad", "hellaswag", "ccg", "cosmos_qa", "commonsense_qa")
STUDIES = ("study-order.yaml", "study-correlation.yaml", "study-complexity.yaml")
OF_REAL_TEXT = ("study-alignment.yaml",)
OF_IMAGES = "study-images.yaml"
OF_PROMPTS = ("study-prompts-model.yaml", "study-prompts.yaml")
_LEFT_OUT = re.compile(r"^#(?=\S| {2})", re.MULTILINE)  # a line that needs local data; prose begins with `# `


def tasks_of(planned: Plan) -> set[str]:
    return {name for recipe in planned.experiment.recipes for step in recipe for name in step}


@pytest.mark.parametrize("name", ["paper.yaml", "xtreme-r.yaml"])
def test_what_the_hub_has_plans_without_data(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text((EXAMPLES / name).read_text())
    planned = plan.make(experiment.load(tmp_path / name))
    assert planned.experiment.data_root is None
    assert len(planned.targets) == 8
    assert not any(target.missing for target in planned.targets.values())


@pytest.mark.parametrize("name", ["crossing.yaml", "every-task.yaml", "small-study.yaml", *STUDIES])
def test_small_ones_plan_with_what_small_sh_makes(name: str, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "model").symlink_to(tiny_model)
    (tmp_path / "model-12").symlink_to(tiny_model)
    sample_data.write(tmp_path / "data")
    (tmp_path / name).write_text((EXAMPLES / name).read_text())
    assert plan.make(experiment.load(tmp_path / name)).stages


@pytest.mark.parametrize("name", OF_REAL_TEXT)
def test_those_of_real_text_plan_with_it(name: str, tmp_path: Path, tiny_model: Path, shared_data: Path) -> None:
    (tmp_path / "model").symlink_to(tiny_model)
    (tmp_path / "data").symlink_to(shared_data)
    (tmp_path / name).write_text((EXAMPLES / name).read_text())
    planned = plan.make(experiment.load(tmp_path / name))
    languages = {target: list(definition.languages) for target, definition in planned.targets.items()}
    assert languages["alignment_medical"] == ["es", "fr", "zh"] and languages["alignment_legal"] == ["de", "fr", "hu"]
    (tmp_path / "complexity.yaml").write_text((EXAMPLES / "study-complexity.yaml").read_text())
    complexity = plan.make(experiment.load(tmp_path / "complexity.yaml"))
    trainings = {stage.key for stage in planned.stages.values() if stage.kind == "train"}
    assert trainings and trainings <= {stage.key for stage in complexity.stages.values()}


def test_those_of_prompts_plan_with_what_their_program_writes(
    tmp_path: Path, tiny_model: Path, shared_data: Path
) -> None:
    runpy.run_path(str(EXAMPLES / "study_prompts.py"))["main"](shared_data, tmp_path / "data-prompts")
    for name in ("model", "model-prompts"):
        (tmp_path / name).symlink_to(tiny_model)
    planned = {}
    for name in OF_PROMPTS:
        (tmp_path / name).write_text((EXAMPLES / name).read_text())
        planned[name] = plan.make(experiment.load(tmp_path / name))
    first, last = planned.values()
    assert tasks_of(first) == {"mlm"} and tasks_of(last) == {"qqp", "siqa"}
    assert {"xnli", "xnli_prompt", "xnli_prompt_4", "xnli_both", "xnli_both_4"} == set(last.targets)


@pytest.mark.slow
def test_that_of_images_plans_with_what_its_program_writes(tmp_path: Path, tiny_model: Path, shared_data: Path) -> None:
    program = runpy.run_path(str(EXAMPLES / "study_images.py"))
    program["write_data"](shared_data, tmp_path / "data-images")
    program["write_model"](tiny_model, tmp_path / "altclip")
    program["write_features"](tmp_path / "altclip", tmp_path / "data-images/xflickrco")
    (tmp_path / OF_IMAGES).write_text((EXAMPLES / OF_IMAGES).read_text())
    planned = plan.make(experiment.load(tmp_path / OF_IMAGES))
    languages = {name: len(target.languages) for name, target in planned.targets.items()}
    assert languages == {"xflickrco": 8, "unrelated": 3, "tatoeba": 3} and tasks_of(planned) == {"mnli", "squad"}
    checks.check_settings(planned)
    # The images are where the start model has their English captions, but for noise; the others are nowhere near.
    captions = tmp_path / "data-images/xflickrco/en/test.jsonl.gz"
    examples = read_captions(captions, captions.parents[1] / "features.safetensors", "en")
    caption_vectors = program["english_vectors"](tmp_path / "altclip", examples).numpy()
    names = [example.id for example in examples]
    for name, is_planted in (("features", True), ("unrelated", False)):
        vectors = image_features.read(captions.parents[1] / f"{name}.safetensors", names)
        by_coordinate = [(of - of.mean(axis=0)).ravel() for of in (caption_vectors, vectors)]
        correlation = float(np.corrcoef(*by_coordinate)[0, 1])
        assert (0.3 < correlation < 0.6) if is_planted else abs(correlation) < 0.02


def test_every_file_is_tried_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.yaml")} == {
        "paper.yaml", "xtreme-r.yaml", "crossing.yaml", "every-task.yaml", "small-study.yaml", *STUDIES, *OF_REAL_TEXT,
        OF_IMAGES, *OF_PROMPTS,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With data cut from the real ones; what they lack is a copy of another language."""
    root = tmp_path_factory.mktemp("examples")
    tasks = [catalogue.find(task) for task in PAPER]
    codes = {code for task in tasks for code in (*task.languages, *task.extra_languages) if "-" not in code}
    every_task_data.write(root / "data", sorted(codes))
    for name in ("udpos", "panx", "xquad", "tatoeba"):
        every_task_data.fill_in(root / "data", name)
    return root


def whole(name: str, folder: Path, model: Path) -> Plan:
    """The example with its left-out lines put in."""
    text = _LEFT_OUT.sub("", (EXAMPLES / name).read_text())
    (folder / name).write_text(re.sub(r"FacebookAI/\S+|\./model", str(model), text))
    return plan.make(experiment.load(folder / name))


@pytest.mark.slow
def test_the_papers_grid(folder: Path, tiny_model: Path) -> None:
    planned = whole("paper.yaml", folder, tiny_model)
    assert tuple(planned.targets) == PAPER
    assert len(planned.experiment.recipes) == 14
    assert planned.experiment.seeds == (1, 2, 3)
    assert tasks_of(planned) == {"mlm", *NINE}


@pytest.mark.slow
def test_xtreme_r(folder: Path, tiny_model: Path) -> None:
    planned = whole("xtreme-r.yaml", folder, tiny_model)
    assert len(planned.targets) == 10
    languages = {name: len(target.languages) for name, target in planned.targets.items()}
    assert (languages["udpos"], languages["panx"], languages["xquad"], languages["tatoeba"]) == (38, 48, 12, 41)
    assert planned.targets["xnli"].settings.max_length == 128


@pytest.mark.slow
def test_every_task_once(folder: Path, tiny_model: Path) -> None:
    planned = whole("every-task.yaml", folder, tiny_model)
    assert (len(planned.experiment.recipes), len(planned.targets)) == (12, 11)


def test_the_studies_share_their_trainings(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "model").symlink_to(tiny_model)
    sample_data.write(tmp_path / "data")
    plans = []
    for name in STUDIES:
        (tmp_path / name).write_text((EXAMPLES / name).read_text())
        plans.append(plan.make(experiment.load(tmp_path / name)))
    order, correlation, complexity = ({stage.key for stage in planned.stages.values()} for planned in plans)
    assert (
        correlation == complexity and len(order & complexity) > 2 * 3 * 2
    )  # of each seed, task: trained and evaluated
