"""The benchmarks' averages: the published formulas, and no number where anything is missing."""

from collections.abc import Callable

import pytest

from eval.tables import averages
from eval.tables.averages import BENCHMARKS, Benchmark
from eval.tables.rows import Row
from slurm.base import UsageError

QA = {"xquad", "mlqa", "tydiqa"}
Keep = Callable[[str, str, str], bool]


def _everything(
    benchmark: Benchmark, recipe: str = "none", seed: int | None = 1, add: float = 0.0, keep: Keep = lambda *_: True
) -> list[Row]:
    """Rows of all targets, languages and metrics: the target's place in the list times ten, F1 of QA 5 more."""
    rows = []
    for place, target in enumerate(benchmark.targets):
        for language in benchmark.languages(target):
            for metric in ("f1", "exact_match") if target in QA else benchmark.metrics(target):
                score = 10.0 * place + (5 if target in QA and metric == "f1" else 0) + add
                if keep(target, language, metric):
                    rows.append(Row(recipe, target, language, seed, metric, True, score, 10, "k", "g", "c"))
    return rows


@pytest.mark.parametrize(
    ("name", "score", "counts"),
    [
        ("xtreme", 40 + 3 * 2.5 / 9, "xnli 15 pawsx 7 udpos 33 panx 40 xquad 11 mlqa 7 tydiqa 9 bucc 4 tatoeba 36"),
        (
            "xtreme-r",
            45 + 3 * 2.5 / 10,
            "xnli 15 xcopa 11 udpos 38 panx 48 xquad 12 mlqa 7 tydiqa 9 mewslix 11 lareqa 11 tatoeba 41",
        ),
        (
            "xtreme-r-f1",
            45 + 3 * 5 / 10,
            "xnli 15 xcopa 11 udpos 38 panx 48 xquad 12 mlqa 7 tydiqa 9 mewslix 11 lareqa 11 tatoeba 41",
        ),
    ],
)
def test_the_published_formula(name: str, score: float, counts: str) -> None:
    benchmark = averages.find(name)
    words = iter(counts.split())
    assert {t: len(benchmark.languages(t)) for t in benchmark.targets} == {t: int(n) for t, n in zip(words, words)}  # noqa: B905
    made = averages.average(benchmark, _everything(benchmark), ["none"], [1])
    assert made.cells["none", name].score == pytest.approx(score)
    assert not made.missing


def test_the_published_rows_average_to_the_published_average() -> None:
    """XLM-R large in the XTREME paper's table: 68.1."""
    benchmark = BENCHMARKS["xtreme"]
    published = {
        "xnli": 79.2, "pawsx": 86.4, "udpos": 72.6, "panx": 65.4, "bucc": 66.0, "tatoeba": 57.3,
        ("xquad", "f1"): 76.6, ("xquad", "exact_match"): 60.8, ("mlqa", "f1"): 71.6, ("mlqa", "exact_match"): 53.2,
        ("tydiqa", "f1"): 65.1, ("tydiqa", "exact_match"): 45.0,
    }  # fmt: skip
    rows = [
        Row("none", t, code, 1, m, True, published[(t, m) if t in QA else t], 1, "k", "g", "c")
        for t in benchmark.targets
        for code in benchmark.languages(t)
        for m in benchmark.metrics(t)
    ]
    made = averages.average(benchmark, rows, ["none"], [1])
    assert made.cells["none", "xtreme"].show() == "68.1"


def test_groups_seeds_and_differences() -> None:
    """Retrieval has no seed where nothing was trained: its one score stands for all."""
    benchmark = BENCHMARKS["xtreme"]
    retrieval = set(benchmark.groups["retrieval"])
    rows = [
        *_everything(benchmark, keep=lambda t, *_: t not in retrieval),
        *_everything(benchmark, seed=2, add=9.0, keep=lambda t, *_: t not in retrieval),
        *_everything(benchmark, seed=None, keep=lambda t, *_: t in retrieval),
        *_everything(benchmark, "squad", 1, 1.0),
        *_everything(benchmark, "squad", 2, 10.0),
    ]
    made = averages.average(benchmark, rows, ["none", "squad"], [1, 2])
    none, squad = made.cells["none", "xtreme"], made.cells["squad", "xtreme"]
    assert none.seeds == 2
    assert none.deviation == pytest.approx(7 / 2**0.5)  # 7 of 9 tasks 9 higher
    assert squad.difference == pytest.approx((1 + 10 - 7) / 2)
    assert made.cells["none", "classification"].score == pytest.approx(5 + 4.5)
    assert made.cells["none", "retrieval"].deviation is None
    assert list(benchmark.columns) == ["xtreme", "classification", "tagging", "qa", "retrieval"]


