"""The section `study: {order: {tasks: [mnli, squad]}, …}`: questions to ask of the results, and the recipes they need.

Each study names the recipes that it is drawn from; together with `recipes:` they are the experiment's, each once. What
a study computes stands in `eval.studies`, under the same name.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import model_validator

from launch.experiment import recipes
from launch.experiment.added_tasks import Definition, to_task
from launch.experiment.fields import Section, Text, Whole, YesNo
from launch.experiment.prompting import MOST_DEMONSTRATIONS
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

    def added_targets(self) -> tuple[str, ...]:
        """Those that it needs besides the file's own."""
        return ()

    def targets_apart(self) -> tuple[str, ...]:
        """Of these those that no other study is drawn from."""
        return self.added_targets()


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

    def added_targets(self) -> tuple[str, ...]:
        """Those of the domains, in their order."""
        return tuple(target_of(domain) for domain in self.domains)


def target_of(domain: str) -> str:
    """The target that a domain is."""
    built_in = _DOMAIN.format(domain)
    return built_in if built_in in catalogue.TARGETS else domain


PromptKind = Literal["prompt", "both"]  # by the model as it is; trained on the target's prompted English text first
PROMPT_KINDS: tuple[PromptKind, ...] = get_args(PromptKind)


def prompted_name(of: str, kind: PromptKind, demonstrations: int) -> str:
    """What a target is called whose examples are put in prompts."""
    return f"{of}_{kind}" + (f"_{demonstrations}" if demonstrations else "")


def prompted_parts(name: str) -> tuple[str, PromptKind, int] | None:
    """The inverse; None of a name that is none of these, or not of a target's."""
    match = _PROMPTED.fullmatch(name)
    if match is None or match["of"] not in catalogue.targets():
        return None
    return match["of"], "both" if match["kind"] == "both" else "prompt", int(match["demonstrations"] or 0)


class PromptStudy(TasksOfStudy):
    """The study of prompts: each task alone, and targets fine-tuned, prompted and both."""

    fewest_tasks: ClassVar[int] = 1
    targets: Annotated[
        list[Text],
        Says(
            "prompts: targets with templates, such as xnli; of each also `xnli_prompt` and `xnli_both` are targets, in"
            " mode prompt and trained on prompted text first, like entries of `catalogue:`, where others of that name"
            " take their place",
            "[xnli, pawsx]",
        ),
    ]
    demonstrations: Annotated[
        list[Annotated[int, Whole(0, MOST_DEMONSTRATIONS)]],
        Says("prompts: how many answered examples are shown before each question; several are compared", "[0, 4]"),
    ] = [0]

    def added_targets(self) -> tuple[str, ...]:
        return tuple(name for target in self.targets for name in (target, *self._prompted(target)))

    def targets_apart(self) -> tuple[str, ...]:
        return tuple(name for target in self.targets for name in self._prompted(target))

    def _prompted(self, target: str) -> tuple[str, ...]:
        return tuple(prompted_name(target, kind, count) for kind in PROMPT_KINDS for count in self.demonstrations)

    def entries(self, target: str) -> dict[str, Definition]:
        """Those of `catalogue:` that its prompted targets are, and the training on prompted text that `both` needs: of
        the last step of the target's training path. UsageError where it has no such path."""
        (path,) = recipes.expand(catalogue.find(target).training_path or "none")
        if not path:
            raise UsageError(
                f"'{target}' is not trained for, so that there is no fine-tuning; name one that is, as xnli"
            )
        prompted_step = tuple(sorted(prompted_name(task, "prompt", 0) for task in path[-1]))
        entries = {name: _entry(task) for name, task in zip(prompted_step, sorted(path[-1]), strict=True)}
        for count in self.demonstrations:
            prompt = {"prompt": {"demonstrations": str(count)}} if count else {}
            entries[prompted_name(target, "prompt", count)] = _entry(target, **prompt)
            of_both = {"training_path": recipes.show((*path[:-1], prompted_step))}
            entries[prompted_name(target, "both", count)] = _entry(target, **of_both, **prompt)
        return entries


