"""`study:` of the experiment file: the recipes that each study needs, and what `plan` says of them."""

import re
from typing import Any

import pytest

from launch import experiment
from launch.experiment import recipes
from launch.experiment.recipes import Recipe
from launch.experiment.study import PromptKind, TasksOfStudy, prompted_name, prompted_parts
from launch.show import study as study_shown
from slurm.base import UsageError
from tests.launch.workspace import Workspace

TASKS = ["mnli", "squad", "hellaswag"]


def _recipes(workspace: Workspace, study: dict[str, Any], **changes: Any) -> tuple[Recipe, ...]:
    return experiment.load(workspace.file(study=study, **changes)).recipes


def _expanded(*texts: str) -> list[Recipe]:
    return [recipe for text in texts for recipe in recipes.expand(text)]


def test_order_needs_every_order_and_its_controls(workspace: Workspace) -> None:
    orders = _recipes(workspace, {"order": {"tasks": TASKS}}, recipes=None)
    controls = ["mnli > mnli > mnli", "squad > squad > squad", "hellaswag > hellaswag > hellaswag"]
    assert list(orders) == _expanded(
        "none", *TASKS, f"orders({', '.join(TASKS)})", *controls, "mnli + squad + hellaswag"
    )
    alone = _recipes(workspace, {"order": {"tasks": TASKS, "controls": "false"}}, recipes=None)
    assert list(alone) == _expanded("none", f"orders({', '.join(TASKS)})")


def test_recipes_of_studies_stand_behind_the_files_own_each_once(workspace: Workspace) -> None:
    study = {"correlation": {"tasks": ["mnli", "qqp"]}, "complexity": {"tasks": ["qqp", "hellaswag"]}}
    of_file = ["squad > mnli", "qqp"]
    assert list(_recipes(workspace, study, recipes=of_file)) == _expanded(*of_file, "none", "mnli", "hellaswag")


def test_what_trainings_must_note_follows_from_the_studies(workspace: Workspace) -> None:
    def notes(study: dict[str, Any]) -> tuple[bool, bool]:
        loaded = experiment.load(workspace.file(study=study))
        return loaded.scores_earlier_dev, loaded.measures_tasks

    assert notes({}) == (False, False)
    assert notes({"order": {"tasks": TASKS}}) == (True, False)
    assert notes({"complexity": {"tasks": TASKS}, "correlation": {"tasks": TASKS}}) == (False, True)


def test_a_study_changes_no_key(workspace: Workspace) -> None:
    of_recipes = workspace.plan(recipes=["none", "mnli", "qqp"])
    of_study = workspace.plan(recipes=None, study={"complexity": {"tasks": ["mnli", "qqp"]}})
    assert of_study.stages.keys() == of_recipes.stages.keys()


def test_without_recipes_and_studies(workspace: Workspace) -> None:
    path = workspace.file(recipes=None, study={})
    with pytest.raises(UsageError, match=r"`recipes:` is missing; see the README"):
        experiment.load(path)


def _said(workspace: Workspace, study: dict[str, Any], **changes: Any) -> list[str]:
    return [line for _, line in study_shown.plan_lines(workspace.plan(recipes=None, study=study, **changes))]


def test_plan_says_where_controls_have_other_steps(workspace: Workspace) -> None:
    equal = _said(workspace, {"order": {"tasks": TASKS}}, training={"epochs": "1"}, seeds=["1", "2", "3"])
    assert equal[0].startswith("order of mnli, squad, hellaswag: none, 6 orders; controls: each task alone, each rep")
    assert equal[1:] == ["every order and control of that length: 3 optimizer steps"]
    # 8 examples of mnli, of which half are held out, are two batches of two; the other tasks have one example.
    small = {"epochs": "1", "global_batch_size": "2"}
    unequal = _said(workspace, {"order": {"tasks": TASKS}}, training=small, seeds=["1", "2", "3"])
    assert unequal[1].startswith(
        "every order: 4 optimizer steps; mnli > mnli > mnli 6, squad > squad > squad 3,"
        " hellaswag > hellaswag > hellaswag 3: not equal"
    )
    (record,) = study_shown.plan_record(
        workspace.plan(recipes=None, study={"order": {"tasks": TASKS}}, training=small)
    ).values()
    steps = {of_recipe["recipe"]: of_recipe["steps"] for of_recipe in record["recipes"]}
    assert (steps["none"], steps["mnli"], steps["hellaswag + mnli + squad"]) == (0, 2, 4)


