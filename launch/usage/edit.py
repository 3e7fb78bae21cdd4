"""The experiment file with other values of some keys of `cluster:`: comments and layout stay, a line changes for each.

Only a value that stands on one line of the file is changed; what cannot be changed safely is refused, with the line to
write by hand. The edited text is read again before anything is written: nothing but these values may differ.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from launch.experiment import Cluster
from launch.experiment.yaml_text import Document
from launch.usage.advice import quoted
from slurm.base import UsageError, UserError
from slurm.base.files import write_atomic


@dataclass(frozen=True)
class Edit:
    """A file as it is, and as it would be."""

    path: Path  # of the file itself, where the given one is a link to it
    before: str
    after: str

    def diff(self) -> str:
        """The change, for people: unified, with a line around it; empty: there is none."""
        return "".join(
            line if line.endswith("\n") else f"{line}\n"
            for line in difflib.unified_diff(
                self.before.splitlines(keepends=True), self.after.splitlines(keepends=True),
                self.path.name, self.path.name, n=1,
            )
        )  # fmt: skip

    def write(self) -> None:
        """Replace the file whole, with its permissions. UserError where somebody has changed it meanwhile."""
        if _read(self.path) != self.before:
            raise UserError(f"{self.path}: was changed meanwhile; nothing was written, type the command again")
        mode = self.path.stat().st_mode & 0o7777
        write_atomic(self.path, self.after.encode())
        os.chmod(self.path, mode)


def of_cluster(path: Path, values: Mapping[str, str]) -> Edit:
    """The file with other values of keys of `cluster:`. UsageError, with what to write, where that is not safe."""
    path = path.resolve()
    before = _read(path)
    root = _compose(before)
    pieces: list[tuple[int, int, str]] = []
    for key, value in values.items():
        node = _value(root, "cluster", key)
        if node is None:
            raise UsageError(f"{path}: `cluster:` has no key {key} to change; write by hand: {_line(key, value)}")
        start, end = node.start_mark, node.end_mark
        text = before[start.index : end.index]
        if start.line != end.line or not isinstance(node, yaml.ScalarNode) or node.style in ("|", ">") or not text:
            where = f"{path}:{start.line + 1}"
            raise UsageError(f"{where}: {key} is not on one line; write by hand: {_line(key, value)}")
        mark = node.style or ""  # the file may be JSON
        pieces.append((start.index, end.index, f"{mark}{value}{mark}" if mark else quoted(value)))
    after = before
    for begin, finish, text in sorted(pieces, reverse=True):
        after = after[:begin] + text + after[finish:]
    _check(path, root, after, values)
    return Edit(path, before, after)


def _line(key: str, value: str) -> str:
    return f"cluster: {{{key}: {quoted(value)}}}"


def _read(path: Path) -> str:
    """With its line ends and its byte order mark, as they are."""
    return path.read_bytes().decode("utf-8")


def _compose(text: str) -> yaml.Node:
    node = yaml.compose(text, Loader=yaml.BaseLoader)
    assert node is not None, "the file was read before"
    return node


def _value(node: yaml.Node | None, *keys: str) -> yaml.Node | None:
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node


def _check(path: Path, before: yaml.Node, after: str, values: Mapping[str, str]) -> None:
    """UsageError where the edited text says anything else than the values, or something that is not allowed."""
    meant_content, content = _content(before), None
    meant_content["cluster"] = meant_content["cluster"] | values
    try:
        content = _content(_compose(after))
        is_meant = content == meant_content
        section = Cluster.model_validate(content["cluster"])
        section.asked  # noqa: B018
    except (yaml.YAMLError, ValidationError, ValueError):
        is_meant = False
    if not is_meant:
        lines = ", ".join(_line(key, value) for key, value in values.items())
        raise UsageError(f"{path}: cannot be changed safely; write by hand: {lines}")


def _content(node: yaml.Node) -> dict[str, Any]:
    content: dict[str, Any] = yaml.BaseLoader("").construct_document(node)
    return content


def stands_in(document: Document, key: str) -> bool:
    """Whether an experiment file itself says a key of `cluster:`, which SBATCH_ variables may say instead."""
    return ("cluster", key) in document.lines
