"""What studies are drawn from: an experiment's published results as records."""

from collections.abc import Mapping
from typing import Any

from eval.studies.records import DevPoint, PromptedTarget, Recipe, Results
from launch.experiment import recipes
from launch.merging import collect
from launch.plan import Plan
from launch.store import Store
from launch.studies import gather
from launch.studies.answers import find, of_study
from tests.launch.studies import planted
from tests.launch.workspace import Workspace


def _results(plan: Plan, texts: list[str] | None = None) -> Results:
    store = Store(plan.experiment.store)
    of_recipes = plan.experiment.recipes if texts is None else [_recipe(text) for text in texts]
    return gather.results(plan, store, collect(plan, store, write=False).rows, of_recipes)


def _recipe(text: str) -> Recipe:
    return recipes.expand(text)[0]


def _points(results: Results, steps: str, task: str, seed: int = 1) -> Mapping[tuple[str, float], DevPoint]:
    return {
        (point.metric, point.progress): point
        for point in results.dev_points
        if (point.trained, point.task, point.seed) == (_recipe(steps), task, seed)
    }


def _write_legal_text(workspace: Workspace) -> None:
    folder = workspace.root / "data" / "domain_legal_eurlex"
    folder.mkdir()
    for code in ("en", "de"):
        (folder / f"dev.{code}").write_text("One two three.\n")


def test_scores_are_of_the_targets_own_metric_in_all_languages(workspace: Workspace) -> None:
    plan = planted.plan(workspace, study={"order": planted.ORDER}, targets=["xnli", "tatoeba"])
    planted.publish(plan)
    results = _results(plan)
    # `none` on tatoeba is the start model: one score for all seeds.
    assert len(results.runs) == len(set(results.runs)) == len(plan.experiment.recipes) * 3 * (3 + 2) - 2 * 2
    assert {run.seed for run in results.runs if run.recipe == () and run.target == "tatoeba"} == {None}
    of_one = [run for run in _results(plan, ["squad > mnli > hellaswag"]).runs if run.target == "xnli"]
    assert {(run.seed, run.language) for run in of_one} == {(s, c) for s in (1, 2, 3) for c in ("de", "en", "zh")}


def test_the_selected_epoch_is_the_end_and_later_points_are_left_out(workspace: Workspace) -> None:
    plan = planted.plan(workspace, study={"order": planted.ORDER}, targets=["tatoeba"])
    planted.publish(plan)
    of_squad = _points(_results(plan), "mnli > squad", "squad")
    assert {progress for _, progress in of_squad} == {0.25, 0.5, 1.0}
    assert round(of_squad["f1", 0.5].value) == 60 + 2 * 2  # where the first of two epochs ended
    assert of_squad["f1", 1.0].value == of_squad["f1", 0.5].value
    assert {metric for metric, progress in of_squad if of_squad[metric, progress].primary} == {"f1"}


def test_earlier_tasks_are_scored_at_the_end_but_for_what_is_trained_again(workspace: Workspace) -> None:
    plan = planted.plan(workspace, study={"order": planted.ORDER}, targets=["tatoeba"])
    planted.publish(plan, earlier_dev=[planted.dev("mnli", 1.0, 33.0)])
    results = _results(plan)
    earlier = _points(results, "mnli > squad > hellaswag", "mnli")
    assert {key: (point.value, point.primary) for key, point in earlier.items() if key[0] == "accuracy"} == {
        ("accuracy", 1.0): (33.0, True)
    }
    assert 33.0 not in {point.value for point in _points(results, "mnli > mnli > mnli", "mnli").values()}


def test_of_results_from_before_there_were_dev_points_the_score_that_selected(workspace: Workspace) -> None:
    plan = planted.plan(workspace, study={"order": planted.ORDER}, targets=["tatoeba"])
    planted.publish(plan, dev_points=[], earlier_dev=[], dev_score=61.5)
    results = _results(plan)
    (point,) = _points(results, "squad", "squad").values()
    assert (point.metric, point.progress, point.value, point.primary) == ("f1", 1.0, 61.5, True)
    assert not any(len(point.trained[-1]) > 1 for point in results.dev_points)  # of a mixture it is a mean of metrics
    store = Store(plan.experiment.store)
    (answer,) = of_study(plan, store, collect(plan, store, write=False), find("correlation"))
    assert answer.lacking[0].startswith(
        "all dev metrics but the one that selected the epoch, of hellaswag, hellaswag > hel"
    )


def test_what_diverged_has_no_dev_and_its_runs_are_marked(workspace: Workspace) -> None:
    plan = planted.plan(workspace, study={"complexity": {"tasks": ["mnli", "qqp"]}}, targets=["tatoeba"])
    planted.publish(plan, at_chance=["mnli"])
    results = _results(plan)
    assert {run.recipe for run in results.runs if run.diverged} == {_recipe("mnli")}
    assert {point.task for point in results.dev_points} == {"qqp"}


def test_a_task_of_several_sources_is_the_mean_over_them(workspace: Workspace) -> None:
    plan = planted.plan(workspace, study={"complexity": {"tasks": ["mnli", "qqp"]}}, targets=["tatoeba"])
    parts: list[dict[str, Any]] = [planted.dev("mnli", 0.5, value) | {"head": "qqp"} for value in (40.0, 60.0)]
    planted.publish(plan, dev_points=parts)
    assert _points(_results(plan), "qqp", "qqp")["accuracy", 1.0].value == 50.0