def test_plan_names_the_recipes_of_a_design_that_it_has_no_words_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_design = tuple(_expanded("none", "mnli", "mnli > mnli"))
    monkeypatch.setattr(TasksOfStudy, "recipes", lambda study: of_design)
    said = _said(workspace, {"complexity": {"tasks": ["mnli", "qqp"]}})
    assert said[0] == "complexity of mnli, qqp: none, mnli, mnli > mnli"


def test_plan_says_what_cannot_be_shown(workspace: Workspace) -> None:
    order = {"order": {"tasks": TASKS}}
    assert _said(workspace, order, seeds=["1"])[-1].startswith("one seed: whether order matters cannot be tested")
    assert "2 seeds of 3 tasks: no p of what is trained first can be below 0.11" in _said(workspace, order)[-1]
    two_tasks = {"order": {"tasks": ["mnli", "squad"]}}
    five_seeds, six_seeds = ([str(seed) for seed in range(count)] for count in (5, 6))
    assert "5 seeds of 2 tasks: no p can be below 0.062" in _said(workspace, two_tasks, seeds=five_seeds)[-1]
    assert "no p" not in _said(workspace, two_tasks, seeds=six_seeds)[-1]
    four = ["mnli", "qqp", "squad", "hellaswag"]
    assert "of 4 tasks no correlation can reach p < 0.05" in _said(workspace, {"correlation": {"tasks": four}})[-1]
    assert _said(workspace, {"complexity": {"tasks": four}})[-1] == "of 4 tasks complexity says nothing: name 5 or more"


def test_domains_of_alignment_are_targets(workspace: Workspace) -> None:
    news = {"format": "parallel", "languages": ["de"], "files": {"test": ["news/{lang}.tmx"]}}
    study = {"alignment": {"tasks": ["mnli"], "domains": ["news", "medical"]}}
    loaded = experiment.load(workspace.file(recipes=None, study=study, targets=["xnli"], catalogue={"news": news}))
    assert loaded.targets == ("xnli", "news", "alignment_medical")
    assert list(loaded.recipes) == _expanded("none", "mnli")


@pytest.mark.parametrize(
    ("domains", "said"),
    [
        (["medcal"], "study.alignment.domains: 'medcal' is no parallel text; did you mean medical?"),
        (["tatoeba"], "study.alignment.domains: 'tatoeba' is no parallel text; known are medical, legal, conversation"),
        (["legal", "alignment_legal"], "study.alignment.domains: alignment_legal stands here twice; keep one"),
    ],
)
def test_a_domain_that_is_none_is_one_line(workspace: Workspace, domains: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        experiment.load(workspace.file(study={"alignment": {"tasks": ["mnli"], "domains": domains}}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("xnli_prompt", ("xnli", "prompt", 0)),
        ("pawsx_both", ("pawsx", "both", 0)),
        ("alignment_legal_prompt_16", ("alignment_legal", "prompt", 16)),
    ],
)
def test_the_name_of_a_prompted_target_says_what_it_is(name: str, parts: tuple[str, PromptKind, int]) -> None:
    assert prompted_parts(name) == parts and prompted_name(*parts) == name


@pytest.mark.parametrize("name", ["xnli", "my_prompt", "xnli_prompt_", "xnli_prompt_0", "xnli_prompts", "prompt"])
def test_other_names_say_nothing_of_prompts(name: str) -> None:
    assert prompted_parts(name) is None
