"""Tasks that a user adds in the experiment file's `catalogue:`, and tasks as JSON (how jobs get to know them).

catalogue:
  my_nli: {like: mnli, files: {train: [nli/train.tsv], dev: [nli/dev.tsv]}}
  my_ner: {format: tagging, metric: ner, labels: [O, B-PER, I-PER], languages: [de, en], training_path: my_ner,
           files: {train: [ner/train.tsv], hold_out: 0.1, test: ["ner/{lang}.tsv"]}}
"""

from dataclasses import asdict, replace
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Tag, TypeAdapter

from eval.metrics import FAMILIES, primary
from launch.experiment import recipes
from launch.experiment.fields import Form, Matching, Number, Section, Text
from launch.experiment.prompting import Mode, PromptSection, in_mode
from slurm.base import UsageError
from training import formats
from training.spec import Says
from training.tasks import Task, catalogue, presets
from training.tasks.task import Columns, File, Files, Hub

# By format the metrics that can score it, the first is the default; only what users can add tasks of.
_METRICS = {name: formats.get(name).metrics for name in formats.NAMES if formats.get(name).metrics}
if TYPE_CHECKING:
    AddedFormat = str
    Metric = str
else:  # what there is, for pydantic to check
    AddedFormat = Literal[tuple(_METRICS)]
    Metric = Literal[tuple(name for name in FAMILIES if name in chain(*_METRICS.values()))]
_RESERVED = ("none", "orders", "subsets", "default")


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a path inside data.root")
    if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
        raise ValueError(f"'{value}': give a path inside data.root, without '..'")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Path = Annotated[str, BeforeValidator(_path), Form("a path inside `data.root`")]
_Texts = Annotated[list[Text], BeforeValidator(_listed), Form("text or a list of it")]
_Role = Annotated[str, Matching(r"[a-z]+", "a role such as english")]
_Paths = Annotated[
    # By what the file has, so that an error is about that one.
    Annotated[list[_Path], Tag("list[paths]")] | Annotated[dict[_Role, _Path], Tag("function-roles")],
    Discriminator(lambda value: "function-roles" if isinstance(value, dict) else "list[paths]"),
    BeforeValidator(_listed),
    Form("a path inside `data.root`, a list of them, or a path by role"),
]
_Language = Annotated[str, Matching(r"[a-z]{2,3}", "a language code such as de")]


def _files(paths: list[str] | dict[str, str]) -> tuple[File, ...]:
    return (
        tuple(File(path, role) for role, path in paths.items()) if isinstance(paths, dict) else tuple(map(File, paths))
    )


class FilesSection(Section):
    """`files:` of an added task: paths inside data.root, `{lang}` for the language's code."""

    train: Annotated[_Paths, Says("training files", "[nli/train.tsv]", in_key="what they hold: train")] = []
    dev: Annotated[_Paths, Says("English development files", "[nli/dev.tsv]", in_key="what they hold: train")] = []
    test: Annotated[
        _Paths,
        Says(
            "test files; `{lang}` stands for the language's code; like tatoeba and in format `parallel`: `{other: FILE,"
            " english: FILE}`, bucc: `{source: FILE, target: FILE, gold: FILE}`, mewslix: `{mentions: FILE, entities:"
            " FILE}`; format `image_text`: `{captions: FILE, images: FILE}`",
            '["nli/{lang}.tsv"]',
        ),
    ] = []
    hold_out: Annotated[
        Annotated[float, Number(0.001, 0.999)] | None,
        Says("the share of `train` that serves as dev, where there is no `dev`", "0.1", in_key="train"),
    ] = None

    def files(self) -> Files:
        return Files(_files(self.train), _files(self.dev), _files(self.test), self.hold_out)


class ColumnsSection(Section):
    """`columns:` of an added task, as training.tasks.task.Columns; what is not given stays as it was."""

    first: Annotated[
        _Texts | None, Says("the first text: a template of columns", '"{premise}"', in_key="train, evaluate")
    ] = None
    second: Annotated[
        _Texts | None,
        Says(
            "the second text; of a multiple choice `{choice}` is the choice", '"{hypothesis}"', in_key="train, evaluate"
        ),
    ] = None
    label: Annotated[_Texts | None, Says("the column of the label", "gold", in_key="train, evaluate")] = None
    id: Annotated[_Texts | None, Says("the column of the example's id", "uid", in_key="train, evaluate")] = None
    choices: Annotated[
        _Texts | None,
        Says("the columns of the choices, or one column with a list", "[a, b, c]", in_key="train, evaluate"),
    ] = None
    header: Annotated[
        _Texts | None,
        Says(
            "names of the columns, where the first line does not say them",
            "[premise, hypothesis, label]",
            in_key="train, evaluate",
        ),
    ] = None
    separator: Annotated[
        Text | None,
        Says("tagging, a sentence a line: what stands between a word and its tag", "_", in_key="train, evaluate"),
    ] = None

    def columns(self, base: Columns) -> Columns:
        changes: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self
            if name in self.model_fields_set
        }
        if "choices" in changes:
            changes["choices"] = (changes["choices"],)
        return replace(base, **changes)


