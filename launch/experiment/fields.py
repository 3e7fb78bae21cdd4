"""Types of the experiment file's values: the strings in the file, checked and converted, each error with its mend."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import GroupedMetadata
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_WHOLE = re.compile(r"0|[1-9][0-9]*")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")  # and halves of characters


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _whole(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("expected one whole number")
    if not _WHOLE.fullmatch(value):
        digits = value.lstrip("0")
        mend = f"; write {digits}" if value.isdigit() and digits else ""
        raise ValueError(f"'{value}' is not a whole number{mend}")
    return int(value)


def _number(value: Any) -> float:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise ValueError(f"{_shown(value)} is not a number such as 0.1 or 1e-5")
    return float(value)


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else "a list or mapping"


def _yes_no(value: Any) -> bool:
    if value not in ("true", "false"):
        raise ValueError(f"{_shown(value)} is neither true nor false")
    return bool(value == "true")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected one value, not a list or mapping")
    if _CONTROL.search(value):
        raise ValueError("line breaks and control characters are not allowed here")
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _name(value: Any) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text) or ".." in text:
        raise ValueError(
            f"'{text}' is not a name: up to 64 letters, digits, '_', '.', '-', starting with a letter or digit"
        )
    return text


@dataclass(frozen=True)
class Form:
    """What a value looks like, in words: for the page of the docs that is made from these types."""

    form: str


@dataclass(frozen=True)
class Whole(GroupedMetadata):
    """A whole number within limits, both included."""

    least: int
    most: int

    @property
    def form(self) -> str:
        return f"whole number, {self.least:,} to {self.most:,}"

    def __iter__(self) -> Iterator[object]:
        yield BeforeValidator(_whole)
        yield Field(ge=self.least, le=self.most)


@dataclass(frozen=True)
class Number(GroupedMetadata):
    """A number within limits, both included."""

    least: float
    most: float

    @property
    def form(self) -> str:
        return f"number, {f'{self.least:,}'.removesuffix('.0')} to {f'{self.most:,}'.removesuffix('.0')}"

    def __iter__(self) -> Iterator[object]:
        yield BeforeValidator(_number)
        yield Field(ge=self.least, le=self.most)


@dataclass(frozen=True)
class Matching(GroupedMetadata):
    """A single line of text of a given form; `expected` ends the sentence "... is not"."""

    pattern: str
    expected: str

    @property
    def form(self) -> str:
        return self.expected

    def __iter__(self) -> Iterator[object]:
        yield BeforeValidator(self._check)

    def _check(self, value: Any) -> str:
        text = _text(value)
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"'{text}' is not {self.expected}")
        return text


@dataclass(frozen=True)
class YesNo(GroupedMetadata):
    """`true` or `false`, and nothing that looks like them."""

    form: str = "`true` or `false`"

    def __iter__(self) -> Iterator[object]:
        yield BeforeValidator(_yes_no)


Text = Annotated[str, BeforeValidator(_text), Form("text")]
Name = Annotated[str, BeforeValidator(_name), Form("a name: letters, digits, `_`, `.`, `-`")]
