"""TMX, the exchange format of translation memories (LISA, TMX 1.4b): a unit has a segment in each of its languages.

Read as a stream by expat. A document type is allowed, for most files name one; nothing is fetched, and a file that
declares entities is refused, since they can read other files and grow without end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from training.formats.rows import bad_row, malformed, read_bytes

# Elements inside a segment whose text is a mark-up language's own, and no part of the sentence.
_CODES = frozenset(("bpt", "ept", "it", "ph", "ut"))
_LANGUAGE_ATTRIBUTES = ("xml:lang", "lang")


@dataclass(frozen=True)
class Unit:
    """`line`: where it begins. `segments`: a text by language as it is written there (`pt-BR`)."""

    line: int
    segments: tuple[tuple[str, str], ...]


def read_pairs(path: Path, english: Sequence[str], foreign: Sequence[str]) -> list[tuple[str, str]]:
    """The English and the other text of all units that have both, in their order. `english`, `foreign`: the names of a
    language, each alone or with a region (`pt`: also `pt-BR`, `pt_PT`).

    UserError where it is no TMX, where a unit says something twice in a language, or where no unit has both.
    """
    pairs, languages = [], set()
    for unit in read_units(path):
        languages |= {language for language, _ in unit.segments}
        sides = [_of_language(unit, names) for names in (english, foreign)]
        if any(len(texts) > 1 for texts in sides):
            codes = ", ".join(language for language, _ in unit.segments)
            bad_row(path, unit.line, f"a unit with several segments in {english[0]} or {foreign[0]} ({codes})")
        elif all(sides):
            pairs.append((sides[0][0], sides[1][0]))
    if not pairs:
        there = ", ".join(sorted(languages)) or "none"
        malformed(path, 1, f"no unit has a segment in {english[0]} and one in {foreign[0]}; its languages are {there}")
    return pairs


def _of_language(unit: Unit, names: Sequence[str]) -> list[str]:
    return [text for language, text in unit.segments if _is_called(language, names)]


def _is_called(language: str, names: Sequence[str]) -> bool:
    tag = language.lower().replace("_", "-")
    return any(tag == name.lower() or tag.startswith(f"{name.lower()}-") for name in names)


def read_units(path: Path) -> Iterator[Unit]:
    """All units. UserError, with its line, where the file is no well-formed XML or no TMX."""
    reader = _Reader(path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = reader.text, reader.entity
    reader.parser = parser
    try:
        parser.Parse(read_bytes(path), True)
    except expat.ExpatError as error:
        malformed(path, error.lineno, f"not well-formed XML ({expat.ErrorString(error.code)})")
    yield from reader.units


class _Reader:
    """What expat calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parser: Any = None
        self.units: list[Unit] = []
        self._open: list[str] = []
        self._line = 0
        self._language = ""
        self._segments: list[tuple[str, str]] = []
        self._pieces: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name != "tmx":
            malformed(self.path, self._now, f"not TMX: its first element is <{name}>")
        self._open.append(name)
        if name == "tu":
            self._line, self._segments = self._now, []
        elif name == "tuv":
            self._language = next((attributes[key] for key in _LANGUAGE_ATTRIBUTES if key in attributes), "")
            if not self._language:
                malformed(self.path, self._now, "a <tuv> without xml:lang: of which language?")
        elif name == "seg":
            self._pieces = []

    def text(self, text: str) -> None:
        if "seg" in self._open and not _CODES & set(self._open):
            self._pieces.append(text)

    def end(self, name: str) -> None:
        self._open.pop()
        if name == "seg":
            self._segments.append((self._language, " ".join("".join(self._pieces).split())))
        elif name == "tu":
            self.units.append(Unit(self._line, tuple(self._segments)))

    def entity(self, name: str, *_: Any) -> None:
        malformed(
            self.path, self._now, f"it declares the entity {name}: such files are not read; replace it by its text"
        )

    @property
    def _now(self) -> int:
        return int(self.parser.CurrentLineNumber)
