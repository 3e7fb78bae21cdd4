"""The names of languages and pairs of them."""

from pathlib import Path

import pytest

from training.data import load, locate
from training.tasks import find
from training.tasks.languages import ISO3, MLQA, MLQA_PAIRS, fill

PAIR_FILE = "test-context-{lang}-question-{lang}.json"


@pytest.mark.parametrize(
    ("template", "language", "filled"),
    [
        ("a-{lang}.tsv", "de", "a-de.tsv"),
        ("xcopa/{lang}/test.{lang}.jsonl", "sw", "xcopa/sw/test.sw.jsonl"),
        (PAIR_FILE, "de", "test-context-de-question-de.json"),
        (PAIR_FILE, "de-en", "test-context-de-question-en.json"),
        ("MLQA.{lang}.{lang}", "zh-vi", "MLQA.zh.vi"),
        ("{lang}.tsv", "de-en", "de-en.tsv"),
        ("{lang}/{lang}.tsv", "pt-BR", "pt-BR/pt-BR.tsv"),  # not two languages
        ("tatoeba.{iso3}-eng.{iso3}", "sw", "tatoeba.swh-eng.swh"),
        ("{iso3}-{iso3}/{lang}", "de-sw", "deu-swh/de-sw"),
        ("{iso3}", "xx", "xx"),
        ("{name}/x", "de", "{name}/x"),
    ],
)
def test_a_template_is_filled(template: str, language: str, filled: str) -> None:
    assert fill(template, language, ISO3) == filled


def test_mlqa_has_49_pairs_of_which_42_are_named_as_pairs() -> None:
    task = find("mlqa")
    assert task.extra_languages == MLQA_PAIRS
    assert len({*MLQA, *MLQA_PAIRS}) == 49
    names = {fill(PAIR_FILE, code, {}) for code in (*task.languages, *task.extra_languages)}
    assert names == {f"test-context-{context}-question-{question}.json" for context in MLQA for question in MLQA}


def test_a_pairs_questions_are_asked_of_the_same_contexts(shared_data: Path) -> None:
    task = find("mlqa")
    found = locate.find_languages(task, shared_data, ["es", "en", "es-en", "en-es", "hi-zh"])
    assert found.missing == ("hi-zh",)
    examples = {code: load.load_language(task, code, split, None) for code, split in found.found.items()}
    of = {code: {(e.id, e.group) for e in found} for code, found in examples.items()}
    assert of["es-en"] == of["es"] != of["en-es"] and of["en-es"] <= of["en"]
