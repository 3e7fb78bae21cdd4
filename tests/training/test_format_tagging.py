"""Format tagging: every word has one label, whatever its length and its sentence's."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.errors import UserError
from training import formats, sources
from training.catalogue import find
from training.formats.base import IGNORED, Piece
from training.formats.tagging import Example, split
from training.spec import Settings

TAGGING = formats.get("tagging")
PANX = find("panx")


def sentence(words: list[str], tags: list[str]) -> Example:
    return Example(id="0", language="en", group=" ".join(words), words=tuple(words), tags=tuple(tags))


def gold_outputs(pieces: list[Piece], n_labels: int) -> list[Any]:
    """What a model that knows the answers would say; elsewhere nonsense."""
    outputs = []
    for piece in pieces:
        wanted = [label if label != IGNORED else 3 for label in piece.target]
        outputs.append(np.eye(n_labels, dtype=np.float32)[wanted])
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["panx", "udpos"])
@pytest.mark.parametrize("length", [256, 24])
def test_gold_tags_of_every_file_come_back(name: str, length: int, shared_data: Path, xlmr_tokenizer: Any) -> None:
    task, settings = find(name), Settings(max_length=length)
    found = sources.find_languages(task, shared_data, (*task.languages, *task.extra_languages)).found
    assert len(found) > 20
    for language, files in found.items():
        examples = sources.load_language(task, language, files, None)
        pieces = TAGGING.encode(examples, xlmr_tokenizer, task, settings)
        assert max(len(piece.rows[0]) for piece in pieces) <= length
        predictions = TAGGING.decode(examples, pieces, gold_outputs(pieces, len(task.labels)), task, settings)
        assert predictions == [TAGGING.gold(example, task) for example in examples], language


def test_the_first_subword_is_labelled_and_the_others_are_not(xlmr_tokenizer: Any) -> None:
    example = sentence(["Gedenkmünzen", "in", "Rom"], ["O", "O", "B-LOC"])
    (piece,) = TAGGING.encode([example], xlmr_tokenizer, PANX, Settings())
    lengths = [len(xlmr_tokenizer(word, add_special_tokens=False)["input_ids"]) for word in example.words]
    assert lengths[0] > 1
    assert [place for place, label in enumerate(piece.target) if label != IGNORED] == [
        1,
        1 + lengths[0],
        1 + lengths[0] + lengths[1],
    ]
    assert len(piece.target) == len(piece.rows[0])
    assert TAGGING.count(piece) == 3
    assert (piece.rows[0][0], piece.rows[0][-1]) == (0, 2)


def test_words_are_tokenised_as_the_library_tokenises_them(xlmr_tokenizer: Any, shared_data: Path) -> None:
    files = sources.find_languages(PANX, shared_data, ["zh"]).found["zh"]
    examples = [
        e
        for e in sources.load_language(PANX, "zh", files, 300)
        if "\u200b" not in e.words  # type: ignore[attr-defined]  # without subwords: the library leaves it out
    ]
    pieces = TAGGING.encode(examples, xlmr_tokenizer, PANX, Settings(max_length=1000))  # nothing is split
    theirs = xlmr_tokenizer([list(e.words) for e in examples], is_split_into_words=True)["input_ids"]  # type: ignore[attr-defined]
    assert [list(piece.rows[0]) for piece in pieces] == theirs


def test_a_word_without_subwords_and_one_longer_than_a_piece_are_unknown(xlmr_tokenizer: Any) -> None:
    nothing = "\u0007"
    assert xlmr_tokenizer(nothing, add_special_tokens=False)["input_ids"] == []
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
