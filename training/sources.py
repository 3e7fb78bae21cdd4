"""Where a task's data lies, and its examples: a local folder's files, or the Hub at a pinned revision. No torch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from slurm.errors import UsageError, UserError
from training import formats, hub
from training.catalogue import find, nearest
from training.formats.base import Example, with_unique_ids
from training.formats.rows import read_bytes
from training.spec import DataFile, HubPart, Split, TaskData
from training.splits import NAME as SPLITS
from training.splits import read_splits
from training.task import File, Files, Task

ENGLISH = "en"


@dataclass(frozen=True)
class Languages:
    """A target's test data by language; `missing`: those asked for that the source does not have."""

    found: dict[str, Split]
    missing: tuple[str, ...]


def find_training(task: Task, root: Path | None, max_train: int | None, max_eval: int | None) -> TaskData:
    """The English training data: local if the folder has any of the task, else the Hub. UserError where it lacks."""
    local = _local(task, root)
    source = local or task.hub
    if not source.train or not (source.dev or source.hold_out):
        raise UserError(f"task {task.name}: no English train and dev{_entry(task, root)}")
    if local:
        assert root is not None
        train, dev = (_whole(files, task, root) for files in (local.train, local.dev))
    else:
        train, dev = (_parts(task, names, ENGLISH, root) for names in (task.hub.train, task.hub.dev))
    return TaskData(task.name, train, dev, source.hold_out, max_train, max_eval)


def find_languages(task: Task, root: Path | None, wanted: Sequence[str] | None) -> Languages:
    """A target's test data in the languages wanted (None: the benchmark's). UsageError for an unknown language."""
    for code in wanted or ():
        if code not in (*task.languages, *task.extra_languages):
            raise UsageError(
                f"target {task.name}: language {code}: {nearest(code, (*task.languages, *task.extra_languages))}"
            )
    codes = tuple(dict.fromkeys(task.languages if wanted is None else wanted))
    local = _local(task, root)
    if not (local or task.hub).test:
        raise UserError(f"target {task.name}: no test data{_entry(task, root)}")
    splits = {code: _language(task, local, code, root) for code in codes}
    found = {code: split for code, split in splits.items() if split is not None}
    return Languages(found, tuple(code for code in codes if code not in found))


def load_training(data: TaskData) -> tuple[list[Example], list[Example]]:
    """The English train and dev examples: hold-out first, then the first `max_train` and `max_eval`."""
    task = find(data.task)
    train, dev = _load(task, data.train, ENGLISH), _load(task, data.dev, ENGLISH)
    if data.hold_out is not None:
        train, dev = split_by_group(train, data.hold_out)
    for name, examples in (("train", train), ("dev", dev)):
        if not examples:
            raise UserError(f"task {task.name}: no example in {name} ({_where(data.train + data.dev)})")
    return train[: data.max_train], dev[: data.max_eval]


def load_language(target: Task, language: str, split: Split, limit: int | None) -> list[Example]:
    """A target's test examples in one language, the first `limit` of them."""
    examples = _load(target, split, language)
    if not examples:
        raise UserError(f"target {target.name}: no example in language {language} ({_where(split)})")
    return examples[:limit]