def test_a_seed_that_diverged_on_one_target_is_left_out() -> None:
    """Of the average and of that target's group, not of the others."""
    benchmark = BENCHMARKS["xtreme"]
    bad = [row._replace(diverged=row.target == "panx") for row in _everything(benchmark, "squad", 2, 10.0)]
    none = [*_everything(benchmark), *_everything(benchmark, seed=2, add=9.0)]
    rows = [*none, *_everything(benchmark, "squad", 1, 1.0), *bad]
    made = averages.average(benchmark, rows, ["none", "squad"], [1, 2])
    shown = {column: made.cells["squad", column].show_difference() for column in benchmark.columns}
    assert shown["xtreme"] == shown["tagging"] == "+1.0"  # seed 1 alone
    assert shown["qa"] == shown["classification"] == shown["retrieval"] == "+1.0 ±0.0"
    assert made.cells["squad", "tagging"].show() == "26.0 †1"
    rows = [row._replace(diverged=row.recipe == "none") for row in rows]
    cells = averages.average(benchmark, rows, ["none", "squad"], [1, 2]).cells
    assert cells["none", "tagging"].show() == "29.5 †" and cells["squad", "tagging"].difference is None


def _missing(keep: Keep, seeds: tuple[int, ...] = (1,), extra: tuple[Row, ...] = ()) -> str:
    benchmark = BENCHMARKS["xtreme"]
    made = averages.average(benchmark, [*_everything(benchmark, keep=keep), *extra], ["none"], list(seeds))
    assert not made.cells and not made.recipes
    (line,) = made.missing
    return line.removeprefix("no average xtreme; missing: ")


def test_what_is_missing_is_said_and_nothing_averaged() -> None:
    assert _missing(lambda target, *_: target not in ("bucc", "xnli")) == "xnli; bucc"
    assert _missing(lambda _, language, __: language != "my") == "panx: 39 of 40 languages (without my)"
    assert _missing(lambda _, __, metric: metric != "exact_match").startswith("xquad: 0 of 11 languages (without ar, ")
    many = _missing(lambda target, language, _: target != "panx" or language == "de")
    assert many == "panx: 1 of 40 languages (without af, ar, bg, bn, el, en, es, et, … (39 in all))"
    assert "xnli: 0 of 15" in _missing(lambda *_: True, seeds=(1, 2))  # a seed is not there


def test_a_score_that_only_stands_in_is_missing_and_named() -> None:
    dev = Row("none", "bucc", "zh", None, "f1_dev", False, 50.0, 1, "k", "g", "c")
    line = _missing(lambda target, language, _: target != "bucc" or language != "zh", extra=(dev,))
    assert line == "bucc: 3 of 4 languages (without zh: only f1_dev)"


def test_pairs_of_languages_never_enter() -> None:
    benchmark = BENCHMARKS["xtreme"]
    pair = [Row("none", "mlqa", "de-en", 1, m, True, 0.0, 1, "k", "g", "c") for m in ("f1", "exact_match")]
    alone = averages.average(benchmark, _everything(benchmark), ["none"], [1])
    assert averages.average(benchmark, [*_everything(benchmark), *pair], ["none"], [1]) == alone


@pytest.mark.parametrize("name", BENCHMARKS)
def test_targets_of_no_benchmark_never_enter(name: str) -> None:
    """Nor do they make an average whole."""
    benchmark = BENCHMARKS[name]
    captions = [Row("none", "xflickrco", code, 1, "mean_recall", True, 0.0, 1, "k", "g", "c") for code in ("de", "en")]
    alone = averages.average(benchmark, _everything(benchmark), ["none"], [1])
    assert averages.average(benchmark, [*_everything(benchmark), *captions], ["none"], [1]) == alone
    without = _everything(benchmark, keep=lambda target, *_: target != "tatoeba")
    assert not averages.average(benchmark, [*without, *captions], ["none"], [1]).cells


def test_recipes_that_are_whole_are_averaged_beside_those_that_are_not() -> None:
    benchmark = BENCHMARKS["xtreme"]
    rows = [*_everything(benchmark), *_everything(benchmark, "squad", keep=lambda target, *_: target != "xnli")]
    made = averages.average(benchmark, rows, ["none", "squad", "mnli"], [1])
    assert made.recipes == ("none",)
    assert made.missing[0] == "no average xtreme for squad; missing: xnli"
    assert made.missing[1].startswith("no average xtreme for mnli; missing: xnli; pawsx; udpos;")


def test_an_unknown_average_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"average xtremer: did you mean xtreme"):
        averages.find("xtremer")