def test_measures_are_means_over_trainings(workspace: Workspace) -> None:
    plan = planted.plan(workspace, study={"complexity": {"tasks": ["mnli", "qqp"]}}, targets=["tatoeba"])
    planted.publish(plan)
    measures = {(measure.task, measure.name): measure.value for measure in _results(plan).measures}
    assert measures["qqp", "examples"] == 1000.0 and abs(measures["qqp", "probe_loss"] - 0.9) < 1e-9
    assert {task for task, _ in measures} == {"mnli", "qqp"}


def test_groups_of_languages_and_of_targets(workspace: Workspace) -> None:
    study = {"complexity": {"tasks": ["mnli", "qqp"]}}
    plan = planted.plan(workspace, study=study, targets=["xnli", "tatoeba"])
    planted.publish(plan)
    groups = {group.name: group.members for group in _results(plan).language_groups}
    assert groups == {"IE: Germanic": ("de",), "Niger-Congo": ("sw",), "Sino-Tibetan": ("zh",)}
    assert _results(plan).target_groups == ()  # both are of both benchmarks
    alone = planted.plan(workspace, study=study, targets=["tatoeba"], languages={"tatoeba": ["de"]})
    assert _results(alone).language_groups == ()


def test_alignment_has_the_scored_layer_and_all_others(workspace: Workspace) -> None:
    """Domains are targets without being named as such; `none`, whom no seed touches, is one."""
    _write_legal_text(workspace)
    study = {"alignment": {"tasks": ["mnli", "squad"], "domains": ["legal"]}}
    plan = planted.plan(workspace, study=study, targets=["tatoeba"])
    assert list(plan.targets) == ["tatoeba", "alignment_legal"]
    store = planted.publish(plan)
    records = _results(plan).representations
    assert {(record.recipe, record.seed) for record in records} == {
        ((), None), *((_recipe(task), seed) for task in ("mnli", "squad") for seed in (1, 2, 3)),
    }  # fmt: skip
    assert all((record.domain, record.measure) == ("alignment_legal", "accuracy") for record in records)
    assert all(record.curve == (record.value, record.value - 1) for record in records)
    (answered,) = of_study(plan, store, collect(plan, store, write=False), find("alignment"))
    assert answered.lacking == ()
    assert answered.finding.sentence.startswith(
        "Retrieval of translations changed in 1 of 2 tests over domains: squad on"
    )


def test_parallel_text_of_the_study_of_alignment_is_no_target_of_the_others(workspace: Workspace) -> None:
    _write_legal_text(workspace)
    study = {
        "order": {"tasks": ["mnli", "squad"], "controls": "false"},
        "alignment": {"tasks": ["mnli"], "domains": ["legal"]},
    }
    plan = planted.plan(workspace, study=study, targets=["tatoeba"])
    store = planted.publish(plan)
    (answer,) = of_study(plan, store, collect(plan, store, write=False), find("order"))
    assert {row[0] for row in answer.finding.tables[0].rows} == {"tatoeba"} and answer.lacking == ()


def test_a_study_of_the_file_is_drawn_from_its_own_recipes(workspace: Workspace) -> None:
    study = {"order": planted.ORDER, "complexity": {"tasks": planted.TASKS}}
    plan = planted.plan(workspace, study=study, targets=["tatoeba"])
    store = planted.publish(plan)
    (answer,) = of_study(plan, store, collect(plan, store, write=False), find("complexity"))
    gains = answer.finding.tables[-1]
    assert sorted(row[0] for row in gains.rows if isinstance(row[0], str)) == sorted(planted.TASKS)


def test_answers_to_prompts_have_templates_and_what_they_are_held_against(workspace: Workspace) -> None:
    prompts = {"tasks": ["squad"], "targets": ["xnli"], "demonstrations": ["4"]}
    plan = planted.plan(workspace, study={"prompts": prompts}, targets=["tatoeba"])
    planted.publish(plan)
    results = _results(plan)
    assert results.prompted_targets == (
        PromptedTarget("xnli_prompt_4", "xnli", "prompt", 4),
        PromptedTarget("xnli_both_4", "xnli", "both", 4),
    )
    runs = {(r.target, r.recipe, r.seed, r.language): r.score for r in results.runs if r.target.startswith("xnli_")}
    records = {(r.target, r.recipe, r.seed, r.language): r for r in results.template_scores}
    # Demonstrations are drawn by the seed, so that `none` has one too.
    assert records.keys() == runs.keys() and len(runs) == 2 * 2 * 3 * 3
    for cell, record in records.items():
        assert (record.best, record.worst) == (runs[cell] + 2, runs[cell] - 1)
        assert (record.majority, record.chance) == (35.0, 33.0)


def test_modes_of_the_study_of_prompts_are_no_targets_of_the_others(workspace: Workspace) -> None:
    study = {
        "order": {"tasks": ["mnli", "squad"], "controls": "false"},
        "prompts": {"tasks": ["mnli", "squad"], "targets": ["xnli"]},
    }
    plan = planted.plan(workspace, study=study, targets=["tatoeba"])
    store = planted.publish(plan)
    collection = collect(plan, store, write=False)
    (answer,) = of_study(plan, store, collection, find("order"))
    assert {row[0] for row in answer.finding.tables[0].rows} == {"tatoeba", "xnli"} and answer.lacking == ()
    (answer,) = of_study(plan, store, collection, find("prompts"))
    assert answer.finding.sentence.startswith("Intermediate training and prompts do not add up in 2 of 2 tests: ")
    assert answer.lacking == ()
