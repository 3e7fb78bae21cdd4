"""Estimates: by hand where that is possible, calibrated by what finished, and quick for large plans."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch import executors, experiment
from launch import plan as planning
from launch.demo import data
from launch.estimate import amounts, cost, rates
from launch.estimate.cost import Estimates, Totals
from launch.estimate.rates import Measured, Rate
from launch.experiment import Cluster
from launch.plan import Plan, Stage
from launch.preflight import prepare
from launch.show import estimate as estimate_shown
from launch.store import Store
from launch.text import duration
from slurm.base.files import make_folder, seal
from slurm.room import Room
from tests.launch.workspace import Workspace
from training.data.tokens import Entry
from training.flops import forward_flops, training_flops
from training.spec import DataFile, Settings, TaskData
from training.tasks import catalogue

LARGE = "FacebookAI/xlm-roberta-large"
GPU = {"executor": "slurm", "gpus-per-node": "1"}


def _task_data(path: Path, task: str, **changes: Any) -> TaskData:
    split = (DataFile(str(path), f"{path.stat().st_size}"),)
    return TaskData(task, split, split, **changes)


def _stages(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def _finish(plan: Plan, stage: Stage, **facts: Any) -> None:
    """A published training that says what a real one does."""
    folder = make_folder(plan.experiment.store / "stages" / stage.folder)
    usual = {"world_size": 1, "device": "cpu", "device_name": "cpu", "precision": "fp32", "attempt": "attempts/0001"}
    usual |= {"encoder_hash": "sha256:0", "dev_score": 50.0}
    usual["cores"] = executors.of_cluster(plan.experiment.cluster).cores_per_rank(plan.experiment.cluster)
    (folder / "result.json").write_bytes(seal({"key": stage.key, "files": {}} | usual | facts))


# --- amounts


def test_lines_are_examples_of_their_mean_length(tmp_path: Path) -> None:
    file = tmp_path / "mnli.tsv"
    file.write_text(("é" * 37 + "\n") * 100)  # 38 characters, of two bytes each but for the last
    train, dev = amounts.of_training(_task_data(file, "mnli", max_eval=10), Settings(max_length=256), {})
    assert [train.examples, train.tokens, train.length] == pytest.approx([100, 1400, 14])
    assert [dev.examples, dev.tokens] == pytest.approx([10, 140])
    held, out = amounts.of_training(_task_data(file, "mnli", hold_out=0.2), Settings(max_length=8), {})
    assert [held.examples, held.tokens, out.tokens] == pytest.approx([80, 640, 160])


def test_long_contexts_are_several_windows(tmp_path: Path) -> None:
    questions = [{"question": "?"} for _ in range(3)]
    file = tmp_path / "squad.json"
    file.write_text(json.dumps([{"context": "x" * 4000, "qas": questions}]))
    (short, _), (long, _) = (
        amounts.of_training(_task_data(file, "squad"), Settings(max_length=n, doc_stride=128), {}) for n in (512, 256)
    )
    assert short.examples == long.examples == 3
    assert short.length <= 512 and long.length == 256 and long.tokens > 3 * 2 * 256


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_limit_is_never_exceeded(examples: int, limit: int) -> None:
    amount = amounts._at_most(amounts.Amount(examples, 30.0 * examples, 30.0), limit)
    assert amount.examples == pytest.approx(min(examples, limit)) and amount.length == 30.0


def test_what_prepare_counted_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "choices.jsonl"
    file.write_text("{}\n" * 7)
    part, settings, task = _task_data(file, "commonsense_qa"), Settings(max_length=64), catalogue.find("commonsense_qa")
    train, dev = (Entry(tmp_path, 40, 40, tokens, 0, True) for tokens in (8000, 4000))
    names = amounts.training_names(part, settings)
    assert len({*names, *amounts.training_names(replace(part, max_train=5), settings)}) == 4
    assert amounts.training_names(replace(part, head="x", skip_bad_rows=True), replace(settings, epochs=9)) == names
    assert amounts.read(tmp_path) == {}
    amounts.remember(tmp_path, {names[0]: [(train, task)]})
    amounts.remember(tmp_path, {names[1]: [(dev, task), (dev, task)]})
    made = amounts.of_training(part, settings, amounts.read(tmp_path))
    assert made[0] == amounts.Amount(40, 8000, 8000 / (40 * len(task.labels)), "token cache")
    assert (made[1].examples, made[1].tokens) == (80, 8000)
    assert amounts.together([made[0], amounts.Amount(1, 1, 1)]).source == "file sizes"


# --- rates


@pytest.mark.parametrize(
    ("flags", "device"),
    [
        ({}, "A100"),
        ({"sbatch": {"gres": "gpu:h100:4"}}, "H100"),
        ({"gpus-per-node": "v100:4"}, "V100"),
        ({"constraint": "h200|nvlink"}, "H200"),
        ({"partition": "gpu-v100"}, "V100"),
    ],
)
def test_the_file_says_which_gpu(flags: dict[str, Any], device: str) -> None:
    rate = rates.default(Cluster.model_validate(flags | {"executor": "slurm"}), gpu=True, bf16=True)
    assert rate.device == device and 1e12 < rate.flops_per_second < 5e14
    assert ("does not say" in rate.why) == (not flags)


def test_measured_rates_of_such_devices_come_first() -> None:
    found = [Measured(f"k{n}", "NVIDIA H200", "bf16", 4, 1e14 * n) for n in (1, 2, 9)]
    found.append(Measured("c", "cpu", "fp32", 4, 1e9))
    asked = Cluster.model_validate({"executor": "slurm", "constraint": "h200"})
    assert rates.choose(found, asked, gpu=True, precision="auto").flops_per_second == 2e14
    assert rates.choose(found, Cluster(), gpu=True, precision="bf16").device == "NVIDIA H200"
    cpu = rates.choose(found, Cluster(), gpu=False, precision="auto", cores=4)
    assert cpu == Rate(1e9, "cpu", "measured by 1 training", True)
    other = Cluster.model_validate({"executor": "slurm", "constraint": "v100"})
    assert not rates.choose(found, other, gpu=True, precision="auto").measured


def test_only_the_like_is_measured_by_the_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one precision, and on a CPU with as many cores a rank."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = [
        Measured("a", "NVIDIA H200", "bf16", 1, 4e14), Measured("b", "NVIDIA H200", "fp32", 1, 4e13),
        Measured("c", "cpu", "fp32", 1, 2e10), Measured("d", "cpu", "fp32", 16, 3e11),
        Measured("e", "cpu", "bf16", 16, 1e11), Measured("f", "cpu", "fp32", None, 7e11),
    ]  # fmt: skip
    one, many = (Cluster.model_validate({"executor": "slurm", "cpus-per-task": n}) for n in ("1", "16"))

    def rate(cluster: Cluster, precision: Any, *, gpu: bool) -> float:
        return rates.choose(found, cluster, gpu=gpu, precision=precision).flops_per_second

    assert [rate(one, precision, gpu=True) for precision in ("auto", "bf16", "fp32")] == [4e14, 4e14, 4e13]
    assert [rate(cluster, "auto", gpu=False) for cluster in (one, many)] == [2e10, 3e11]
    assert rate(many, "bf16", gpu=False) == 1e11
    assert not rates.choose(found, one, gpu=False, precision="bf16").measured
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # goes with jobs: of sixteen cores they use one
    assert rate(many, "fp32", gpu=False) == 2e10
    monkeypatch.setenv("OMP_NUM_THREADS", "16")  # what local workers then use
    assert rate(Cluster.model_validate({"executor": "local"}), "fp32", gpu=False) == 3e11


def test_auto_is_fp32_on_gpus_without_bf16() -> None:
    asked = Cluster.model_validate({"executor": "slurm", "gpus-per-node": "1"})
    for device, precision, like in (
        ("Tesla V100-SXM2-32GB", "fp32", True),
        ("NVIDIA A100-SXM4-80GB", "fp32", False),
        ("NVIDIA A100-SXM4-80GB", "bf16", True),
        ("Quadro of nobody's list", "fp32", True),
    ):
        found = [Measured("a", device, precision, 1, 1e13)]
        assert rates.choose(found, asked, gpu=True, precision="auto").measured == like, device


def test_rates_are_remembered_once_per_training(tmp_path: Path) -> None:
    assert rates.read(tmp_path) == []
    rates.remember(tmp_path, [Measured("a", "cpu", "fp32", 2, 1.0)])
    before = rates.path(tmp_path).stat().st_mtime_ns
    rates.remember(tmp_path, [Measured("a", "cpu", "fp32", 2, 1.0)])
    assert rates.path(tmp_path).stat().st_mtime_ns == before
    rates.remember(tmp_path, [Measured(f"k{n}", "cpu", "bf16", None, 2.0) for n in range(1000)])
    assert len(rates.read(tmp_path)) == 1000
    assert rates.read(tmp_path)[-1] == Measured("k999", "cpu", "bf16", None, 2.0)
    rates.path(tmp_path).write_bytes(seal({"schema": 1, "stages": [["a", "cpu", 1.0]]}))
    assert rates.read(tmp_path) == []
    rates.path(tmp_path).write_text("torn")
    assert rates.read(tmp_path) == []


# --- stages and plans


def test_a_training_is_tokens_times_operations_by_a_rate(workspace: Workspace) -> None:
    plan = workspace.plan(model=LARGE, cluster=GPU, recipes=["none"], targets=["xnli"], seeds=["1"])
    estimates = Estimates(plan)
    (train,), (evaluate,) = _stages(plan, "train"), _stages(plan, "evaluate")
    read, dev = estimates.amounts_of(train)
    found, epochs = estimates.of_stage(train), plan.steps[train.definition].settings.epochs
    operations = training_flops(estimates.sizes[""], int(read.tokens), int(read.squares))
    operations += epochs * forward_flops(estimates.sizes[""], int(dev.tokens), int(dev.squares))
    assert read.source == "file sizes" and found.flops == operations
    assert found.gpu_seconds == pytest.approx(operations / (0.25 * 312e12) + 20)
    assert estimates.of_stage(evaluate).flops > 0
    seconds = estimates.element_seconds((train.key, evaluate.key))
    assert seconds == pytest.approx(30 + found.gpu_seconds + estimates.of_stage(evaluate).gpu_seconds)


def test_what_a_training_looks_at_besides_is_counted(workspace: Workspace) -> None:
    """The start model's pass over what it measures; English dev of earlier tasks, where there are any."""
    plain = workspace.plan(recipes=["squad > hellaswag", "hellaswag"], targets=["xnli"], seeds=["1"])
    for asked, name in (("measures_tasks", "hellaswag-s1"), ("scores_earlier_dev", "squad.hellaswag-s1")):
        looking = planning.make(replace(plain.experiment, **{asked: True}))
        more = {
            stage.name
            for stage in plain.stages.values()
            if Estimates(looking).of_stage(stage).tokens > Estimates(plain).of_stage(stage).tokens
        }
        assert name in more and not any("mnli" in other for other in more)
        assert ("squad.hellaswag-s1" in more) == (asked == "scores_earlier_dev")


