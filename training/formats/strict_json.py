"""JSON as data files have it, read strictly: every key once, and strings of whole characters."""

import json
import re
from itertools import pairwise
from typing import Any

# An escaped backslash, a whole pair of surrogates, or (the group) what is no character of a text.
_ESCAPE = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|0000))"
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]', re.DOTALL)


class JsonError(ValueError):
    """A text that is not such JSON; `line`: where, from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


class _TwiceError(Exception):
    """An object that has a key twice."""


def parse(text: str) -> Any:
    """The value that a JSON text says. JsonError where it says none: whichever of two equal keys were taken, and what
    half a character stands for, would be a guess."""
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON ({error})", error.lineno) from error
    except _TwiceError:
        key, place = _second_of_two_keys(text)
        raise JsonError(f"the key {key} is given twice", _line(text, place)) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise JsonError(f"not JSON ({error})", 1) from error
    _refuse_halves(text)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _TwiceError
    return values


def _refuse_halves(text: str) -> None:
    if "\\ud" not in text and "\\uD" not in text and "\\u0000" not in text:
        return
    for match in _ESCAPE.finditer(text):
        if match[1]:
            kind = "a NUL character" if match[1] == "\\u0000" else "half a character (a lone surrogate)"
            raise JsonError(f"{match[1]} is {kind}: write the text without it", _line(text, match.start()))


def _second_of_two_keys(text: str) -> tuple[str, int]:
    """The first key, as it is written, that an object has twice, and its place in the text."""
    around: list[set[str]] = []  # the keys of the objects (and nothing, of the lists) that a token stands in
    for token, following in pairwise(_TOKEN.finditer(text)):
        if token[0] in "{[":
            around.append(set())
        elif token[0] in "}]":
            around.pop()
        elif token[0][0] == '"' and following[0] == ":":
            key = json.loads(token[0], strict=False)
            if key in around[-1]:
                return token[0], token.start()
            around[-1].add(key)
    raise AssertionError("json saw a key twice")


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
