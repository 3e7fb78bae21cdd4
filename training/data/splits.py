"""`splits.yaml` of a data folder: which files serve as train, dev and test of each task. Strict."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import yaml

from slurm.base import UserError
from training.tasks import catalogue
from training.tasks.catalogue import nearest
from training.tasks.task import File, Files

NAME = "splits.yaml"
_KEYS = ("train", "dev", "test", "hold_out")


def read_splits(root: Path) -> Mapping[str, Files]:
    """The entries of the folder's splits.yaml by task; none where it has no such file."""
    path = root / NAME
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {}
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _read(path: Path, mtime_ns: int, size: int) -> Mapping[str, Files]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(path, content.count(b"\n", 0, error.start) + 1, "not UTF-8")
    try:
        # BaseLoader: scalars stay the text that they look like, and the nodes know their lines.
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.reader.ReaderError as error:  # its own text has two lines
        line = text.count("\n", 0, error.position) + 1
        _refuse(path, line, f"not YAML: the character U+{error.character:04X} is not allowed")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _refuse(path, mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}")
    if node is None:
        return {}
    entries = {}
    for name, key, value in _items(node, path, "a task"):
        if name == "version":
            if value.value != "1":
                _refuse(path, _line(value), f"version {value.value}: this Stepstone reads version 1")
        elif not catalogue.known(name):
            _refuse(path, _line(key), f"task {name}: unknown; {nearest(name, catalogue.names())}")
        else:
            entries[name] = _entry(value, path, name)
    return entries


def _entry(node: yaml.Node, path: Path, task: str) -> Files:
    splits: dict[str, tuple[File, ...]] = {}
    hold_out = None
    for name, key, value in _items(node, path, f"{task}: roles such as train: [FILE]"):
        if name not in _KEYS:
            _refuse(path, _line(key), f"{task}: key {name}: unknown; {nearest(name, _KEYS)}")
        elif name == "hold_out":
            hold_out = _share(value, path, task)
        else:
            splits[name] = _files(value, path, f"{task}: {name}")
    if hold_out is not None and ("dev" in splits or "train" not in splits):
        _refuse(path, _line(node), f"{task}: hold_out takes dev from train: give train and no dev beside it")
    return Files(**splits, hold_out=hold_out)


def _files(node: yaml.Node, path: Path, where: str) -> tuple[File, ...]:
    """A list of files, or a map of roles to files."""
    if isinstance(node, yaml.SequenceNode) and node.value:
        return tuple(File(_path(item, path, where)) for item in node.value)
    if isinstance(node, yaml.MappingNode) and node.value:
        return tuple(File(_path(value, path, where), role) for role, _, value in _items(node, path, where))
    _refuse(path, _line(node), f"{where}: give a list of files, as in [FILE, FILE], or a map of roles to files")


def _path(node: yaml.Node, path: Path, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        _refuse(path, _line(node), f"{where}: a file is a path inside {path.parent}")
    if Path(node.value).is_absolute() or ".." in Path(node.value).parts:
        _refuse(path, _line(node), f"{where}: {node.value}: give a path inside {path.parent}, without '..'")
    return str(node.value)


def _share(node: yaml.Node, path: Path, task: str) -> float:
    try:
        share = float(node.value)
    except (TypeError, ValueError):
        share = 0.0
    if not 0.0 < share < 1.0:
        _refuse(path, _line(node), f"{task}: hold_out: give a share between 0 and 1, as in 0.1")
    return share


def _items(node: yaml.Node, path: Path, expectation: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
    """(key, its node, the value's node) of a map without duplicate keys."""
    if not isinstance(node, yaml.MappingNode):
        _refuse(path, _line(node), f"{expectation} was expected here")
    names: set[str] = set()
    items = []
    for key, value in node.value:
        name = str(key.value)
        if name in names:
            _refuse(path, _line(key), f"{name} is given twice")
        names.add(name)
        items.append((name, key, value))
    return items


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _refuse(path: Path, line: int, reason: str) -> NoReturn:
    raise UserError(f"{path}:{line}: {reason}")
