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
from training.tasks import catalogue

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


def test_modes_of_targets_are_targets_with_their_own_trainings(workspace: Workspace) -> None:
    study = {"prompts": {"tasks": ["squad"], "targets": ["xnli", "xcopa"], "demonstrations": ["0", "4"]}}
    path = workspace.file(recipes=None, study=study, targets=["tatoeba"], languages={"xnli": ["de"]})
    loaded = experiment.load(path)
    assert loaded.targets == (
        "tatoeba", "xnli", "xnli_prompt", "xnli_prompt_4", "xnli_both", "xnli_both_4",
        "xcopa", "xcopa_prompt", "xcopa_prompt_4", "xcopa_both", "xcopa_both_4",
    )  # fmt: skip
    assert list(loaded.recipes) == _expanded("none", "squad")
    assert loaded.languages["xnli_both_4"] == loaded.languages["xnli_prompt"] == ("de",)
    paths = {name: catalogue.find(name).training_path for name in loaded.targets}
    assert (paths["xnli_prompt"], paths["xnli_prompt_4"]) == ("none", "none")
    assert (paths["xnli_both"], paths["xcopa_both_4"]) == ("mnli_prompt", "siqa > copa_prompt")
    shown_counts = {name: prompting.demonstrations for name in loaded.targets
                    if (prompting := catalogue.find(name).prompting)}  # fmt: skip
    assert shown_counts == {name: 4 if name.endswith("4") else 0 for name in loaded.targets if "_" in name}


def test_a_mode_that_the_file_defines_stands(workspace: Workspace) -> None:
    of_file = {"xnli_prompt": {"like": "xnli", "mode": "prompt", "prompt": {"templates": ["right"]}}}
    study = {"prompts": {"tasks": ["squad"], "targets": ["xnli"]}}
    experiment.load(workspace.file(recipes=None, study=study, targets=["tatoeba"], catalogue=of_file))
    of_study, other = (catalogue.find(name).prompting for name in ("xnli_prompt", "xnli_both"))
    assert of_study is not None and of_study.templates == ("right",)
    assert other is not None and len(other.templates) > 1


def test_plan_says_what_prompts_cannot_show(workspace: Workspace) -> None:
    study = {"prompts": {"tasks": ["squad"], "targets": ["xnli"]}}
    assert _said(workspace, study, seeds=["1"]) == [
        "prompts of squad: none, and the task",
        "on targets in each mode: xnli, xnli_prompt, xnli_both",
        "one seed: whether intermediate training and prompts add up cannot be tested; give three or more",
    ]
    assert "by exchanged signs, no p can be below 0.25" in _said(workspace, study, seeds=["1", "2", "3"])[-1]
    assert len(_said(workspace, study, seeds=[str(seed) for seed in range(6)])) == 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"targets": []}, "study.prompts.targets: there is none; name one or more"),
        ({"targets": ["xnlo"]}, "study.prompts.targets: 'xnlo' is no target; did you mean xnli?"),
        ({"targets": ["xnli", "xnli"]}, "study.prompts.targets: xnli stands here twice; keep one"),
        ({"targets": ["panx"]}, "study.prompts.targets: panx is scored by f1, answers to prompts by accuracy"),
        ({"targets": ["tatoeba"]}, "study.prompts.targets: 'tatoeba' is not trained for, so that"),
        ({"targets": ["xnli"], "demonstrations": []}, "study.prompts.demonstrations: there is none; name one or more"),
        ({"targets": ["xnli"], "demonstrations": ["4", "4"]}, "study.prompts.demonstrations: 4 stands here twice"),
        ({"targets": ["xnli"], "demonstrations": ["99"]}, "study.prompts.demonstrations"),
    ],
)
def test_prompts_that_cannot_be_are_one_line(workspace: Workspace, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        experiment.load(workspace.file(study={"prompts": {"tasks": ["squad"], **keys}}))
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
