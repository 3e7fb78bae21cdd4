"""The tasks by name: the built-in ones (gathered by `entries`), those that users add, and `task@xx`.

A user's task comes from the experiment file (`register`) or from an installed package's entry point in the group
`stepstone.tasks`. `squad@de` is squad's English training data translated by machine, in the same native format.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from slurm.base import UsageError
from training.tasks.entries import ENTRIES
from training.tasks.task import File, Files, Hub, Task

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in ENTRIES})
INTERMEDIATE = (
    "anli",
    "anli_plus",
    "mnli",
    "snli",
    "qqp",
    "squad",
    "squad_v2",
    "hellaswag",
    "ccg",
    "cosmos_qa",
    "commonsense_qa",
    "siqa",
    "copa",
    "mlm",
)
TARGETS = (
    "xnli",
    "pawsx",
    "udpos",
    "panx",
    "xquad",
    "mlqa",
    "tydiqa",
    "bucc",
    "tatoeba",
    "xcopa",
    "lareqa",
    "mewslix",
    "alignment_medical",
    "alignment_legal",
    "alignment_conversation",
    "alignment_encyclopaedia",
    "xflickrco",
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")  # of a user's task: a part of folders, recipes and modules
ENTRY_POINTS = "stepstone.tasks"
_TRANSLATED = re.compile(r"(?P<task>[^@]+)@(?P<language>[a-z]{2,3})")
_REGISTERED: dict[str, Task] = {}  # this process's: an experiment file's


def nearest(word: str, known_names: Iterable[str]) -> str:
    """`did you mean X?`, or what there is."""
    names = tuple(known_names)
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}."


def find(name: str) -> Task:
    """The task of this name. UsageError where there is none."""
    task = TASKS.get(name) or _REGISTERED.get(name) or _installed().get(name) or _translated(name)
    if task is None:
        raise UsageError(f"task {name}: unknown; {nearest(name, names())}")
    return task


def register(task: Task) -> None:
    """Make a user's task known in this process; one of the same name is replaced. UsageError for a built-in's name."""
    if task.name in TASKS:
        raise UsageError(f"task {task.name}: that name is a built-in task's; take another")
    assert NAME.fullmatch(task.name), task.name
    _REGISTERED[task.name] = replace(task, added=True)


def added() -> Mapping[str, Task]:
    """The tasks that users added, by name; the experiment file's before installed ones of the same name."""
    return {**_installed(), **_REGISTERED}


def intermediate() -> tuple[str, ...]:
    """What a recipe's step can name, but for translated ones."""
    return (*INTERMEDIATE, *(task.name for task in added().values() if task.trains))


def targets() -> tuple[str, ...]:
    """What can be evaluated."""
    return (*TARGETS, *(task.name for task in added().values() if task.languages))


def names() -> tuple[str, ...]:
    """All tasks, once each."""
    return tuple(dict.fromkeys([*TASKS, *added()]))


def known(name: str) -> bool:
    """Whether there is such a task, translated ones included."""
    return name in names() or is_step(name)


def is_step(name: str) -> bool:
    """Whether a recipe's step can be of this name."""
    match = _TRANSLATED.fullmatch(name)
    return (match["task"] if match else name) in intermediate()


def _translated(name: str) -> Task | None:
    """`squad@de`. Dev stays the English one; a folder's splits.yaml may say otherwise."""
    match = _TRANSLATED.fullmatch(name)
    if match is None or match["task"] not in intermediate():
        return None
    base = find(match["task"])
    if base.sources:
        raise UsageError(f"task {name}: {base.name} has no translation of its own; translate its parts, as in mnli@de")
    if base.format == "mlm":
        raise UsageError(f"task {name}: mlm is text in any language: put that language's file beside the others")
    train = tuple(File(f"translate-train/{match['language']}/{file.path}", file.role) for file in base.files.train)
    files = Files(train, base.files.dev, hold_out=base.files.hold_out)
    return replace(base, name=name, files=files, hub=Hub("", None), languages=(), training_path=None)


@cache
def _installed() -> Mapping[str, Task]:
    """Those of installed packages: an entry point is a Task or a function that returns one."""
    tasks: dict[str, Task] = {}
    for point in entry_points(group=ENTRY_POINTS):
        task = _load(point)
        if task.name in TASKS or task.name in tasks:
            raise _unusable(point, f"its task's name {task.name} is taken")
        plain: dict[str, Any] = {key: dict(value) for key, value in vars(task).items() if isinstance(value, Mapping)}
        tasks[task.name] = replace(task, **plain, added=True)
    return tasks


def _load(point: EntryPoint) -> Task:
    try:
        value = point.load()
        task = value if isinstance(value, Task) else value()
    except Exception as error:  # whatever somebody else's package raises is not ours to trace
        raise _unusable(point, f"{type(error).__name__}: {error}") from error
    if not isinstance(task, Task):
        raise _unusable(point, f"it gives a {type(task).__name__}, not a training.tasks.Task")
    if not NAME.fullmatch(task.name):
        raise _unusable(point, f"'{task.name}' is not a name of up to 32 letters, digits, '_' and '-'")
    return task


def _unusable(point: EntryPoint, why: str) -> UsageError:
    package = point.dist.name if point.dist else point.value
    return UsageError(f"entry point {point.name} of {ENTRY_POINTS}: {why}; mend or uninstall {package}")
