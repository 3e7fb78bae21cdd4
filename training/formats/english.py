"""The sentences of an English text, by rules: where SQuAD's paragraphs are cut for a dual encoder."""

import re
from itertools import pairwise

# A full stop and the like, what closes after it, white space, and something that may open a sentence.
_END = re.compile(r"(?<!\s)[.!?…]+[\"'”’)\]]*(?:\[\w+\])*(?=\s+[\"'“‘(\[]*[A-Z0-9À-ÞĀ-Ž£$€])")
_WORD = re.compile(r"\S+$")
_SHORTENED = """
    mr mrs ms dr prof rev hon gen col lt sgt capt maj cmdr adm sen rep gov pres st ste mt ft sr jr fr bros co corp inc
    ltd no nos vol vols ed eds pp fig figs vs v cf ca c approx dept est al jan feb mar apr jun jul aug sep sept oct nov
    dec e.g i.e ph.d a.k.a viz op cit
"""
_ABBREVIATIONS = frozenset(_SHORTENED.split())
_INITIALS = re.compile(r"^(?:[^\W\d_]\.)*[^\W\d_]$")  # J, U.S


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence, without the white space around it; at least one."""
    ends = [match.end() for match in _END.finditer(text) if _ends(text, match)]
    ends += [match.start() for match in re.finditer(r"\s*\n\s*", text)]
    bounds = [0, *sorted(set(ends)), len(text)]
    spans = [_stripped(text, start, end) for start, end in pairwise(bounds)]
    return [span for span in spans if span[0] < span[1]] or [(0, len(text))]


def _ends(text: str, match: re.Match[str]) -> bool:
    """Whether the full stop ends a sentence: not after an abbreviation or a name's initial."""
    if match[0] != ".":
        return True
    before = _WORD.search(text, max(match.start() - 40, 0), match.start())
    word = before[0].lstrip("\"'“‘([") if before else ""
    return word.lower() not in _ABBREVIATIONS and not _INITIALS.match(word)


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
