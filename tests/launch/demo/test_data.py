"""The sample data of the demo: the native formats, answers where they are said to be, languages in parallel."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch import experiment
from launch.demo import data as demo_data
from launch.demo import texts as demo_texts
from training.data.load import load_language, load_training
from training.data.locate import find_languages, find_training
from training.tasks import find

LANGUAGES = demo_texts.LANGUAGES
SCRIPTS = {"ru": "CYRILLIC", "zh": "CJK", "ar": "ARABIC", "hi": "DEVANAGARI"}  # the others: Latin
NLI = {"entailment", "neutral", "contradiction"}
NER = {"O", *(f"{prefix}-{kind}" for prefix in "BI" for kind in ("PER", "ORG", "LOC"))}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "data"
    demo_data.write(folder)
    return folder


def lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n") and "\r" not in text
    return text.removesuffix("\n").split("\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- as a whole ---


def test_a_function_of_the_seed(data: Path, tmp_path: Path) -> None:
    written = demo_data.write(tmp_path / "same")
    assert contents(tmp_path / "same") == contents(data)
    assert {str(path.relative_to(tmp_path / "same")) for path in written} == set(contents(data))
    demo_data.write(tmp_path / "other", seed=1)
    changed = {name for name, content in contents(tmp_path / "other").items() if content != contents(data)[name]}
    assert changed == set(contents(data)) - {"splits.yaml"}


def test_says_what_it_is(data: Path) -> None:
    assert "not real data" in (data / "README.txt").read_text()


def test_no_placeholder_is_left(data: Path) -> None:
    for path in data.rglob("*.*"):
        if path.is_file() and path.name not in ("splits.yaml", "README.txt"):
            text = path.read_text(encoding="utf-8")
            assert "|" not in text and "VALUE" not in text and "PERSON" not in text and "OF " not in text, path
    for path in data.glob("panx/*"):
        words = {line.split("\t")[0] for line in lines(path)}
        assert not words & {"PER", "ORG", "LOC", "IN"}, path


def test_five_languages_and_three_scripts_in_every_target(data: Path) -> None:
    for target in ("xnli", "panx", "tydiqa", "tatoeba"):
        found = find_languages(find(target), data, None).found
        texts = {
            language: " ".join(example.group for example in load_language(find(target), language, split, None))
            for language, split in found.items()
        }
        if target == "tatoeba":
            texts = {code: "".join(lines(data / f"tatoeba/tatoeba.{iso}-eng.{iso}")) for code, iso in foreign()}
        assert len(texts) >= 5, target
        scripts = {code: main_script(text) for code, text in texts.items()}
        assert scripts == {code: SCRIPTS.get(code, "LATIN") for code in texts}
        assert len(set(scripts.values())) >= 3, target


def foreign() -> Iterator[tuple[str, str]]:
    return ((code, iso) for code, iso in demo_texts.LANGUAGES.items() if code != "en")


def main_script(text: str) -> str:
    names = (unicodedata.name(character).split()[0] for character in text if character.isalpha())
    return Counter(names).most_common(1)[0][0]


def test_the_words_are_parallel() -> None:
    by_name = {name: value for name, value in vars(demo_texts).items() if name.isupper() and isinstance(value, dict)}
    tables = [table for name, table in by_name.items() if name != "LANGUAGES"]
    assert len(tables) == 15
    for table in tables:
        assert len({len(row) for row in table.values()}) == 1, table
        for row in table.values():
            assert all(row) and len(set(row)) == len(row), row


def test_the_experiment_is_valid_and_asks_for_what_is_there(data: Path) -> None:
    file = data.parent / "experiment.yaml"
    (data.parent / "model").mkdir()
    file.write_text(demo_data.EXPERIMENT)
    asked = experiment.load(file)
    assert asked.data_root == data and asked.targets == ("xnli", "panx", "tydiqa", "tatoeba")
    assert len(asked.recipes) == 3 and asked.seeds == (1, 2)


@pytest.mark.parametrize("name", ["mnli", "squad", "hellaswag", "panx", "tydiqa"])
def test_training_data_is_read_by_the_task(data: Path, name: str) -> None:
    train, dev = load_training(find_training(find(name), data, None, None))
    assert 64 <= len(train) <= 200 and 16 <= len(dev) <= 40
    assert not {example.group for example in train} & {example.group for example in dev} or name == "panx"


@pytest.mark.parametrize(("name", "count"), [("xnli", 7), ("panx", 7), ("tydiqa", 5), ("tatoeba", 6)])
def test_test_data_is_read_by_the_task(data: Path, name: str, count: int) -> None:
    found = find_languages(find(name), data, None).found
    assert len(found) == count
    for language, split in found.items():
        assert len(load_language(find(name), language, split, None)) == 48


# --- format by format, read without the project's readers ---


def test_inference(data: Path) -> None:
    labels = {}
    for language in LANGUAGES:
        rows = [line.split("\t") for line in lines(data / f"xnli/test-{language}.tsv")]
        assert all(len(row) == 3 and all(row) for row in rows)
        labels[language] = [row[2] for row in rows]
        assert Counter(labels[language]) == dict.fromkeys(NLI, 16)
        assert all(row[0] != row[1] for row in rows)
    assert len({tuple(row) for row in labels.values()}) == 1  # parallel
    for name in ("train", "dev_matched"):
        records = [json.loads(line) for line in lines(data / f"multinli_1.0/multinli_1.0_{name}.jsonl")]
        assert {record["gold_label"] for record in records} == NLI
        assert len({record["pairID"] for record in records}) == len(records)


def test_no_premise_is_in_train_and_test(data: Path) -> None:
    test = {line.split("\t")[0] for line in lines(data / "xnli/test-en.tsv")}
    records = [json.loads(line) for line in lines(data / "multinli_1.0/multinli_1.0_train.jsonl")]
    assert not test & {record["sentence1"] for record in records}


def test_a_label_follows_from_the_words(data: Path) -> None:
    """Entailed: said in the premise. Neutral: a remark. Contradicted: neither."""
    for line in lines(data / "xnli/test-en.tsv"):
        premise, hypothesis, label = line.split("\t")
        said = hypothesis.removesuffix(".").split(" ", 2)[2]
        in_premise = said in premise or said.removeprefix("is ") in premise
        remark = any(remark in hypothesis for remark in demo_texts.REMARKS["en"])
        assert label == ("entailment" if in_premise else "neutral" if remark else "contradiction"), line


def test_entities(data: Path) -> None:
    kinds = {}
    for path in data.glob("panx/*.tsv"):
        sentences = [block.split("\n") for block in path.read_text(encoding="utf-8").removesuffix("\n\n").split("\n\n")]
        rows = [[line.split("\t") for line in sentence] for sentence in sentences]
        assert all(len(row) == 2 and row[0].strip() == row[0] != "" and row[1] in NER for s in rows for row in s)
        for sentence in rows:
            before = ["O", *(tag for _, tag in sentence)]
            assert all(tag[0] != "I" or last[1:] == tag[1:] for last, (_, tag) in zip(before, sentence, strict=False))
        if path.name.startswith("test"):
            kinds[path.name] = [sorted(tag for _, tag in s if tag[0] == "B") for s in rows]
    assert len({json.dumps(found) for found in kinds.values()}) == 1 and len(kinds) == 7


def test_chinese_entities_go_by_characters(data: Path) -> None:
    assert {len(line.split("\t")[0]) for line in lines(data / "panx/test-zh.tsv") if line} == {1}


def questions(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield paragraph["context"], question


def test_answers_are_where_they_are_said_to_be(data: Path) -> None:
    for path in [*data.glob("squad/*.json"), *data.glob("tydiqa/*/*.json")]:
        found = list(questions(path))
        assert len({question["id"] for _, question in found}) == len(found) >= 32
        for context, question in found:
            (answer,) = question["answers"]
            start, text = answer["answer_start"], answer["text"]
            assert text and context[start : start + len(text)] == text, (path, question)
            assert question["question"][-1] in "?؟"


def test_a_question_has_one_answer(data: Path) -> None:
    """Nothing else in the context is told in the words of the sentence that holds the answer."""
    for context, question in questions(data / "squad/train-v1.1.json"):
        start = question["answers"][0]["answer_start"]
        assert context.count(context[:start].rpartition(". ")[2]) == 1


def test_multiple_choice(data: Path) -> None:
    endings = {beginning: ending for _, beginning, ending in demo_texts.ACTIVITIES}
    for name in ("train", "val"):
        for line in lines(data / f"hellaswag/hellaswag_{name}.jsonl"):
            row = json.loads(line)
            assert len(set(row["endings"])) == 4 and row["ctx"] == f"{row['ctx_a']} {row['ctx_b']}"
            (right,) = [ending for beginning, ending in endings.items() if row["ctx_a"].endswith(beginning)]
            assert row["endings"][row["label"]] == right


def test_translations(data: Path) -> None:
    for _, iso in foreign():
        other, english = (lines(data / f"tatoeba/tatoeba.{iso}-eng.{side}") for side in (iso, "eng"))
        assert len(other) == len(english) == len(set(other)) == len(set(english)) == 48
