"""Format tagging: every word has one label, whatever its length and its sentence's."""

import dataclasses
import gzip
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base import UserError
from training import formats
from training.data import load, locate
from training.formats.base import IGNORED
from training.formats.rows import RowError
from training.formats.tagging import Example, split
from training.spec import Settings
from training.tasks import find

TAGGING = formats.get("tagging")
PANX = find("panx")


def sentence(words: list[str], tags: list[str]) -> Example:
    return Example(id="0", language="en", group=" ".join(words), words=tuple(words), tags=tuple(tags))


def test_the_first_subword_is_labelled_and_the_others_are_not(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    example = sentence(["Gedenkmünzen", "in", "Rom"], ["O", "O", "B-LOC"])
    (piece,) = TAGGING.encode([example], xlmr_tokenizer, PANX, Settings())
    lengths = [len(library_tokenizer(word, add_special_tokens=False)["input_ids"]) for word in example.words]
    assert lengths[0] > 1
    assert [place for place, label in enumerate(piece.target) if label != IGNORED] == [
        1,
        1 + lengths[0],
        1 + lengths[0] + lengths[1],
    ]
    assert len(piece.target) == len(piece.rows[0])
    assert TAGGING.count(piece) == 3
    assert (piece.rows[0][0], piece.rows[0][-1]) == (0, 2)


def test_words_are_tokenised_as_the_library_tokenises_them(
    xlmr_tokenizer: Any, shared_data: Path, library_tokenizer: Any
) -> None:
    files = locate.find_languages(PANX, shared_data, ["zh"]).found["zh"]
    examples = [
        e
        for e in load.load_language(PANX, "zh", files, 300)
        if "\u200b" not in e.words  # type: ignore[attr-defined]  # without subwords: the library leaves it out
    ]
    pieces = TAGGING.encode(examples, xlmr_tokenizer, PANX, Settings(max_length=1000))  # nothing is split
    theirs = library_tokenizer([list(e.words) for e in examples], is_split_into_words=True)["input_ids"]  # type: ignore[attr-defined]
    assert [list(piece.rows[0]) for piece in pieces] == theirs


def test_a_word_without_subwords_and_one_longer_than_a_piece_are_unknown(
    xlmr_tokenizer: Any, library_tokenizer: Any
) -> None:
    nothing = "\u0007"
    assert library_tokenizer(nothing, add_special_tokens=False)["input_ids"] == []
    example = sentence([nothing, "Donaudampfschifffahrtsgesellschaft" * 3], ["O", "B-ORG"])
    (piece,) = TAGGING.encode([example], xlmr_tokenizer, PANX, Settings(max_length=8))
    assert piece.rows == ((0, xlmr_tokenizer.unk_token_id, xlmr_tokenizer.unk_token_id, 2),)
    assert TAGGING.count(piece) == 2


@given(st.lists(st.integers(1, 6), max_size=40), st.integers(6, 20))
def test_splitting_covers_every_word_once_in_as_few_pieces_as_greed_allows(lengths: list[int], room: int) -> None:
    runs = list(split(lengths, room))
    assert [word for start, end in runs for word in range(start, end)] == list(range(len(lengths)))
    for start, end in runs:
        assert start < end and sum(lengths[start:end]) <= room
    for (start, end), (_, next_end) in pairwise(runs):
        assert next_end > end and sum(lengths[start : end + 1]) > room


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Rom\tB-LOC\n\nRom B-LOC\n", r"p\.tsv:3: 'Rom B-LOC' is not a word, a tab and a tag"),
        ("Rom\tB-CITY\n", r"p\.tsv:1: .* is not a word, a tab and a tag \(O B-PER"),
        ("\tO\n", r"p\.tsv:1: "),
    ],
)
def test_a_malformed_line_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        TAGGING.read(path, PANX, "en")


def test_a_file_may_end_with_or_without_an_empty_line(tmp_path: Path) -> None:
    for ending in ("", "\n", "\n\n", "\r\n\r\n"):
        (tmp_path / "p.tsv").write_bytes(f"a\tO\n\nRom\tB-LOC{ending}".encode())
        assert [e.words for e in TAGGING.read(tmp_path / "p.tsv", PANX, "en")] == [("a",), ("Rom",)]


# --- sentences with many labels: CCG ---

