"""XTREME's submission layout, file by file: what its scorer reads."""

import json
from typing import Any

import pytest

from eval.tables import export


def _records(*predictions: Any) -> list[dict[str, Any]]:
    return [{"id": f"q{n}", "prediction": found, "gold": None} for n, found in enumerate(predictions)]


@pytest.mark.parametrize(
    ("task", "family", "language", "name"),
    [
        ("xnli", "accuracy", "sw", "xnli/test-sw.tsv"),
        ("bucc", "mining", "zh", "bucc2018/test-zh.tsv"),
        ("tydiqa", "squad", "fi", "tydiqa/test-fi.json"),
        ("mlqa", "mlqa", "de", "mlqa/test-de.json"),
        ("lareqa", "map20", "de", "lareqa/test-de.json"),
    ],
)
def test_where_files_go(task: str, family: str, language: str, name: str) -> None:
    assert export.file_name(task, family, language) == name


@pytest.mark.parametrize(
    ("task", "family", "predictions", "content"),
    [
        ("xnli", "accuracy", ["neutral", "contradiction"], "neutral\ncontradiction\n"),
        ("pawsx", "accuracy", ["paraphrase", "different"], "1\n0\n"),
        ("xcopa", "accuracy", ["choice2", "choice1"], "1\n0\n"),
        ("panx", "ner", [["B-LOC", "O"], ["O"]], "B-LOC\nO\n\nO\n\n"),
        ("udpos", "pos", [["NOUN"], ["VERB", "PUNCT"]], "NOUN\n\nVERB\nPUNCT\n\n"),
    ],
)
def test_lines(task: str, family: str, predictions: list[Any], content: str) -> None:
    assert export.content(task, family, _records(*predictions)) == content


def test_answers_are_json_by_id() -> None:
    found = export.content("xquad", "squad", _records("東京", None))
    assert json.loads(found) == {"q0": "東京", "q1": ""}
    assert "東京" in found
    no_answer = {"text": "", "span": "x", "null_odds": 1.0}
    assert json.loads(export.content("squad_v2", "squad_v2", _records(no_answer))) == {"q0": ""}
    assert json.loads(export.content("lareqa", "map20", _records(["a", "b"]))) == {"q0": ["a", "b"]}


def test_retrieval_goes_by_the_sorted_english_sentences() -> None:
    """XTREME's English file is sorted by code points; the numbers are lines of the other language's file, from 0."""
    english = {"q0": "the cat", "q1": " A dog", "q2": "Zebra"}
    found = export.content("tatoeba", "retrieval", _records(["q2", "q0"], ["q1", "q1"], ["q0", "q0"]), english)
    assert found == "1\n0\n2\n"  # A dog, Zebra, the cat


def test_mined_pairs_are_ids() -> None:
    records = [{"id": "zh-1|en-7", "score": 1.2, "gold": None}, {"id": "zh-2|en-3", "score": 1.1, "gold": True}]
    assert export.content("bucc", "mining", records) == "zh-1\ten-7\nzh-2\ten-3\n"
