"""The ways of asking Slurm one thing: as it is asked here, and as older versions and sites' own commands take it.

A refusal of the first way is met with the next one; the way that was taken is remembered for a day in the user's cache
(`ways.json`), so that the refused ones are not tried every minute. What a way means may be a little less than what the
first one does, never something else: whoever writes the list answers for that.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from slurm import commands, usercache
from slurm.base.files import to_json
from slurm.commands import Refusal

Answer = TypeVar("Answer")
Way = Sequence[str]  # a command line
_REMEMBERED = 86400.0  # seconds


@dataclass(frozen=True)
class Trial:
    """One way that was tried, and the words with which it was refused; None: it was taken."""

    command: tuple[str, ...]
    refusal: str | None


def ask(topic: str, ways: Sequence[Way], read: Callable[[str], Answer]) -> Answer:
    """The first answer that is given, read. `topic`: under which name to remember the way; `read` may refuse as well.

    Refusal with the words for the first way, where each is refused; Silent where nobody answers.
    """
    remembered = _remembered(topic, len(ways))
    refusals: dict[int, Refusal] = {}
    for number in dict.fromkeys((remembered, *range(len(ways)))):
        try:
            answer = read(commands.answer_of(ways[number]))
        except Refusal as refusal:
            refusals[number] = refusal
            continue
        if number != remembered:
            # A later way may see less (squeue's without --all): once more, for the trouble may have been a passing one.
            with suppress(Refusal):
                return read(commands.answer_of(ways[remembered]))
            _remember(topic, number, len(ways))
        return answer
    raise refusals[0]


def tried(topic: str, ways: Sequence[Way], read: Callable[[str], object] = str) -> Iterator[Trial]:
    """Each way from the first one on, whatever is remembered, until one is taken. Silent where nobody answers."""
    for number, way in enumerate(ways):
        try:
            read(commands.answer_of(way))
        except Refusal as refusal:
            yield Trial(tuple(way), str(refusal))
        else:
            _remember(topic, number, len(ways))
            yield Trial(tuple(way), None)
            return


def _remembered(topic: str, count: int) -> int:
    try:
        number, of, when = json.loads(usercache.kept(usercache.folder(), "ways.json") or b"{}")[topic]
        return number if of == count and number in range(count) and 0 <= time.time() - when < _REMEMBERED else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _remember(topic: str, number: int, count: int) -> None:
    if number == _remembered(topic, count):
        return
    folder = usercache.folder()
    try:
        notes = dict(json.loads(usercache.kept(folder, "ways.json") or b"{}"))
    except (OSError, ValueError, TypeError):
        notes = {}
    usercache.keep(folder, "ways.json", to_json(notes | {topic: [number, count, time.time()]}))