def test_encoders_that_go_take_no_room(workspace: Workspace) -> None:
    encoder = 4 * 558_840_832  # bytes, nearly
    grid: dict[str, Any] = {"model": LARGE, "cluster": GPU, "recipes": ["squad"], "targets": ["xnli"], "seeds": ["1"]}
    plan = workspace.plan(**grid)
    inner, leaf = _stages(plan, "train")
    estimates = Estimates(plan)
    assert estimates.of_stage(inner).disk_bytes == pytest.approx(encoder, rel=0.01)
    assert estimates.of_stage(leaf).disk_bytes < 1e6
    assert Estimates(workspace.plan(**grid, keep="all")).of_stage(leaf).disk_bytes == pytest.approx(encoder, rel=0.01)


def test_what_runs_at_once_needs_room_at_once(workspace: Workspace) -> None:
    grid: dict[str, Any] = {"model": LARGE, "recipes": ["none"], "targets": ["xnli"], "seeds": list("12345678")}
    free = workspace.plan(**grid, cluster=GPU)
    throttled = workspace.plan(**grid, cluster=GPU | {"throttle": "2"})
    wide, narrow = (Estimates(plan).of_plan(plan.stages) for plan in (free, throttled))
    assert wide.gpu_hours == narrow.gpu_hours
    assert wide.disk_peak > 3.5 * narrow.disk_peak and wide.inodes_peak > narrow.inodes_peak
    assert (wide.at_once, narrow.at_once) == (None, 2)
    assert narrow.wall_clock > wide.wall_clock
    assert wide.device == "GPU" and "does not say which GPU" in wide.rate_source