class Definition(Section):
    """One entry of `catalogue:`. With `like`, what is not given is as in that task."""

    like: Annotated[
        Text | None, Says("the task that it takes everything else from", "mnli", in_key="what it gives")
    ] = None
    format: Annotated[
        AddedFormat | None, Says("the kind of task; without `like`", "tagging", in_key="train, evaluate")
    ] = None
    metric: Annotated[
        Metric | None, Says("how it is scored; one that suits the format", "ner", in_key="train, evaluate")
    ] = None
    labels: Annotated[
        list[Text] | dict[str, Text] | None,
        Says(
            "the labels; a mapping: from what the data says to the label", "[O, B-PER, I-PER]", in_key="train, evaluate"
        ),
    ] = None
    unlabelled: Annotated[
        list[str] | None,
        Says("what the data says where there is no label: such rows are left out", '["-"]', in_key="train, evaluate"),
    ] = None
    languages: Annotated[list[_Language] | None, Says("of a target: its languages", "[de, en]")] = None
    extra_languages: Annotated[
        list[_Language] | None, Says("of a target: languages that are used only where the file names them", "[fr]")
    ] = None
    training_path: Annotated[
        Text | None,
        Says("of a target: the English training that it is evaluated after, as a recipe", "mnli", in_key="its steps"),
    ] = None
    files: Annotated[
        FilesSection | None, Says("its files, inside `data.root`", "{train: [a.tsv], hold_out: 0.1}", in_key="as below")
    ] = None
    columns: Annotated[
        ColumnsSection | None, Says("where a table's texts are", '{first: "{premise}"}', in_key="train, evaluate")
    ] = None
    licence: Annotated[Text | None, Says("the data's licence, for people", "CC-BY-4.0")] = None
    mode: Annotated[
        Mode | None,
        Says(
            "`finetune`: a head is trained for it; `prompt`: a language model's own head answers [prompts](prompts.md);"
            " not given: as in `like`",
            "prompt",
            in_key="train, evaluate",
        ),
    ] = None
    prompt: Annotated[
        PromptSection | None, Says("of mode prompt: what is asked, and how", "{demonstrations: 4}", in_key="as below")
    ] = None


def to_task(name: str, section: Definition) -> Task:
    """The task that an entry defines. UsageError, without file and line, where it does not hold together.

    Names in `like` and `training_path` must be known already: an entry can use those above it.
    """
    if name in catalogue.TASKS or name in _RESERVED or not catalogue.NAME.fullmatch(name):
        raise UsageError(
            f"task {name}: that name is taken, or is not up to 32 letters, digits, '_' and '-'; take another"
        )
    task = _with_files(_with_labels(_base(name, section), section), section)
    task = in_mode(task, section.mode, section.like, section.prompt)
    if task.prompting and (section.metric or section.labels):
        forbidden_key = (
            "metric; leave `metric` out" if section.metric else "labels, those of its templates; leave `labels` out"
        )
        raise UsageError(f"task {name}: mode prompt has its own {forbidden_key}")
    task = replace(
        task,
        unlabelled=task.unlabelled if section.unlabelled is None else tuple(section.unlabelled),
        columns=section.columns.columns(task.columns) if section.columns else task.columns,
        licence=section.licence or ("not stated" if section.files else task.licence),  # other files are other data
        added=True,
    )
    _check(_with_target(task, section))
    return _with_target(task, section)


def _base(name: str, section: Definition) -> Task:
    """What the entry starts from, with its metric."""
    if section.like:
        like = catalogue.find(section.like)
        if section.format not in (None, like.format):
            raise UsageError(f"task {name}: it is like {like.name}, whose format is {like.format}; leave `format` out")
        path = name if like.training_path == like.name else like.training_path
        base = replace(like, name=name, training_path=path, data_of=like.data_of or like.name)
    elif section.format is None:
        raise UsageError(f"task {name}: give `like: TASK` or `format:`, one of {', '.join(_METRICS)}")
    else:
        base = _empty(name, section.format)
    if section.metric is None:
        return base
    if section.metric not in _METRICS.get(base.format, ()):
        metrics = ", ".join(_METRICS.get(base.format, ())) or "its own only"
        raise UsageError(f"task {name}: metric {section.metric} cannot score format {base.format}; allowed: {metrics}")
    return replace(base, metric_family=section.metric, metric=primary(section.metric))