def _entry(like: str, **keys: object) -> Definition:
    return Definition.model_validate({"like": like, "mode": "prompt", **keys})


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
    prompts: Annotated[
        PromptStudy | None,
        Says(
            "do intermediate training and prompts add up?",
            "{tasks: [mnli, squad], targets: [xnli], demonstrations: [0, 4]}",
        ),
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

    def added_targets(self) -> tuple[str, ...]:
        """Those that studies need besides the file's own."""
        return tuple(target for _, study in self.asked() for target in study.added_targets())

    def languages(self, of_file: Mapping[str, tuple[str, ...] | None]) -> dict[str, tuple[str, ...] | None]:
        """By target, where the file says which: those of a target are those of its modes."""
        prompted_targets = self.prompts.targets_apart() if self.prompts else ()
        of_modes = {name: of_file[parts[0]] for name in prompted_targets
                    if (parts := prompted_parts(name)) and parts[0] in of_file}  # fmt: skip
        return of_modes | dict(of_file)

    def targets_apart(self, name: str) -> frozenset[str]:
        """Those that other studies have for themselves, seen from the one called `name`."""
        studies = [study for study_name, study in self.asked() if study_name != name]
        return frozenset(target for study in studies for target in study.targets_apart())


def example(name: str) -> str | None:
    """What can stand at the key of the study of this name; None: there is no such key."""
    field = StudySection.model_fields.get(name)
    return next((words.example for words in field.metadata if isinstance(words, Says)), None) if field else None


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
    if section.prompts is not None:
        _check_prompts(document, section.prompts)


def add_tasks(document: Document, section: StudySection, of_file: Collection[str]) -> None:
    """Make the tasks known that a study needs and the file's `catalogue:`, whose names are `of_file`, does not have."""
    if section.prompts is None:
        return
    for position, target in enumerate(section.prompts.targets):
        try:
            for name, definition in section.prompts.entries(target).items():
                if name not in of_file:
                    catalogue.register(to_task(name, definition))
        except UsageError as error:
            raise document.error(("study", "prompts", "targets", position), f"study.prompts.targets: {error}") from None


def _check_prompts(document: Document, study: PromptStudy) -> None:
    where = ("study", "prompts")
    for key, values in (("targets", study.targets), ("demonstrations", study.demonstrations)):
        if not values:
            raise document.error((*where, key), f"study.prompts.{key}: there is none; name one or more")
        for position, value in enumerate(values):
            if value in values[:position]:
                raise document.error(
                    (*where, key, position), f"study.prompts.{key}: {value} stands here twice; keep one"
                )
    for position, target in enumerate(study.targets):
        if target not in catalogue.targets():
            message = (
                f"study.prompts.targets: '{target}' is no target; {catalogue.nearest(target, catalogue.targets())}"
            )
            raise document.error((*where, "targets", position), message)
        metric = catalogue.find(target).metric
        if metric != "accuracy":
            message = (
                f"study.prompts.targets: {target} is scored by {metric}, answers to prompts by accuracy; name a target"
                " that is, as xnli"
            )
            raise document.error((*where, "targets", position), message)


def _check_domains(document: Document, study: AlignmentStudy) -> None:
    where = ("study", "alignment", "domains")
    if not study.domains:
        raise document.error(where, "study.alignment.domains: none is named; name one or more, as medical, legal")
    for position, (domain, target) in enumerate(zip(study.domains, study.added_targets(), strict=True)):
        if target in study.added_targets()[:position]:
            message = f"study.alignment.domains: {domain} stands here twice; keep one"
            raise document.error((*where, position), message)
        if target not in catalogue.targets() or catalogue.find(target).format != PARALLEL:
            built_in = [name.removeprefix(_DOMAIN.format("")) for name in catalogue.targets()
                        if catalogue.find(name).format == PARALLEL]  # fmt: skip
            message = f"study.alignment.domains: '{domain}' is no parallel text; {catalogue.nearest(domain, built_in)}"
            raise document.error((*where, position), message)
