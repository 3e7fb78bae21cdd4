"""Small sample data for the demo, generated from templates, in the native files of the tasks it stands in for.

Nothing here says anything about languages or models; it shows the way of the data and gives a small model something to
learn within a minute. Texts of one test set are parallel over languages. A function of the seed alone.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from launch.demo import texts

# Sized so that `stepstone demo` trains all its 22 models on two cores in a few minutes.
EXPERIMENT = """\
name: demo
store: ./store
model: ./model
recipes: [none, squad, hellaswag]
targets: [xnli, panx, tydiqa, tatoeba]
seeds: [1, 2]
languages: {default: [ar, de, en, ru, zh]}
data: {root: ./data}
training: {learning_rate: 5.0e-4, epochs: 1, global_batch_size: 16, token_budget: 2048, max_length: 96,
           doc_stride: 32, device: cpu}
tasks: {mnli: {epochs: 8}}
cluster: {executor: local}
"""
SPLITS = """\
version: 1
# Generated from templates; see README.txt.
mnli:      {train: [multinli_1.0/multinli_1.0_train.jsonl], dev: [multinli_1.0/multinli_1.0_dev_matched.jsonl]}
squad:     {train: [squad/train-v1.1.json], dev: [squad/dev-v1.1.json]}
hellaswag: {train: [hellaswag/hellaswag_train.jsonl], dev: [hellaswag/hellaswag_val.jsonl]}
xnli:      {test: ["xnli/test-{lang}.tsv"]}
panx:      {train: [panx/train-en.tsv], dev: [panx/dev-en.tsv], test: ["panx/test-{lang}.tsv"]}
tydiqa:
  train: [tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json]
  hold_out: 0.2
  test: ["tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{lang}.dev.json"]