def _empty(name: str, form: str) -> Task:
    metric = formats.get(form).metrics[0]
    return Task(
        name=name,
        format=form,
        metric_family=metric,
        metric=primary(metric),
        licence="not stated",
        files=Files(),
        hub=Hub("", None),
        intermediate=presets.INTERMEDIATE,
        target=formats.get(form).target_settings,
    )


def _with_labels(task: Task, section: Definition) -> Task:
    """A list: the labels, which the data calls the same. A mapping: from what the data says to the labels."""
    if section.labels is None:
        return replace(task, open_labels=formats.get(task.format).open_labels and not task.labels)
    if isinstance(section.labels, dict):
        names = dict(section.labels)
        labels = tuple(dict.fromkeys(names.values()))
    else:
        labels = tuple(dict.fromkeys(section.labels))
        names = {label: label for label in labels}
    return replace(task, labels=labels, label_map=names, open_labels=False)


def _with_files(task: Task, section: Definition) -> Task:
    """With files of its own, it is not the Hub's data set of the task it is like."""
    if section.files is None:
        return task
    return replace(task, files=section.files.files(), hub=Hub("", None), sizes={}, sources=(), example={}, data_of="")


def _with_target(task: Task, section: Definition) -> Task:
    languages = task.languages if section.languages is None else tuple(dict.fromkeys(section.languages))
    extra = task.extra_languages if section.extra_languages is None else tuple(dict.fromkeys(section.extra_languages))
    extra = tuple(code for code in extra if code not in languages)
    if not task.files.test and section.languages is None:  # like a target, but with training files only
        return replace(task, languages=(), extra_languages=(), other_languages=(), training_path=None)
    further = tuple(code for code in task.other_languages if code not in (*languages, *extra))
    form = formats.get(task.format)
    usual_path = "none" if form.is_prompted or not form.has_head else task.name if task.files.train else None
    path = section.training_path or task.training_path or usual_path
    return replace(task, languages=languages, extra_languages=extra, other_languages=further, training_path=path)


def _check(task: Task) -> None:
    files = task.files
    if not (files.train or files.test or task.sources):
        raise UsageError(f"task {task.name}: no data; give `files: {{train: [FILE], dev: [FILE]}}`, or test files")
    if files.train and files.dev and files.hold_out:
        raise UsageError(f"task {task.name}: hold_out takes dev from train: give `dev` or `hold_out`, not both")
    if files.train and not (files.dev or files.hold_out):
        raise UsageError(f"task {task.name}: no English dev; give `dev: [FILE]` or `hold_out: 0.1` beside train")
    if lack := formats.get(task.format).lacks(task) or formats.get(task.format).wrong_roles(files):
        raise UsageError(f"task {task.name}: {lack}")
    if files.test or task.languages:
        _check_target(task)


def _check_target(task: Task) -> None:
    if not (task.files.test and task.languages and task.training_path):
        raise UsageError(f"task {task.name}: a target has `languages`, `training_path` and `files: {{test: [FILE]}}`")
    if len(task.languages) > 1 and not any("{" in file.path for file in task.files.test):
        raise UsageError(
            f"task {task.name}: one test file for several languages; write {{lang}} for the language's code"
        )
    (path,) = recipes.expand(task.training_path, lambda name: None if name == task.name else _known(task, name))
    form = formats.get(task.format)
    if form.is_prompted:
        return  # the head comes with the model, whatever was trained before
    has_head = form.has_head
    if bool(path) != has_head:
        why = "needs a trained head" if has_head else "has no head to train: its training_path is none"
        raise UsageError(f"task {task.name}: training_path {task.training_path}: format {task.format} {why}")
    if not has_head:
        return
    last = task if path[-1] == (task.name,) else catalogue.find(path[-1][0])
    if last is task and not task.trains:
        raise UsageError(f"task {task.name}: its training path is itself, but it has no `train` files")
    if task.open_labels:
        raise UsageError(f"task {task.name}: a target names its labels, as in `labels: [O, B-PER, I-PER]`")
    if (last.format, last.labels) != (task.format, task.labels):
        raise UsageError(
            f"task {task.name}: it is evaluated with {last.name}'s head, so format and labels must be the same "
            f"({last.format}: {', '.join(last.labels) or 'none'})"
        )


def _known(task: Task, name: str) -> None:
    if not catalogue.find(name).trains:
        raise UsageError(f"task {task.name}: training_path: {name} has no training data")


_ADAPTER: TypeAdapter[Task] = TypeAdapter(Task)


def to_record(task: Task) -> dict[str, Any]:
    """`task` as plain JSON values."""
    return asdict(task)


def from_record(record: dict[str, Any]) -> Task:
    """The inverse of `to_record`, also after a way through JSON."""
    return _ADAPTER.validate_python(record)
