"""Where a task's data lies, and its examples: a local folder's files, or the Hub at a pinned revision. No torch."""

import fnmatch
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from slurm.base import UsageError, UserError
from training import formats
from training.data.splits import NAME as SPLITS
from training.data.splits import read_splits
from training.formats.rows import read_bytes
from training.spec import DataFile, HubPart, Split, TaskData
from training.tasks import Task
from training.tasks.catalogue import nearest
from training.tasks.languages import fill
from training.tasks.task import File, Files

ENGLISH = "en"
_LANGUAGE = "[a-z]{2,3}"
_ANY = re.escape("{lang}")  # as fnmatch leaves it


@dataclass(frozen=True)
class Languages:
    """A target's test data by language; `missing`: those asked for that the source does not have."""

    found: dict[str, Split]
    missing: tuple[str, ...]


def find_training(task: Task, root: Path | None, max_train: int | None, max_eval: int | None) -> TaskData:
    """The English training data: local if the folder has any of the task, else the Hub. UserError where it lacks."""
    local = _local(task, root)
    source = local or task.hub
    if local is None and not task.hub.repo:
        raise _nowhere(task, root)
    if not source.train or not (source.dev or source.hold_out):
        raise UserError(f"task {task.name}: no English train and dev{_entry(task, root)}")
    if local:
        assert root is not None
        train, dev = (_whole(files, task, root) for files in (local.train, local.dev))
    else:
        train, dev = (_parts(task, names, ENGLISH, root) for names in (task.hub.train, task.hub.dev))
    return TaskData(task.name, train, dev, source.hold_out, max_train, max_eval)


def find_languages(task: Task, root: Path | None, languages: Sequence[str] | None) -> Languages:
    """A target's test data in the languages wanted (None: the benchmark's). UsageError for an unknown language."""
    for code in languages or ():
        if code not in task.known_languages:
            called = next((known for known, iso3 in task.iso3.items() if iso3 == code), None)
            hint = f"it is called {called} here" if called else nearest(code, task.known_languages)
            raise UsageError(f"target {task.name}: language {code}: {hint}")
    codes = tuple(dict.fromkeys(task.languages if languages is None else languages))
    local = _local(task, root)
    if not ((local or task.hub).test or (local and formats.get(task.format).evaluates_dev and local.dev)):
        raise UserError(f"target {task.name}: no test data{_entry(task, root)}")
    splits = {code: _language(task, local, code, root) for code in codes}
    present = {code: split for code, split in splits.items() if split is not None}
    return Languages(present, tuple(code for code in codes if code not in present))


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
    entry = read_splits(root).get(task.name) or read_splits(root).get(task.data_of)
    if entry is not None:
        if wrong := formats.get(task.format).wrong_roles(entry):
            raise UserError(f"task {task.name}: {wrong}: mend its entry in {root / SPLITS}")
        return entry
    languages = task.known_languages or (ENGLISH,)
    templates = (*task.files.train, *task.files.dev, *task.files.test)
    there = any(_is_there(root, file, task, code) for file in templates for code in languages)
    return task.files if there else None


def is_local(task: Task, root: Path) -> bool:
    """Whether the folder has data of the task."""
    return _local(task, root) is not None


def _is_there(root: Path, file: File, task: Task, language: str) -> bool:
    return (
        bool(_matching(root, file, task)) if _is_pattern(file, task) else _find(root, file, task, language) is not None
    )


def _is_pattern(file: File, task: Task) -> bool:
    in_any_language = formats.get(task.format).in_any_language
    return any(mark in file.path for mark in "*?[") or (in_any_language and "{lang}" in file.path)


def _matching(root: Path, file: File, task: Task) -> dict[str, str]:
    """The files of a form with `*` and the like, or of text in any language, by their names in the folder, and the
    role of each: the language, where `{lang}` stands for any. Of a file and its .gz the one as named."""
    template = file.path.removesuffix(".gz")
    pattern, language = template, None
    if formats.get(task.format).in_any_language:
        pattern = template.replace("{lang}", "*")
        language = re.compile(fnmatch.translate(template).replace(_ANY, f"(?P<language>{_LANGUAGE})", 1))
    roles = {}
    for form in (pattern + ".gz", pattern):
        for path in root.glob(form):
            name = path.relative_to(root).as_posix().removesuffix(".gz")
            match = language.fullmatch(name) if language else None
            if language is None or match:
                roles[name] = match["language"] if match else file.role
    return dict(sorted(roles.items()))


