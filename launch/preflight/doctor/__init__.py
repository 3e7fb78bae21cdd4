"""`stepstone doctor`: what must hold before an experiment is sent, looked at: ok, warning or error, with the fix.

It changes nothing: in the store it makes one folder of its own, and removes it. Begin with `look`; `lines` has what is
told, `cluster` asks Slurm, `filesystem` tries the store, `machine` looks at GPUs and packages, `shell` at
what goes with jobs; `nodes` sends jobs that look.
"""

from collections.abc import Iterator
from pathlib import Path

from launch import executors
from launch.experiment import Experiment
from launch.preflight.doctor.cluster import slurm_lines
from launch.preflight.doctor.filesystem import store_lines
from launch.preflight.doctor.lines import Level, Line, to_record
from launch.preflight.doctor.machine import gpu_line, package_line
from launch.preflight.doctor.nodes import node_lines
from launch.preflight.doctor.shell import shell_lines

__all__ = ["Level", "Line", "look", "node_lines", "to_record"]


def look(experiment: Experiment | None, folder: Path) -> Iterator[Line]:
    """Everything, in the order in which it is needed. `folder` stands for the store where there is no experiment."""
    on_slurm = experiment is None or executors.of_cluster(experiment.cluster).has_queue
    yield from slurm_lines(experiment) if on_slurm else [Line("ok", "executor", "local workers; Slurm is not asked")]
    if experiment is not None:
        yield from shell_lines(experiment)
    yield from store_lines(experiment.store if experiment else folder, on_slurm=on_slurm and experiment is not None)
    yield gpu_line(experiment)
    yield package_line()