def test_a_chain_takes_its_whole_length(workspace: Workspace) -> None:
    plan = workspace.plan(recipes=["squad"], targets=["xnli"], seeds=["1"], cluster={"executor": "local"})
    estimates = Estimates(plan)
    assert estimates.of_plan(plan.stages).wall_clock == pytest.approx(
        sum(estimates.stage_seconds(stage) + 30 for stage in plan.stages.values())
    )
    assert estimates.of_plan(plan.stages).device == "CPU rank"
    assert estimates.of_plan([]).gpu_hours == 0


def test_what_finished_calibrates_the_next(workspace: Workspace) -> None:
    plan = workspace.plan(recipes=["none"], targets=["xnli"], seeds=["1", "2"], cluster={"executor": "local"})
    first, second = _stages(plan, "train")
    assert estimate_shown.accuracy_lines(Estimates(plan)) == []
    before = Estimates(plan).of_stage(second)
    assert before.tokens != 12_345
    _finish(plan, first, tokens=12_345, seconds=1000.0, examples=24)
    cost.calibrate(plan, Store(plan.experiment.store))
    after = Estimates(plan)
    assert after.amounts_of(second)[0].source == "results"
    assert after.amounts_of(second)[0].tokens == pytest.approx(12_345)
    assert after.of_plan([second.key]).rate.why == "measured by 1 training"
    assert after.of_stage(second).gpu_seconds == pytest.approx(1020, rel=0.02)  # and scoring dev
    found = after.accuracy()
    assert found is not None and (found.trainings, found.measured) == (1, 1000.0)
    assert found.calibrated == pytest.approx(1000) and found.typical == pytest.approx(0, abs=1e-6)
    default = rates.default(Cluster(), gpu=False, bf16=False)
    assert 0 < found.first < before.flops / default.flops_per_second  # which scores dev, too
    ((label, line),) = estimate_shown.accuracy_lines(after)
    assert label == "estimated" and line.startswith(
        "1 finished training took 17 min of one CPU rank. Before any had run"
    )
    assert line.endswith("times too short); by the speed measured since, it is 17 min (right)")