tatoeba:   {test: {other: "tatoeba/tatoeba.{iso3}-eng.{iso3}", english: "tatoeba/tatoeba.{iso3}-eng.eng"}}
"""
_README = """\
This is not real data. Stepstone made it from sentence templates and word lists (launch/demo/data.py), seed {seed},
in the file formats and under the file names of the data sets it stands in for, and nothing of theirs is in it.
It shows how the tool works; scores on it say nothing about models, languages or transfer.
"""
_N_TEST = 48  # per task and language
Files = dict[str, str]


def write(folder: Path, seed: int = 0) -> list[Path]:
    """Write the sample data, splits.yaml and README.txt below `folder`; return the paths. Equal seeds: equal bytes."""
    files = {"README.txt": _README.format(seed=seed), "splits.yaml": SPLITS}
    for make in (_inference, _entities, _squad, _tydiqa, _hellaswag, _tatoeba):
        files |= make(Random(f"{seed} {make.__name__}"))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8", newline="")
    return [folder / name for name in files]


def _agree(text: str, female: bool) -> str:
    """Choose a form of every `[male|female]`."""
    return re.sub(r"\[([^|\]]*)\|([^\]]*)\]", r"\2" if female else r"\1", text)


def _lines(rows: Sequence[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- inference (mnli, xnli) and translation (tatoeba) ---


@dataclass(frozen=True)
class _Scene:
    """Who does what where, by position in the word lists; None: not said."""

    subject: int
    action: int | None = None
    place: int | None = None
    remark: int | None = None

    def say(self, language: str) -> str:
        """The sentence in a language."""
        text = texts.CLAUSES[language][self._clause()].format(
            subject=texts.SUBJECTS[language][self.subject],
            action=texts.ACTIONS[language][self.action or 0],
            place=texts.PLACES[language][self.place or 0],
            remark=texts.REMARKS[language][self.remark or 0],
        )
        return _agree(text, self.subject in texts.FEMALE_SUBJECTS)

    def _clause(self) -> int:
        """Which of CLAUSES says it."""
        if self.remark is not None:
            return 3
        if self.action is None:
            return 2
        return 1 if self.place is None else 0


_SUBJECTS, _ACTIONS, _PLACES, _REMARKS = (
    range(len(table["en"])) for table in (texts.SUBJECTS, texts.ACTIONS, texts.PLACES, texts.REMARKS)
)


def _other(rng: Random, among: Sequence[int], than: int | None) -> int:
    return rng.choice([item for item in among if item != than])


def _entailed(rng: Random, scene: _Scene) -> _Scene:
    return rng.choice((_Scene(scene.subject, scene.action), _Scene(scene.subject, place=scene.place)))


def _unrelated(rng: Random, scene: _Scene) -> _Scene:
    return _Scene(scene.subject, remark=rng.choice(_REMARKS))


def _contradicted(rng: Random, scene: _Scene) -> _Scene:
    asleep = scene.action == texts.SLEEPING
    action = _other(rng, _ACTIONS, texts.SLEEPING) if asleep else texts.SLEEPING
    place = _other(rng, _PLACES, scene.place)
    return rng.choice((_Scene(scene.subject, action), _Scene(scene.subject, place=place)))


_HYPOTHESES: dict[str, Callable[[Random, _Scene], _Scene]] = {
    "entailment": _entailed,
    "neutral": _unrelated,
    "contradiction": _contradicted,
}
Pair = tuple[_Scene, _Scene, str]


def _inference(rng: Random) -> Files:
    scenes = [_Scene(*parts) for parts in product(_SUBJECTS, _ACTIONS, _PLACES)]
    rng.shuffle(scenes)
    pairs = [(scene, make(rng, scene), label) for scene in scenes for label, make in _HYPOTHESES.items()]
    test, dev, train = pairs[:_N_TEST], pairs[_N_TEST:84], pairs[84:228]  # no premise in two of them
    rng.shuffle(train)
    files = {f"xnli/test-{language}.tsv": _lines(_xnli(test, language)) for language in texts.LANGUAGES}
    files["multinli_1.0/multinli_1.0_train.jsonl"] = _lines(_mnli(train, "t"))
    files["multinli_1.0/multinli_1.0_dev_matched.jsonl"] = _lines(_mnli(dev, "d"))
    return files


def _xnli(pairs: Sequence[Pair], language: str) -> list[str]:
    return [f"{premise.say(language)}\t{hypothesis.say(language)}\t{label}" for premise, hypothesis, label in pairs]


def _mnli(pairs: Sequence[Pair], prefix: str) -> list[str]:
    return [
        _json(
            {
                "annotator_labels": [label],
                "genre": "template",
                "gold_label": label,
                "pairID": f"{prefix}{number}",
                "promptID": f"{prefix}{number}",
                "sentence1": premise.say("en"),
                "sentence2": hypothesis.say("en"),
            }
        )
        for number, (premise, hypothesis, label) in enumerate(pairs)
    ]


def _tatoeba(rng: Random) -> Files:
    full_scenes = [_Scene(*parts) for parts in product(_SUBJECTS, _ACTIONS, _PLACES)]
    doing = [_Scene(*parts) for parts in product(_SUBJECTS, _ACTIONS)]
    being = [_Scene(subject, place=place) for subject, place in product(_SUBJECTS, _PLACES)]
    remarks = [_Scene(subject, remark=remark) for subject, remark in product(_SUBJECTS, _REMARKS)]
    scenes = [scene for pool in (full_scenes, doing, being, remarks) for scene in rng.sample(pool, _N_TEST // 4)]
    rng.shuffle(scenes)
    files = {}
    for language, iso3 in texts.LANGUAGES.items():
        if language != "en":
            files[f"tatoeba/tatoeba.{iso3}-eng.{iso3}"] = _lines([scene.say(language) for scene in scenes])
            files[f"tatoeba/tatoeba.{iso3}-eng.eng"] = _lines([scene.say("en") for scene in scenes])
    return files


# --- named entities (panx) ---


@dataclass(frozen=True)
class _Report:
    """A sentence with named entities, by position in the word lists."""

    sentence: int
    person: int
    surname: int | None
    city: int
    company: int


def _entities(rng: Random) -> Files:
    train, dev, test = (_reports(rng, size) for size in (128, 32, _N_TEST))
    files = {f"panx/test-{language}.tsv": _iob(test, language) for language in texts.LANGUAGES}
    return files | {"panx/train-en.tsv": _iob(train, "en"), "panx/dev-en.tsv": _iob(dev, "en")}


def _reports(rng: Random, size: int) -> list[_Report]:
    kinds = len(texts.ENTITY_SENTENCES["en"])
    return [
        _Report(
            sentence=number % kinds,
            person=rng.randrange(len(texts.PEOPLE["en"])),
            surname=rng.choice((None, *range(len(texts.SURNAMES["en"])))),
            city=rng.randrange(len(texts.CITIES["en"])),
            company=rng.randrange(len(texts.COMPANIES["en"])),
        )
        for number in range(size)
    ]


def _iob(reports: Sequence[_Report], language: str) -> str:
    """Word, tab, tag; an empty line after each sentence. Chinese goes by characters."""
    blocks = ("".join(f"{word}\t{tag}\n" for word, tag in _tagged(report, language)) for report in reports)
    return "".join(f"{block}\n" for block in blocks)


def _tagged(report: _Report, language: str) -> list[tuple[str, str]]:
    names = _names(report, language)
    pattern = _agree(texts.ENTITY_SENTENCES[language][report.sentence], report.person < texts.WOMEN)
    tagged_words: list[tuple[str, str]] = []
    for item in pattern.split():
        kind, text = names.get(item, ("", item))
        words = list(text) if language == "zh" else text.split()
        tagged_words += [(word, _tag(kind, place)) for place, word in enumerate(words)]
    return tagged_words


def _tag(kind: str, place: int) -> str:
    return f"{'I' if place else 'B'}-{kind}" if kind else "O"


def _names(report: _Report, language: str) -> dict[str, tuple[str, str]]:
    """What stands for each placeholder: kind of entity and text."""
    person = texts.PEOPLE[language][report.person]
    if report.surname is not None:
        person += ("·" if language == "zh" else " ") + texts.SURNAMES[language][report.surname]
    return {
        "PER": ("PER", person),
        "ORG": ("ORG", texts.COMPANIES[language][report.company]),
        "LOC": ("LOC", texts.CITIES[language][report.city]),
        "IN": ("LOC", texts.IN_CITIES[language][report.city]),
    }


# --- question answering (squad, tydiqa) ---


@dataclass(frozen=True)
class _Fact:
    """A person's value of one kind (0 city, 1 year, 2 drink, 3 pet), by position in the word lists."""

    person: int
    kind: int
    value: int


