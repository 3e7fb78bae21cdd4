"""Several start models (`models:`): the plan is that of each alone, put together, and jobs are told which is which."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.draft import elements
from launch.draft.manifests import identity, manifest
from launch.estimate import race as estimated
from launch.estimate.cost import Estimates
from launch.job.inputs import Inputs
from launch.plan import Plan
from launch.preflight import rehearse
from launch.results import export
from launch.store import Store, manifests
from slurm.base import UsageError, UserError
from tests.launch.workspace import Workspace, look_at, write_model

LABELS = ("large", "v1.5", "x-2")
GRID: dict[str, Any] = {"recipes": ["none", "squad"], "targets": ["tatoeba"], "seeds": ["1"]}


@pytest.fixture
def several(workspace: Workspace) -> Workspace:
    """With three models beside `model/`, under these labels."""
    for number, label in enumerate(LABELS):
        write_model(workspace.root / label, 9 + number)
    return workspace


def _plan(workspace: Workspace, *labels: str, **changes: Any) -> Plan:
    models = {label: f"./{label}" for label in labels}
    return workspace.plan(**(GRID | {"model": None, "models": models} | changes))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(LABELS), min_size=1, unique=True),
    st.lists(st.sampled_from(["none", "squad", "squad > qqp", "hellaswag + qqp"]), min_size=1, unique=True),
    st.lists(st.sampled_from(["xnli", "tatoeba"]), min_size=1, unique=True),
)
def test_it_is_the_plans_of_each_model_together(
    several: Workspace, labels: list[str], recipes: list[str], targets: list[str]
) -> None:
    grid = {"recipes": recipes, "targets": targets, "seeds": ["1", "2"]}
    together = _plan(several, *labels, **grid)
    alone = {label: several.plan(**grid, model=f"./{label}") for label in labels}
    assert list(together.stages) == [key for plan in alone.values() for key in plan.stages]
    assert together.paths == {
        (f"{label}: {recipe}", target, seed): key
        for label, plan in alone.items()
        for (recipe, target, seed), key in plan.paths.items()
    }
    for label, plan in alone.items():
        for key, stage in plan.stages.items():
            labelled = together.stages[key]
            assert labelled == stage._replace(name=f"{label}/{stage.name}", model=label)
            assert labelled.folder == stage.folder
            assert together.start_of(labelled) == plan.start_of(stage)
            assert identity(together, labelled) == identity(plan, stage) | {"name": labelled.name}
        of_model = together.of_model(label)
        assert (of_model.stages, of_model.paths, of_model.starts) == (plan.stages, plan.paths, plan.starts)
        assert of_model.experiment.models == plan.experiment.models
        assert of_model.trainings_from_scratch == plan.trainings_from_scratch
    assert together.recipe_names == tuple(dict.fromkeys(recipe for recipe, _, _ in together.paths))
    assert together.trainings_from_scratch == sum(plan.trainings_from_scratch for plan in alone.values())


def test_a_stage_is_typed_by_its_models_label(several: Workspace) -> None:
    plan = _plan(several, "large", "v1.5")
    assert plan.find("v1.5/squad-s1").model == "v1.5"
    assert plan.word(plan.find("large/start--tatoeba")) == "large/start--tatoeba"
    with pytest.raises(UsageError, match=r"did you mean v1\.5/squad-s1 or large/squad-s1"):
        plan.find("squad-s1")


def test_elements_of_one_array_start_from_different_models(several: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _plan(several, "large", "v1.5")
    missing = elements.make_elements(plan, set(plan.stages), lambda stage: False)
    first = elements.arrange(missing, {}, 1000)[0]
    path = several.root / "manifest-0.json"
    manifests.write(path, manifest(plan, Store(plan.experiment.store), first))
    told = manifests.read(path)
    monkeypatch.setattr("launch.job.inputs.read_parent", lambda folder, *_: folder)
    origins = {entry.folder: Inputs(told).origin(entry) for entry in told.entries() if entry.parent is None}
    expected = {stage.folder: stage.model for stage in plan.stages.values() if stage.parent is None}
    assert {folder: origin.parent.name for folder, origin in origins.items()} == expected  # type: ignore[attr-defined]
    assert len({origin.place for origin in origins.values()}) == 2
    # What a job has in memory goes before it reads the next model.
    for entry in told.entries():
        starts = {origin.parent.name for origin in origins.values() if Inputs(told).may_start_at(entry, origin.place)}  # type: ignore[attr-defined]
        assert starts == ({entry.model} if entry.parent is None else set())


def test_a_manifest_of_before_there_were_labels_is_read(workspace: Workspace, tmp_path: Path) -> None:
    plan = workspace.plan(**GRID)
    array = elements.arrange(elements.make_elements(plan, set(plan.stages), lambda stage: False), {}, 1000)[0]
    record = manifests.to_record(manifest(plan, Store(plan.experiment.store), array))
    assert record["start"]["folder"] == str(workspace.root / "model") and not record.pop("starts")
    for entries in record["elements"].values():
        assert all(entry.pop("model") == "" for entry in entries)
    path = tmp_path / "manifest-0.json"
    path.write_bytes(manifests.to_json(record))
    told = manifests.read(path)
    assert {told.start_of(entry).folder for entry in told.entries()} == {str(workspace.root / "model")}


def test_every_model_is_rehearsed(several: Workspace) -> None:
    plan = rehearse.make(_plan(several, "large", "v1.5", seeds=["1", "2"]), local=True)
    assert [stage.name for stage in plan.stages.values()] == [
        f"{label}/{name}" for label in ("large", "v1.5") for name in ("start--tatoeba", "squad-s1", "squad-s1--tatoeba")
    ]


def test_a_race_is_within_a_model(several: Workspace) -> None:
    """Of two recipes from each of two models; `none` of a third seed serves its own model's pair alone."""
    plan = _plan(several, "large", "v1.5", seeds={"min": "2", "max": "3", "until": "0.5"}, targets=["xnli"])
    race = look_at(plan).racing
    assert {cell: pair.wanted for cell, pair in race.pairs.items()} == {
        (f"{label}: squad", "xnli"): (1, 2) for label in ("large", "v1.5")
    }
    baselines = {plan.paths[f"{label}: none", "xnli", 3] for label in ("large", "v1.5")}
    assert {race.unneeded[key] for key in baselines} == {"racing: not wanted yet by 1 of 1 pairs"}
    hours, alone = (estimated.hours(of, Estimates(of)) for of in (plan, plan.of_model("large")))
    assert hours.expected == pytest.approx(2 * alone.expected) and hours.most == pytest.approx(2 * alone.most)


