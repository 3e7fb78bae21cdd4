"""Examples of a train stage or of a target's language, read where `locate` found them; dev held out where asked."""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from slurm.base import UserError
from training import formats
from training.data import hub
from training.data.locate import ENGLISH, sha256_of_content
from training.formats.base import Example, with_unique_ids
from training.formats.report import reporting
from training.formats.rows import skipping
from training.spec import DataFile, HubPart, Split, TaskData
from training.tasks import Task, find


def load_training(data: TaskData) -> tuple[list[Example], list[Example]]:
    """The English train and dev examples: hold-out first, then the first `max_train` and `max_eval`."""
    task = find(data.task)
    train, dev = (_load(task, split, ENGLISH, data.skip_bad_rows) for split in (data.train, data.dev))
    if data.hold_out is not None:
        train, dev = split_by_group(train, data.hold_out)
    return _usable(data, "train", train, data.max_train), _usable(data, "dev", dev, data.max_eval)


def load_dev(data: TaskData) -> list[Example]:
    """The dev examples of `load_training`; train is read only where they are held out of it."""
    if data.hold_out is not None:
        return load_training(data)[1]
    return _usable(data, "dev", _load(find(data.task), data.dev, ENGLISH, data.skip_bad_rows), data.max_eval)


def _usable(data: TaskData, name: str, examples: Sequence[Example], limit: int | None) -> list[Example]:
    """The labelled ones, or the first of them. UserError where there are none."""
    form = formats.get(find(data.task).format)
    labelled_examples = [example for example in examples if form.labelled(example)]
    if not labelled_examples:
        where = _where(data.train + data.dev)
        raise UserError(f"task {data.task}: no labelled example in {name}{_held(data)} ({where})")
    return form.first(labelled_examples, limit)


def load_language(
    target: Task, language: str, split: Split, limit: int | None, *, skip_bad_rows: bool = False
) -> list[Example]:
    """A target's test examples in one language, or those of a trial (`limit`; see the format's `first`)."""
    examples = _load(target, split, language, skip_bad_rows)
    if not examples:
        raise UserError(f"target {target.name}: no example in language {language} ({_where(split)})")
    return formats.get(target.format).first(examples, limit)


def _held(data: TaskData) -> str:
    if data.hold_out is None:
        return ""
    return f": the hold-out of {data.hold_out:.0%} took none or all of train; give more data, or a dev file"


def split_by_group(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """(train, dev): dev takes whole groups: those whose text's SHA-256 begins with 8 bytes below `share` of 2**64."""
    is_dev = [held_out(example.group, share) for example in examples]
    train = [example for example, out in zip(examples, is_dev, strict=True) if not out]
    return train, [example for example, out in zip(examples, is_dev, strict=True) if out]


def held_out(group: str, share: float) -> bool:
    """Whether the examples of this group belong to dev."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64 < share


def _load(task: Task, split: Split, language: str, skip_bad_rows: bool = False) -> list[Example]:
    with skipping() if skip_bad_rows else nullcontext():
        return _read(task, split, language)


def _read(task: Task, split: Split, language: str) -> list[Example]:
    form = formats.get(task.format)
    files = [part for part in split if isinstance(part, DataFile)]
    for file in files:
        _verify(file)
    with reporting() as report:
        examples: list[Example] = list(form.read_split(files, task, language)) if files else []
        for part in split:
            if isinstance(part, HubPart):
                examples += hub.examples(part, form, task, language)
        report.rows[split] = form.rows(examples) + report.left_out
    return with_unique_ids(examples)


def _verify(file: DataFile) -> None:
    """The file is still the one that was planned with."""
    path = Path(file.path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; it was there when the experiment was planned")
    if sha256_of_content(path) != file.sha256:
        raise UserError(f"{path}: changed since the experiment was planned: plan again, or put the old file back")


def _where(split: Split) -> str:
    return ", ".join(part.path if isinstance(part, DataFile) else part.repo for part in split)
