"""Malformed rows: an error with file and line, or left out, counted and listed."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from slurm.base import UserError
from training.data import hub
from training.formats.base import Example
from training.formats.choice import Choice
from training.formats.rows import skipping
from training.formats.sequence import Sequence
from training.formats.span import Span
from training.formats.tagging import Tagging
from training.spec import HubPart
from training.tasks import find

GOOD_CHOICE = '{"ctx": "A", "endings": ["a", "b", "c", "d"], "label": 0}'
GOOD_CSV = "id,context,question,answer0,answer1,answer2,answer3,label"
QUESTIONS: list[dict[str, Any]] = [
    {"id": "good", "question": "Where?", "answers": [{"text": "Oslo", "answer_start": 3}]},
    {"id": "elsewhere", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 3}]},
    {"id": "no question", "answers": [{"text": "Oslo", "answer_start": 3}]},
    {"id": "no start", "question": "Where?", "answers": [{"text": "Oslo"}]},
    {"id": "no answers", "question": "Where?"},
    {"id": "nothing in it", "question": "Where?", "answers": [{"text": None, "answer_start": 3}]},
    {"id": "good too", "question": "What?", "answers": [{"text": "In", "answer_start": 0}]},
]
SQUAD = json.dumps({"data": [{"paragraphs": [{"context": "In Oslo.", "qas": QUESTIONS}]}]}, indent=1)

# file, task, format, content, ids of the rows that are left, lines of those that are left out
FILES: dict[str, tuple[str, str, Any, str, list[str], list[int] | None]] = {
    "TSV": ("x.tsv", "xnli", Sequence(), "a\tb\tneutral\na\tb\na\tb\tyes\na\tb\tneutral\n", ["0", "3"], [2, 3]),
    "TSV with a header": (
        "q.tsv",
        "qqp",
        Sequence(),
        "question1\tquestion2\tis_duplicate\na\tb\na\tb\t1\n",
        ["1"],
        [2],
    ),
    "CSV": (
        "c.csv",
        "cosmos_qa",
        Choice(),
        f'{GOOD_CSV}\n,c,q,a,b,c,d,3\nx,c,q\n,c,q,a,b,c,d,9\n,"c"x,q,a,b,c,d,1\n,"c\nc",q,a,b,c,d,1\n',
        ["row 0", "row 4"],
        [3, 4, 5],
    ),
    "JSON lines": (
        "h.jsonl",
        "hellaswag",
        Choice(),
        f'{GOOD_CHOICE}\n{{"ctx"\n\n[1]\n{{"ctx": "A", "endings": ["a"], "label": 0}}\n{GOOD_CHOICE}\n',
        ["0", "4"],
        [2, 4, 5],
    ),
    "CoNLL": (
        "p.tsv",
        "panx",
        Tagging(),
        "a\tO\n\nb\tO\nRom B-LOC\nc\tB-CITY\nd\tO\n\n\ne\tO\n",
        ["0", "2"],
        [4],
    ),
    "a sentence a line": ("a.stagged", "ccg", Tagging(), "a|X|N\nb|N c\nd|X|N\n", ["0", "2"], [2]),
    "CCGbank": (
        "a.auto",
        "ccg",
        Tagging(),
        "ID=s.1 X\n(<L N X X a N>)\nID=s.2 X\n(<L N X a N>)\nID=s.3 X\n(<L N X X b N>)\n",
        ["s.1", "s.3"],
        [4],
    ),
    "SQuAD": ("q.json", "squad", Span(), SQUAD, ["good", "good too"], None),
}


@pytest.mark.parametrize("kind", FILES)
def test_bad_rows_are_left_out_counted_and_listed_on_request(kind: str, tmp_path: Path) -> None:
    name, task, form, content, ids, lines = FILES[kind]
    path = tmp_path / name
    path.write_text(content)
    if lines is None:
        lines = [_line(content, question["id"]) for question in QUESTIONS if "good" not in question["id"]]
    with skipping() as skipped:
        examples: list[Example] = form.read(path, find(task), "en")
    assert [example.id for example in examples] == ids
    assert [text.split(": ")[0] for text in skipped] == [f"{path}:{line}" for line in lines]
    with pytest.raises(UserError, match=r"or leave such rows out: .* data: \{skip_bad_rows: true\}") as refused:
        form.read(path, find(task), "en")
    assert str(refused.value).startswith(f"{skipped[0]}. ")
    assert "\n" not in str(refused.value)


def _line(content: str, id_: Any) -> int:
    return content[: content.index(json.dumps(id_))].count("\n") + 1


@pytest.mark.parametrize(
    ("name", "task", "form", "content"),
    [
        ("x.tsv.gz", "xnli", Sequence(), b"not gzip"),
        ("x.tsv", "xnli", Sequence(), b"a\tb\tneutral\n\xff\tb\tneutral\n"),
        ("x.txt", "xnli", Sequence(), b"a"),
        ("q.json", "squad", Span(), b'{"data": ['),
        ("q.json", "squad", Span(), b'{"daten": []}'),
        ("q.json", "squad", Span(), b'{"data": [{"paragraphs": [{"qas": [{"id": 1}]}]}]}'),
    ],
)
def test_a_damaged_file_is_an_error_all_the_same(
    name: str, task: str, form: Any, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with skipping() as skipped, pytest.raises(UserError, match=name):
        form.read(tmp_path / name, find(task), "en")
    assert skipped == []


def test_bad_rows_of_the_hub_are_left_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows(list[dict[str, Any]]):
        features = {"premise": None, "hypothesis": None, "label": None}

    rows = Rows({"premise": "p", "hypothesis": "h", "label": label} for label in ("0", "7", "2"))
    monkeypatch.setattr(hub, "_dataset", lambda part: rows)  # the one thing that needs a network
    part = HubPart("facebook/xnli", "0" * 40, "en", "test")
    task = replace(find("xnli"), sizes={})
    with skipping() as skipped:
        examples = hub.examples(part, Sequence(), task, "en")
    assert [example.id for example in examples] == ["0", "2"]
    (text,) = skipped
    assert "facebook/xnli@000000000000 en test: row 1: label '7' is none of" in text
    with pytest.raises(UserError, match=r"row 1: label '7' .*\. The catalogue's entry of xnli does not fit"):
        hub.examples(part, Sequence(), task, "en")


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["a\tb\tneutral", "a\tb", "a\tb\tc\td", "a\tb\tmaybe"]), max_size=20))
def test_what_is_left_keeps_its_place_in_the_file(lines: list[str]) -> None:
    assume(set(lines) != {"a\tb"})  # that is a file without labels
    with TemporaryDirectory() as folder, skipping() as skipped:
        path = Path(folder) / "x.tsv"
        path.write_text("".join(f"{line}\n" for line in lines))
        examples = Sequence().read(path, find("xnli"), "en")
    good = [position for position, line in enumerate(lines) if line.endswith("neutral")]
    assert [int(example.id) for example in examples] == good
    assert len(skipped) == len(lines) - len(good)


def test_an_outer_block_hears_of_what_an_inner_one_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\n")
    with skipping() as outer:
        with skipping() as inner:
            Sequence().read(tmp_path / "x.tsv", find("xnli"), "en")
        assert outer == inner and len(outer) == 1


def test_skipping_ends_with_its_block_even_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\n")
    with pytest.raises(RuntimeError), skipping():
        raise RuntimeError
    with pytest.raises(UserError, match="1 columns instead of 3"):
        Sequence().read(tmp_path / "x.tsv", find("xnli"), "en")
