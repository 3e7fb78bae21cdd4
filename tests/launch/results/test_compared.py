"""How sure differences are, from published predictions on: seeds paired, examples drawn, what cannot be told told."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from eval import metrics
from eval.statistics import resample
from eval.tables import significance
from eval.tables.significance import Comparison
from launch.merging import collect
from launch.plan import Plan, Stage
from launch.results import compared, contributions, sheets, table
from launch.results.contributions import Language
from launch.store import Store
from launch.store.artifacts import LanguageScores, generation_of, publish_language
from slurm.base import UserError
from slurm.base.files import make_folder, seal, write_atomic
from tests.launch.workspace import Workspace

EXAMPLES = 400
Skill = Callable[[Stage], float]  # the share of examples that a stage answers rightly


def _publish(plan: Plan, skill: Skill) -> Store:
    """Predictions and scores of all stages, as jobs leave them."""
    store = Store(plan.experiment.store)
    for stage in plan.stages.values():
        if stage.kind == "train":
            record = {"key": stage.key, "dev_score": 50.0, "encoder_hash": "g" * 64, "at_chance": []}
            write_atomic(make_folder(store.stage_folder(stage.folder)) / "result.json", seal(record))
            continue
        generation = generation_of("g" * 64) if stage.parent else generation_of(plan.start_of(stage).identity)
        for language, split in plan.by_digest[stage.definition].languages.items():
            random = np.random.default_rng([stage.seed or 0, len(stage.name), ord(language[0])])
            right = random.random(EXAMPLES) < skill(stage)
            rows = [
                {"id": str(n), "prediction": "neutral" if is_right else "entailment", "gold": "neutral"}
                for n, is_right in enumerate(right)
            ]
            golds, predictions = [row["gold"] for row in rows], [row["prediction"] for row in rows]
            record = {
                "scores": metrics.score("accuracy", golds, predictions, language),
                "examples": EXAMPLES, "generation": generation, "code": "c",
            }  # fmt: skip
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            publish_language(store.stage_folder(stage.folder), generation, language, split, record, lines.encode())
    return Store(plan.experiment.store)


def _plan(workspace: Workspace) -> Plan:
    return workspace.plan(recipes=["none", "squad", "hellaswag"], targets=["xnli"], seeds=["1", "2", "3"])


def _compare(plan: Plan, store: Store) -> dict[tuple[str, str], Comparison]:
    rows = collect(plan, store, write=False).rows
    return significance.adjusted(compared.compared(plan, store, rows, table.metrics(plan, rows), draws=500))


def _squad_helps(stage: Stage) -> float:
    return 0.8 if "squad" in stage.name else 0.6


def test_a_recipe_that_helps_and_one_that_does_not(workspace: Workspace) -> None:
    plan = _plan(workspace)
    comparisons = _compare(plan, _publish(plan, _squad_helps))
    squad, hellaswag = comparisons["squad", "xnli"], comparisons["hellaswag", "xnli"]
    assert squad.difference.mean is not None and squad.adjusted_p is not None and hellaswag.adjusted_p is not None
    low, high = squad.difference.mean.interval()
    assert low < 20 < high and low > 10
    assert squad.adjusted_p < 0.05 < hellaswag.adjusted_p
    assert squad.over_examples and squad.difference.seeds == 3
    assert squad.difference.mean.of_examples > 0
    assert ("none", "xnli") not in comparisons


def test_the_same_numbers_each_time_also_from_what_was_kept(workspace: Workspace) -> None:
    plan = _plan(workspace)
    store = _publish(plan, _squad_helps)
    first = _compare(plan, store)
    assert list((store.root / "cache" / "contributions").iterdir())
    assert _compare(plan, Store(store.root)) == first


def test_what_was_kept_and_is_torn_is_made_anew(workspace: Workspace) -> None:
    plan = _plan(workspace)
    store = _publish(plan, _squad_helps)
    first = _compare(plan, store)
    for path in (store.root / "cache" / "contributions").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert _compare(plan, Store(store.root)) == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_whoever_may_only_read_a_store_has_the_same(workspace: Workspace) -> None:
    plan = _plan(workspace)
    store = _publish(plan, _squad_helps)
    (store.root / "cache").mkdir(mode=0o500)
    assert _compare(plan, store)["squad", "xnli"].over_examples


def test_predictions_that_were_changed_are_an_error(workspace: Workspace) -> None:
    plan = _plan(workspace)
    store = _publish(plan, _squad_helps)
    path = next(iter(store.root.glob("stages/*/languages/*/*.jsonl")))
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    changed_stage = next(stage for stage in plan.stages.values() if stage.folder == path.parents[2].name)
    with pytest.raises(UserError, match=r"jsonl: was changed after it was published"):
        contributions.of_stage(plan, store, changed_stage, "accuracy")
    (gap,) = collect(plan, store, write=False).missing
    assert gap.stage == changed_stage.key


def test_other_examples_in_one_run_leave_the_seeds_alone(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where runs were scored on other examples nothing can be drawn for all alike: the interval says so."""
    plan = _plan(workspace)
    store = _publish(plan, _squad_helps)
    with_examples = _compare(plan, store)["squad", "xnli"].difference
    of_stage, of_one_run = contributions.of_stage, plan.paths["squad", "xnli", 1]

    def with_others(plan: Plan, store: Store, stage: Stage, metric: str) -> dict[str, Language]:
        languages = of_stage(plan, store, stage, metric)
        others = {code: replace(language, ids="others") for code, language in languages.items()}
        return others if stage.key == of_one_run else languages

    monkeypatch.setattr(contributions, "of_stage", with_others)
    comparison = _compare(plan, Store(store.root))["squad", "xnli"]
    assert not comparison.over_examples
    assert comparison.difference.value == with_examples.value


