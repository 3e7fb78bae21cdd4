"""`stepstone prepare`: fetch what jobs will not be able to, check it, and encode each list of examples once."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from launch.estimate import amounts
from launch.plan import Plan, TargetDefinition
from launch.preflight import checks, counts
from launch.store.store import token_folder
from slurm.base import UserError
from training import formats
from training.data import hub, load
from training.data.parts import with_labels
from training.data.tokens import Entry, TokenCache
from training.formats.base import Example
from training.formats.report import Report, reporting
from training.formats.rows import skipping
from training.pretrained import StartModel
from training.pretrained import start as start_model
from training.spec import HubPart, Settings, TaskData
from training.tasks import Task, catalogue

FETCHING = "fetching"  # the heading of what its track is told
_T = TypeVar("_T")
_Lists = list[tuple[Task, list[Example]]]


@dataclass
class Summary:
    """What was done. `entries`: one per list of examples and settings; `skipped`: malformed rows, `file:line: what`;
    `remarks`: what else is to be said about the data."""

    fetched: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people."""
        entries = {entry.folder: entry for entry in reversed(self.entries)}.values()  # equal ones: as the first was
        new_entries, old_entries = ([entry for entry in entries if entry.made is is_made] for is_made in (True, False))
        yield f"fetched: {', '.join(self.fetched) or 'nothing'}"
        yield f"made:  {_amount(new_entries)}"
        yield f"found: {_amount(old_entries)}"
        if self.skipped:
            yield f"malformed rows left out: {len(self.skipped)}"
            yield from (f"  {text}" for text in self.skipped)
        yield from (f"note: {text}" for text in self.remarks)


def _amount(entries: Sequence[Entry]) -> str:
    examples, tokens, size = (sum(getattr(e, name) for e in entries) for name in ("examples", "tokens", "bytes"))
    return f"{len(entries)} encodings, {examples:,} examples, {tokens:,} tokens, {size / 1e6:,.1f} MB"


class Track(Protocol):
    """Goes through items and shows how far it has come."""

    def __call__(self, heading: str, items: Sequence[_T]) -> Iterator[_T]: ...


def prepare(plan: Plan, *, skip_bad_rows: bool, track: Track) -> Summary:
    """Fetch, check and encode everything that the plan's stages read; what is there already is left as it is.

    `skip_bad_rows`: list malformed rows and go on, as if the experiment file said so. UserError where something cannot
    be had, is malformed, or has another number of rows than published.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    checks.check_settings(plan)
    summary = Summary()
    folders = _fetch(plan, summary, track)
    for folder in folders:
        checks.check_start(plan, folder)
    with reporting() as report:
        _encode_all(plan, folders, skip_bad_rows or plan.experiment.skip_bad_rows, summary, track, report)
    summary.remarks = checks.remarks(plan, report)
    return summary


def _fetch(plan: Plan, summary: Summary, track: Track) -> list[Path]:
    """See that the start models and the data sets of the Hub are here; returns the models' folders."""
    folders = {label: _folder_here(start) for label, start in plan.starts.items()}
    missing_models = {label: plan.starts[label] for label, folder in folders.items() if folder is None}
    missing_parts = [part for part in checks.hub_parts(plan) if not hub.is_cached(part)]
    sources: list[tuple[str, StartModel] | HubPart] = [*missing_models.items(), *missing_parts]
    for source in track(FETCHING, sources):
        if isinstance(source, HubPart):
            hub.fetch(source)
        else:
            label, start = source
            assert start.repo and start.revision, start
            folders[label] = start_model.start_model_folder(start.repo, start.revision)
        summary.fetched.append(_name(source))
    return [folder for folder in folders.values() if folder is not None]


def _folder_here(start: StartModel) -> Path | None:
    """Where the start model lies; None where it is still to be fetched."""
    if start.folder:
        return Path(start.folder)
    assert start.repo and start.revision, start
    try:
        return start_model.start_model_folder(start.repo, start.revision, local_only=True)
    except UserError:
        return None


