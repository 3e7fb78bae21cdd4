"""YAML read as text: every scalar is the string that stands in the file, every value knows its line.

So `12:00:00`, `0123`, `no` and `1e-5` stay what they look like; the experiment's fields give them their types.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slurm.base import UsageError

Location = tuple[str | int, ...]  # keys and list positions from the top
_MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Document:
    """A YAML file's values (dicts, lists and strings) and the line, from 1, on which each one begins."""

    path: Path
    value: dict[str, Any]
    lines: dict[Location, int]
    text: str  # all of the file

    def where(self, location: Location) -> str:
        """`file:line` of a value, or of the nearest one around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return f"{self.path}:{self.lines.get(location, 1)}"

    def error(self, location: Location, message: str) -> UsageError:
        """What is wrong with a value, behind its `file:line`."""
        return UsageError(f"{self.where(location)}: {message}")


def load(path: Path, text: str | None = None) -> Document:
    """Read one YAML mapping. UsageError for a missing file, malformed YAML, duplicate keys, tags and anchors.

    text: what is read as the file's content.
    """
    text = _read(path) if text is None else text
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UsageError(f"{path}:{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}:1: an experiment file is a list of `key: value` lines; see the README for an example")
    reader = _Reader(path)
    value = reader.convert(node, ())
    return Document(path, value, reader.lines, text)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        raise UsageError(f"{path}: is a folder; name the experiment file in it") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise UsageError(f"{path}: larger than {_MAX_BYTES} bytes; is this an experiment file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: not UTF-8 text") from None


class _Reader:
    """Turns PyYAML's nodes into plain values, noting lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Location, int] = {}
        self.seen: set[int] = set()

    def convert(self, node: yaml.Node, location: Location) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(location, line)
        if id(node) in self.seen:
            raise UsageError(f"{self.path}:{line}: anchors (&, *) are not supported; write the value out")
        self.seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, location)
        assert isinstance(node, yaml.ScalarNode)
        return node.value

    def _sequence(self, node: yaml.SequenceNode, location: Location) -> list[Any]:
        """`[none, orders(a, b)]` as a person reads it: YAML cuts at every comma, also inside parentheses."""
        items: list[Any] = []
        inside_parentheses = False  # whether the last item is unquoted text with an open parenthesis
        for item in node.value:
            plain = bool(node.flow_style) and isinstance(item, yaml.ScalarNode) and item.style is None
            if inside_parentheses and plain:
                items[-1] += f", {self.convert(item, (*location, len(items) - 1))}"
            else:
                items.append(self.convert(item, (*location, len(items))))
            inside_parentheses = plain and items[-1].count("(") > items[-1].count(")")
        return items

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value.isprintable():
                raise UsageError(f"{self.path}:{line}: a key must be a plain word")
            key = str(key_node.value)
            if key in result:
                first = self.lines[(*location, key)]
                raise UsageError(f"{self.path}:{line}: '{key}' stands here twice (first on line {first}); keep one")
            self.lines[(*location, key)] = line
            result[key] = self.convert(value_node, (*location, key))
        return result
