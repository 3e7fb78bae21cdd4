"""The catalogue for people: the table of all tasks, everything about one, an example as the model sees it. No torch."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from launch.experiment.added_tasks import to_record
from slurm.base import UserError
from training import formats
from training.data import load, locate
from training.spec import Settings
from training.tasks import Task, catalogue
from training.tasks.task import File, Preset

WIDTH = 80
_ROW = "{:<24}{:<14}{:<6}{:<15}{}"


def kind(task: Task) -> str:
    """Where a task can stand in an experiment file."""
    step = catalogue.is_step(task.name) and task.trains
    if step and task.languages:
        return "both"
    return "target" if task.languages else "intermediate" if step else "training path"


def language_count(task: Task) -> str:
    """`40+8`: so many languages and so many more where they are named."""
    if formats.get(task.format).in_any_language:
        return "any"
    on_request = (*task.extra_languages, *task.other_languages)
    pairs = [code for code in on_request if "-" in code]
    extra = f"+{len(on_request)}" if on_request and not pairs else "+" if pairs else ""
    return f"{len(task.languages)}{extra}" if task.languages else "en"


def groups() -> dict[str, list[Task]]:
    """All tasks by format."""
    by_format: dict[str, list[Task]] = {name: [] for name in formats.NAMES}
    for name in catalogue.names():
        task = catalogue.find(name)
        by_format[task.format].append(task)
    return {name: tasks for name, tasks in by_format.items() if tasks}


def table() -> str:
    """All tasks, at most 80 columns wide."""
    lines = [_ROW.format("task", "metric", "lang", "kind", "licence")]
    for name, tasks in groups().items():
        lines += ["", f"{name}: {formats.get(name).kind_of_data}"]
        lines += [_row(task) for task in tasks]
    lines += ["", "`stepstone tasks NAME` shows everything about one, with an example."]
    return "\n".join(lines)


def _row(task: Task) -> str:
    kind_cell = kind(task) + (" *" if task.added else "")
    row = _ROW.format(task.name, task.metric, language_count(task), kind_cell, task.licence)
    return row if len(row) <= WIDTH else row[: WIDTH - 1] + "…"


def as_json() -> dict[str, Any]:
    """All entries, for programs."""
    return {"schema": 1, "tasks": [json_of(task) for tasks in groups().values() for task in tasks]}


def json_of(task: Task) -> dict[str, Any]:
    """An entry as it stands, and its kind."""
    return to_record(task) | {"kind": kind(task)}


# --- one task ---


def describe(task: Task) -> str:
    """Everything that the entry says."""
    lines = [f"{task.name}: {formats.get(task.format).kind_of_data}{' (added by a user)' if task.added else ''}", ""]
    for name, text in _facts(task):
        lines += textwrap.wrap(text, WIDTH, initial_indent=f"{name:<20}", subsequent_indent=" " * 20) or [name]
    return "\n".join(lines)


def _facts(task: Task) -> Iterator[tuple[str, str]]:
    yield "kind", kind(task)
    yield "format", task.format
    yield (
        "metric",
        f"{task.metric} ({task.metric_family})" + (f"; corrected: {task.corrected}" if task.corrected else ""),
    )
    yield "licence", task.licence
    if task.sources:
        yield "trained on", ", ".join(task.sources) + ", under one head"
    if task.training_path:
        yield "evaluated after", task.training_path
    if task.languages:
        yield "languages", f"{len(task.languages)}: {' '.join(task.languages)}"
    if task.extra_languages:
        yield "where named", f"{len(task.extra_languages)}: {' '.join(task.extra_languages)}"
    if task.other_languages:
        codes = " ".join(task.other_languages)
        yield "in no benchmark", f"{len(task.other_languages)}, where named: {codes}"
    yield from _labels(task)
    for split in ("train", "dev", "test"):
        files: tuple[File, ...] = getattr(task.files, split)
        if files:
            yield f"{split} files", ", ".join(f"{file.path}{f' ({file.role})' if file.role else ''}" for file in files)
    if task.files.hold_out:
        yield "hold-out", f"{task.files.hold_out:.0%} of train is dev, whole groups at a time"
    if not task.sources:
        yield "Hub", hub_text(task)
    if task.sizes:
        yield "sizes", ", ".join(f"{split} {size:,}" for split, size in task.sizes.items())
    for preset in get_args(Preset):
        settings = task.preset(preset)
        if settings:
            yield preset, ", ".join(f"{name} {value}" for name, value in settings.items())


def _labels(task: Task) -> Iterator[tuple[str, str]]:
    if task.open_labels:
        yield "labels", "those of the training examples"
    elif task.labels:
        yield "labels", f"{len(task.labels)}: {', '.join(task.labels)}"
    spellings = {spelling: label for spelling, label in task.label_map.items() if spelling != label}
    if spellings:
        yield "also written", ", ".join(f"{spelling} = {label}" for spelling, label in spellings.items())


def hub_text(task: Task) -> str:
    """The Hub's data set and its commit, or that there is none."""
    hub = task.hub
    if not hub.repo:
        return "none: local files only"
    name = f"{hub.repo}{f' {hub.config}' if hub.config else ''}"
    return f"{name}, at {hub.revision}" if hub.revision else f"{name}, but no commit is pinned: local files only"


