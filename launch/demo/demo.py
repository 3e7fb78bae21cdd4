"""The embedded default of `stepstone demo`: a small real model, small generated data, one experiment file."""

import os
from collections.abc import Callable
from pathlib import Path

from launch.demo import data
from slurm.base import UserError
from slurm.base.files import write_atomic

LAYERS = 4  # of the model's 12: 22 trainings in a few minutes on two cores


def prepare(folder: Path, report: Callable[[str], None]) -> Path:
    """Write what the demo needs below `folder`, unless it is there already. Returns the experiment file."""
    if folder.exists() and not (folder / "experiment.yaml").exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is there and holds something else; name another folder: stepstone demo OTHER")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot make this folder: {error.strerror}") from None
    if not (folder / "model").exists():
        from training.pretrained.small import small

        report(f"writing a small real XLM-R ({LAYERS} layers of multilingual-e5-small): {folder / 'model'}")
        small(folder / "model", LAYERS)
    if not (folder / "experiment.yaml").exists():
        report(f"generating sample data from templates (not real data): {folder / 'data'}")
        data.write(folder / "data")
        workers = min(4, len(os.sched_getaffinity(0)))  # each takes some 4 GB
        text = data.EXPERIMENT.replace("executor: local", f"executor: local, workers: {workers}")
        write_atomic(folder / "experiment.yaml", text)
    return folder / "experiment.yaml"
