"""The section `study: {order: {tasks: [mnli, squad]}, …}`: questions to ask of the results, and the recipes they need.

Each study names the recipes that it is drawn from; together with `recipes:` they are the experiment's, each once. What
a study computes stands in `eval.studies`, under the same name.
"""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import model_validator

from launch.experiment import recipes
from launch.experiment.fields import Section, Text, YesNo
from launch.experiment.recipes import NONE, Recipe
from launch.experiment.yaml_text import Document
from slurm.base import UsageError
from training.spec import Says
from training.tasks import catalogue

PARALLEL = "parallel"  # the format of a domain's text
_DOMAIN = "alignment_{}"  # what the built-in ones are called as targets
_PROMPTED = re.compile(r"(?P<of>.+)_(?P<kind>prompt|both)(?:_(?P<demonstrations>[1-9]\d*))?")  # `xnli_both_4`
_MOST_ORDERED = 6  # tasks: of seven there are 5,040 orders, which nobody trains


class TasksOfStudy(Section):
    """A study of intermediate tasks, each alone."""

    fewest_tasks: ClassVar[int] = 2
    tasks: Annotated[list[Text], Says("the intermediate tasks that are compared", "[mnli, squad, hellaswag]")]

    @model_validator(mode="before")
    @classmethod
    def _of_keys(cls, value: object) -> object:
        """A list alone is what people type."""
        if isinstance(value, list):
            raise ValueError(f"expected `key: value` lines: write {{tasks: [{', '.join(map(str, value))}]}}")
        return value

    def recipes(self) -> tuple[Recipe, ...]:
        """Those that the study is drawn from: `none`, and each task alone."""
        return NONE, *(((task,),) for task in self.tasks)


class OrderStudy(TasksOfStudy):
    """The study of orders."""

    controls: Annotated[
        Annotated[bool, YesNo()],
        Says("order: also each task alone, each as often as there are tasks (`a > a`), and all jointly", "false"),
    ] = True

    def recipes(self) -> tuple[Recipe, ...]:
        """`none`, every order; and as controls each task alone, repeated for as many steps, and all jointly."""
        orders = tuple(recipes.expand(f"orders({', '.join(self.tasks)})"))
        if not self.controls:
            return NONE, *orders
        repeats = tuple(((task,),) * len(self.tasks) for task in self.tasks)
        return *super().recipes(), *orders, *repeats, (tuple(sorted(self.tasks)),)


class AlignmentStudy(TasksOfStudy):
    """The study of alignment: each task alone, on parallel text of several domains."""

    fewest_tasks: ClassVar[int] = 1
    domains: Annotated[
        list[Text],
        Says(
            "alignment: parallel text, as `medical` for the target `alignment_medical`, or a task of format `parallel`;"
            " they are targets without being named as such",
            "[medical, legal]",
        ),
    ]

    def targets(self) -> tuple[str, ...]:
        """Those of the domains, in their order."""
        return tuple(target_of(domain) for domain in self.domains)


def target_of(domain: str) -> str:
    """The target that a domain is."""
    built_in = _DOMAIN.format(domain)
    return built_in if built_in in catalogue.TARGETS else domain


PromptKind = Literal["prompt", "both"]  # by the model as it is; trained on the target's prompted English text first


def prompted_name(of: str, kind: PromptKind, demonstrations: int) -> str:
    """What a target is called whose examples are put in prompts."""
    return f"{of}_{kind}" + (f"_{demonstrations}" if demonstrations else "")


def prompted_parts(name: str) -> tuple[str, PromptKind, int] | None:
    """The inverse; None of a name that is none of these, or not of a target's."""
    match = _PROMPTED.fullmatch(name)
    if match is None or match["of"] not in catalogue.targets():
        return None
    return match["of"], "both" if match["kind"] == "both" else "prompt", int(match["demonstrations"] or 0)


class StudySection(Section):
    """`study:` of the file: a key for each study that it asks for."""

    order: Annotated[
        OrderStudy | None, Says("does the order of intermediate tasks change transfer?", "{tasks: [mnli, squad]}")
    ] = None
    correlation: Annotated[
        TasksOfStudy | None,
        Says("which metric of a task predicts transfer?", "{tasks: [mnli, qqp, squad, hellaswag, siqa]}"),
    ] = None
    complexity: Annotated[
        TasksOfStudy | None,
        Says("does a harder task transfer more?", "{tasks: [mnli, qqp, squad, hellaswag, siqa]}"),
    ] = None
    alignment: Annotated[
        AlignmentStudy | None,
        Says("does intermediate training align languages?", "{tasks: [mnli, squad], domains: [medical, legal]}"),
    ] = None

    def asked(self) -> Iterator[tuple[str, TasksOfStudy]]:
        """The studies that the file asks for, by name."""
        for name in type(self).model_fields:
            study = getattr(self, name)
            if study is not None:
                yield name, study

    def recipes(self) -> tuple[Recipe, ...]:
        """All that are needed, each once."""
        return tuple(dict.fromkeys(recipe for _, study in self.asked() for recipe in study.recipes()))

    def targets(self) -> tuple[str, ...]:
        """Those that studies need besides the file's own."""
        return self.alignment.targets() if self.alignment else ()


def designs() -> dict[str, type[TasksOfStudy]]:
    """What the key of each study takes, by its name."""
    return {name: get_args(field.annotation)[0] for name, field in StudySection.model_fields.items()}


def check(document: Document, section: StudySection, check_task: Callable[[str], None]) -> None:
    """What types alone cannot say: that the names are of intermediate tasks, each once, and enough for the question.

    `check_task` raises UsageError for a name that is no task.
    """
    for name, study in section.asked():
        where = ("study", name, "tasks")
        for position, task in enumerate(study.tasks):
            if task in study.tasks[:position]:
                raise document.error((*where, position), f"study.{name}.tasks: {task} stands here twice; keep one")
            try:
                check_task(task)
            except UsageError as error:
                raise document.error((*where, position), f"study.{name}.tasks: {error}") from None
        if len(study.tasks) < study.fewest_tasks:
            fewest = "two tasks" if study.fewest_tasks > 1 else "one"
            message = f"study.{name}.tasks: there is nothing to compare; name {fewest} or more"
            raise document.error(where, message)
        if isinstance(study, OrderStudy) and len(study.tasks) > _MOST_ORDERED:
            message = f"study.{name}.tasks: {len(study.tasks)} tasks have too many orders; at most {_MOST_ORDERED}"
            raise document.error(where, message)
    if section.alignment is not None:
        _check_domains(document, section.alignment)


def _check_domains(document: Document, study: AlignmentStudy) -> None:
    where = ("study", "alignment", "domains")
    if not study.domains:
        raise document.error(where, "study.alignment.domains: none is named; name one or more, as medical, legal")
    for position, (domain, target) in enumerate(zip(study.domains, study.targets(), strict=True)):
        if target in study.targets()[:position]:
            message = f"study.alignment.domains: {domain} stands here twice; keep one"
            raise document.error((*where, position), message)
        if target not in catalogue.targets() or catalogue.find(target).format != PARALLEL:
            built_in = [name.removeprefix(_DOMAIN.format("")) for name in catalogue.targets()
                        if catalogue.find(name).format == PARALLEL]  # fmt: skip
            message = f"study.alignment.domains: '{domain}' is no parallel text; {catalogue.nearest(domain, built_in)}"
            raise document.error((*where, position), message)
