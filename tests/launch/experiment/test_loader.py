"""The experiment file: what it says, in which order settings count, and one line for every mistake in it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launch import experiment, plan
from launch.experiment import Cluster
from slurm.base import UsageError, UserError
from tests.launch.workspace import Workspace
from training.spec import Runtime, Settings

COMPLETE = """\
name: crossing
store: ./store
model: FacebookAI/xlm-roberta-large
recipes:
  - none
  - squad + hellaswag
  - hellaswag+squad          # the same again
  - orders(squad, hellaswag)
targets: [xnli, xquad, tatoeba]
seeds: [1, 2]
languages: {xnli: [en, de], tatoeba: [sw], default: [de, no, fr]}
data: {root: ./data, max_train: 32, max_eval: 100}
training: {learning_rate: 1e-5, global_batch_size: 32, zero: 3, device: cpu, warmup_ratio: .06, precision: fp32}
tasks:
  squad: {epochs: 2, max_length: 384}
  squad + hellaswag: {sampling: uniform}
cluster:
  executor: slurm
  partition: gpu
  gpus-per-node: 2
  time: 12:00:00
  mem: 32G
  setup: [module load cuda, "echo (", "echo )"]
  sbatch: {comment: mine, exclusive: true, gpus: 2}
keep: all
"""


def test_a_complete_file(workspace: Workspace) -> None:
    found = experiment.load(workspace.write(COMPLETE))
    assert (found.name, found.models, found.keep) == ("crossing", {"": "FacebookAI/xlm-roberta-large"}, "all")
    assert (found.store, found.data_root) == (workspace.root / "store", workspace.root / "data")
    one_after_another = [(("squad",), ("hellaswag",)), (("hellaswag",), ("squad",))]
    assert list(found.recipes) == [(), (("hellaswag", "squad"),), *one_after_another]
    assert (found.targets, found.seeds) == (("xnli", "xquad", "tatoeba"), (1, 2))
    assert found.languages == {"xnli": ("en", "de"), "tatoeba": ("sw",)}
    assert found.default_languages == ("de", "no", "fr")
    assert (found.max_train, found.max_eval) == (32, 100)
    training = found.training.given()
    assert training["learning_rate"] == 1e-5 and training["warmup_ratio"] == 0.06
    tasks = {name: overrides.given() for name, overrides in found.tasks.items()}
    assert tasks == {"squad": {"epochs": 2, "max_length": 384}, "hellaswag + squad": {"sampling": "uniform"}}
    assert found.cluster.setup == ["module load cuda", "echo (", "echo )"]
    flags = found.cluster.sbatch_flags()
    assert flags["time"] == "12:00:00" and flags["ntasks-per-node"] == 2 and flags["gpus-per-node"] == "2"
    assert (flags["comment"], flags["exclusive"], flags["gpus"]) == ("mine", True, "2")
    assert "executor" not in flags and "setup" not in flags


def test_tasks_per_node_follow_the_gpus_unless_the_file_says(workspace: Workspace) -> None:
    def tasks(**cluster: str) -> int:
        return experiment.load(workspace.file(cluster=cluster)).cluster.tasks_per_node

    assert tasks() == 1
    assert tasks(**{"gpus-per-node": "4"}) == 4
    assert tasks(**{"gpus-per-node": "4", "ntasks-per-node": "2"}) == 2
    assert tasks(**{"gpus-per-node": "0"}) == 1
    assert tasks(**{"gpus-per-node": "a100:4"}) == 4


def test_ranks_follow_the_gpus_whichever_flag_asks_for_them(workspace: Workspace) -> None:
    def cluster(sbatch: dict[str, str], **keys: str) -> Cluster:
        return experiment.load(workspace.file(cluster={"executor": "slurm", "sbatch": sbatch} | keys)).cluster

    assert cluster({"gres": "gpu:4"}).ranks == 4
    assert cluster({"gpus": "a100:4"}).ranks == 4
    of_tasks = cluster({"gpus-per-task": "1", "cpus-per-gpu": "8"}, **{"ntasks-per-node": "4", "nodes": "2"})
    assert (of_tasks.ranks, of_tasks.gpus, of_tasks.asked.cores) == (8, 8, 8)
    flags = of_tasks.sbatch_flags()
    assert (flags["ntasks"], flags["cpus-per-task"], "cpus-per-gpu" in flags) == (8, 8, False)


@pytest.mark.parametrize(
    ("cluster", "on_path", "name", "why"),
    [
        ({}, False, "local", "sbatch is not on PATH, and the file has no key that is Slurm's alone"),
        ({"gpus-per-node": "4", "workers": "2"}, False, "local", "sbatch is not on PATH"),
        ({}, True, "slurm", "sbatch is on PATH (/usr/bin/sbatch)"),
        ({"partition": "gpu", "time": "60", "mem": "8G"}, False, "slurm", "only Slurm has partition, time, mem"),
        ({"sbatch": {"gres": "gpu:1"}}, False, "slurm", "only Slurm has sbatch"),
        ({"setup": ["module load cuda"]}, False, "slurm", "only Slurm has setup"),
        ({"executor": "local", "partition": "gpu"}, True, "local", ""),
    ],
)
def test_what_only_slurm_has_is_never_run_elsewhere_by_default(
    monkeypatch: pytest.MonkeyPatch, cluster: dict[str, Any], on_path: bool, name: str, why: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda command: f"/usr/bin/{command}" if on_path else None)
    choice = Cluster.model_validate(cluster).choice
    assert choice.name == name and choice.why.startswith(why) and bool(choice.why) == bool(why)


def _xquad_settings(workspace: Workspace, **changes: Any) -> tuple[Settings, Runtime]:
    """What the train stage of `none` on xquad (its path: squad) is told."""
    made = workspace.plan(recipes=["none"], targets=["xquad"], seeds=["1"], **changes)
    (train,) = [stage for stage in made.stages.values() if stage.kind == "train"]
    return made.train_spec(train).settings, made.runtime(train)


def test_catalogue_then_training_then_train_task_then_target(workspace: Workspace) -> None:
    training = {"learning_rate": "2e-5", "epochs": "5", "global_batch_size": "4", "zero": "1"}
    squad = {"epochs": "6", "global_batch_size": "5"}
    xquad = {"global_batch_size": "6", "token_budget": "512"}
    settings, _ = _xquad_settings(workspace)
    assert (settings.max_length, settings.global_batch_size, settings.epochs) == (384, 16, 2)  # the catalogue's
    settings, runtime = _xquad_settings(workspace, training=training)
    assert (settings.learning_rate, settings.epochs, settings.global_batch_size) == (2e-5, 5, 4)
    assert (settings.max_length, runtime.zero) == (384, 1)
    settings, _ = _xquad_settings(workspace, training=training, tasks={"squad": squad})
    assert (settings.learning_rate, settings.epochs, settings.global_batch_size) == (2e-5, 6, 5)
    settings, runtime = _xquad_settings(workspace, training=training, tasks={"xquad": xquad, "squad": squad})
    assert (settings.learning_rate, settings.epochs, settings.global_batch_size) == (2e-5, 6, 6)
    assert (runtime.zero, runtime.token_budget) == (1, 512)


def test_a_targets_own_settings_stay_with_it(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["squad"], targets=["xquad"], seeds=["1"], tasks={"xquad": {"epochs": "9"}})
    epochs = {s.name: made.train_spec(s).settings.epochs for s in made.stages.values() if s.kind == "train"}
    assert epochs == {"squad-s1": 3, "squad.squad-s1": 9}


def test_a_mixture_takes_what_its_tasks_agree_on(workspace: Workspace) -> None:
    def epochs(tasks: dict[str, dict[str, str]]) -> int:
        made = workspace.plan(recipes=["squad + hellaswag"], targets=["tatoeba"], seeds=["1"], tasks=tasks)
        (train,) = [stage for stage in made.stages.values() if stage.kind == "train"]
        return made.train_spec(train).settings.epochs

    assert epochs({}) == 3
    assert epochs({"squad": {"epochs": "4"}}) == 4
    assert epochs({"squad": {"epochs": "4"}, "hellaswag": {"epochs": "4"}}) == 4
    settled = {"squad": {"epochs": "4"}, "hellaswag": {"epochs": "5"}, "squad + hellaswag": {"epochs": "6"}}
    assert epochs(settled) == 6
    del settled["squad + hellaswag"]
    with pytest.raises(UsageError, match=r"disagree on epochs \(5 and 4\); say which: tasks: "):
        epochs(settled)


def test_languages_named_or_by_default(workspace: Workspace) -> None:
    def found(languages: dict[str, Any] | None) -> tuple[list[str], list[str], int]:
        made = workspace.plan(languages=languages)
        xnli = made.targets["xnli"]
        return list(xnli.languages), list(made.targets["tatoeba"].languages), len(xnli.missing)

    assert found(None) == (["de", "en", "zh"], ["de", "sw"], 12)  # all that the source has, of XNLI's 15
    assert found({"default": "all"}) == found(None)
    assert found({"default": ["de", "en", "th", "yo"]}) == (["de", "en"], ["de"], 1)  # th: no file; yo: no XNLI
    assert found({"xnli": ["zh"]}) == (["zh"], ["de", "sw"], 0)
    assert found({"xnli": ["zh", "en"], "default": ["sw"]}) == (["zh", "en"], ["sw"], 0)
    assert found({"xnli": "all", "default": ["sw"]}) == (["de", "en", "zh"], ["sw"], 12)


def test_yaml_traps_mean_what_they_look_like(workspace: Workspace) -> None:
    text = """\