def test_trainings_of_another_kind_do_not_calibrate(workspace: Workspace) -> None:
    plan = workspace.plan(recipes=["none"], targets=["xnli"], seeds=["1", "2"], cluster={"executor": "local"})
    first, second = _stages(plan, "train")
    _finish(plan, first, tokens=12_345, seconds=1000.0, examples=24, cores=999)
    cost.calibrate(plan, Store(plan.experiment.store))
    assert [one.cores for one in rates.read(plan.experiment.store)] == [999]
    assert not Estimates(plan).of_plan([second.key]).rate.measured
    found = Estimates(plan).accuracy()
    assert found is not None and found.calibrated == pytest.approx(1000)  # of itself it says how good the rate is


def test_gpus_are_counted_though_a_rank_uses_one_of_them(workspace: Workspace) -> None:
    grid: dict[str, Any] = {"model": LARGE, "recipes": ["none"], "targets": ["xnli"], "seeds": ["1"]}
    cluster = {"executor": "slurm", "ntasks-per-node": "1"}
    one = workspace.plan(**grid, cluster=cluster | {"sbatch": {"gres": "gpu:a100:1"}})
    two = workspace.plan(**grid, cluster=cluster | {"sbatch": {"gres": "gpu:a100:2"}})
    assert two.experiment.cluster.ranks == 1
    for key, stage in one.stages.items():
        assert Estimates(two).of_stage(two.stages[key]).gpu_seconds == 2 * Estimates(one).of_stage(stage).gpu_seconds
        assert Estimates(two).stage_seconds(stage) == Estimates(one).stage_seconds(stage)


def test_a_shared_gpu_has_its_rate_for_all_of_them_together(workspace: Workspace) -> None:
    """Four elements that each take four times as long cost as many GPU-hours, and make the next ones no dearer."""
    grid: dict[str, Any] = {"recipes": ["none"], "targets": ["xnli"], "seeds": ["1", "2"]}
    alone, packed = workspace.plan(**grid, cluster=GPU), workspace.plan(**grid, cluster=GPU | {"pack": "4"})
    first, second = _stages(packed, "train")
    assert Estimates(packed).of_stage(second) == Estimates(alone).of_stage(second)
    assert Estimates(packed).stage_seconds(second) == 4 * Estimates(alone).stage_seconds(second)
    of_gpu = {"device": "cuda", "device_name": "NVIDIA A100", "precision": "bf16", "tokens": 12_345, "examples": 24}
    _finish(packed, first, **of_gpu, seconds=400.0, made_by={"job": "1_0", "neighbours": 3})
    ((_, shared),) = Estimates(packed).measured()
    _finish(packed, first, **of_gpu, seconds=100.0)
    ((_, unshared),) = Estimates(packed).measured()
    assert shared == unshared