def _whole(files: Sequence[File], task: Task, root: Path) -> Split:
    """All files of a training split; UserError for the first one that is not there."""
    return tuple(data_file for file in files for data_file in _data_files(root, file, task))


def _data_files(root: Path, file: File, task: Task) -> list[DataFile]:
    """The file; or all files of its form, in multilingual text with the language as role."""
    if formats.get(task.format).in_any_language and "{lang}" not in file.path and not file.role:
        raise UserError(
            f"task {task.name}: {file.path}: of which language? Write {{lang}} in its place, as in mlm/{{lang}}.txt,"
            f" or give the language as role: {{de: {file.path}}} (in {root / SPLITS})."
        )
    if not _is_pattern(file, task):
        return [_data_file(root, file, task, ENGLISH)]
    roles = _matching(root, file, task)
    if not roles:
        raise UserError(f"task {task.name}: {root / file.path}: no such file. Put one there, or mend {root / SPLITS}.")
    return [_data_file(root, File(name, role), task, ENGLISH) for name, role in roles.items()]


def _language(task: Task, local: Files | None, code: str, root: Path | None) -> Split | None:
    """A language's test data; None where there is no file of it."""
    if local is None:
        codes = task.hub.languages or task.languages
        return _parts(task, task.hub.test, code, root) if code in codes else None
    assert root is not None

    def is_there(file: File, language: str) -> bool:
        return _find(root, file, task, language) is not None

    files = formats.get(task.format).target_files(task, local, code, is_there, root / SPLITS)
    return tuple(_data_file(root, file, task, language) for file, language in files) or None


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
    """The file as named, or the .gz or plain one in its place; UserError for a link to another user's file."""
    name = _expand(file.path, task, language)
    for candidate in (name, _other(name)):
        path = root / candidate
        if path.is_file():
            _check_link(path, root, task)
            return path
    return None


def _check_link(path: Path, root: Path, task: Task) -> None:
    """Links may lead out of the folder (DVC, git-annex, the Hub's cache) to what the user owns: whoever else may write
    in the folder cannot have a job read, and publish, what that user never put there. UserError else."""
    target = path.resolve()
    if not target.is_relative_to(root.resolve()) and target.stat().st_uid != os.geteuid():
        raise UserError(
            f"task {task.name}: {path} leads out of data.root {root} to {target}, which is another user's: put a copy"
            " of the file there, or a link to one that is yours"
        )


def _expand(template: str, task: Task, language: str) -> str:
    return fill(template, language, task.iso3)


def _other(name: str) -> str:
    return name.removesuffix(".gz") if name.endswith(".gz") else name + ".gz"


def _parts(task: Task, splits: Sequence[str], language: str, root: Path | None) -> Split:
    """A split on the Hub; UserError where no revision is pinned."""
    if not task.hub.repo:
        raise _nowhere(task, root)
    if task.hub.revision is None:
        raise UserError(
            f"task {task.name}: no local data{f' in {root}' if root else ''}, and no revision of {task.hub.repo} on the"
            f" Hub is pinned: give data.root, a folder with {_first_file(task)} or a {SPLITS}, or a commit:"
            f" data: {{revisions: {{{task.hub.repo}: <40 hex digits>}}}}"
        )
    config = task.hub.config
    if config is not None:
        name = task.hub.names.get(language, language)
        config = _expand(config, task, language).replace("{name}", name)
    return tuple(HubPart(task.hub.repo, task.hub.revision, config, split) for split in splits)


def _nowhere(task: Task, root: Path | None) -> UserError:
    where = f"not in {root}" if root else "data.root is not given"
    return UserError(
        f"task {task.name}: its data are on no hub (licence: {task.licence}), and {where}: give data.root, a folder"
        f" with {_first_file(task)} or a {SPLITS} that names the task"
    )


def _first_file(task: Task) -> str:
    return (*task.files.train, *task.files.test)[0].path


def first_test_file(task: Task, root: Path | None) -> str:
    """Where a target's test data is looked for first, for messages."""
    local = _local(task, root)
    if local is None or root is None:
        return f"{task.hub.repo} on the Hub" if task.hub.repo else "none"
    return str(root / _expand(local.test[0].path, task, task.languages[0])) if local.test else "none"


def _entry(task: Task, root: Path | None) -> str:
    if root is not None and task.name in read_splits(root):
        return f": complete its entry in {root / SPLITS}"
    if root is not None and task.files.test:
        return f": {root / _expand(task.files.test[0].path, task, (*task.languages, ENGLISH)[0])} is not there"
    return ": it is not trained on its own" if not task.trains else ""
