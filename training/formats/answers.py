"""Where an answer stands in its context: at the character that the data say, or a few beside it, and never elsewhere.

Some copies of SQuAD-like data stripped their contexts and kept the old places (a quarter of TyDiQA's contexts begin
with white space); other tools count bytes, or UTF-16's units, where characters are meant.
"""

from dataclasses import dataclass
from typing import NoReturn

from slurm.base import UserError
from training.formats.report import Report, current
from training.formats.rows import RowError

_NEAR = 8  # characters: published contexts have up to 6 blanks before their text
_SHARE = 0.03  # of a file's answers: where more are moved, the file counts something else
_SHARE_STRIPPED = (
    0.5  # a quarter of TyDiQA's contexts begin with white space; where nearly all do, nothing was stripped
)
_LISTED = 5


@dataclass(frozen=True)
class Answer:
    """`start`: the character in the context that `text` begins at."""

    text: str
    start: int


def anchored(context: str, text: str, start: int) -> Answer:
    """The answer where it really is. RowError where it is not near `start`, or several times."""
    report = current()
    report.answers += 1
    if start >= 0 and context.startswith(text, start):
        return Answer(text, start)
    places = _places(context, text)
    near = [place for place in places if abs(place - start) <= _NEAR]
    before = [place for place in near if place < start]
    is_stripped = bool(before) and context == context.strip()
    if is_stripped:  # white space taken away before an answer can only have moved it to the left
        near = before
    by_bytes = _by_bytes(context, text, start)
    if len(near) != 1 or by_bytes not in (None, near[0]):
        _refuse(text, start, places, by_bytes)
    if is_stripped and by_bytes is None:
        report.stripped += 1
    else:
        report.moved += 1
    return Answer(text, near[0])


def judge(where: str, report: Report) -> None:
    """Say how many answers of a file were not where it says. UserError where these are too many to be an accident."""
    beside = report.moved + report.stripped
    if report.moved > max(1, _SHARE * report.answers) or report.stripped > max(1, _SHARE_STRIPPED * report.answers):
        raise UserError(
            f"{where}: {beside:,} of {report.answers:,} answers are beside the place that answer_start says. It"
            " counts characters of the context, from 0: neither bytes nor UTF-16 units. Mend the file, or take another"
            " in splits.yaml."
        )
    if beside:
        current().remarks.append(
            f"{where}: {beside:,} of {report.answers:,} answers stand up to {_NEAR} characters beside the place that"
            " answer_start says; they were read where they stand"
        )


def _places(context: str, text: str) -> list[int]:
    places, place = [], context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    return places


def _by_bytes(context: str, text: str, start: int) -> int | None:
    """The character that the answer begins at, were `start` a number of bytes; None where it does not stand there."""
    content = context.encode()
    if start < 0 or not content.startswith(text.encode(), start):
        return None
    return len(content[:start].decode(errors="ignore"))


def _refuse(text: str, start: int, places: list[int], by_bytes: int | None) -> NoReturn:
    if not places:
        raise RowError(f"the answer {text!r} is not in its context")
    if by_bytes is not None:
        raise RowError(
            f"the answer {text!r} is not at character {start} but at {by_bytes}: answer_start counts bytes; it must"
            " count characters"
        )
    place_list = ", ".join(map(str, places[:_LISTED])) + (", …" if len(places) > _LISTED else "")
    raise RowError(f"the answer {text!r} is not at answer_start {start}; it is at {place_list}")
