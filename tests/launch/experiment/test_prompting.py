"""Tasks in mode prompt: what the file may say, and what of it is part of keys."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from launch.experiment import added_tasks
from launch.experiment.added_tasks import Definition, to_task
from launch.plan import Plan
from slurm.base import UsageError
from tests.launch.workspace import Workspace
from training.tasks import catalogue
from training.tasks.task import Prompting

PROMPT = {"like": "xnli", "mode": "prompt"}


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalogue, "_REGISTERED", {})
    yield


def entry(name: str = "mine", **content: Any) -> Any:
    task = to_task(name, Definition.model_validate(content))
    catalogue.register(task)
    return catalogue.find(name)


def test_a_target_like_xnli_is_asked_in_all_of_its_templates_after_no_training() -> None:
    task = entry(**PROMPT)
    assert (task.format, task.metric_family, task.metric, task.training_path) == (
        "prompted_pair", "prompts", "accuracy", "none",
    )  # fmt: skip
    assert task.prompting == Prompting("xnli", ("question", "question-yes", "quoted", "right"))
    assert (task.languages, task.hub, task.data_of) == (
        catalogue.find("xnli").languages, catalogue.find("xnli").hub, "xnli",
    )  # fmt: skip
    assert added_tasks.from_record(added_tasks.to_record(task)) == task


def test_what_an_entry_is_like_may_be_in_mode_prompt_itself() -> None:
    base = entry(**PROMPT, prompt={"templates": ["right"]})
    assert entry("again", like="mine").prompting == base.prompting
    four = entry("four", like="mine", prompt={"demonstrations": "4"})
    assert four.prompting is not None and four.format == "prompted_pair" and four.data_of == "xnli"
    assert (four.prompting.demonstrations, four.prompting.demonstration_task) == (4, "mnli")


def test_written_answers_are_scored_as_spans_and_nothing_is_trained_on_them() -> None:
    task = entry(like="tydiqa", mode="prompt")
    assert (task.format, task.metric_family, task.training_path, task.trains) == (
        "prompted_span",
        "squad",
        "none",
        False,
    )
    assert task.languages == catalogue.find("tydiqa").languages and task.data_of == "tydiqa"


def test_a_training_task_and_what_is_trained_on_it_before() -> None:
    assert entry("mnli_prompt", like="mnli", mode="prompt", prompt={"templates": ["right"]}).trains
    assert entry(**PROMPT, training_path="squad > mnli_prompt").training_path == "squad > mnli_prompt"
    assert entry("copa_prompt", like="copa", mode="prompt").format == "prompted_choice"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"like": "panx", "mode": "prompt"}, "no templates for panx; there are for "),
        ({"like": "anli_plus", "mode": "prompt"}, "no templates for anli_plus"),
        (
            {"like": "xquad", "mode": "prompt", "prompt": {"demonstrations": "4"}},
            "written answers have neither `demonstrations` nor `calibration`",
        ),
        ({"format": "sequence", "mode": "prompt", "labels": ["a", "b"]}, "mode prompt needs `like: TASK`"),
        (PROMPT | {"prompt": {"templates": ["rigth"]}}, "template rigth: did you mean right?"),
        ({"like": "xnli", "prompt": {"demonstrations": "4"}}, "`prompt:` is of mode prompt; add `mode: prompt`"),
        (PROMPT | {"metric": "accuracy"}, "mode prompt has its own metric; leave `metric` out"),
        (
            PROMPT | {"prompt": {"demonstrations": "4", "demonstration_task": "qqp"}},
            "demonstrations of qqp have other labels (different, paraphrase) than xnli",
        ),
        (
            PROMPT | {"prompt": {"demonstrations": "4", "demonstration_task": "xnli"}},
            "no training data for its demonstrations; give `demonstration_task: TASK`, as mnli",
        ),
        (
            {"like": "xnli", "training_path": "mnli", "labels": ["a"], "mode": "prompt"},
            "mode prompt has its own labels",
        ),
    ],
)
def test_what_does_not_hold_together_is_one_line(content: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        entry(**content)
    assert "\n" not in str(caught.value)


def evaluations(plan: Plan) -> dict[str, set[str]]:
    """Of each target the keys of its evaluations."""
    keys: dict[str, set[str]] = {}
    for (_, target, _), key in plan.paths.items():
        keys.setdefault(target, set()).add(key)
    return keys


def test_demonstrations_are_drawn_by_the_seed(workspace: Workspace) -> None:
    """Without any, the start model answers the same whatever the seed; with some, every seed shows others."""
    entries = {"plain": PROMPT, "four": PROMPT | {"prompt": {"demonstrations": "4"}}}
    plan = workspace.plan(catalogue=entries, targets=["plain", "four"], recipes=["none"])
    keys = evaluations(plan)
    assert len(keys["plain"]) == 1 and len(keys["four"]) == 2
    specs = [plan.evaluate_spec(plan.stages[key]) for key in keys["four"]]
    assert {spec.seed for spec in specs} == {1, 2}
    assert all(spec.demonstrations is not None and spec.demonstrations.task == "mnli" for spec in specs)
    (plain,) = (plan.evaluate_spec(plan.stages[key]) for key in keys["plain"])
    assert (plain.demonstrations, plain.seed, plain.head) == (None, None, None)


def test_every_setting_of_prompts_makes_another_evaluation_and_the_fine_tuned_one_stays(workspace: Workspace) -> None:
    settings: list[dict[str, Any]] = [
        {}, {"templates": ["right"]}, {"language": "target"}, {"calibration": "pmi"}, {"answer_score": "sum"},
        {"demonstrations": "4"}, {"demonstrations": "8"}, {"demonstrations": "4", "demonstration_choice": "nearest"},
    ]  # fmt: skip
    entries = {"mine": PROMPT}
    before = workspace.plan(recipes=["squad"], targets=["xnli"])
    keys = set()
    for section in settings:
        plan = workspace.plan(
            catalogue={"mine": entries["mine"] | {"prompt": section}}, recipes=["squad"], targets=["xnli", "mine"]
        )
        keys |= evaluations(plan)["mine"]
        assert evaluations(plan)["xnli"] == evaluations(before)["xnli"]
    assert len(keys) == 2 * len(settings)
