"""Records that lie on the shared disk: read into the dataclass that says what is in them, written without what is not.

A field that this version does not know is left alone; a field that is missing has the dataclass's default, so what
earlier versions wrote is read too. A record whose meaning has changed has another number in `schema`: that is an error
of one line, as is a file that holds something else.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from slurm.base import UserError, look

T = TypeVar("T")


class Record(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def read(path: Path, kind: TypeAdapter[T]) -> T | None:
    """The record at `path`; None where there is no such file, or none that is open to this user (yet)."""
    try:
        content = look.read_bytes(path)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        raise _unreadable(path, error) from None


def convert(path: Path, record: Mapping[str, Any], kind: TypeAdapter[T]) -> T:
    """The same of what was read from `path` already."""
    try:
        return kind.validate_python(record)
    except ValidationError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: ValidationError) -> UserError:
    for detail in error.errors():
        if detail["loc"] == ("schema",):
            return UserError(
                f"{path}: written by another version of stepstone (schema {detail['input']!r}, not "
                f"{detail['ctx']['expected']}); update this one, or use the one that wrote it"
            )
    detail = error.errors()[0]
    place = ".".join(map(str, detail["loc"]))
    return UserError(f"{path}: cannot be read: {f'{place}: ' if place else ''}{detail['msg']}")


def without_defaults(record: Record) -> dict[str, Any]:
    """The fields of a dataclass, for JSON, without those that have nothing to say."""
    values = {field.name: (getattr(record, field.name), field.default) for field in fields(record)}
    return {name: value for name, (value, default) in values.items() if value != default}