CCG = find("ccg")
LINE = "By|IN|(S/S)/NP what|WDT|NP ?|.|.\n"
AUTO = """ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1
(<T S[dcl] 0 2> (<T S[dcl] 1 2> (<L NP PRP PRP It NP>) (<L S[dcl]\\NP VBD VBD rained S[dcl]\\NP_1>) ) (<L . . . . .>) )
ID=wsj_0001.2 PARSER=GOLD NUMPARSE=1
(<T NP 0 1> (<L N NNP NNP Oslo N>) )
"""


def test_a_line_is_a_sentence_where_the_task_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.stagged"
    path.write_text(f"{LINE}\nRain|N\n")
    first, second = TAGGING.read(path, CCG, "en")
    assert (first.id, first.words, first.tags) == ("0", ("By", "what", "?"), ("(S/S)/NP", "NP", "."))
    assert (second.id, second.words, second.tags) == ("1", ("Rain",), ("N",))
    assert TAGGING.label_set([first, second]) == ("(S/S)/NP", ".", "N", "NP")


@pytest.mark.parametrize("packed", [False, True])
def test_ccgbanks_own_files_are_derivations(packed: bool, tmp_path: Path) -> None:
    path = tmp_path / ("wsj_0001.auto.gz" if packed else "wsj_0001.auto")
    path.write_bytes(gzip.compress(AUTO.encode()) if packed else AUTO.encode())
    first, second = TAGGING.read(path, CCG, "en")
    assert (first.id, first.words) == ("wsj_0001.1", ("It", "rained", "."))
    assert first.tags == ("NP", "S[dcl]\\NP", ".")
    assert (second.id, second.words, second.tags) == ("wsj_0001.2", ("Oslo",), ("N",))


def test_ccgbanks_sections_2_to_21_are_train_and_00_is_dev(tmp_path: Path) -> None:
    for section in ("00", "01", "02", "09", "10", "19", "20", "21", "22", "23"):
        folder = tmp_path / "ccgbank_1_1/data/AUTO" / section
        folder.mkdir(parents=True)
        for number in "02":
            text = f"ID=wsj_{section}0{number}.1 PARSER=GOLD\n(<L N NNP NNP in{section} N>)\n"
            (folder / f"wsj_{section}0{number}.auto").write_text(text)
    train, dev = load.load_training(locate.find_training(CCG, tmp_path, None, None))
    sections = ("02", "09", "10", "19", "20", "21")
    assert [e.id for e in train] == [f"wsj_{section}0{number}.1" for section in sections for number in "02"]
    assert [e.id for e in dev] == ["wsj_0000.1", "wsj_0002.1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.auto", "ID=x\n(<T NP 0 1> (<L N NNP Oslo N>) )\n", r"a\.auto:2: not a derivation of CCGbank"),
        ("a.auto", "Oslo|NNP|N\n", r"a\.auto:1: not a derivation of CCGbank"),
        ("a.stagged", f"{LINE}Oslo N\n", r"a\.stagged:2: 'Oslo' is not a word and its tag with '\|' between"),
        ("a.stagged", "Oslo|NNP|\n", r"a\.stagged:1: 'Oslo\|NNP\|' is not a word and its tag"),
    ],
)
def test_a_malformed_sentence_is_refused(name: str, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        TAGGING.read(path, CCG, "en")


def test_rows_of_a_table_have_lists_of_words_and_tags() -> None:
    example = TAGGING.from_row({"tokens": ["It", "rains"], "tags": ["NP", "S\\NP"]}, CCG, "en", 3)
    assert (example.id, example.words, example.tags) == ("3", ("It", "rains"), ("NP", "S\\NP"))
    for row in ({}, {"tokens": ["It"]}, {"tokens": ["It"], "tags": []}, {"tokens": "It", "tags": "NP"}, {"tokens": 1}):
        with pytest.raises(RowError, match="`tokens` and `tags` are not lists of one length"):
            TAGGING.from_row(row, CCG, "en")


def test_a_tag_that_training_never_saw_is_not_trained_on_and_never_predicted(xlmr_tokenizer: Any) -> None:
    example = sentence(["Rain", "in", "Tromsø"], ["N", "UNSEEN", "NP"])
    task = dataclasses.replace(CCG, labels=("N", "NP"))
    (piece,) = TAGGING.encode([example], xlmr_tokenizer, task, Settings())
    assert [label for label in piece.target if label != IGNORED] == [0, 1]
    assert TAGGING.count(piece) == 2
    assert len(piece.way_back) == 3
    output = np.eye(2, dtype=np.float32)[[0] * len(piece.way_back)]
    assert TAGGING.decode([example], [piece], [output], task, Settings()) == [["N", "N", "N"]]
    assert TAGGING.gold(example, task) == ["N", "UNSEEN", "NP"]
