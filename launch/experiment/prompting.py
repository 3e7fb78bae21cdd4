"""`mode: prompt` of an added task, and its section `prompt:`: what a language model's own head is asked instead."""

from dataclasses import replace
from typing import Annotated, Literal

from launch.experiment import recipes
from launch.experiment.fields import Section, Text, Whole
from slurm.base import UsageError
from training.formats.prompts.templates import of_task, template_task
from training.spec import Says
from training.tasks import Task, catalogue
from training.tasks.task import AnswerScore, Calibration, DemonstrationChoice, Prompting, PromptLanguage

Mode = Literal["finetune", "prompt"]
_FORMATS = {"sequence": "prompted_pair", "choice": "prompted_choice", "span": "prompted_span"}
MOST_DEMONSTRATIONS = 32


class PromptSection(Section):
    """`prompt:` of an entry of the catalogue."""

    templates: Annotated[
        list[Text] | None,
        Says(
            "which templates; the score is the mean over them, training takes the first one; not given: all",
            "[question, right]",
            in_key="train, evaluate",
        ),
    ] = None
    language: Annotated[
        PromptLanguage,
        Says("the language of a template's words: English, or that of the example", "target", in_key="evaluate"),
    ] = "english"
    demonstrations: Annotated[
        Annotated[int, Whole(0, MOST_DEMONSTRATIONS)],
        Says("how many answered English training examples come before each that is evaluated", "4", in_key="evaluate"),
    ] = 0
    demonstration_task: Annotated[
        Text | None,
        Says(
            "the task whose training examples these are; not given: the last one of the target's training path when it"
            " is fine-tuned; `mnli@{lang}` has machine-translated ones",
            "mnli",
            in_key="evaluate",
        ),
    ] = None
    demonstration_choice: Annotated[
        DemonstrationChoice,
        Says(
            "`balanced`: by the seed, equally many of each label; `nearest`: to each example by its hidden states",
            "nearest",
            in_key="evaluate",
        ),
    ] = "balanced"
    calibration: Annotated[
        Calibration,
        Says("what a prompt that says nothing makes likely is taken off: by PMI, or contextual calibration", "pmi"),
    ] = "none"
    answer_score: Annotated[
        AnswerScore,
        Says("an answer's log-probability: the mean over its tokens (length-normalised), or their sum (raw)", "sum"),
    ] = "mean"


def in_mode(task: Task, mode: Mode | None, like: str | None, section: PromptSection | None) -> Task:
    """The task as it is evaluated and trained in a mode; None: in that of the task that it is like. UsageError where
    that one has no templates, for a template that it does not have, and for demonstrations of other labels."""
    if (mode or ("prompt" if task.prompting else "finetune")) == "finetune":
        if section is not None:
            raise UsageError(f"task {task.name}: `prompt:` is of mode prompt; add `mode: prompt`")
        if task.prompting:
            raise UsageError(f"task {task.name}: {like} is in mode prompt; name the task that it is like")
        return task
    if not like:
        raise UsageError(f"task {task.name}: mode prompt needs `like: TASK`, whose templates it takes")
    if task.prompting and section is None:
        return task
    return _prompted(task, catalogue.find(like), section or PromptSection())


def _prompted(task: Task, base: Task, section: PromptSection) -> Task:
    template_of = template_task(base.prompting.template_task if base.prompting else base.name)
    if template_of is None or base.sources:
        with_templates = ", ".join(name for name in catalogue.TASKS if template_task(name))
        raise UsageError(f"task {task.name}: there are no templates for {base.name}; there are for {with_templates}")
    known_names = [template.name for template in of_task(template_of)]
    for name in section.templates or ():
        if name not in known_names:
            raise UsageError(f"task {task.name}: template {name}: {catalogue.nearest(name, known_names)}")
    templates = tuple(dict.fromkeys(section.templates or known_names))
    prompting = Prompting(
        template_of,
        templates,
        section.language,
        section.demonstrations,
        _demonstration_task(task, template_of, section),
        section.demonstration_choice,
        section.calibration,
        section.answer_score,
    )
    form = _FORMATS.get(base.format, base.format)
    if form == "prompted_span":
        return _written(task, prompting)
    return replace(
        task, format=form, metric_family="prompts", metric="accuracy", corrected="", training_path=None,
        prompting=prompting,
    )  # fmt: skip


def _written(task: Task, prompting: Prompting) -> Task:
    """One whose answers are written, and scored as those that are found in the text. UsageError for what it lacks."""
    if prompting.demonstrations or prompting.calibration != "none":
        raise UsageError(
            f"task {task.name}: written answers have neither `demonstrations` nor `calibration`; leave it out"
        )
    files = replace(task.files, train=(), dev=(), hold_out=None)
    hub = replace(task.hub, train=(), dev=(), hold_out=None)
    return replace(task, format="prompted_span", training_path=None, files=files, hub=hub, prompting=prompting)


def _demonstration_task(task: Task, template_of: str, section: PromptSection) -> str:
    if not section.demonstrations:
        return ""
    (path,) = recipes.expand(catalogue.find(template_of).training_path or "none")
    name = section.demonstration_task or (path[-1][0] if path else "")
    if not name or not catalogue.find(name).trains:
        raise UsageError(
            f"task {task.name}: no training data for its demonstrations; give `demonstration_task: TASK`, as mnli"
        )
    if catalogue.find(name).labels != task.labels:
        raise UsageError(
            f"task {task.name}: demonstrations of {name} have other labels ({', '.join(catalogue.find(name).labels)})"
            f" than {template_of}"
        )
    return name
