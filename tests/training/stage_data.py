"""Small data folders for stages, made up from templates: enough to learn something from in seconds."""

import gzip
import json
from pathlib import Path

from training.data import locate
from training.seeds import random_words
from training.spec import TaskData
from training.tasks import find

_NAMES = ("Anna", "Ben", "Clara", "David", "Eva", "Felix", "Greta", "Hans")
_PLACES = ("Paris", "Berlin", "Rome", "Cairo", "Lima", "Oslo", "Delhi", "Quito")
_SPLITS = """version: 1
mnli: {train: [mnli/train.tsv], dev: [mnli/dev.tsv]}
squad: {train: [squad/train.json], dev: [squad/dev.json]}
panx: {train: [panx/train.tsv], dev: [panx/dev.tsv], test: ["panx/{lang}.tsv"]}
copa: {train: [copa/train.jsonl], dev: [copa/dev.jsonl]}
snli: {train: [mnli/dev.tsv], dev: [mnli/dev.tsv]}
anli: {train: [anli/train.jsonl], dev: [anli/dev.jsonl]}
squad_retrieval: {train: [squad/train.json], dev: [squad/dev.json]}
mlm: {train: ["mlm/{lang}.txt"], dev: ["mlm/{lang}.txt"]}
"""


def without_answers(path: Path) -> str:
    """A question answering file (.json.gz) whose answers are all empty, as XTREME's copies of test files have them."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    for question in (q for article in content["data"] for p in article["paragraphs"] for q in p["qas"]):
        question["answers"] = [{"text": "", "answer_start": 0}]
    return json.dumps(content)


def write(root: Path, train: int = 30, dev: int = 12) -> Path:
    """A data folder with `splits.yaml`: tasks of every format, three sources of NLI, text in two languages."""
    writers = {
        "mnli/{}.tsv": _pairs,
        "anli/{}.jsonl": _adversarial_pairs,
        "squad/{}.json": _questions,
        "panx/{}.tsv": _tags,
        "copa/{}.jsonl": _choices,
    }
    for template, lines in writers.items():
        for split, seed, count in (("train", 1, train), ("dev", 2, dev)):
            path = root / template.format(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lines(seed, count), encoding="utf-8")
    (root / "mlm").mkdir(exist_ok=True)
    (root / "mlm" / "en.txt").write_text("".join(f"{a} went from {b} to the sea.\n" for a, b, _ in _draws(3, 20)))
    (root / "mlm" / "de.txt").write_text("".join(f"{a} fuhr von {b} ans Meer.\n" for a, b, _ in _draws(4, 10)))
    (root / "splits.yaml").write_text(_SPLITS)
    return root


def task_data(root: Path, task: str) -> TaskData:
    return locate.find_training(find(task), root, None, None)


def _draws(seed: int, count: int) -> list[tuple[str, str, int]]:
    words = [int(word) for word in random_words(seed, 3 * count)]
    return [(_NAMES[a % 8], _PLACES[b % 8], c) for a, b, c in zip(*[iter(words)] * 3, strict=True)]


def _pairs(seed: int, count: int) -> str:
    label = ("entailment", "neutral", "contradiction")
    verb = ("is in", "may like", "never saw")
    return "".join(
        f"{name} lives in {place}.\t{name} {verb[c % 3]} {place}.\t{label[c % 3]}\n"
        for name, place, c in _draws(seed, count)
    )


def _adversarial_pairs(seed: int, count: int) -> str:
    lines = _pairs(seed + 10, count).splitlines()
    return "".join(
        json.dumps({"uid": str(n), "context": first, "hypothesis": second, "label": label[0]}) + "\n"
        for n, (first, second, label) in enumerate(line.split("\t") for line in lines)
    )


def _questions(seed: int, count: int) -> str:
    paragraphs = []
    for number, (name, place, _) in enumerate(_draws(seed, count)):
        context = f"In the year of the long winter {name} moved from the coast to {place} and stayed there."
        answers = [{"text": place, "answer_start": context.index(place)}]
        question = {"id": f"{seed}-{number}", "question": f"Where did {name} move?", "answers": answers}
        paragraphs.append({"context": context, "qas": [question]})
    return json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})


def _tags(seed: int, count: int) -> str:
    return "".join(
        f"{name}\tB-PER\nvisited\tO\n{place}\tB-LOC\n" + "yesterday\tO\n" * (c % 4) + "\n"
        for name, place, c in _draws(seed, count)
    )


def _choices(seed: int, count: int) -> str:
    rows = []
    for number, (name, place, c) in enumerate(_draws(seed, count)):
        right, wrong = f"{name} saw {place}.", "The stone sang."
        choices = (right, wrong) if c % 2 == 0 else (wrong, right)
        row = {"premise": f"{name} went to {place}.", "choice1": choices[0], "choice2": choices[1]}
        rows.append(row | {"question": "effect", "label": c % 2, "idx": number})
    return "".join(json.dumps(row) + "\n" for row in rows)