def test_cores_are_shared_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cluster = {"executor": "slurm", "cpus-per-task": "8", "pack": "4"}
    plan = workspace.plan(recipes=["none"], targets=["xnli"], seeds=["1"], cluster=cluster)
    assert executors.of_cluster(plan.experiment.cluster).cores_per_rank(plan.experiment.cluster) == 2


# --- shown


def test_what_plan_shows(workspace: Workspace) -> None:
    plan = workspace.plan(model=LARGE, cluster=GPU | {"constraint": "h100"})
    shown = estimate_shown.lines(plan, plan.stages)
    assert [label for label, _ in shown[:3]] == ["estimate", "", "disk"]
    assert "GPU-hours; " in shown[0][1] and "if all run as soon as they can" in shown[0][1]
    assert shown[1][1] == "rate: H100, 247 TFLOP/s: 25% of its data sheet; tokens: by file sizes"
    assert "files at the peak; free: " in shown[2][1]
    record = json.loads(json.dumps(estimate_shown.record(plan, plan.stages)))
    assert record["schema"] == 1 and record["gpu_hours"] > 0 and record["accuracy"] is None
    assert estimate_shown.lines(plan, set()) == []
    assert not plan.experiment.store.exists()  # nothing is written


def test_too_little_room_is_said() -> None:
    totals = Totals(1, "GPU", 1, None, 2e12, 5000, Rate(1, "A100", ""), "", "")
    assert estimate_shown.warnings(totals, Room(3 * 10**12, None)) == []
    disk, files = estimate_shown.warnings(totals, Room(10**12, 4000))
    assert disk.startswith("the store has 1000.0 GB left, and at the peak 2000.0 GB are needed;")
    assert files == "the store may hold 4,000 more files, and 5,000 are needed at the peak"


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (600, "10 min"), (9000, "2.5 h"), (200_000, "2.3 days")])
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_many_stages_cost_no_more_than_their_definitions(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = workspace.plan(recipes=["none"], targets=["xnli"], seeds=["1"])
    train, evaluate = plan.stages.values()
    many = {
        key: stage._replace(key=key, parent=stage.parent and f"{stage.parent}{n}")
        for n in range(10_000)
        for stage, key in ((train, f"{train.key}{n}"), (evaluate, f"{evaluate.key}{n}"))
    }
    large = replace(plan, stages=many)
    counted = Mock(wraps=amounts.of_evaluating)
    monkeypatch.setattr(amounts, "of_evaluating", counted)
    totals = Estimates(large).of_plan(many.keys())
    assert counted.call_count == 1
    one = Estimates(plan).of_plan(plan.stages)
    assert totals.gpu_hours == pytest.approx(10_000 * one.gpu_hours)


EVERY_FORMAT = """\
name: counted
store: ./store
model: {model}
recipes: [squad + hellaswag]
targets: [xnli, panx, tatoeba, tydiqa]
seeds: [1]
languages: {{default: [en, de, ko]}}
data: {{root: ./data}}
training: {{max_length: 96}}
tasks: {{tatoeba: {{layer: 1}}}}
cluster: {{executor: local}}
"""


@pytest.mark.slow
def test_the_files_say_about_what_prepare_counts(tmp_path: Path, tiny_model: Path) -> None:
    data.write(tmp_path / "data")
    (tmp_path / "experiment.yaml").write_text(EVERY_FORMAT.format(model=tiny_model))
    plan = planning.make(experiment.load(tmp_path / "experiment.yaml"))
    guessed = {stage.key: Estimates(plan).of_stage(stage).tokens for stage in plan.stages.values()}
    prepare.prepare(plan, skip_bad_rows=False, track=lambda what, items: iter(items))
    counted = Estimates(plan)
    assert {counted.amounts_of(stage)[0].source for stage in _stages(plan, "train")} == {"token cache"}
    for stage in plan.stages.values():
        tokens = counted.of_stage(stage).tokens
        assert 0.7 * tokens < guessed[stage.key] < 2 * tokens, (stage.name, tokens, guessed[stage.key])