name: 010
store: ./store
model: ./model
recipes: [orders(squad, hellaswag), none, "subsets(qqp, squad)"]
targets: [tatoeba]
seeds: [0, 1]
languages: {default: [no, on, de]}
data: {root: ./data}
training: {learning_rate: 1e-5, weight_decay: 0., device: cpu}
cluster: {time: 12:00:00, executor: local, mem: 0x, partition: 1_000}
"""
    found = experiment.load(workspace.write(text.replace(", mem: 0x", "")))
    assert found.name == "010"
    assert len(found.recipes) == 2 + 1 + 3
    assert found.default_languages == ("no", "on", "de")
    assert found.training.given() == {"learning_rate": 1e-5, "weight_decay": 0.0, "device": "cpu"}
    assert (found.cluster.time, found.cluster.partition) == ("12:00:00", "1_000")


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(workspace: Workspace) -> None:
    path = workspace.file()
    plain = experiment.load(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert experiment.load(path).targets == plain.targets


# --- mistakes

GOOD = {
    "name": "name: crossing",
    "store": "store: ./store",
    "model": "model: ./model",
    "recipes": "recipes: [none, squad]",
    "targets": "targets: [xnli, tatoeba]",
    "seeds": "seeds: [1, 2]",
    "data": "data: {root: ./data}",
}
OURS = [
    *("array", "output", "error", "open-mode", "dependency", "job-name", "export", "parsable", "wait", "hold"),
    *("signal", "chdir", "kill-on-invalid-dep", "no-requeue", "test-only", "wrap"),
    *("arra", "outp", "dep", "sig", "job"),  # sbatch takes these for the flags that begin so
]
# What replaces the line that begins so in GOOD, or is added below it; the line that the error names; what it says.
MISTAKES: list[tuple[str, int, str]] = [
    # keys
    ("trainings: {}", 8, "unknown key 'trainings'; did you mean 'training'?"),
    ("target: [xnli]", 8, "did you mean 'targets'?"),
    ("zzz: 1", 8, "unknown key 'zzz' (known: name, store, model,"),
    ("training: {micro_batch_size: 8}", 8, "did you mean 'token_budget'?"),
    ("training: {learning_rat: 1}", 8, "unknown key 'learning_rat' in `training:`; did you mean 'learning_rate'?"),
    ("training:\n  epochs: 1\n  gobal_batch_size: 8", 10, "did you mean 'global_batch_size'?"),
    ("data: {root: ./data, max_trian: 3}", 7, "unknown key 'max_trian' in `data:`; did you mean 'max_train'?"),
    ("tasks: {squad: {epoch: 1}}", 8, "unknown key 'epoch' in `tasks.squad:`; did you mean 'epochs'?"),
    ("cluster: {partitoin: gpu}", 8, "unknown key 'partitoin' in `cluster:`; did you mean 'partition'?"),
    ("cluster: {gpus_per_nod: 1}", 8, "did you mean 'gpus-per-node'?"),
    ("name: again", 8, "'name' stands here twice (first on line 1); keep one"),
    ("training: {epochs: 1, epochs: 2}", 8, "'epochs' stands here twice"),
    ("tasks: {squad + qqp: {epochs: 1}, qqp+squad: {epochs: 2}}", 8, "'qqp + squad', which stands here twice"),
    ("? [a, b]\n: 1", 8, "a key must be a plain word"),
    # types
    ("seeds: 3", 6, "`seeds` is a list: write `seeds: [3]`, or `[1, 2, 3]` for three seeds"),
    ("seeds: [010]", 6, "'010' is not a whole number; write 10"),
    ("seeds: [1.5]", 6, "'1.5' is not a whole number"),
    ("seeds: [-1]", 6, "'-1' is not a whole number"),
    ("seeds: [one]", 6, "'one' is not a whole number"),
    ("seeds: [[1]]", 6, "expected one whole number"),
    ("seeds: [1, 2, 1]", 6, "seeds: 1 stands here twice; keep one"),
    ("seeds: []", 6, "seeds: must not be empty"),
    ("seeds: {a: 1}", 6, "unknown key 'a' in `seeds:`; did you mean 'max'? (known: min, max, until, alpha)"),
    ("seeds: {min: 2, max: 10, untill: 0.5}", 6, "unknown key 'untill' in `seeds:`; did you mean 'until'?"),
    ("seeds: {min: 2, max: 10}", 6, "`seeds.until:` is missing"),
    ("seeds: {min: 1, max: 10, until: 0.5}", 6, "seeds.min: 1 is too small; the least is 2"),
    ("seeds: {min: 3, max: 3, until: 0.5}", 6, "seeds: max 3 is not above min 3; raise it"),
    ("seeds: {min: 2, max: 10, until: 0}", 6, "seeds.until: 0 is too small; the least is 0.001"),
    ("seeds: {min: 2, max: many, until: 0.5}", 6, "seeds.max: 'many' is not a whole number"),
    ("seeds: [2147483648]", 6, "too large; the most is 2147483647"),
    ("recipes: none", 4, "`recipes` is a list: write `recipes: [none]`"),
    ("recipes: []", 4, "recipes: must not be empty"),
    ("recipes: [{a: b}]", 4, "expected one value, not a list or mapping"),
    ("targets: xnli", 5, "expected a list: write [xnli]"),
    ("targets: []", 5, "targets: must not be empty"),
    ("targets:", 5, "expected a list"),
    ("training: 3", 8, "training: expected `key: value` lines"),
    ("training: [epochs]", 8, "training: expected `key: value` lines"),
    ("tasks: squad", 8, "tasks: expected `key: value` lines"),
    ("tasks: {squad: 3}", 8, "tasks.squad: expected `key: value` lines"),
    ("data: ./data", 7, "data: expected `key: value` lines"),
    ("languages: [de]", 8, "languages: expected `key: value` lines"),
    ("training: {learning_rate: fast}", 8, "training.learning_rate: 'fast' is not a number such as 0.1 or 1e-5"),
    ("training: {learning_rate: [1e-5]}", 8, "a list or mapping is not a number"),
    ("training: {learning_rate: nan}", 8, "'nan' is not a number"),
    ("training: {weight_decay: -0.1}", 8, "'-0.1' is not a number"),
    ("training: {epochs: 1_000}", 8, "'1_000' is not a whole number"),
    ("keep: some", 8, "keep: 'some' is not one of 'intermediate', 'all'"),
    # ranges
    ("training: {learning_rate: 2}", 8, "learning_rate: 2 is too large; the most is 1"),
    ("training: {epochs: 0}", 8, "training.epochs: 0 is too small; the least is 1"),
    ("training: {max_length: 513}", 8, "513 is too large; the most is 512"),
    ("training: {zero: 4}", 8, "training.zero: '4' is not one of 'auto', 'none', 0, 1, 2, 3"),
    ("training: {device: gpu}", 8, "'gpu' is not one of 'auto', 'cpu', 'cuda'"),
    ("training: {precision: fp16}", 8, "'fp16' is not one of"),
    ("data: {root: ./data, max_train: 0}", 7, "data.max_train: 0 is too small; the least is 1"),
    # names and paths
    ('name: "a\\nb"', 1, "line breaks and control characters are not allowed"),
    ("name: a..b", 1, "'a..b' is not a name"),
    ("name: ../up", 1, "'../up' is not a name"),
    ("name: a b", 1, "'a b' is not a name"),
    ("name: -x", 1, "'-x' is not a name"),
    ("name: ünder", 1, "'ünder' is not a name"),
    (f"name: {'x' * 65}", 1, "is not a name: up to 64 letters"),
    ('name: ""', 1, "must not be empty"),
    ("name:", 1, "must not be empty"),
    ('store: "a\\nb"', 2, "line breaks and control characters"),
    ('store: "a\\u2028b"', 2, "line breaks and control characters"),
    ("store: ./%j", 2, "'%' and '\\' have a meaning of their own"),
    ("model: ./nowhere", 3, "model: there is no folder"),
    ("model: xlmr", 3, "'xlmr' is neither a folder nor a Hub id such as"),
    ("model: someone/model", 3, "'someone/model' has no pinned revision; write someone/model@<40 hex"),
    ("model: someone/model@main", 3, "'main' is not a commit (40 hex digits)"),
    # tasks, targets, recipes
    ("targets: [xnl]", 5, "'xnl' is no target; did you mean 'xnli'?"),
    ("targets: [tatoeba, squad]", 5, "'squad' is no target"),
    ("targets: [xnli, xnli]", 5, "targets: xnli stands here twice"),
    ("recipes: [none, sqaud]", 4, "recipe 'sqaud': column 1: 'sqaud' is no intermediate task; did you mean 'squad'?"),
    ("recipes: [xnli]", 4, "'xnli' is no intermediate task"),
    ("recipes: [anli_plus@de]", 4, "anli_plus has no translation of its own; translate its parts, as in mnli@de"),
    ("recipes: [squad >]", 4, "recipe 'squad >': column 8: the end cannot stand here; expected a task name"),
    ("recipes:\n  - none\n  - (squad > qqp) + hellaswag", 6, "column 1: '(' cannot stand here; no parentheses"),
    ("recipes: [orders(squad,\n  qqp), none,\n  bad]", 6, "recipe 'bad': column 1: 'bad' is no intermediate task"),
    ("tasks: {squid: {epochs: 1}}", 8, "'squid' is no task, target or mixture such as 'a + b'; did you mean 'squad'?"),
    ("tasks: {squad + xnli: {epochs: 1}}", 8, "recipe 'squad + xnli': column 9: 'xnli' is no intermediate task"),
    # studies
    ("study: {ordr: {tasks: [mnli, squad]}}", 8, "unknown key 'ordr' in `study:`; did you mean 'order'?"),
    ("study: {order: {tasks: [mnli, squad], control: false}}", 8, "in `study.order:`; did you mean 'controls'?"),
    ("study: {complexity: {tasks: [mnli, qqp], controls: false}}", 8, "in `study.complexity:` (known: tasks)"),
    ("study: [order]", 8, "study: expected `key: value` lines"),
    ("study: {order: [mnli, squad]}", 8, "study.order: expected `key: value` lines: write {tasks: [mnli, squad]}"),
    ("study: {order: {}}", 8, "`study.order.tasks:` is missing"),
    ("study: {order: {tasks: mnli}}", 8, "study.order.tasks: expected a list: write [mnli]"),
    ("study:\n  order:\n    tasks: [mnli, sqaud]", 10, "tasks: 'sqaud' is no intermediate task; did you mean 'squad'?"),
    ("study: {order: {tasks: [mnli, mnli]}}", 8, "study.order.tasks: mnli stands here twice; keep one"),
    ("study: {prompts: {tasks: [mnli]}}", 8, "`study.prompts.targets:` is missing"),
    ("study: {correlation: {tasks: [mnli]}}", 8, "there is nothing to compare; name two tasks or more"),
    ("study: {complexity: {tasks: []}}", 8, "there is nothing to compare; name two tasks or more"),
    ("study: {order: {tasks: [mnli, qqp, squad, squad_v2, hellaswag, siqa, copa]}}", 8, "too many orders; at most 6"),
    # languages
    ("languages: {xnil: [de]}", 8, "'xnil' is no target; did you mean 'xnli'?"),
    ("languages: {squad: [de]}", 8, "'squad' is no target"),
    ("languages: {xnli: de}", 8, "expected `all` or a list: write `[de]`"),
    ("languages: {xnli: [German]}", 8, "'German' is not a language code such as de"),
    ("languages: {default: [de, DE]}", 8, "'DE' is not a language code such as de"),
    ("languages: {xnli: [de, xx]}", 8, "target xnli: language xx: "),
    ("languages:\n  default: all\n  xnli: [de, fr, th]", 10, "xnli: no data for fr, th"),
    ("languages: {default: [yo]}", 8, "none of the languages asked for has data for target 'xnli'"),
    # cluster
    ("cluster: {executor: x}", 8, "cluster.executor: 'x' is not one of 'slurm', 'local'"),
    ("cluster: {workers: 0}", 8, "0 is too small; the least is 1"),
    ("cluster: {time: soon}", 8, "'soon' is not a time limit: minutes, HH:MM:SS or D-HH:MM:SS"),
    ("cluster: {mem: lots}", 8, "'lots' is not an amount of memory such as 32G"),
    ("cluster: {partition: a b}", 8, "'a b' is not a value that sbatch takes"),
    ("cluster: {partition: $(id)}", 8, "'$(id)' is not a value that sbatch takes"),
    ('cluster: {partition: "a\\nb"}', 8, "line breaks and control characters"),
    ("cluster: {gpus-per-node: two}", 8, "'two' is not a number of GPUs such as 4, or a100:4"),
    ("cluster: {gpus-per-node: -1}", 8, "'-1' is not a number of GPUs such as 4, or a100:4"),
    ("cluster: {gres: gpu:4}", 8, "'gres' belongs under `sbatch:`; write cluster: {sbatch: {gres: …}}"),
    ("cluster:\n  sbatch:\n    gres: gpu:a:b:1", 10, "gres: 'a:b:1' is not a number of GPUs such as 4 or a100:4"),
    ("cluster:\n  mem: 8G\n  mem-per-cpu: 1G", 10, "cluster: mem and mem-per-cpu: sbatch takes one of them; keep one"),
    ("cluster:\n  mem-per-gpu: 8G\n  mem: 1G", 9, "cluster: mem and mem-per-gpu: sbatch takes one of them; keep one"),
    ("cluster: {mem-per-gpu: 8G}", 8, "cluster: mem-per-gpu needs GPUs; write mem"),
    ("cluster:\n  gpus-per-node: 4\n  sbatch:\n    gres: gpu:2", 11, "gpus-per-node: 4 (4 a node) and gres: gpu:2 (2"),
    ("cluster: {nodes: 2, sbatch: {gpus: 3}}", 8, "gpus: 3: its nodes would have different numbers; write"),
    ("cluster: {sbatch: {gpus-per-task: 2}}", 8, "gpus-per-task: 2: a process computes on one GPU; write"),
    ("cluster: {sbatch: {ntasks-per-gpu: 1}}", 8, "'ntasks-per-gpu': one process runs on each GPU by itself"),
    ("cluster: {sbatch: {tres-per-task: gres/gpu=1}}", 8, "'tres-per-task': write cpus-per-task directly under"),
    ("cluster: {cpus-per-task: 2, gpus-per-node: 1, sbatch: {cpus-per-gpu: 2}}", 8, "cpus-per-gpu: sbatch takes"),
    ("cluster: {nodes: 2, sbatch: {ntasks: 3}}", 8, "ntasks: 3 does not go with nodes: 2; keep ntasks-per-node alone"),
    ("cluster: {setup: module load x}", 8, "cluster.setup: expected a list: write [module load x]"),
    ('cluster: {setup: ["a\\nb"]}', 8, "line breaks and control characters"),
    ('cluster: {sbatch: {comment: "a\\ntouch /tmp/x #"}}', 8, "line breaks and control characters"),
    ('cluster: {sbatch: {comment: "a\\eb"}}', 8, "line breaks and control characters"),
    ("cluster: {sbatch: {comment: [a]}}", 8, "expected one value, not a list or mapping"),
    ('cluster: {sbatch: {"com\\nment": a}}', 8, "a key must be a plain word"),
    ("cluster:\n  sbatch:\n    comment: mine\n    array: 0-3", 11, "cluster.sbatch.array: 'array' is set by"),
    ("cluster: {sbatch: {-J: a}}", 8, "'-J' is not the long name of an sbatch flag"),
    ("cluster: {sbatch: {mail_type: ALL}}", 8, "'mail_type' is not the long name of an sbatch flag"),
    ("cluster: {sbatch: {partition: gpu}}", 8, "'partition' belongs beside `sbatch:`, directly under `cluster:`"),
    ("cluster: {sbatch: {part: gpu}}", 8, "'partition' belongs beside `sbatch:`, directly under `cluster:`"),
    ('cluster: {sbatch: {comment: "\\ud83d"}}', 8, "line breaks and control characters"),
    ("store: ~nobody-here/x", 2, "'~nobody-here/x': Could not determine home directory"),
    (f"store: {'x' * 300}", 2, "File name too long"),
    (f"model: ./{'x' * 300}", 3, "there is no folder"),
    ("failures: {kode: {retry: 1}}", 8, "unknown key 'kode' in `failures:`; did you mean 'node'?"),
    ("failures: {data: {again: 1}}", 8, "(known: retry, mem, time, token-budget, exclude)"),
    *((f"cluster: {{sbatch: {{{flag}: x}}}}", 8, f"'{flag}' is set by Stepstone itself; remove it") for flag in OURS),
    # YAML
    ("training: &a {epochs: 1}\ntasks: {squad: *a}", 8, "anchors (&, *) are not supported; write the value out"),
    ("training: {epochs: 1", 9, "not YAML: "),
    ("training:\n\tepochs: 1", 9, "not YAML: "),
    ("training: *none", 8, "not YAML: found undefined alias"),
]  # fmt: skip


def _replaced(change: str) -> str:
    """GOOD with the change in the place of the line with its key; below where there is none, or where it is 'again'."""
    key = change.partition(":")[0]
    if key in GOOD and change != "name: again":
        return "\n".join((GOOD | {key: change}).values()) + "\n"
    return "\n".join([*GOOD.values(), change]) + "\n"


def _refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        plan.make(experiment.load(path))
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


@pytest.mark.parametrize(("change", "line", "said"), MISTAKES, ids=[change[:40] for change, _, _ in MISTAKES])
def test_every_mistake_is_one_line_that_names_file_and_line(
    workspace: Workspace, change: str, line: int, said: str
) -> None:
    path = workspace.write(_replaced(change))
    message = _refusal(path)
    assert message.startswith(f"{path}:{line}: "), message
    assert said in message, message
    assert not (workspace.root / "store").exists()


def test_the_file_without_mistakes_is_fine(workspace: Workspace) -> None:
    plan.make(experiment.load(workspace.write(_replaced("keep: all"))))


@pytest.mark.parametrize("key", ["name", "store", "model", "recipes", "targets", "seeds"])
def test_a_missing_key(workspace: Workspace, key: str) -> None:
    path = workspace.write("\n".join(line for name, line in GOOD.items() if name != key))
    or_models = ", or `models:`" if key == "model" else ""
    assert _refusal(path) == f"{path}: `{key}:` is missing{or_models}; see the README for an example"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "a list of `key: value` lines"),
        (b"- name\n", "a list of `key: value` lines"),
        (b"name", "a list of `key: value` lines"),
        (b"name: a\n\xff\n", ":2: not UTF-8 text"),
        (b"name: a\x00b\n", "not YAML: "),
        (b"a: 1\n---\nb: 2\n", ":2: not YAML: "),
        (b"a: " + b"x" * 1_000_001, "larger than 1000000 bytes"),
    ],
)
def test_what_is_no_experiment_file(workspace: Workspace, content: bytes, said: str) -> None:
    path = workspace.root / "other.yaml"
    path.write_bytes(content)
    message = _refusal(path)
    assert message.startswith(str(path)) and said in message, message


def test_no_file_and_a_folder(workspace: Workspace) -> None:
    assert _refusal(workspace.root / "none.yaml").endswith("No such file or directory")
    assert "is a folder; name the experiment file in it" in _refusal(workspace.root)


def test_data_that_is_not_there(workspace: Workspace) -> None:
    assert "no such folder" in _refusal(workspace.file(data={"root": "./nowhere"}))
    (workspace.root / "data" / "squad.json").unlink()
    assert "squad.json: no such file" in _refusal(workspace.file())


# --- through the console script


def _stepstone(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("stepstone")
    return subprocess.run([script, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def _assert_one_line(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    assert done.returncode == code, done
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1, done
    assert done.stderr.startswith("error: ") and said in done.stderr


@pytest.mark.slow
def test_exit_code_2_for_a_mistake_in_the_file(workspace: Workspace) -> None:
    path = workspace.write(_replaced("seeds: 3"))
    _assert_one_line(_stepstone("submit", path), 2, f"{path}:6: seeds: `seeds` is a list")


@pytest.mark.slow
def test_exit_code_1_for_what_is_not_the_files_fault(workspace: Workspace) -> None:
    """Malformed data, a model that is none, a store that cannot be made; nothing is half-submitted."""
    store = workspace.root / "store"
    (workspace.root / "data" / "xnli-de.tsv").write_text("only one column\n")
    _assert_one_line(_stepstone("plan", workspace.file()), 1, "xnli-de.tsv:1: ")
    assert not store.exists()
    (workspace.root / "data" / "xnli-de.tsv").write_text("A\tB\tneutral\n")
    _assert_one_line(_stepstone("submit", workspace.file(store="./model/config.json/store")), 1, "cannot make this")
    (workspace.root / "model" / "config.json").write_text('{"model_type": "bert"}')
    _assert_one_line(_stepstone("submit", workspace.file()), 1, "model_type is 'bert'")
    assert not store.exists()


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        ("training: {zero: 0, offload: true}", 8, 0),
        ("training: {offload: true}\ntasks: {squad: {zero: none}}", 9, "none"),
        ("training: {zero: none}\ntasks:\n  squad: {epochs: 2,\n    offload: true}", 11, "none"),
    ],
)
def test_offload_needs_a_stage_of_zero(workspace: Workspace, content: str, line: int, told: object) -> None:
    grid = "name: n\nstore: ./s\nmodel: ./model\nrecipes: [squad]\ntargets: [xnli]\nseeds: [1]\ndata: {root: ./data}\n"
    with pytest.raises(UsageError, match=rf":{line}: offload: true does not go with zero: {told}; set zero: auto, 1"):
        experiment.load(workspace.write(grid + content))


def test_runtime_keys_of_the_engine(workspace: Workspace) -> None:
    training = {
        "zero": "none",
        "compile": "true",
        "matmul": "onednn",
        "compact_vocabulary": "false",
        "offload": "false",
    }
    found = experiment.load(workspace.file(training=training)).training.given()
    assert found == {"zero": "none", "compile": True, "matmul": "onednn", "compact_vocabulary": False, "offload": False}
    for wrong, said in (({"matmul": "blas"}, "'blas' is not one of"), ({"micro_batch_size": "4"}, "unknown key")):
        with pytest.raises(UsageError, match=said):
            experiment.load(workspace.file(training=wrong))
