"""Made-up predictions of a metric family, and what they contribute: `tests.benchmarks.statistics` fills stores with
them."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from eval.metrics import mining
from eval.statistics import resample
from launch.results import contributions
from launch.results.contributions import Language
from launch.store.artifacts import LanguageScores

_WORDS = ("the", "kite", "is", "red", "and", "a", "boat", "sails", "slowly", "over", "blue", "water", "from", "shore")
_ENTITIES = ("O", "O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
_POS = ("NOUN", "VERB", "ADJ", "ADP", "PRON", "DET", "PUNCT", "PROPN")
Record = dict[str, Any]


def lines_of(
    family: str, code: str, examples: int, skill: float, random: np.random.Generator, predicted: bool
) -> tuple[bytes, Language, float]:
    """The predictions file, its contributions and its score. Not `predicted`: contributions alone, in a form as they
    have it, and a file that tells nothing but is no other's."""
    if predicted:
        records = _RECORDS[family](examples, skill, random)
        language, score = _scored(family, code, records)
        return "".join(json.dumps(record) + "\n" for record in records).encode(), language, score
    language = _contributed(family, examples, skill, random)
    score = float(resample.scores(contributions.sample_of([language]))[0])
    return f'{{"seed": {int(random.integers(1 << 60))}}}\n'.encode(), language, score


def _scored(family: str, code: str, records: list[Record]) -> tuple[Language, float]:
    metric = {"accuracy": "accuracy", "retrieval": "accuracy", "pos": "pos_f1_xtreme"}.get(family, "f1")
    if family == "mining":
        language = contributions._mined(records, metric, LanguageScores({metric: 0.0}, "", 0))
    else:
        language = contributions._scored(records, family, metric, code)
    assert language is not None
    return language, float(resample.scores(contributions.sample_of([language]))[0])


def _contributed(family: str, examples: int, skill: float, random: np.random.Generator) -> Language:
    right = random.random(examples) < skill
    ids = hashlib.sha256("\0".join(map(str, range(examples))).encode()).hexdigest()[:16]  # as those of predictions
    if family == "mining":
        records = _pairs(examples, skill, random)
        return _scored(family, "", records)[0]
    if family in ("ner", "pos"):
        gold = np.random.default_rng(examples).integers(0, 4 if family == "ner" else 30, examples)
        guessed = np.maximum(0, gold + random.integers(-1, 2, examples))
        spans_right = np.minimum(gold, guessed) - (~right & (np.minimum(gold, guessed) > 0))
        parts = np.stack([2 * spans_right, gold + guessed], axis=1)
        return Language("ratio", parts.astype(np.uint8), ids)
    if family in ("squad", "mlqa"):
        return Language("mean", np.where(right, 1.0, random.random(examples)).astype(np.float32)[:, None], ids)
    return Language("mean", right.astype(np.uint8)[:, None], ids)


def _labels(examples: int, skill: float, random: np.random.Generator) -> list[Record]:
    names = ("entailment", "neutral", "contradiction")
    gold = random.integers(0, 3, examples)
    guess = np.where(random.random(examples) < skill, gold, random.integers(0, 3, examples))
    return [{"id": str(n), "prediction": names[guess[n]], "gold": names[gold[n]]} for n in range(examples)]


def _answers(examples: int, skill: float, random: np.random.Generator) -> list[Record]:
    answers = [" ".join(random.choice(_WORDS, random.integers(1, 6))) for _ in range(examples)]
    return [
        {
            "id": str(n),
            "prediction": answer if random.random() < skill else answers[random.integers(examples)],
            "gold": [answer],
        }
        for n, answer in enumerate(answers)
    ]


def _tagged(tags: tuple[str, ...], longest: int) -> Callable[[int, float, np.random.Generator], list[Record]]:
    def records(examples: int, skill: float, random: np.random.Generator) -> list[Record]:
        gold = [list(random.choice(tags, random.integers(3, longest))) for _ in range(examples)]
        return [
            {
                "id": str(n),
                "prediction": [tag if random.random() < 0.9 else str(random.choice(tags)) for tag in sentence],
                "gold": sentence,
            }
            for n, sentence in enumerate(gold)
        ]

    return records


def _found(examples: int, skill: float, random: np.random.Generator) -> list[Record]:
    return [
        {
            "id": str(n),
            "prediction": [str(n if random.random() < skill else random.integers(examples)) for _ in range(2)],
            "gold": str(n),
        }
        for n in range(examples)
    ]


def _pairs(examples: int, skill: float, random: np.random.Generator) -> list[Record]:
    gold: set[mining.Pair] = {(f"xx-{n:09}", f"en-{n:09}") for n in range(examples)}
    mined: set[mining.Pair] = {
        (f"xx-{n if random.random() < skill else n + examples * random.integers(1, 4):09}", f"en-{n:09}")
        for n in range(examples)
    }
    return [
        {"id": "|".join(pair), "score": 1.1 if pair in mined else None, "gold": pair in gold}
        for pair in sorted(mined | gold)
    ]


_RECORDS: dict[str, Callable[[int, float, np.random.Generator], list[Record]]] = {
    "accuracy": _labels,
    "squad": _answers,
    "mlqa": _answers,
    "ner": _tagged(_ENTITIES, 17),
    "pos": _tagged(_POS, 40),
    "retrieval": _found,
    "mining": _pairs,
}