@dataclass(frozen=True)
class _Case:
    """Facts in the order they are told, and which of them are asked for."""

    facts: tuple[_Fact, ...]
    asked: tuple[int, ...]


def _squad(rng: Random) -> Files:
    cases = [_case(rng, questions=2) for _ in range(96)]
    train, dev = (_articles(part, "en", texts.SQUAD_FACTS, "squad") for part in (cases[:80], cases[80:]))
    return {
        "squad/train-v1.1.json": _json({"version": "1.1", "data": train}),
        "squad/dev-v1.1.json": _json({"version": "1.1", "data": dev}),
    }


def _tydiqa(rng: Random) -> Files:
    train = [_case(rng, questions=1) for _ in range(120)]
    test = [_case(rng, questions=1) for _ in range(_N_TEST)]
    folder = "tydiqa/tydiqa-goldp-v1.1"
    files = {
        f"{folder}-dev/tydiqa.goldp.{language}.dev.json": _json(
            {"data": _articles(test, language, texts.FACTS[language], f"{language}-test")}
        )
        for language in texts.QA_LANGUAGES
    }
    english = _articles(train, "en", texts.FACTS["en"], "en-train")
    return files | {f"{folder}-train/tydiqa.goldp.en.train.json": _json({"data": english})}


def _case(rng: Random, questions: int) -> _Case:
    """Two people, four facts; one kind is told of both, so that a question about it needs the name."""
    first, second = rng.sample(range(len(texts.PEOPLE["en"])), 2)
    shared_kind, alone, asked_kind = rng.sample(range(4), 3)
    values = rng.sample(range(len(_values("en", shared_kind))), 2)
    facts = [
        _Fact(first, shared_kind, values[0]),
        _Fact(second, shared_kind, values[1]),
        _Fact(first, alone, rng.randrange(len(_values("en", alone)))),
        _Fact(second, asked_kind, rng.randrange(len(_values("en", asked_kind)))),
    ]
    rng.shuffle(facts)
    return _Case(tuple(facts), tuple(rng.sample(range(4), questions)))