def test_one_seed_has_a_difference_and_no_interval(workspace: Workspace) -> None:
    plan = workspace.plan(recipes=["none", "squad"], targets=["xnli"], seeds=["1"])
    comparison = _compare(plan, _publish(plan, _squad_helps))["squad", "xnli"]
    assert comparison.difference.value == pytest.approx(20, abs=8)
    assert comparison.adjusted_p is None and comparison.difference.mean is None


def test_groups_of_languages_are_over_their_own_examples(workspace: Workspace) -> None:
    plan = _plan(workspace)
    store = _publish(plan, _squad_helps)
    rows = collect(plan, store, write=False).rows
    groups = {"all": ["de", "en", "zh"], "one": ["de"]}
    of_groups = compared.of_groups(plan, store, rows, "xnli", "accuracy", groups, draws=500)
    of_target = _compare(plan, store)
    for recipe in ("squad", "hellaswag"):
        ours, of_whole = of_groups[recipe, "all"].difference.mean, of_target[recipe, "xnli"].difference.mean
        assert ours is not None and of_whole is not None
        assert astuple(ours) == pytest.approx(astuple(of_whole))
    mean_one = of_groups["squad", "one"].difference.mean
    assert mean_one is not None
    assert of_groups["squad", "one"].over_examples
    de = {row.seed: row.score for row in rows if (row.recipe, row.language) == ("squad", "de")}
    baseline = {row.seed: row.score for row in rows if (row.recipe, row.language) == ("none", "de")}
    assert mean_one.value == pytest.approx(sum(de[seed] - baseline[seed] for seed in de) / 3)


def test_the_table_says_that_it_is_over_examples_too(workspace: Workspace) -> None:
    plan = _plan(workspace)
    store = _publish(plan, _squad_helps)
    rows = collect(plan, store, write=False).rows
    for options in (sheets.Options(), sheets.Options(languages="xnli", by="script")):
        (sheet,) = sheets.of_plan(plan, store, rows, options)
        assert any("and over test sets drawn anew (Poisson bootstrap)" in line for line in sheet.caption)
        marks = {recipe: of_row[0].mark for recipe, of_row in sheet.rows}
        assert marks["squad"].startswith("*") and marks["hellaswag"] == ""


def test_a_language_that_came_later_is_added_to_what_was_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two experiments in one store that ask for other languages do not undo each other's work."""
    plan = _plan(workspace)
    store = _publish(plan, _squad_helps)
    all_results, of_file, read_codes = Store.language_results, contributions._of_file, []

    def read(path: Path, family: str, metric: str, code: str, result: LanguageScores) -> Language | None:
        read_codes.append(code)
        return of_file(path, family, metric, code, result)

    def german_alone(self: Store, plan: Plan, stage: Stage) -> dict[str, LanguageScores]:
        return {code: result for code, result in all_results(self, plan, stage).items() if code == "de"}

    monkeypatch.setattr(contributions, "_of_file", read)
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    monkeypatch.setattr(Store, "language_results", german_alone)
    assert contributions.of_stage(plan, store, stage, "accuracy").keys() == {"de"}
    monkeypatch.setattr(Store, "language_results", all_results)
    assert contributions.of_stage(plan, store, stage, "accuracy").keys() == {"de", "en", "zh"}
    monkeypatch.setattr(Store, "language_results", german_alone)
    assert contributions.of_stage(plan, store, stage, "accuracy").keys() == {"de"}
    assert sorted(read_codes) == ["de", "en", "zh"]


MINED = [("a|A", 1.5, True), ("b|X", 1.2, False), ("c|C", 1.1, True)]
MISSED = [("b|B", None, True), ("d|D", None, True)]  # F1 is 2 * 2 / (3 + 4)


def _mined(tmp_path: Path, pairs: list[tuple[str, float | None, bool]], **scores_beside: float) -> Language | None:
    rows = [{"id": pair, "score": score, "gold": is_right} for pair, score, is_right in pairs]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = tmp_path / f"zh-1.{hashlib.sha256(content).hexdigest()[:8]}.jsonl"
    path.write_bytes(content)
    result = LanguageScores({"f1": 400 / 7} | scores_beside, path.name, len(content))
    metric = next(iter(scores_beside), "f1")
    return contributions._of_file(path, "mining", metric, "zh", result)


