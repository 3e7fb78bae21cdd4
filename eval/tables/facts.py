"""What is known of languages: family, script, and how much of XLM-R's pretraining text is in them. Data, with sources.

Family: Universal Dependencies, `docs-automation/codes_and_flags.yaml` (commit 00e27c4): `IE: Slavic` is its `IE,
Slavic`; of other families the first word alone. What it does not list (az gu ht jv ml ms my pa qu sw among XTREME-R's):
Wikipedia's list of ISO 639-1 codes, where Indo-European has no branches: `IE` alone; but gu and pa, which every
description at hand calls Indo-Aryan. Script: Unicode CLDR's `supplementalData.xml` (its first script for a language
with several; the registry of IANA for tl), by ISO 15924's codes and English names. Size: GiB of CC-100, Conneau et al.
2020 (arXiv 1911.02116), table 6, from the transcription of it in github.com/mayhewsw/multilingual-data-stats: zh is
simplified and traditional, my with Zawgyi, nb and nn are the table's Norwegian. A language that is not in that table
XLM-R has not seen; the rows of romanised Hindi, Urdu, Bengali, Tamil and Telugu are not counted.

Not covered: XTREME's own table of families, which was not at hand; many of Tatoeba's other languages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from slurm.base import UsageError

Grouping = Literal["family", "script", "size", "seen"]
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Facts:
    """Of one language. `size`: GiB of CC-100; 0 where XLM-R's pretraining had none of it."""

    family: str
    script: str  # ISO 15924
    size: float


SCRIPTS = {
    "Arab": "Arabic", "Armn": "Armenian", "Beng": "Bengali", "Cyrl": "Cyrillic", "Deva": "Devanagari",
    "Ethi": "Ethiopic", "Geor": "Georgian", "Grek": "Greek", "Gujr": "Gujarati", "Guru": "Gurmukhi", "Hans": "Han",
    "Hebr": "Hebrew", "Jpan": "Japanese", "Khmr": "Khmer", "Kore": "Korean", "Latn": "Latin", "Mlym": "Malayalam",
    "Mymr": "Myanmar", "Taml": "Tamil", "Telu": "Telugu", "Thai": "Thai",
}  # fmt: skip

_FACTS = """
IE: Germanic    af Latn 1.3, da Latn 45.6, de Latn 66.6, en Latn 300.8, fo Latn 0, nb Latn 49.0, nl Latn 29.3,
                nn Latn 49.0, sv Latn 85.0
IE: Romance     ca Latn 10.1, es Latn 53.3, fr Latn 56.8, gl Latn 2.9, it Latn 30.2, pt Latn 49.1, ro Latn 61.4
IE: Slavic      be Cyrl 4.3, bg Cyrl 57.5, cs Latn 16.3, hr Latn 20.5, pl Latn 44.6, ru Cyrl 278.0, sk Latn 23.2,
                sl Latn 10.3, sr Cyrl 9.1, uk Cyrl 84.6
IE: Baltic      lt Latn 13.7, lv Latn 8.8
IE: Celtic      br Latn 0.1, cy Latn 0.8, ga Latn 0.5
IE: Greek       el Grek 46.9
IE: Armenian    hy Armn 5.5
IE: Iranian     fa Arab 111.6
IE: Indic       bn Beng 8.4, gu Gujr 1.9, hi Deva 20.2, mr Deva 2.8, pa Guru 0.8, ur Arab 5.7
IE: Latin       la Latn 2.5
IE              bs Latn 0.1, fy Latn 0.2, gd Latn 0.1, is Latn 3.2, ku Latn 0.4, kw Latn 0, mk Cyrl 4.8, oc Latn 0,
                sq Latn 5.4, yi Hebr 0.3
Afro-Asiatic    am Ethi 0.8, ar Arab 28.0, he Hebr 31.6
Austro-Asiatic  km Khmr 1.5, vi Latn 137.3
Austronesian    id Latn 148.3, jv Latn 0.2, ms Latn 8.5, tl Latn 3.1
Basque          eu Latn 2.0
Constructed     eo Latn 0.9, ia Latn 0
Creole          ht Latn 0
Dravidian       ml Mlym 7.6, ta Taml 12.2, te Telu 4.7
Japanese        ja Jpan 69.3
Kartvelian      ka Geor 9.1
Korean          ko Kore 54.2
Mongolic        mn Cyrl 3.0
Niger-Congo     sw Latn 1.6, wo Latn 0, xh Latn 0.1, yo Latn 0
Quechuan        qu Latn 0
Sino-Tibetan    my Mymr 2.0, zh Hans 63.5
Tai-Kadai       th Thai 71.7
Turkic          az Latn 6.5, kk Cyrl 6.4, tk Latn 0, tr Latn 20.9, tt Cyrl 0, ug Arab 0.4, uz Latn 0.7
Uralic          et Latn 6.1, fi Latn 54.3, hu Latn 58.4
"""
_SIZES = ((50.0, "≥ 50 GiB"), (10.0, "10–50 GiB"), (1.0, "1–10 GiB"), (0.0, "< 1 GiB"))  # ours, not the paper's
_CC100 = "CC-100, Conneau et al. 2020, table 6, as transcribed in github.com/mayhewsw/multilingual-data-stats"
SOURCES: dict[Grouping, str] = {
    "family": "families: Universal Dependencies (docs-automation), else Wikipedia's list of ISO 639-1",
    "script": "scripts: Unicode CLDR (supplementalData.xml)",
    "size": f"sizes: GiB of {_CC100}",
    "seen": f"seen: has text in {_CC100}",
}


def _read(text: str) -> dict[str, Facts]:
    facts: dict[str, Facts] = {}
    family = ""
    for line in text.strip().splitlines():
        family = line[:16].strip() or family
        for entry in line[16:].strip().rstrip(",").split(", "):
            code, script, size = entry.split()
            assert code not in facts and script in SCRIPTS, entry
            facts[code] = Facts(family, script, float(size))
    return facts


FACTS = _read(_FACTS)


def grouping(text: str) -> Grouping:
    """The grouping of this name; UsageError where there is none."""
    for name in SOURCES:
        if text == name:
            return name
    raise UsageError(f"--by {text}: it is {', '.join(list(SOURCES)[:-1])} or {list(SOURCES)[-1]}")


def groups(languages: Sequence[str], by: Grouping) -> dict[str, list[str]]:
    """The languages of each group: sizes from the largest, families and scripts from the one with most languages.

    Of what nothing is known the group is called so, and it comes last.
    """
    members: dict[str, list[str]] = {}
    for code in languages:
        members.setdefault(_GROUP[by](FACTS[code]) if code in FACTS else UNKNOWN, []).append(code)
    order = [name for _, name in _SIZES] + [_UNSEEN] if by == "size" else ["seen", _UNSEEN]
    places = {name: place for place, name in enumerate(order)} if by in ("size", "seen") else {}
    names = sorted(members, key=lambda name: (name == UNKNOWN, places.get(name, 0), -len(members[name]), name))
    return {name: members[name] for name in names}


_UNSEEN = "not seen"


def _size_group(facts: Facts) -> str:
    return next(name for least, name in _SIZES if facts.size >= least) if facts.size else _UNSEEN


_GROUP: dict[Grouping, Callable[[Facts], str]] = {
    "family": lambda facts: facts.family,
    "script": lambda facts: SCRIPTS[facts.script],
    "size": _size_group,
    "seen": lambda facts: "seen" if facts.size else _UNSEEN,
}


def unknown(languages: Sequence[str]) -> list[str]:
    """Those of which nothing is known here."""
    return [code for code in languages if code not in FACTS]
