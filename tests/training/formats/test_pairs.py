"""Formats sequence, choice and retrieval: what the model sees, and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slurm.base import UserError
from training import formats
from training.data import load, locate
from training.formats.rows import RowError, render
from training.spec import DataFile, Settings
from training.tasks import find

SEQUENCE, CHOICE, RETRIEVAL = (formats.get(name) for name in ("sequence", "choice", "retrieval"))


def first_examples(name: str, root: Path, n: int) -> list[Any]:
    task = find(name)
    return load.load_training(locate.find_training(task, root, n, n))[0]


def one_hot(target: int, n: int) -> Any:
    return np.eye(n, dtype=np.float32)[target]


# --- sequence ---


def test_a_pair_is_seen_as_xlmr_wants_it(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    task = find("mnli")
    row = {"premise": "Hello world!", "hypothesis": "It rains.", "label": "neutral"}
    example = SEQUENCE.from_row(row, task, "en")
    (piece,) = SEQUENCE.encode([example], xlmr_tokenizer, task, Settings())
    first, second = (library_tokenizer(text, add_special_tokens=False)["input_ids"] for text in list(row.values())[:2])
    assert piece.rows == ((0, *first, 2, 2, *second, 2),)
    assert piece.target == (1,)
    assert SEQUENCE.count(piece) == 1


def test_the_longer_text_is_cut_first(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    task = find("mnli")
    row = {"premise": "word " * 100, "hypothesis": "short one", "label": "neutral"}
    (piece,) = SEQUENCE.encode([SEQUENCE.from_row(row, task, "en")], xlmr_tokenizer, task, Settings(max_length=32))
    second = library_tokenizer("short one", add_special_tokens=False)["input_ids"]
    assert len(piece.rows[0]) == 32
    assert piece.rows[0][-len(second) - 1 : -1] == tuple(second)


@pytest.mark.parametrize("name", ["mnli", "anli", "qqp", "pawsx"])
def test_gold_labels_come_back(name: str, shared_data: Path, xlmr_tokenizer: Any) -> None:
    task, examples = find(name), first_examples(name, shared_data, 40)
    pieces = SEQUENCE.encode(examples, xlmr_tokenizer, task, Settings())
    outputs = [one_hot(piece.target[0], len(task.labels)) for piece in pieces]
    gold = [SEQUENCE.gold(example, task) for example in examples]
    assert SEQUENCE.decode(examples, pieces, outputs, task, Settings()) == gold
    assert set(gold) <= set(task.labels) and len(set(gold)) > 1


def test_the_same_rows_have_the_same_labels_in_every_language(shared_data: Path) -> None:
    task = find("xnli")
    found = locate.find_languages(task, shared_data, ["en", "de", "zh"]).found
    labels = [[e.label for e in load.load_language(task, code, found[code], None)] for code in found]  # type: ignore[attr-defined]
    assert labels[0] == labels[1] == labels[2]


def test_rows_that_annotators_left_unlabelled_are_left_out() -> None:
    row = {"sentence1": "p", "sentence2": "h", "gold_label": "-"}
    assert SEQUENCE.from_row(row, find("mnli"), "en") is None
    with pytest.raises(RowError, match="label 'yes' is none of"):
        SEQUENCE.from_row(row | {"gold_label": "yes"}, find("mnli"), "en")


def test_templates_take_the_first_alternative_that_the_row_has() -> None:
    row = {"a": "x", "b": {"c": "y"}}
    assert render(row, ("{z}", "{a} {b.c}", "{a}")) == "x y"
    with pytest.raises(RowError, match="no field z"):
        render(row, ("{z}",))


# --- choice ---

RENDERED = {
    "hellaswag": (
        {"ind": 4, "ctx": "A man sits. he", "endings": ["runs.", "sits.", "eats.", "is."], "label": 1},
        "A man sits. he",
        ["runs.", "sits.", "eats.", "is."],
        "1",
    ),
    "hellaswag whole": (
        {"ctx": "A. he", "ctx_a": "A.", "ctx_b": "he", "endings": ["r", "s", "e", "i"], "label": "0"},
        "A.",
        ["he r", "he s", "he e", "he i"],
        "0",
    ),
    "cosmos_qa": (
        {"id": "x", "context": "C.", "question": "Q?", **{f"answer{n}": str(n) for n in range(4)}, "label": "2"},
        "C. Q?",
        ["0", "1", "2", "3"],
        "2",
    ),
    "commonsense_qa": (
        {
            "id": "x",
            "answerKey": "C",
            "question": {"stem": "Q?", "choices": [{"label": key, "text": key * 2} for key in "ABCDE"]},
        },
        "Q?",
        ["AA", "BB", "CC", "DD", "EE"],
        "C",
    ),
    "commonsense_qa hub": (
        {"id": "x", "answerKey": "E", "question": "Q?", "choices": {"label": list("ABCDE"), "text": list("abcde")}},
        "Q?",
        list("abcde"),
        "E",
    ),
    "siqa": (
        {"context": "C.", "question": "Q?", "answerA": "a", "answerB": "b", "answerC": "c", "correct": "B"},
        "C. Q?",
        ["a", "b", "c"],
        "B",
    ),
    "siqa hub": (
        {"context": "C.", "question": "Q?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "3"},
        "C. Q?",
        ["a", "b", "c"],
        "C",
    ),
    "copa": (
        {"premise": "It fell.", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 7},
        "It fell. What was the cause?",
        ["a", "b"],
        "choice2",
    ),
    "xcopa": (
        {"premise": "它很小。", "choice1": "a", "choice2": "b", "question": "effect", "label": 0, "idx": 7},
        "它很小。 What was the effect?",
        ["a", "b"],
        "choice1",
    ),
}


@pytest.mark.parametrize("case", RENDERED)
def test_a_choice_is_two_texts_as_published(case: str) -> None:
    row, first, seconds, label = RENDERED[case]
    example = CHOICE.from_row(row, find(case.split()[0]), "en")
    assert (example.first, list(example.seconds), example.label) == (first, seconds, label)
    assert example.group == first


def test_a_row_per_choice(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    task = find("copa")
    row, first, seconds, _ = RENDERED["copa"]
    (piece,) = CHOICE.encode([CHOICE.from_row(row, task, "en")], xlmr_tokenizer, task, Settings())
    assert piece.rows == tuple(tuple(library_tokenizer(first, second)["input_ids"]) for second in seconds)
    assert piece.target == (1,)


@pytest.mark.parametrize("name", ["hellaswag", "cosmos_qa", "commonsense_qa", "siqa", "copa"])
def test_gold_choices_come_back(name: str, shared_data: Path, xlmr_tokenizer: Any) -> None:
    task, examples = find(name), first_examples(name, shared_data, 30)
    pieces = CHOICE.encode(examples, xlmr_tokenizer, task, Settings())
    assert {len(piece.rows) for piece in pieces} == {len(task.labels)}
    outputs = [one_hot(piece.target[0], len(task.labels)) for piece in pieces]
    gold = [CHOICE.gold(example, task) for example in examples]
    assert CHOICE.decode(examples, pieces, outputs, task, Settings()) == gold
    assert len(set(gold)) > 1


def test_a_wrong_number_of_choices_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"ctx": "A", "endings": ["a", "b"], "label": 0}\n')
    with pytest.raises(UserError, match=r"h\.jsonl:1: 2 choices instead of 4"):
        CHOICE.read(path, find("hellaswag"), "en")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{nonsense\n", r"h\.jsonl:1: not JSON"),
        ('\n{"ctx": 1}\n', r"h\.jsonl:2: no field label"),
        ("[1]\n", "not a JSON"),
    ],
)
def test_malformed_json_lines_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        CHOICE.read(path, find("hellaswag"), "en")


def test_csv_fields_may_hold_newlines_and_a_short_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    head = "id,context,question,answer0,answer1,answer2,answer3,label\n"
    path.write_text(head + 'x,"two\nlines",q,a,b,c,d,3\n')
    (example,) = CHOICE.read(path, find("cosmos_qa"), "en")
    assert (example.first, example.label) == ("two\nlines q", "3")
    path.write_text(head + "x,c,q,a,b\n")
    with pytest.raises(UserError, match=r"c\.csv:2: not 8 columns"):
        CHOICE.read(path, find("cosmos_qa"), "en")


# --- retrieval ---


def pair_files(folder: Path, english: str, other: str) -> tuple[DataFile, ...]:
    (folder / "e").write_text(english)
    (folder / "o").write_text(other)
    return DataFile(str(folder / "o"), "", "other"), DataFile(str(folder / "e"), "", "english")


def test_sentences_are_paired_line_by_line(tmp_path: Path, xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    task = find("tatoeba")
    files = pair_files(tmp_path, "Hello\u2028you.\nBye.\n", "Hallo du.\nTschüss.\n")
    examples = RETRIEVAL.read_split(files, task, "de")
    assert [(e.id, e.english, e.other) for e in examples] == [
        ("0", "Hello\u2028you.", "Hallo du."),
        ("1", "Bye.", "Tschüss."),
    ]
    pieces = RETRIEVAL.encode(examples, xlmr_tokenizer, task, Settings())
    assert [(piece.example, piece.way_back) for piece in pieces] == [
        (0, "english"),
        (0, "other"),
        (1, "english"),
        (1, "other"),
    ]
    assert pieces[3].rows == (tuple(library_tokenizer("Tschüss.")["input_ids"]),)
    assert RETRIEVAL.count(pieces[0]) == 0


def test_files_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 lines, but .* has 1"):
        RETRIEVAL.read_split(pair_files(tmp_path, "a\n", "a\nb\n"), find("tatoeba"), "de")
