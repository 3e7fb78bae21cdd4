"""What differs between Slurm and local workers is asked of an executor."""

from pathlib import Path

from launch.executors import EXECUTORS, by_executor
from launch.store import Location, Submission
from slurm.base.files import make_folder, to_json, write_atomic


def _submission(folder: Path, executor: str) -> Submission:
    arrays = [{"name": "x-0.0", "elements": {"0": ["k"]}, "dependency": None, "throttle": None, "changes": None}]
    record = {
        "schema": 1,
        "id": "0",
        "experiment": "x",
        "executor": executor,
        "since": "",
        "code": "c",
        "arrays": arrays,
    }
    write_atomic(make_folder(folder) / "intent.json", to_json(record))
    return Submission(folder)


def test_what_has_no_queue_is_ended_first(tmp_path: Path) -> None:
    """Slurm may not answer: workers here are ended all the same."""
    slurm, local = (Location(_submission(tmp_path / name, name), 0, 0) for name in ("slurm", "local"))
    groups = by_executor([slurm, local, slurm])
    assert groups == [(EXECUTORS["local"], [local]), (EXECUTORS["slurm"], [slurm, slurm])]
