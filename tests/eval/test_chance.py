"""Whether a head learned something, by its score and the gold answers."""

from typing import Any

import pytest

from eval import metrics
from eval.chance import at_chance
from training.catalogue import find

LABELS = ["neutral"] * 5 + ["entailment"] * 3 + ["contradiction"] * 2
TAGS = [["O", "B-PER", "I-PER"], ["O"], ["B-LOC", "O"]]
QUESTIONS = [["an answer"], [], [], []]


@pytest.mark.parametrize(
    ("name", "golds", "limit"),
    [
        ("mnli", LABELS, 50.0),
        ("hellaswag", ["0", "1", "1", "3"], 50.0),
        ("qqp", ["paraphrase"] * 2 + ["other"] * 3, (100 * 0.4 + 100 * 2 * 2 / 7) / 2),  # always yes: F1 of 4/7
        ("panx", TAGS, 1.0),
        ("ccg", [["N", "N", "NP/N"], ["N"]], 75.0),
        ("squad", [["an answer"], ["another"]], 1.0),
        ("squad_v2", QUESTIONS, 75.0),
    ],
)
def test_no_better_than_a_constant_answer(name: str, golds: list[Any], limit: float) -> None:
    task = find(name)
    assert at_chance(task, golds, 0.0) and at_chance(task, golds, limit - 1e-6)
    assert not at_chance(task, golds, limit + 1e-6)


def test_the_share_of_the_most_frequent_label_itself_is_chance() -> None:
    assert at_chance(find("mnli"), LABELS, 50.0)
    mine = ["neutral"] * len(LABELS)
    assert at_chance(find("mnli"), LABELS, metrics.score("accuracy", LABELS, mine, "en")["accuracy"])


def test_constant_tags_score_as_the_metric_reads_them() -> None:
    """UPOS: runs of one tag are an entity, so that one tag everywhere finds some."""
    golds = [["NOUN", "NOUN"], ["VERB"], ["NOUN"]]
    constant = [["NOUN"] * len(gold) for gold in golds]
    score = metrics.score("pos", golds, constant, "en")["pos_f1_xtreme"]
    assert score > 1 and at_chance(find("udpos"), golds, score) and not at_chance(find("udpos"), golds, score + 0.1)


@pytest.mark.parametrize("name", ["mlm", "squad_retrieval", "mewslix", "tatoeba", "bucc"])
def test_open_answers_are_never_at_chance(name: str) -> None:
    assert not at_chance(find(name), ["a", "b"], 0.0)
