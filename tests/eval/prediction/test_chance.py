"""Whether a head learned something, by its score and the gold answers."""

from typing import Any

import pytest

from eval import metrics
from eval.prediction.chance import at_chance
from training.tasks import find

LABELS = (["neutral"] * 5 + ["entailment"] * 3 + ["contradiction"] * 2) * 4
TAGS = [["O", "B-PER", "I-PER"], ["O"], ["B-LOC", "O"]] * 10
QUESTIONS = [["an answer"], [], [], []] * 10


@pytest.mark.parametrize(
    ("name", "golds", "limit"),
    [
        ("mnli", LABELS, 50.0),
        ("hellaswag", ["0", "1", "1", "3"] * 10, 50.0),
        ("qqp", (["paraphrase"] * 2 + ["other"] * 3) * 10, (100 * 0.4 + 100 * 2 * 2 / 7) / 2),  # always yes: F1 of 4/7
        ("panx", TAGS, 1.0),
        ("ccg", [["N", "N", "NP/N"], ["N"]] * 10, 75.0),
        ("squad", [["an answer"], ["another"]] * 10, 1.0),
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
    golds = [["NOUN", "NOUN"], ["VERB"], ["NOUN"]] * 10
    constant = [["NOUN"] * len(gold) for gold in golds]
    score = metrics.score("pos", golds, constant, "en")["pos_f1_xtreme"]
    assert score > 1 and at_chance(find("udpos"), golds, score) and not at_chance(find("udpos"), golds, score + 0.1)


@pytest.mark.parametrize("name", ["mlm", "squad_retrieval", "mewslix", "tatoeba", "bucc"])
def test_open_answers_are_never_at_chance(name: str) -> None:
    assert not at_chance(find(name), ["a", "b"], 0.0)


def test_of_many_examples_who_guesses_is_not_better() -> None:
    golds = [str(number % 4) for number in range(10_000)]
    assert at_chance(find("hellaswag"), golds, 25.8) and not at_chance(find("hellaswag"), golds, 26.0)


def test_nothing_is_said_of_few_examples_nor_where_a_constant_answer_is_right() -> None:
    assert not at_chance(find("mnli"), ["neutral", "entailment"] * 9, 0.0)
    assert not at_chance(find("mnli"), ["neutral"] * 50, 100.0)
    assert not at_chance(find("squad_v2"), [[]] * 50, 100.0)
    assert not at_chance(find("panx"), [["O", "O"]] * 50, 0.0), "no entity in it: nothing to find"