def split_by_group(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """(train, dev): dev takes whole groups: those whose text's SHA-256 begins with 8 bytes below `share` of 2**64."""
    held = [held_out(example.group, share) for example in examples]
    train = [example for example, out in zip(examples, held, strict=True) if not out]
    return train, [example for example, out in zip(examples, held, strict=True) if out]


def held_out(group: str, share: float) -> bool:
    """Whether the examples of this group belong to dev."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64 < share


def sha256_of_content(path: Path) -> str:
    """The SHA-256 of a file's decompressed content, in hex; remembered while the file does not change."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@cache
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _local(task: Task, root: Path | None) -> Files | None:
    """The task's files in the folder: by its splits.yaml, else by the names of its own download if one is there."""
    if root is None:
        return None
    if not root.is_dir():
        raise UserError(f"data.root {root}: no such folder")
    entry = read_splits(root).get(task.name)
    if entry is not None:
        return entry
    languages = (*task.languages, *task.extra_languages) or (ENGLISH,)
    templates = (*task.files.train, *task.files.dev, *task.files.test)
    there = any(_find(root, file, task, code) for file in templates for code in languages)
    return task.files if there else None


def _whole(files: Sequence[File], task: Task, root: Path) -> Split:
    """All files of an English split; UserError for the first one that is not there."""
    return tuple(_data_file(root, file, task, ENGLISH) for file in files)


def _language(task: Task, local: Files | None, code: str, root: Path | None) -> Split | None:
    """A language's test data; None where there is no file of it."""
    if local is None:
        known = task.hub.languages or task.languages
        return _parts(task, task.hub.test, code, root) if code in known else None
    assert root is not None
    if not any(_find(root, file, task, code) for file in local.test):
        return None
    return tuple(_data_file(root, file, task, code) for file in local.test)


def _data_file(root: Path, file: File, task: Task, language: str) -> DataFile:
    path = _find(root, file, task, language)
    if path is None:
        name = _expand(file.path, task, language)
        raise UserError(
            f"task {task.name}: {root / name}: no such file (nor {_other(name)}). Put it there, or mend the task's"
            f" entry in {root / SPLITS}."
        )
    return DataFile(str(path), sha256_of_content(path), file.role)


def _find(root: Path, file: File, task: Task, language: str) -> Path | None:
    """The file as named, or the .gz or plain one in its place; UserError where it leads out of the folder."""
    name = _expand(file.path, task, language)
    for candidate in (name, _other(name)):
        path = root / candidate
        if path.is_file():
            if not path.resolve().is_relative_to(root.resolve()):
                raise UserError(f"task {task.name}: {path} leads out of data.root {root}: put the file itself there")
            return path
    return None


def _expand(template: str, task: Task, language: str) -> str:
    return template.replace("{lang}", language).replace("{iso3}", task.iso3.get(language, language))


def _other(name: str) -> str:
    return name.removesuffix(".gz") if name.endswith(".gz") else name + ".gz"


def _parts(task: Task, splits: Sequence[str], language: str, root: Path | None) -> Split:
    """A split on the Hub; UserError where no revision is pinned."""
    if task.hub.revision is None:
        first = (*task.files.train, *task.files.test)[0].path
        raise UserError(
            f"task {task.name}: no local data{f' in {root}' if root else ''}, and no revision of {task.hub.repo} on the"
            f" Hub is pinned: give data.root, a folder with {first} or a {SPLITS}"
        )
    config = task.hub.config
    if config is not None:
        name = task.hub.names.get(language, language)
        config = _expand(config, task, language).replace("{name}", name)
    return tuple(HubPart(task.hub.repo, task.hub.revision, config, split) for split in splits)


def _load(task: Task, split: Split, language: str) -> list[Example]:
    form = formats.get(task.format)
    files = [part for part in split if isinstance(part, DataFile)]
    for file in files:
        _verify(file)
    examples: list[Example] = list(form.read_split(files, task, language)) if files else []
    for part in split:
        if isinstance(part, HubPart):
            examples += hub.examples(part, form, task, language)
    return with_unique_ids(examples)


def _verify(file: DataFile) -> None:
    """The file is still the one that was planned with."""
    path = Path(file.path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; it was there when the experiment was planned")
    if sha256_of_content(path) != file.sha256:
        raise UserError(f"{path}: changed since the experiment was planned: plan again, or put the old file back")


def _entry(task: Task, root: Path | None) -> str:
    if root is not None and task.name in read_splits(root):
        return f": complete its entry in {root / SPLITS}"
    return ": it is not trained on its own" if not task.trains else ""


def _where(split: Split) -> str:
    return ", ".join(part.path if isinstance(part, DataFile) else part.repo for part in split)