def test_mined_pairs_contribute_sentence_by_sentence(tmp_path: Path) -> None:
    language = _mined(tmp_path, MINED + MISSED)
    assert language is not None and language.sentences is not None
    assert dict(zip(language.sentences.tolist(), language.parts.tolist(), strict=True)) == {
        "a": [2, 2], "b": [0, 2], "c": [2, 2], "d": [0, 1],
    }  # fmt: skip
    kept = contributions._kept(contributions._content({"zh-1": language, "de-1": None}))
    assert kept["de-1"] is None and (kept["zh-1"].sentences == language.sentences).all()


def test_runs_that_mined_other_sentences_are_of_the_same_ones(tmp_path: Path) -> None:
    other = [("a|A", 1.4, True), ("e|C", 1.3, False), ("b|B", None, True), ("c|C", None, True), ("d|D", None, True)]
    first, second = _mined(tmp_path, MINED + MISSED), _mined(tmp_path, other, f1=100 / 3)
    assert first is not None and second is not None
    sample = contributions.sample_of([first, second])
    assert sample.parts[:, :, 1].tolist() == [[2, 2], [0, 1], [0, 1], [0, 1], [0, 1]]  # a to e
    assert resample.scores(sample) == pytest.approx([400 / 7, 100 / 3])


def test_mined_pairs_without_what_was_missed_tell_nothing(tmp_path: Path) -> None:
    """As earlier code wrote them; and test's pairs say nothing of dev's score."""
    assert _mined(tmp_path, MINED) is None
    assert _mined(tmp_path, MINED + MISSED, f1_dev=400 / 7) is None
    assert _mined(tmp_path, MINED + MISSED, f1_dev=400 / 7, precision_dev=200 / 3) is not None


def test_scores_of_another_formula_tell_nothing(tmp_path: Path) -> None:
    rows = [{"id": str(n), "prediction": "x", "gold": "xy"[n % 2]} for n in range(4)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = tmp_path / f"de-1.{hashlib.sha256(content).hexdigest()[:8]}.jsonl"
    path.write_bytes(content)
    for score, is_known in ((50.0, True), (49.9, False)):
        result = LanguageScores({"accuracy": score}, path.name, len(content))
        assert (contributions._of_file(path, "accuracy", "accuracy", "de", result) is not None) == is_known


def test_a_race_has_what_each_pair_got_and_intervals_that_hold_at_every_look(workspace: Workspace) -> None:
    seeds = {"min": "2", "max": "5", "until": "0.5"}
    plan = workspace.plan(recipes=["none", "squad", "hellaswag"], targets=["xnli"], seeds=seeds)
    store = _publish(plan, _squad_helps)
    for stage in plan.stages.values():  # as if squad had been decided after three seeds, and a fourth were on its way
        if stage.kind == "evaluate" and "squad" in stage.name and stage.seed in (4, 5):
            languages = store.root / "stages" / stage.folder / "languages"
            for path in languages.glob("*/*"):
                if stage.seed == 5 or "de" in path.name:
                    path.unlink()
    store = Store(store.root)
    rows = collect(plan, store, write=False).rows
    raced = _compare(plan, store)
    squad, hellaswag = raced["squad", "xnli"].difference, raced["hellaswag", "xnli"].difference
    assert (squad.seeds, hellaswag.seeds) == (3, 5)
    assert squad.mean is not None and squad.p is not None
    low, high = squad.mean.interval()
    student = stats.t.interval(0.95, 2, squad.value, squad.mean.of_seeds)
    assert low < student[0] < student[1] < high
    (sheet,) = sheets.of_plan(plan, store, rows, sheets.Options())
    caption = "\n".join(sheet.caption)
    assert "over 2 to 5 seeds" in caption and "Jennison" in caption and "Smyth" not in caption
    assert "seeds of each difference: xnli (squad 3, hellaswag 5)" in caption
    assert all(entry.missing == 0 for _, of_row in sheet.rows for entry in of_row)


def test_a_race_that_has_nothing_lacks_its_first_seeds(workspace: Workspace) -> None:
    seeds = {"min": "2", "max": "5", "until": "0.5"}
    plan = workspace.plan(recipes=["none", "squad"], targets=["xnli"], seeds=seeds)
    store = Store(plan.experiment.store)
    assert {seed for _, _, seed in table.expected(plan, store, {"xnli": "accuracy"})} == {1, 2}


def test_half_a_surrogate_pair_is_read_too(tmp_path: Path) -> None:
    content = (
        b'{"id": "1", "prediction": "\\ud800", "gold": ["Bonn"]}\n{"id": "2", "prediction": "Bonn", "gold": ["Bonn"]}\n'
    )
    path = tmp_path / f"de-1.{hashlib.sha256(content).hexdigest()[:8]}.jsonl"
    path.write_bytes(content)
    language = contributions._of_file(path, "squad", "f1", "de", LanguageScores({"f1": 50.0}, path.name, len(content)))
    assert language is not None and language.parts[:, 0].tolist() == [0, 1]
