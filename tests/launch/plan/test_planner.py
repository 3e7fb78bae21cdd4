"""The plan: which stages there are, which of them are one, and what their keys depend on."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.experiment import recipes
from launch.plan import Plan, Stage
from launch.plan.stages import nearest
from slurm.base import UsageError
from tests.launch.workspace import Workspace


def _trains(made: Plan) -> list[Stage]:
    return [stage for stage in made.stages.values() if stage.kind == "train"]


def _keys(made: Plan) -> set[str]:
    return set(made.stages)


def _train_key(made: Plan, name: str = "squad-s1") -> str:
    return made.find(name).key


def test_an_inner_train_once_per_seed_whatever_hangs_on_it(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["squad", "squad > hellaswag"], targets=["xnli", "xquad", "tatoeba"])
    count = Counter(stage.name for stage in made.stages.values())
    assert max(count.values()) == 1
    assert {name for name in count if name.startswith("squad-s") and "--" not in name} == {"squad-s1", "squad-s2"}
    children = {made.stages[key].name for key in made.children[made.find("squad-s1").key]}
    assert children == {"squad.mnli-s1", "squad.squad-s1", "squad.hellaswag-s1", "squad-s1--tatoeba"}
    assert made.trainings_from_scratch == 2 * ((2 + 2 + 1) + (3 + 3 + 2))
    assert len(_trains(made)) == 2 * (1 + 1 + 2 + 2)


def test_what_chance_plays_no_part_in_is_one_stage_for_all_seeds(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["none"], targets=["tatoeba"], seeds=["1", "2", "3"])
    (stage,) = made.stages.values()
    assert (stage.kind, stage.seed, stage.parent, stage.name) == ("evaluate", None, None, "start--tatoeba")
    assert [made.paths["none", "tatoeba", seed] for seed in (1, 2, 3)] == [stage.key] * 3


def test_recipe_squad_is_the_training_of_xquad_where_settings_agree(workspace: Workspace) -> None:
    grid: dict[str, Any] = {"recipes": ["none", "squad"], "targets": ["xquad"], "seeds": ["1"]}
    assert [stage.name for stage in _trains(workspace.plan(**grid))] == ["squad-s1", "squad-s1", "squad.squad-s1"]
    same = {"epochs": "2", "global_batch_size": "16", "max_length": "384"}
    made = workspace.plan(**grid, training=same)
    assert [stage.name for stage in _trains(made)] == ["squad-s1", "squad.squad-s1"]
    assert made.users[_train_key(made)] == [("none", "xquad"), ("squad", "xquad")]


def test_two_targets_share_the_training_of_their_path(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["none"], targets=["xquad", "mlqa"], seeds=["1"])
    assert [stage.name for stage in made.stages.values()] == ["squad-s1", "squad-s1--xquad", "squad-s1--mlqa"]
    apart = workspace.plan(recipes=["none"], targets=["xquad", "mlqa"], seeds=["1"], tasks={"mlqa": {"epochs": "1"}})
    assert len(_trains(apart)) == 2


def test_users_are_the_pairs_that_need_a_stage(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["none", "squad", "squad > qqp"], targets=["xnli", "tatoeba"])
    assert made.users[_train_key(made)] == [
        (recipe, target) for recipe in ("squad", "squad > qqp") for target in ("xnli", "tatoeba")
    ]
    assert made.users[made.find("squad-s2--tatoeba").key] == [("squad", "tatoeba")]
    assert made.users[made.find("start--tatoeba").key] == [("none", "tatoeba")]


def test_the_same_task_twice_is_two_stages(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["squad > squad", "squad"], targets=["tatoeba"], seeds=["1"])
    assert [stage.name for stage in _trains(made)] == ["squad-s1", "squad.squad-s1"]
    first, second = _trains(made)
    assert second.parent == first.key and second.definition == first.definition


SAME = [
    {"cluster": {"executor": "slurm", "partition": "gpu", "gpus-per-node": "8", "time": "1:00:00"}},
    {"training": {"zero": "3"}},
    {"training": {"device": "cpu"}},
    {"training": {"token_budget": "512", "eval_token_budget": "700", "matmul": "mkl", "checkpoint_minutes": "0.5"}},
    {"languages": {"xnli": ["de"], "tatoeba": ["sw"]}},
    {"name": "other"},
    {"keep": "all"},
    {"store": "./elsewhere"},
    {"training": {"learning_rate": "0.00001"}},  # what the catalogue says anyway
]


@pytest.mark.parametrize("change", SAME, ids=json.dumps)
def test_keys_do_not_depend_on(workspace: Workspace, change: dict[str, Any]) -> None:
    assert _keys(workspace.plan(**change)) == _keys(workspace.plan())


def test_keys_do_not_depend_on_who_asks(workspace: Workspace) -> None:
    wide = workspace.plan(recipes=["none", "squad", "qqp > squad"], targets=["xquad", "tatoeba"], seeds=["1", "2"])
    narrow = workspace.plan(recipes=["squad"], targets=["tatoeba"], seeds=["1"])
    assert _keys(narrow) < _keys(wide)
    order = workspace.plan(recipes=["qqp>squad", "squad", "none"], targets=["tatoeba", "xquad"], seeds=["2", "1"])
    assert _keys(order) == _keys(wide)


def test_keys_do_not_depend_on_where_things_lie(workspace: Workspace) -> None:
    before = workspace.plan()
    shutil.move(workspace.root / "data", workspace.root / "moved")
    shutil.move(workspace.root / "model", workspace.root / "start")
    (workspace.root / "start" / "README.md").write_text("not a part of the model")
    assert _keys(workspace.plan(data={"root": "./moved"}, model="./start")) == _keys(before)


EVERY_TRAIN = [
    {"learning_rate": "3e-5"},
    {"epochs": "7"},
    {"global_batch_size": "48"},
    {"max_length": "200"},
    {"weight_decay": "0.02"},
    {"warmup_ratio": "0.2"},
    {"adam_epsilon": "1e-6"},
    {"max_grad_norm": "2"},
    {"dropout": "0.3"},
    {"precision": "bf16"},
]
SPAN_ONLY = [{"doc_stride": "100"}, {"max_query_length": "32"}, {"n_best": "5"}, {"max_answer_length": "15"}]


@pytest.mark.parametrize("setting", EVERY_TRAIN, ids=json.dumps)
def test_every_train_key_depends_on(workspace: Workspace, setting: dict[str, str]) -> None:
    grid: dict[str, Any] = {"recipes": ["squad", "hellaswag + qqp"], "targets": ["xquad"]}
    before, after = workspace.plan(**grid), workspace.plan(**grid, training=setting)
    assert not {stage.key for stage in _trains(before)} & _keys(after)


@pytest.mark.parametrize("setting", SPAN_ONLY, ids=json.dumps)
def test_span_settings_are_part_of_span_keys_only(workspace: Workspace, setting: dict[str, str]) -> None:
    def keys(**changes: Any) -> tuple[str, str]:
        made = workspace.plan(recipes=["squad", "qqp"], targets=["tatoeba"], seeds=["1"], **changes)
        return _train_key(made), _train_key(made, "qqp-s1")

    assert keys()[0] != keys(training=setting)[0]
    assert keys()[1] == keys(training=setting)[1]


def test_sampling_is_part_of_a_mixtures_key_only(workspace: Workspace) -> None:
    def keys(**changes: Any) -> tuple[str, str]:
        made = workspace.plan(recipes=["squad + qqp", "qqp"], targets=["tatoeba"], seeds=["1"], **changes)
        return _train_key(made, "qqp+squad-s1"), _train_key(made, "qqp-s1")

    mixed, alone = keys(training={"sampling": "uniform"})
    assert (mixed != keys()[0], alone != keys()[1]) == (True, False)


def test_evaluate_keys_depend_on_layer_and_examples(workspace: Workspace) -> None:
    def key(**changes: Any) -> str:
        return workspace.plan(recipes=["none"], targets=["tatoeba"], **changes).find("start--tatoeba").key

    data = {"root": "./data", "max_eval": "5"}
    keys = [key(), key(tasks={"tatoeba": {"layer": "1"}}), key(data=data), key(training={"precision": "fp32"})]
    assert len(set(keys)) == 4
    assert key(training={"epochs": "9", "learning_rate": "1e-4"}) == keys[0]  # it trains nothing


@pytest.mark.parametrize("limit", [{"max_train": "3"}, {"max_eval": "3"}], ids=json.dumps)
def test_train_keys_depend_on_the_number_of_examples(workspace: Workspace, limit: dict[str, str]) -> None:
    assert _train_key(workspace.plan(data={"root": "./data"} | limit)) != _train_key(workspace.plan())


def test_train_keys_depend_on_the_content_of_the_data(workspace: Workspace) -> None:
    file = workspace.root / "data" / "squad.json"
    before = workspace.plan()
    content = file.read_text()
    file.write_text(content.replace("Bonn", "Köln"))
    after = workspace.plan()
    assert _train_key(after) != _train_key(before)
    assert _train_key(after, "mnli-s1") == _train_key(before, "mnli-s1")
    file.write_text(content)
    assert _keys(workspace.plan()) == _keys(before)


def test_keys_depend_on_hold_out_seed_parent_and_start_model(workspace: Workspace) -> None:
    before = workspace.plan()
    assert _train_key(before) != _train_key(before, "squad-s2")
    assert _train_key(before, "squad.mnli-s1") != _train_key(before, "mnli-s1")
    splits = workspace.root / "data" / "splits.yaml"
    splits.write_text(splits.read_text().replace("0.5", "0.25"))
    assert _train_key(workspace.plan(), "mnli-s1") != _train_key(before, "mnli-s1")
    (workspace.root / "model" / "tokenizer.json").write_text('{"other": 1}')
    assert not _keys(workspace.plan()) & _keys(before)


def test_a_hub_model_is_its_id_and_revision(workspace: Workspace) -> None:
    def keys(model: str) -> set[str]:
        return _keys(workspace.plan(model=model))

    pinned = keys("FacebookAI/xlm-roberta-base")
    assert pinned == keys("FacebookAI/xlm-roberta-base@e73636d4f797dec63c3081bb6ed5c7b0bb3f2089")
    assert not pinned & keys("FacebookAI/xlm-roberta-large")
    assert not pinned & keys("FacebookAI/xlm-roberta-base@" + "0" * 40)


def test_names_are_short_and_from_an_allow_list(workspace: Workspace) -> None:
    long = " > ".join(["hellaswag + squad + qqp + mnli"] * 6)
    made = workspace.plan(recipes=["none", long], targets=["xnli", "tatoeba"])
    assert max(len(stage.name) for stage in made.stages.values()) > 70
    for stage in made.stages.values():
        assert len(stage.name) <= 80 and re.fullmatch(r"[A-Za-z0-9_.+~-]+", stage.name), stage.name
        assert re.fullmatch(r"[0-9a-f]{16}", stage.key) and stage.folder == f"{stage.name}-{stage.key}"


def test_a_name_longer_than_80_characters_keeps_its_beginning_and_end(workspace: Workspace) -> None:
    def name(length: int) -> str:
        tasks = ["a" * 32, "b" * 32, "c" * (length - len("-s1") - 2 * len("a.") - 2 * 31)]
        mine = {task: {"like": "mnli", "files": {"train": ["mnli.tsv"], "hold_out": "0.5"}} for task in tasks}
        made = workspace.plan(recipes=[" > ".join(tasks)], targets=["tatoeba"], seeds=["1"], catalogue=mine)
        return _trains(made)[-1].name

    assert name(80) == f"{'a' * 32}.{'b' * 32}.{'c' * 11}-s1"
    assert name(81) == f"{'a' * 32}.{'b' * 6}~{'b' * 23}.{'c' * 12}-s1"


def test_the_more_special_setting_holds(workspace: Workspace) -> None:
    made = workspace.plan(
        recipes=["qqp", "squad", "squad + hellaswag"],
        targets=["xquad", "mlqa"],
        seeds=["1"],
        training={"epochs": "7", "weight_decay": "0.5"},
        tasks={
            "squad": {"epochs": "8"},
            "squad + hellaswag": {"epochs": "9"},
            "xquad": {"epochs": "10", "n_best": "3"},
        },
    )
    epochs = {stage.name: made.steps[stage.definition].settings.epochs for stage in _trains(made)
              if stage.task in ("qqp", "squad", "hellaswag + squad")}  # fmt: skip
    assert (epochs["qqp-s1"], epochs["squad-s1"], epochs["hellaswag+squad-s1"]) == (7, 8, 9)
    leaves = [made.stages[made.paths["qqp", target, 1]].parent for target in ("xquad", "mlqa")]
    assert [made.steps[made.stages[key].definition].settings.epochs for key in leaves if key] == [10, 8]
    settings = {name: target.settings for name, target in made.targets.items()}
    assert (settings["xquad"].n_best, settings["mlqa"].n_best) == (3, 20)
    assert {step.settings.weight_decay for step in made.steps.values()} == {0.5}


def test_a_train_tasks_setting_reaches_the_evaluation_after_it(workspace: Workspace) -> None:
    plan = workspace.plan(recipes=["none"], targets=["xquad"], tasks={"squad": {"n_best": "3"}})
    assert plan.targets["xquad"].settings.n_best == 3


def test_tasks_of_a_mixture_that_disagree_are_named_with_all_that_differs(workspace: Workspace) -> None:
    tasks = {"squad": {"epochs": "4", "max_length": "300"}, "qqp": {"epochs": "5", "max_length": "200"}}
    with pytest.raises(
        UsageError,
        match=r"^`tasks:`: the tasks of 'qqp \+ squad' disagree on epochs \(5 and 4\), max_length \(200 and 300\); "
        r'say which: tasks: \{"qqp \+ squad": \{epochs: 4, max_length: 300\}\}$',
    ):
        workspace.plan(recipes=["squad + qqp"], targets=["tatoeba"], tasks=tasks, training={"learning_rate": "1e-5"})
    mixture = {"qqp + squad": {"epochs": "6", "max_length": "100"}}
    made = workspace.plan(recipes=["squad + qqp"], targets=["tatoeba"], seeds=["1"], tasks=tasks | mixture)
    settings = made.steps[made.find("qqp+squad-s1").definition].settings
    assert (settings.epochs, settings.max_length) == (6, 100)


@pytest.mark.parametrize("zero", ["none", "0"])
def test_offload_and_zero_of_two_sections_are_held_against_each_other(workspace: Workspace, zero: str) -> None:
    grid: dict[str, Any] = {"recipes": ["none"], "targets": ["xquad"]}
    with pytest.raises(UsageError, match=rf"yaml:\d+: 'squad' gets offload: true and zero: {zero}; say one$"):
        workspace.plan(**grid, tasks={"squad": {"offload": "true"}, "xquad": {"zero": zero}})
    for fitting in ("auto", "1"):
        workspace.plan(**grid, tasks={"squad": {"offload": "true"}, "xquad": {"zero": fitting}})
    workspace.plan(**grid, tasks={"squad": {"offload": "false"}, "xquad": {"zero": zero}})


def test_the_default_languages_are_cut_down_to_those_with_data(workspace: Workspace) -> None:
    every = workspace.plan(recipes=["none"], targets=["xnli", "tatoeba"], seeds=["1"]).targets["xnli"]
    code, lacking = next(iter(every.languages)), every.missing[0]
    some = workspace.plan(
        recipes=["none"],
        targets=["xnli", "tatoeba"],
        seeds=["1"],
        languages={"default": [code, lacking], "tatoeba": "all"},
    ).targets["xnli"]
    assert (list(some.languages), some.missing) == ([code], (lacking,))
    assert len(every.missing) > 1


def test_a_stage_is_found_by_name_folder_and_beginning_of_its_key(workspace: Workspace) -> None:
    made = workspace.plan()
    stage = made.find("squad-s1")
    assert made.find(stage.folder) is made.find(stage.key[:8]) is stage
    for text, said in (("squad-s9", "no stage 'squad-s9'"), (stage.key[:3], "no stage")):
        with pytest.raises(Exception, match=said):
            made.find(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sqaud-s1", "no stage 'sqaud-s1' in this experiment; did you mean squad-s1"),
        ("squad-s1--tatoe", "did you mean squad-s1--tatoeba?"),
        ("squad.mnli-s1-xnli", "did you mean squad.mnli-s1--xnli"),
        ("qqqq", "no stage 'qqqq' in this experiment; `stepstone status FILE --stages` lists them"),
    ],
)
def test_a_mistyped_stage_gets_the_nearest_names(workspace: Workspace, text: str, said: str) -> None:
    with pytest.raises(UsageError) as told:
        workspace.plan().find(text)
    assert said in str(told.value)


def test_the_nearest_of_very_many_names() -> None:
    names = [f"squad.mnli-s{seed}--xnli" for seed in range(2000)]
    assert nearest("sqaud.mnli-s1234-xnli", names)[0] == "squad.mnli-s1234--xnli"


TASKS = st.sampled_from(["squad", "hellaswag", "qqp"])
STEPS = st.lists(TASKS, min_size=1, max_size=2, unique=True).map(lambda names: tuple(sorted(names)))
RECIPES = st.lists(st.lists(STEPS, max_size=3).map(tuple), min_size=1, max_size=5, unique=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=RECIPES, seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))
def test_as_many_trainings_as_distinct_beginnings_of_paths(
    workspace: Workspace, found: list[recipes.Recipe], seeds: list[int]
) -> None:
    """A path: recipe, then the target's own training, which here never has the settings of an intermediate one."""
    shown = [recipes.show(recipe) for recipe in found]
    made = workspace.plan(recipes=shown, targets=["xnli", "tatoeba"], seeds=[str(seed) for seed in seeds])
    paths = {recipe[:length] for recipe in found for length in range(1, len(recipe) + 1)}
    leaves = {(*recipe, ("mnli", "of xnli")) for recipe in found}
    assert len(_trains(made)) == len(paths | leaves) * len(seeds)
    evaluates = len(made.stages) - len(_trains(made))
    assert evaluates == 2 * len(found) * len(seeds) - (len(seeds) - 1) * (() in found)
    assert set(made.paths) == {(name, target, seed) for name in shown for target in made.targets for seed in seeds}
    seen: set[str] = set()
    for stage in made.stages.values():  # parents first
        assert stage.parent is None or stage.parent in seen
        seen.add(stage.key)


def test_a_stage_is_typed_by_its_name_unless_two_have_it(workspace: Workspace) -> None:
    plan = workspace.plan()
    first, second, *_ = plan.stages.values()
    assert plan.word(first) == first.name and plan.find(plan.word(first)) == first
    twins = replace(plan, stages=plan.stages | {second.key: second._replace(name=first.name)})
    assert twins.word(first) == first.key and twins.find(twins.word(first)) == first
