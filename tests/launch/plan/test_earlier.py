"""Which earlier steps a step may make forget, and how its job is told."""

from dataclasses import replace
from pathlib import Path

from launch import experiment, plan
from launch.draft import manifests as drafted
from launch.plan import Plan
from launch.store import manifests
from launch.store.manifests import Manifest
from tests.launch.workspace import Workspace
from training.pretrained.start import StartModel

RECIPES = ["squad > hellaswag > qqp", "squad > squad > hellaswag", "hellaswag + squad > qqp > squad"]
SETTINGS = {"epochs": "1", "global_batch_size": "8", "max_length": "64", "learning_rate": "1e-4"}


def _plan(workspace: Workspace, *, scores_earlier_dev: bool = True) -> Plan:
    told = experiment.load(workspace.file(recipes=RECIPES, targets=["xnli"], seeds=["1"], training=SETTINGS))
    return plan.make(replace(told, scores_earlier_dev=scores_earlier_dev))


def _earlier(of_plan: Plan, name: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(training.name, heads) for training, heads in of_plan.earlier(of_plan.find(name))]


def test_each_earlier_task_by_its_newest_head(workspace: Workspace) -> None:
    made = _plan(workspace)
    assert _earlier(made, "squad-s1") == []
    assert _earlier(made, "squad.squad-s1") == []  # which trains it itself
    assert _earlier(made, "squad.squad.hellaswag-s1") == [("squad.squad-s1", ("squad",))]
    assert _earlier(made, "squad.hellaswag.qqp-s1") == [
        ("squad.hellaswag-s1", ("hellaswag",)),
        ("squad-s1", ("squad",)),
    ]
    assert _earlier(made, "hellaswag+squad.qqp.squad-s1") == [
        ("hellaswag+squad.qqp-s1", ("qqp",)),
        ("hellaswag+squad-s1", ("hellaswag",)),
    ]


def test_a_targets_own_training_forgets_nothing_that_is_asked_for(workspace: Workspace) -> None:
    made = _plan(workspace)
    assert _earlier(made, "squad.hellaswag.qqp.mnli-s1") == []
    unasked = _plan(workspace, scores_earlier_dev=False)
    assert all(unasked.earlier(stage) == [] for stage in unasked.stages.values())
    assert unasked.stages.keys() == made.stages.keys()  # no part of any key


def test_a_step_that_is_also_a_targets_training_is_a_recipes(workspace: Workspace) -> None:
    told = experiment.load(
        workspace.file(recipes=["squad", "squad > mnli"], targets=["xnli"], seeds=["1"], training=SETTINGS)
    )
    made = plan.make(replace(told, scores_earlier_dev=True))
    (both,) = [stage for stage in made.stages.values() if stage.name == "squad.mnli-s1"]
    assert made.users[both.key] == [("squad", "xnli"), ("squad > mnli", "xnli")]
    assert _earlier(made, both.key) == [("squad-s1", ("squad",))]


def test_the_job_is_told_where_heads_and_data_are(workspace: Workspace, tmp_path: Path) -> None:
    made = _plan(workspace)
    stage, squad = made.find("squad.squad.hellaswag-s1"), made.find("squad.squad-s1")
    entry = drafted._stage_entry(made, stage, None)
    (step,) = entry.earlier
    assert (step.folder, step.heads) == (squad.folder, ("squad",))
    assert step.train_spec() == made.train_spec(squad)
    manifests.write(tmp_path / "manifest-0.json", Manifest("/s", StartModel("hub:m@1"), {0: (entry,)}, {0: ()}))
    ((read_back,),) = manifests.read(tmp_path / "manifest-0.json").elements.values()
    assert read_back.train_spec() == entry.train_spec()
    assert [(earlier.folder, earlier.heads, earlier.train_spec()) for earlier in read_back.earlier] == [
        (step.folder, step.heads, step.train_spec())
    ]
    record = manifests.to_record(Manifest("/s", StartModel("hub:m@1"), {0: (replace(entry, earlier=()),)}, {0: ()}))
    assert "earlier" not in record["elements"]["0"][0]