def _encode_all(
    plan: Plan, folders: Sequence[Path], skip: bool, summary: Summary, track: Track, report: Report
) -> None:
    """With the tokenizer of each model, of equal ones once."""
    cache = TokenCache(token_folder(plan.experiment.store))
    tokenizers = {tokenizer.hash: tokenizer for tokenizer in map(cache.tokenizer, folders)}
    cache.remove_abandoned()
    all_bad_rows: list[str] = []
    lists_by_name: dict[str, dict[int, tuple[Entry, Task]]] = {}  # lists by name and place, for estimates
    works: list[_Training | _Language] = [*_trainings(plan), *_languages(plan)]
    for work in track("tokenising", works):
        examples_of_work, bad_rows = _read(work, skip)
        if isinstance(work, _Language):
            counts.check_language(plan, work.target, work.language, report.rows)
        all_bad_rows += bad_rows
        for position, (task, examples) in enumerate(examples_of_work):
            for settings, tokenizer in product(work.settings, tokenizers.values()):
                with _problems_with_disk(plan):
                    form = formats.get(task.format)
                    entry = cache.prepare(form, examples, tokenizer, task, settings)
                summary.entries.append(entry)
                lists = lists_by_name.setdefault(work.name(settings, position), {})
                lists.setdefault(position, (entry, task))  # estimates count as the first tokenizer does
    for tokenizer in tokenizers.values():
        tokenizer.keep_facts()
    with _problems_with_disk(plan):
        amounts.remember(plan.experiment.store, {name: lists.values() for name, lists in lists_by_name.items()})
    summary.skipped = list(dict.fromkeys(all_bad_rows))


def _read(work: "_Training | _Language", skip: bool) -> tuple[_Lists, list[str]]:
    """What the work's data holds, and the malformed rows in it."""
    if not skip:
        return work.read(skip), []
    with skipping() as bad_rows:
        return work.read(skip), bad_rows


@contextmanager
def _problems_with_disk(plan: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{plan.experiment.store}: the token cache cannot be written: {error.strerror}. Make room or choose another"
            " `store:`."
        ) from error


# --- what there is to encode: every data set is read once, for all settings that it is encoded with


@dataclass(frozen=True)
class _Training:
    data: TaskData
    settings: tuple[Settings, ...]

    def read(self, skip: bool) -> _Lists:
        train, dev = load.load_training(replace(self.data, skip_bad_rows=skip))
        task = with_labels(catalogue.find(self.data.task), train)
        return [(task, train), (task, dev)]

    def name(self, settings: Settings, position: int) -> str:
        """Under which name a list's tokens are counted."""
        return amounts.training_names(self.data, settings)[position]


@dataclass(frozen=True)
class _Language:
    target: TargetDefinition
    language: str
    settings: tuple[Settings, ...]

    def read(self, skip: bool) -> _Lists:
        task, split = self.target.task, self.target.languages[self.language]
        examples = load.load_language(task, self.language, split, self.target.max_eval, skip_bad_rows=skip)
        if self.target.demonstrations:
            return []  # what stands before an example is chosen by the job
        return [(task, part) for part in formats.get(task.format).evaluated_lists(examples)]

    def name(self, settings: Settings, position: int) -> str:
        """The same; a language's lists are counted together."""
        target = self.target
        return amounts.language_name(target.task, target.languages[self.language], target.max_eval, settings)


def _trainings(plan: Plan) -> list[_Training]:
    settings_of: dict[TaskData, dict[Settings, None]] = {}
    for step in plan.steps.values():
        for part in step.parts:
            settings_of.setdefault(replace(part, head=""), {})[step.settings] = None
    return [_Training(data, tuple(settings)) for data, settings in settings_of.items()]


def _languages(plan: Plan) -> list[_Language]:
    return [
        _Language(target, code, (target.settings,)) for target in plan.targets.values() for code in target.languages
    ]


# --- showing how far it is


def tracker(console: Console) -> Track:
    """Progress bars on a terminal, a plain line per item elsewhere. What is fetched has plain lines there too: under
    them the Hub's clients draw bars of their own, by bytes, which they leave out where there is no terminal."""
    bars, plain_lines = _bars(console), _plain_lines(console)

    def track(heading: str, items: Sequence[Any]) -> Iterator[Any]:
        is_drawn = console.is_terminal and heading != FETCHING
        yield from (bars if is_drawn else plain_lines)(heading, items)

    return track


def _bars(console: Console) -> Track:
    def track(heading: str, items: Sequence[Any]) -> Iterator[Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(heading, total=len(items))
            for item in items:
                progress.update(bar, description=f"{heading} {_name(item)}")
                yield item
                progress.advance(bar)
            progress.update(bar, description=heading)

    return track


def _plain_lines(console: Console) -> Track:
    def track(heading: str, items: Sequence[Any]) -> Iterator[Any]:
        for number, item in enumerate(items, start=1):
            console.print(f"{heading} {number}/{len(items)}: {_name(item)}", soft_wrap=True)
            yield item

    return track


def _name(item: Any) -> str:
    if isinstance(item, _Training):
        return item.data.task
    if isinstance(item, _Language):
        return f"{item.target.task.name} {item.language}"
    if isinstance(item, HubPart):
        return " ".join(word for word in (item.repo, item.config, item.split) if word)
    _, start = item
    assert isinstance(start, StartModel), item
    return str(start.repo)
