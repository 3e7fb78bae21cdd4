"""What doctor says of the shell that it is typed in: what of it goes with jobs, and what does not."""

from collections.abc import Iterator

from launch import executors
from launch.draft import environment
from launch.experiment import Experiment
from launch.preflight.doctor.lines import Level, Line
from slurm import rlimits


def shell_lines(experiment: Experiment) -> Iterator[Line]:
    """How much of the environment goes, what SBATCH_ variables ask, and the limits of processes."""
    cluster = experiment.cluster
    on_slurm = executors.of_cluster(cluster).has_queue
    if on_slurm:
        yield Line("ok", "environment", environment.summary(cluster))
    for notice in environment.notices(experiment):
        level: Level = "error" if notice.stops else "warning" if notice.mend else "ok"
        yield Line(level, "environment", notice.words, notice.mend)
    limits = ", ".join(rlimits.met())
    travel = cluster.sbatch.get("propagate", "NONE") != "NONE"
    if not limits:
        yield Line("ok", "ulimit", "none that jobs would meet")
    elif on_slurm and not travel:
        yield Line("ok", "ulimit", f"{limits}: of this shell alone, jobs have their node's")
    else:
        mend = "remove `sbatch: {propagate: …}`" if on_slurm else "lift it in this shell before `submit`"
        yield Line("warning", "ulimit", f"{limits}: jobs have it too", mend)
