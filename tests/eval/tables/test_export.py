"""XTREME's submission layout, file by file: what its scorer reads."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from eval import metrics
from eval.metrics import mining
from eval.tables import export
from tests.eval.tables import published_scorer
from training.tasks import find


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
        ("mewslix", "mrr20", "ta", "mewslix/test-ta.json"),
        ("xcopa", "accuracy", "qu", "xcopa/test-qu.jsonl"),
    ],
)
def test_where_files_go(task: str, family: str, language: str, name: str) -> None:
    assert export.file_name(task, family, language) == name


@pytest.mark.parametrize(
    ("task", "family", "predictions", "content"),
    [
        ("xnli", "accuracy", ["neutral", "contradiction"], "neutral\ncontradiction\n"),
        ("pawsx", "accuracy", ["paraphrase", "different"], "1\n0\n"),
        ("xcopa", "accuracy", ["choice2", "choice1"], '{"label": 1}\n{"label": 0}\n'),
        ("panx", "ner", [["B-LOC", "O"], ["O"]], "B-LOC\nO\n\nO\n\n"),
        ("udpos", "pos", [["NOUN"], ["VERB", "PUNCT"]], "NOUN\n\nVERB\nPUNCT\n\n"),
    ],
)
def test_lines(task: str, family: str, predictions: list[Any], content: str) -> None:
    assert export.content(task, family, _records(*predictions)) == content


def test_answers_are_json_by_id() -> None:
    found = export.content("xquad", "squad", _records("東京", None))
    assert json.loads(found) == {"q0": "東京", "q1": ""}
    assert found.isascii()  # read in whatever encoding the scorer's machine has
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
    records.append({"id": "zh-4|en-4", "score": None, "gold": True})  # one that was missed
    assert export.content("bucc", "mining", records) == "zh-1\ten-7\nzh-2\ten-3\n"


# What the published scorer makes of what we write. Of each task: golds, and predictions of which some are right.
_ENTITIES = [f"Q{n}" for n in range(30)]
_RANDOM = random.Random(7)


def _some_right(golds: list[Any], others: list[Any]) -> list[dict[str, Any]]:
    return [
        {"id": str(n), "gold": gold, "prediction": gold if _RANDOM.random() < 0.6 else _RANDOM.choice(others)}
        for n, gold in enumerate(golds)
    ]


def _drawn(values: list[Any]) -> list[dict[str, Any]]:
    return _some_right([_RANDOM.choice(values) for _ in range(40)], values)


def _answered() -> list[dict[str, Any]]:
    texts = ["the red kite", "Kite", "a boat, slow", "北京。", "", "1,000"]
    records = _drawn(texts)
    return [record | {"gold": [record["gold"], "boat"]} for record in records]


def _ranked() -> list[dict[str, Any]]:
    records = _drawn(_ENTITIES)
    return [record | {"prediction": _RANDOM.sample(_ENTITIES, 20)} for record in records]


TAGS = {"panx": ["O", "B-LOC", "I-LOC", "B-ORG"], "udpos": ["NOUN", "VERB", "SYM"]}
EXAMPLES = {
    "xnli": _drawn(["entailment", "neutral", "contradiction"]),
    "pawsx": _drawn(["different", "paraphrase"]),
    "xcopa": _drawn(["choice1", "choice2"]),
    **{name: _drawn([_RANDOM.choices(tags, k=length) for length in (1, 3, 5)]) for name, tags in TAGS.items()},
    "xquad": _answered(),
    "tydiqa": _answered(),
    "mewslix": _ranked(),
}


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_the_published_scorer_reads_our_scores(name: str, tmp_path: Path) -> None:
    records, family = EXAMPLES[name], find(name).metric_family
    path = tmp_path / export.file_name(name, family, "sw")
    path.parent.mkdir()
    path.write_text(export.content(name, family, records))
    predictions, labels = published_scorer.read(tmp_path, name, "sw"), published_scorer.labels(name, records)
    if name in published_scorer.TAGGED:
        assert predictions == [record["prediction"] for record in records]
        return
    ours = metrics.score(family, [r["gold"] for r in records], [r["prediction"] for r in records], "sw")
    published = published_scorer.score(name, predictions, labels)
    assert 0 < published[find(name).metric] < 100
    assert {metric: ours[metric] for metric in published} == pytest.approx(published)


def test_the_published_scorer_reads_our_scores_of_retrieval(tmp_path: Path) -> None:
    """Equal sentences stand in the order of the file; white space at the ends is no part of the order."""
    english = [_RANDOM.choice([" b", "a", "ä", "B", "c\t", "a b"]) for _ in range(40)]
    ids = [str(n) for n in range(40)]
    records = [{"id": n, "gold": n, "prediction": [_RANDOM.choice([n, "3"]), "0"]} for n in ids]
    path = tmp_path / export.file_name("tatoeba", "retrieval", "sw")
    path.parent.mkdir()
    path.write_text(export.content("tatoeba", "retrieval", records, dict(zip(ids, english, strict=True))))
    predictions = published_scorer.read(tmp_path, "tatoeba", "sw")
    published = published_scorer.score("tatoeba", predictions, published_scorer.labels("tatoeba", records, english))
    ours = metrics.score("retrieval", [r["gold"] for r in records], [r["prediction"] for r in records], "sw")
    assert 0 < published["accuracy"] == ours["accuracy"] < 100


def test_the_published_scorer_reads_our_scores_of_mining(tmp_path: Path) -> None:
    gold = {(f"de-{n}", f"en-{n}") for n in range(8)}
    pairs = {(f"de-{n}", f"en-{n if n % 3 else n + 1}") for n in range(1, 10)}
    path = tmp_path / export.file_name("bucc", "mining", "de")
    path.parent.mkdir()
    records = [{"id": f"{source}|{target}", "score": 1.0} for source, target in pairs]
    path.write_text(export.content("bucc", "mining", records))
    labels = [f"{source}\t{target}" for source, target in gold]
    published = published_scorer.score("bucc", published_scorer.read(tmp_path, "bucc", "de"), labels)
    assert 0 < published["f1"] == mining.score_pairs(pairs, gold)["f1"] < 100
