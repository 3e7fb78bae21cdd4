"""Which trainings measure their tasks: recipes' first steps, where a study of complexity asks for it."""

from pathlib import Path

from launch.draft import manifests as drafted
from launch.store import manifests
from launch.store.manifests import Manifest
from tests.launch.workspace import Workspace
from training.pretrained.start import StartModel

FILE = {"recipes": ["squad > qqp", "mnli"], "targets": ["xnli", "xquad"], "seeds": ["1"]}
STUDY = {"complexity": {"tasks": ["squad", "hellaswag"]}}


def test_what_begins_a_recipe_is_measured(workspace: Workspace, tmp_path: Path) -> None:
    plan = workspace.plan(**FILE, study=STUDY)
    assert sorted(stage.name for stage in plan.stages.values() if plan.measures(stage)) == [
        "hellaswag-s1", "mnli-s1", "squad-s1"
    ]  # fmt: skip
    # `none` trains squad and mnli too, as targets' own trainings: stages of their own where settings differ.
    assert len([stage for stage in plan.stages.values() if stage.kind == "train" and stage.parent is None]) > 3
    for stage in plan.stages.values():
        entry = drafted._stage_entry(plan, stage, None)
        assert entry.measures == plan.measures(stage)
        path = tmp_path / "manifest-0.json"
        manifests.write(path, Manifest("/store", StartModel("folder:0"), {0: (entry,)}, {0: ()}))
        assert manifests.read(path).elements[0][0].measures == entry.measures


def test_a_targets_own_training_is_not(workspace: Workspace) -> None:
    plan = workspace.plan(**FILE | {"recipes": ["none", "squad"]}, study=STUDY, tasks={"xquad": {"epochs": "7"}})
    of_none = [stage for stage in plan.stages.values() if {recipe for recipe, _ in plan.users[stage.key]} == {"none"}]
    assert any(stage.kind == "train" and stage.parent is None for stage in of_none)
    assert not any(plan.measures(stage) for stage in of_none)


def test_nothing_is_without_the_study_and_no_key_is_another(workspace: Workspace) -> None:
    asked, plain = workspace.plan(**FILE, study=STUDY), workspace.plan(**FILE)
    assert not any(map(plain.measures, plain.stages.values()))
    assert plain.stages.keys() <= asked.stages.keys()