def test_a_model_that_is_no_xlm_r(several: Workspace) -> None:
    from launch.preflight import checks

    (several.root / "x-2" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"x-2/config\.json: model_type is 'bert'"):
        checks.check_settings(_plan(several, "large", "x-2"))


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"a": "./large", "b": "large"}, ":26: models: a and b are the same; keep one"),
        ({"a": "./large", "b/c": "./v1.5"}, "'b/c' is not a name: up to 64 letters"),
        ({"a": "./nowhere"}, "models.a: there is no folder"),
        ({"a": "xlmr"}, "models.a: 'xlmr' is neither a folder nor a Hub id"),
        ({"a": "someone/model"}, "models.a: 'someone/model' has no pinned revision; write someone/model@<40 hex"),
        ({}, "models: must not be empty; write models: {LABEL: MODEL, LABEL: MODEL}"),
        ("./large", "models: expected `key: value` lines"),
        (["./large"], "models: expected `key: value` lines"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(several: Workspace, models: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        several.plan(**GRID, model=None, models=models)
    assert str(raised.value).startswith(f"{several.root}/experiment.yaml:") and "\n" not in str(raised.value)


def test_both_keys_or_none(several: Workspace) -> None:
    with pytest.raises(UsageError, match="`model:` and `models:` do not go together; give `model:` a label here"):
        several.plan(**GRID, models={"large": "./large"})
    with pytest.raises(UsageError, match="`model:` is missing, or `models:`"):
        several.plan(**GRID, model=None)


def test_an_export_has_a_folder_for_each_model() -> None:
    assert export.folder_name("large: squad > a + b", 1) == "large/squad.a+b-s1"


@pytest.mark.parametrize("recipe", ["large: squad", "large:squad", "squad"])
def test_an_export_is_asked_for_with_or_without_a_label(several: Workspace, recipe: str) -> None:
    with pytest.raises(UserError, match="nothing to export is finished"):
        list(export.write(_plan(several, "large", "v1.5"), several.root / "out", recipe, 1))
    with pytest.raises(UsageError, match="there is no recipe 'x-2: squad' with seed 1"):
        list(export.write(_plan(several, "large", "v1.5"), several.root / "out", "x-2: squad", 1))
