"""Parallel text: every form of file, what is refused, and what is left out."""

import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest

from slurm.base import UserError
from tests.paths import SHARED_DATA
from training import formats
from training.data import load, locate
from training.formats.parallel import FEWEST_WORDS
from training.formats.report import reporting
from training.formats.retrieval import Example
from training.formats.tmx import read_pairs
from training.spec import DataFile
from training.tasks import find
from training.tasks.task import Columns, Task

ENGLISH = ["One is here now.", "Two are here now.", "Three are here now."]
GERMAN = ["Einer ist da.", "Zwei sind da.", "Drei sind da."]
PAIRS = list(zip(ENGLISH, GERMAN, strict=True))
TASK = replace(find("alignment_legal"), columns=Columns())


def read(tmp_path: Path, files: dict[str, tuple[str, str]], task: Task = TASK) -> list[Example]:
    """`files`: by name their role and content."""
    split = []
    for name, (role, content) in files.items():
        (tmp_path / name).write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
        split.append(DataFile(str(tmp_path / name), "", role))
    return formats.get("parallel").read_split(split, task, "de")


def pairs(examples: list[Example]) -> list[tuple[str, str]]:
    return [(example.english, example.other) for example in examples]


def lines(texts: list[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def by_id(texts: list[str]) -> str:
    return lines([f"s{number}\t{text}" for number, text in enumerate(texts)])


def unit(*segments: tuple[str, str]) -> str:
    return "<tu>" + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>\n' for code, text in segments) + "</tu>\n"


def tmx(*units: str, head: str = '<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n') -> str:
    return f'<?xml version="1.0"?>\n{head}<tmx version="1.4"><header/><body>\n{"".join(units)}</body></tmx>\n'


FORMS = {
    "Moses": {"x.de": ("other", lines(GERMAN)), "x.en": ("english", lines(ENGLISH))},
    "Moses, compressed": {"x.de.gz": ("other", lines(GERMAN)), "x.en": ("english", lines(ENGLISH))},
    "by id": {"de.tsv.gz": ("other", by_id(GERMAN)), "en.tsv": ("english", by_id(ENGLISH))},
    "table": {"de.tsv": ("", "english\tother\n" + lines([f"{a}\t{b}" for a, b in PAIRS]))},
    "table by code": {"de.csv": ("", "de,en\n" + lines([f"{b},{a}" for a, b in PAIRS]))},
    "rows": {"de.jsonl": ("", lines([f'{{"en": "{a}", "de": "{b}"}}' for a, b in PAIRS]))},
    "TMX": {"de.tmx.gz": ("", tmx(*(unit(("en-GB", a), ("fr", "x"), ("DE_at", b)) for a, b in PAIRS)))},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file(form: str, tmp_path: Path) -> None:
    assert pairs(read(tmp_path, FORMS[form])) == PAIRS


def test_columns_are_the_tasks(tmp_path: Path) -> None:
    table = {"x.tsv": ("", lines([f"{a}\t7\t{b}" for a, b in PAIRS]))}
    columns = Columns(("{source}",), ("{lang}",), header=("source", "score", "de"))
    assert pairs(read(tmp_path, table, replace(TASK, columns=columns))) == PAIRS


def test_several_files_are_one_text(tmp_path: Path) -> None:
    parts = {f"{n}.tmx": ("", tmx(unit(("en", a), ("de", b)))) for n, (a, b) in enumerate(PAIRS)}
    examples = read(tmp_path, parts)
    assert pairs(examples) == PAIRS and len({example.id for example in examples}) == 3


def test_short_and_repeated_pairs_are_left_out_and_said(tmp_path: Path) -> None:
    english = ["Article 5", "1.2. (a)", *ENGLISH, ENGLISH[0], "Another one entirely.", "", "It isn't so-so."]
    german = ["Artikel 5", "1.2. (a)", *GERMAN, "Anders gesagt.", GERMAN[1], "", "Nicht ganz."]
    with reporting() as report:
        examples = read(tmp_path, {"x.de": ("other", lines(german)), "x.en": ("english", lines(english))})
    assert pairs(examples) == [*PAIRS, ("It isn't so-so.", "Nicht ganz.")]
    assert [example.id for example in examples] == ["2", "3", "4", "8"]
    assert report.left_out == 5
    assert report.remarks == [
        f"{tmp_path}/x.de: 4 of 9 pairs are compared: 3 have fewer than {FEWEST_WORDS} English words,"
        " 2 repeat a sentence"
    ]


REFUSED = {
    "one line more": (
        {"x.de": ("other", lines(GERMAN)), "x.en": ("english", lines(ENGLISH[:2]))},
        "x.de:3: 3 lines, but",
    ),
    "an empty line": (
        {"x.de": ("other", lines(["", *GERMAN[1:]])), "x.en": ("english", lines(ENGLISH))},
        "x.de:1: an empty line, but line 1 of",
    ),
    "an id less": (
        {"de.tsv": ("other", by_id(GERMAN)), "en.tsv": ("english", by_id(ENGLISH[:2]))},
        "de.tsv:3: no sentence of",
    ),
    "an id twice": (
        {"de.tsv": ("other", by_id(GERMAN) + "s1\tNoch einmal.\n"), "en.tsv": ("english", by_id(ENGLISH))},
        "de.tsv:4: id s1 is there twice",
    ),
    "no tab": ({"de.tsv": ("other", lines(GERMAN)), "en.tsv": ("english", by_id(ENGLISH))}, "de.tsv:1: not id<TAB>"),
    "no such column": ({"x.tsv": ("", "english\tgerman\na\tb\n")}, "x.tsv:2: no field other or de"),
    "an empty cell": ({"x.tsv": ("", "en\tde\nOne two three.\t \n")}, "x.tsv:2: an empty text in de"),
    "no table": ({"x.txt": ("", lines(ENGLISH))}, "a table is a .jsonl, .csv or .tsv file"),
    "not XML": ({"x.tmx": ("", "english\tother\n")}, "x.tmx:1: not well-formed XML"),
    "cut": ({"x.tmx": ("", tmx(unit(("en", "a"), ("de", "b")))[:-20])}, "x.tmx:6: not well-formed XML (no element"),
    "other XML": ({"x.tmx": ("", "<html></html>")}, "x.tmx:1: not TMX: its first element is <html>"),
    "no language": ({"x.tmx": ("", tmx("<tu><tuv><seg>a</seg></tuv></tu>"))}, "x.tmx:4: a <tuv> without xml:lang"),
    "twice in a language": (
        {"x.tmx": ("", tmx(unit(("en", "a"), ("de", "b"), ("de-AT", "c"))))},
        "x.tmx:4: a unit with several segments in en or de (en, de, de-AT)",
    ),
    "other languages": (
        {"x.tmx": ("", tmx(unit(("en", "a"), ("fr", "b"))))},
        "x.tmx:1: no unit has a segment in en and one in de; its languages are en, fr",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_one_line_with_its_place(what: str, tmp_path: Path) -> None:
    files, said = REFUSED[what]
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        read(tmp_path, files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY secret SYSTEM "file:///etc/passwd">',
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY % more SYSTEM "http://localhost/x.dtd">',
    ],
)
def test_entities_are_refused(declared: str, tmp_path: Path) -> None:
    content = tmx(unit(("en", "&secret;"), ("de", "b")), head=f"<!DOCTYPE tmx [{declared}]>\n")
    with pytest.raises(UserError, match=r"x.tmx:2: it declares the entity (secret|a|more)"):
        read(tmp_path, {"x.tmx": ("", content)})


def test_mark_up_of_a_segment_is_no_text(tmp_path: Path) -> None:
    english = (
        'Press <bpt i="1">&lt;b&gt;</bpt><hi type="term">the  red</hi><ept i="1">&lt;/b&gt;</ept>\nbutton &amp; wait'
    )
    (tmp_path / "x.tmx").write_text(tmx(unit(("en", english), ("de", "Drücken."))))
    assert read_pairs(tmp_path / "x.tmx", ["en"], ["de"]) == [("Press the red button & wait", "Drücken.")]


def test_a_language_without_a_file_is_missing_though_the_english_one_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "domain_legal_eurlex"
    folder.mkdir()
    for code, texts in (("en", ENGLISH), ("de", GERMAN)):
        (folder / f"dev.{code}").write_text(lines(texts))
    languages = locate.find_languages(find("alignment_legal"), tmp_path, None)
    assert (list(languages.found), languages.missing) == (["de"], ("fr", "hu"))


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="no ../shared/data beside the repository")
@pytest.mark.parametrize(
    ("domain", "language", "compared", "first"),
    [
        ("medical", "es", 3061, "¿cuánto hace más o menos"),
        ("legal", "fr", 762, "(11)Le socle européen"),
        ("conversation", "sw", 390, ""),
        ("encyclopaedia", "zh", 786, ""),
    ],
)
def test_real_text_of_every_domain(domain: str, language: str, compared: int, first: str) -> None:
    task = find(f"alignment_{domain}")
    split = locate.find_languages(task, SHARED_DATA, [language]).found[language]
    examples = load.load_language(task, language, split, None)
    assert len(examples) == compared and examples[0].other.startswith(first)  # type: ignore[attr-defined]
