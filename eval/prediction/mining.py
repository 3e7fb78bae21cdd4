"""Mining: which sentences of two texts that are not parallel are translations of each other?

As XTREME does it for BUCC 2018 (Artetxe and Schwenk 2019, Hu et al. 2020): sentence vectors as for retrieval, exact
duplicates as one; of every sentence's 4 nearest the one with the best ratio of its cosine to the mean of both sides'
means; the best pairs of both directions, each sentence in one; kept from a score on that is best on dev.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics.mining import best_threshold, score_pairs
from eval.prediction.forward import FloatArray
from eval.prediction.predict import LanguageResult
from eval.prediction.retrieval import sentence_vectors
from eval.prediction.search import neighbours_on
from training import formats
from training.data.tokens import encode
from training.formats.mining import SIDES, Example, gold_pairs, unique
from training.formats.neighbours import Places, Search, neighbours
from training.model.encoder import StageModel
from training.spec import Runtime, Settings
from training.tasks import Task

NEIGHBOURS = 4
_ROWS = 65536  # whose cosines are worked out at a time
Scored = list[tuple[float, str, str]]  # score, names of the source and the target sentence; best first


def evaluate_language(
    model: StageModel,
    task: Task,
    language: str,
    examples: Sequence[Any],  # training.formats.mining.Example
    tokenizer: Any,
    settings: Settings,
    runtime: Runtime,
) -> LanguageResult:
    """Mine test with dev's threshold: `f1`, `precision`, `recall`, and dev's own `f1_dev`. Where there is no test, dev
    alone: `f1_dev` and the like. Where dev has no gold, nothing is cut off: `f1_untuned` and the like.

    Predictions: the pairs kept, of test if there is one: id (`source|target`), score, gold (whether it is right); then
    the right ones that were not kept, without a score.
    """
    by_split = {split: [e for e in examples if e.split == split] for split in ("dev", "test")}
    candidates = {
        split: mine_sentences(model, task, of_split, tokenizer, settings, runtime)
        for split, of_split in by_split.items()
        if of_split
    }
    gold = {split: gold_pairs(of_split) for split, of_split in by_split.items() if of_split}
    return result(candidates, gold)


def result(candidates: dict[str, Scored], gold: dict[str, set[tuple[str, str]] | None]) -> LanguageResult:
    """Scores and predictions from the candidates and the gold pairs of dev, test or both."""
    dev_gold = gold.get("dev")
    threshold = best_threshold(candidates["dev"], dev_gold) if dev_gold else None
    pairs_above = {
        split: [pair for pair in pairs if threshold is None or pair[0] >= threshold]
        for split, pairs in candidates.items()
    }
    reported_split = "test" if "test" in candidates else "dev"
    scores: dict[str, float] = {}
    if (test_gold := gold.get("test")) is not None:
        suffix = "" if dev_gold else "_untuned"
        scores |= _named(score_pairs(_pairs(pairs_above["test"]), test_gold), suffix)
    if dev_gold:
        of_dev = _named(score_pairs(_pairs(pairs_above["dev"]), dev_gold), "_dev")
        scores |= of_dev if reported_split == "dev" else {"f1_dev": of_dev["f1_dev"]}
    right = gold[reported_split]
    records = [
        {"id": f"{source}|{target}", "score": score, "gold": None if right is None else (source, target) in right}
        for score, source, target in pairs_above[reported_split]
    ]
    kept_pairs = _pairs(pairs_above[reported_split])
    missed_pairs = [
        {"id": "|".join(pair), "score": None, "gold": True} for pair in sorted((right or set()) - kept_pairs)
    ]
    return LanguageResult(scores, records + missed_pairs)


def mine_sentences(
    model: StageModel, task: Task, examples: Sequence[Example], tokenizer: Any, settings: Settings, runtime: Runtime
) -> Scored:
    """The candidate pairs of one split."""
    source, target = (unique([e for e in examples if e.side == side]) for side in SIDES)
    form = formats.get(task.format)
    x, y = (
        sentence_vectors(
            model,
            encode(form, [*side.values()], tokenizer, task, settings),
            settings,
            runtime,
        )
        for side in (source, target)
    )
    row_pairs = mine(x, y, partial(neighbours_on, model.device))
    return _looked_up(row_pairs, examples, [*source], [*target])


def mine(x: FloatArray, y: FloatArray, search: Search = neighbours) -> list[tuple[float, int, int]]:
    """(margin, row of x, row of y), best first, every row at most once. x [n, width], y [m, width]: unit vectors."""
    x_near, x_mean = _near(x, y, search)
    y_near, y_mean = _near(y, x, search)
    forward, forward_margin = _best(x, y, x_near, x_mean, y_mean)
    backward, backward_margin = _best(y, x, y_near, y_mean, x_mean)
    rows = np.concatenate((np.arange(len(x)), backward))
    columns = np.concatenate((forward, np.arange(len(y))))
    margins = np.concatenate((forward_margin, backward_margin))
    return _one_to_one(rows, columns, margins)


def _near(queries: FloatArray, index: FloatArray, search: Search) -> tuple[Places, FloatArray]:
    """Each row's nearest, and the mean of their cosines."""
    cosines, places = search(queries, index, NEIGHBOURS)
    return places, cosines.mean(axis=1)


def _best(
    x: FloatArray, y: FloatArray, near: Places, x_mean: FloatArray, y_mean: FloatArray
) -> tuple[Places, FloatArray]:
    """For each row of x that of its nearest with the largest margin, the first of equals; and the margin."""
    # Worked out pair by pair and not taken from the search: a pair has the same margin in both directions then.
    cosines = np.concatenate(
        [
            np.stack([(x[rows] * y[near[rows, rank]]).sum(axis=1) for rank in range(near.shape[1])], axis=1)
            for rows in (slice(start, start + _ROWS) for start in range(0, len(x), _ROWS))
        ]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        margins = cosines / ((x_mean[:, None] + y_mean[near]) / 2)
    best = np.nan_to_num(margins, nan=-np.inf).argmax(axis=1)
    every = np.arange(len(x))
    return near[every, best], margins[every, best]


def _one_to_one(rows: Places, columns: Places, margins: NDArray[Any]) -> list[tuple[float, int, int]]:
    """The pairs from the best down, without those of which a side is taken; none of margin 0 or less."""
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    disjoint_pairs = []
    for place in np.argsort(-margins, kind="stable"):
        row, column, margin = int(rows[place]), int(columns[place]), float(margins[place])
        if row in taken_rows or column in taken_columns:
            continue
        taken_rows.add(row)
        taken_columns.add(column)
        if margin > 0:
            disjoint_pairs.append((margin, row, column))
    return disjoint_pairs


def _looked_up(
    pairs: Sequence[tuple[float, int, int]], examples: Sequence[Example], sources: list[str], targets: list[str]
) -> Scored:
    """Pairs of names. A text that has several names in the data has none here, as published."""
    source_names, target_names = (_names([e for e in examples if e.side == side]) for side in SIDES)
    name_pairs = ((score, source_names[sources[row]], target_names[targets[column]]) for score, row, column in pairs)
    return [(score, source, target) for score, source, target in name_pairs if source and target]


def _names(examples: Sequence[Example]) -> dict[str, str | None]:
    """The name of every text; None where it has several."""
    names: dict[str, str | None] = {}
    for example in examples:
        names[example.text] = None if example.text in names else example.name
    return names


def _pairs(pairs: Scored) -> set[tuple[str, str]]:
    return {(source, target) for _, source, target in pairs}


def _named(scores: dict[str, float], suffix: str) -> dict[str, float]:
    return {name + suffix: score for name, score in scores.items()}