# --- an example ---


def show_example(task: Task, tokenizer: Any, root: Path | None) -> str:
    """The task's own example, or the first of the data in `root`, as the model sees it."""
    parts = [catalogue.find(name) for name in task.sources] or [task]
    there = [part for part in parts if root is None or locate.is_local(part, root)]
    if not there:
        raise UserError(f"task {task.name}: no data of it in {root}; leave out --root for an example of our own")
    source = there[0]
    form = formats.get(source.format)
    examples: Sequence[Any]
    if root is None:
        examples = [form.from_row(task.example or source.example, source, "en")] if source.example else []
    elif source.languages:
        code, split = next(iter(locate.find_languages(source, root, None).found.items()))
        examples = load.load_language(source, code, split, 1)[:1]
    else:
        examples = load.load_training(locate.find_training(source, root, 1, 1))[0][:1]
    if not examples or examples[0] is None:
        return "no example of our own; give --root FOLDER to see the first of your data"
    return render(source, examples[0], tokenizer)


def render(task: Task, example: Any, tokenizer: Any) -> str:
    """An example's pieces as text, with its answer."""
    form = formats.get(task.format)
    if task.open_labels:
        task = replace(task, labels=form.label_set([example]))
    settings = replace(Settings(), **(task.target or task.intermediate))
    pieces = form.for_dev(form.encode([example], tokenizer, task, settings), [example], tokenizer, settings)
    lines = ["what the model sees" + (f", in {len(pieces)} parts" if len(pieces) > 1 else "") + ":"]
    for piece in pieces:
        for number, row in enumerate(piece.rows):
            title = form.row_title(piece, number, task)
            lines += _wrapped((f"{title}: " if title else "") + text_of(row, tokenizer))
    answer = form.answer_shown(example, form.golds([example], pieces, task)[0], tokenizer)
    return "\n".join([*lines, *answer[:1], *(line for text in answer[1:] for line in _wrapped(text))])


def text_of(row: Sequence[int], tokenizer: Any) -> str:
    """Tokens as text: `<s> Nobody is outdoors.</s>`."""
    return "".join(tokenizer.convert_ids_to_tokens(list(row))).replace("▁", " ")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


# --- the page of the documentation ---

_PAGE = """\
# The tasks

Made from the catalogue: `make docs` writes this page anew, a test tells when it is not current. `stepstone tasks NAME`
shows all there is about one, with an example as the model sees it. In a recipe, `NAME@xx` is an intermediate task's
training data translated into language xx. Your own tasks: [adding a task](adding-a-task.md).

Languages: `40+8` are 40 of the benchmark and 8 more where they are named; `en+` has more on request. Hub: the data set
at one commit; where none is pinned, local files only."""


def markdown() -> str:
    """docs/tasks.md, of the built-in tasks alone."""
    parts = [_PAGE]
    for name, tasks in groups().items():
        rows = [_markdown_row(task) for task in tasks if not task.added]
        if not rows:
            continue
        head = "| task | kind | metric | languages | evaluated after | files | Hub | licence |\n|" + " --- |" * 8
        parts.append(f"## {name}: {formats.get(name).kind_of_data}\n\n" + "\n".join([head, *rows]))
    return "\n\n".join(parts) + "\n\n" + _presets_page() + "\n"


def _markdown_row(task: Task) -> str:
    files = dict.fromkeys(file.path for file in (*task.files.train, *task.files.dev, *task.files.test))
    hub = f"{task.hub.repo}@{task.hub.revision[:12]}" if task.hub.revision else "–"
    cells = (
        f"`{task.name}`",
        kind(task),
        task.metric,
        language_count(task),
        task.training_path or "",
        " ".join(f"`{path}`" for path in files) or ", ".join(task.sources),
        hub,
        task.licence,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _presets_page() -> str:
    """Each set of settings once, with the tasks that have it."""
    lines = ["## Default settings, by preset", ""]
    for preset in get_args(Preset):
        users: dict[str, list[str]] = {}
        for tasks in groups().values():
            for task in tasks:
                settings = None if task.added else task.preset(preset)
                if settings:
                    users.setdefault(_settings(settings), []).append(f"`{task.name}`")
        lines += [f"**{preset}**", "", *(f"- {settings}: {', '.join(names)}" for settings, names in users.items()), ""]
    return "\n".join(lines).rstrip()


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
