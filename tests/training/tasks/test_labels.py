"""The NLI sets agree in meaning: real rows whose meaning anybody can check, from the file to the head's output."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.data.hub import named_rows
from training.formats.sequence import Sequence
from training.spec import Settings
from training.tasks import find

SEQUENCE = Sequence()
NLI = ("mnli", "snli", "anli", "anli_plus", "xnli")
MEANING = ("entailment", "neutral", "contradiction")  # the order of the one head that all of them train and read

# XNLI, dev-en, rows 0 to 2, read by us: a man tells his mother that he is home. That he called her when the bus had
# dropped him off: may be. That he said nothing: no. That he told her of getting home: yes.
XNLI_ROWS = ("neutral", "contradiction", "entailment")
# ANLI, R1 dev, read by us.
ANLI_ROWS = {
    "a1e1bb50-2bba-4209-821e-30683e051c02": "entailment",  # a song of 2006: released in the 2000s?
    "356f03f4-86e9-445f-8241-7531d21ed9d7": "neutral",  # a Slovak model on an Italian cover: lives in Italy?
    "4e152889-04ec-48ad-a19f-976a70e0cf28": "contradiction",  # an album of 1984: out in 1983?
}


def head_output(row: dict[str, Any], name: str, tokenizer: Any) -> int:
    """Which of the head's outputs a row of this data set trains or is compared with."""
    task = find(name)
    example = SEQUENCE.from_row(row, task, "en")
    assert example is not None
    (piece,) = SEQUENCE.encode([example], tokenizer, task, Settings())
    (decoded,) = SEQUENCE.decode([example], [piece], [np.eye(3, dtype=np.float32)[piece.target[0]]], task, Settings())
    assert decoded == SEQUENCE.gold(example, task) == MEANING[piece.target[0]]
    return piece.target[0]


def test_a_real_row_means_the_same_in_every_set(shared_data: Path, xlmr_tokenizer: Any) -> None:
    """XNLI's own rows, written as each of the others writes its rows."""
    examples = SEQUENCE.read(shared_data / "xnli/dev-en.tsv.gz", find("xnli"), "en")[:3]
    assert tuple(example.label for example in examples) == XNLI_ROWS
    for example in examples:
        pair = {"premise": example.first, "hypothesis": example.second, "label": example.label}
        stanford = {"sentence1": example.first, "sentence2": example.second, "gold_label": example.label}
        adversarial = {"context": example.first, "hypothesis": example.second, "label": example.label[0]}
        rows = {"xnli": pair, "mnli": stanford, "snli": stanford, "anli": adversarial}
        outputs = {name: head_output(row, name, xlmr_tokenizer) for name, row in rows.items()}
        assert set(outputs.values()) == {MEANING.index(example.label)}, outputs


def test_anlis_letters_mean_what_they_should(shared_data: Path, xlmr_tokenizer: Any) -> None:
    with gzip.open(shared_data / "anli/R1/dev.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = {row["uid"]: row for row in map(json.loads, file)}
    for uid, meaning in ANLI_ROWS.items():
        assert MEANING[head_output(rows[uid], "anli", xlmr_tokenizer)] == meaning


@pytest.mark.parametrize("name", NLI)
def test_all_nli_tasks_have_one_order_of_labels(name: str) -> None:
    assert find(name).labels == MEANING


class ClassLabel:
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = list(names)


class Rows(list[dict[str, Any]]):
    """What the library gives: rows with numbers, and the names that the data set itself has for them."""

    def __init__(self, names: tuple[str, ...], numbers: tuple[int, ...]) -> None:
        super().__init__({"premise": "p", "hypothesis": "h", "label": number} for number in numbers)
        self.features = {"premise": None, "hypothesis": None, "label": ClassLabel(names)}


@pytest.mark.parametrize("name", ["mnli", "snli", "anli", "xnli"])
@pytest.mark.parametrize("names", [MEANING, MEANING[::-1]])
def test_the_hubs_numbers_go_by_the_names_that_the_set_gives_them(name: str, names: tuple[str, ...]) -> None:
    found = [SEQUENCE.from_row(row, find(name), "en") for row in named_rows(Rows(names, (0, 1, 2)))]
    assert [example.label for example in found if example] == list(names)


@pytest.mark.parametrize("name", ["mnli", "snli", "anli", "xnli"])
def test_bare_numbers_are_in_the_hubs_order(name: str) -> None:
    """glue/mnli, snli, anli and xnli all publish entailment, neutral, contradiction."""
    rows = [{"premise": "p", "hypothesis": "h", "label": number} for number in (0, 1, 2)]
    found = [SEQUENCE.from_row(row, find(name), "en") for row in rows]
    assert [example.label for example in found if example] == list(MEANING)


@pytest.mark.parametrize("name", ["mnli", "snli"])
@pytest.mark.parametrize("label", [-1, "-"])
def test_what_annotators_did_not_agree_on_is_left_out(name: str, label: int | str) -> None:
    assert SEQUENCE.from_row({"premise": "p", "hypothesis": "h", "label": label}, find(name), "en") is None