def _values(language: str, kind: int) -> tuple[str, ...]:
    return (texts.CITIES[language], texts.YEARS, texts.DRINKS[language], texts.PETS[language])[kind]


def _articles(
    cases: Sequence[_Case], language: str, patterns: Sequence[tuple[str, str]], name: str
) -> list[dict[str, Any]]:
    """SQuAD's `data`: one paragraph per case."""
    articles = []
    for number, case in enumerate(cases):
        context, answers = _told(case, language, patterns)
        questions = [
            {
                "id": f"{name}-{number}-{place}",
                "question": _put(patterns[case.facts[fact].kind][1], case.facts[fact].person, language),
                "answers": [answers[fact]],
            }
            for place, fact in enumerate(case.asked)
        ]
        articles.append({"title": f"{name}-{number}", "paragraphs": [{"context": context, "qas": questions}]})
    return articles


def _told(case: _Case, language: str, patterns: Sequence[tuple[str, str]]) -> tuple[str, list[dict[str, Any]]]:
    """The context, and each fact's answer in it."""
    context, answers = "", []
    for fact in case.facts:
        before, after = _put(patterns[fact.kind][0], fact.person, language).split("VALUE")
        value = _values(language, fact.kind)[fact.value]
        context += (" " if context else "") + before
        answers.append({"text": value, "answer_start": len(context)})
        context += value + after
    return context, answers


def _put(pattern: str, person: int, language: str) -> str:
    names = {"PERSON": texts.PEOPLE[language][person], "OF": texts.OF_PEOPLE[language][person]}
    with_names = re.sub(r"\b(PERSON|OF)\b", lambda match: names[match[1]], pattern)
    return _agree(with_names, person < texts.WOMEN)


# --- what happens next (hellaswag) ---


def _hellaswag(rng: Random) -> Files:
    people = range(len(texts.PEOPLE["en"]))
    scenes = list(product(range(len(texts.ACTIVITIES)), people, texts.DAYS))
    rng.shuffle(scenes)
    rows = [_json(_next(rng, number, *scene)) for number, scene in enumerate(scenes[:128])]
    return {"hellaswag/hellaswag_train.jsonl": _lines(rows[:96]), "hellaswag/hellaswag_val.jsonl": _lines(rows[96:])}


def _next(rng: Random, number: int, activity: int, person: int, day: str) -> dict[str, Any]:
    label, beginning, right = texts.ACTIVITIES[activity]
    wrong = [ending for other_label, _, ending in texts.ACTIVITIES if other_label != label]
    endings = [right, *rng.sample(wrong, 3)]
    rng.shuffle(endings)
    opening = f"{day} {texts.PEOPLE['en'][person]} {beginning}"
    pronoun = "She" if person < texts.WOMEN else "He"
    return {
        "ind": number,
        "activity_label": label,
        "ctx_a": opening,
        "ctx_b": pronoun,
        "ctx": f"{opening} {pronoun}",
        "endings": endings,
        "label": endings.index(right),
        "split": "train" if number < 96 else "val",
        "split_type": "indomain",
        "source_id": f"template~{number}",
    }
