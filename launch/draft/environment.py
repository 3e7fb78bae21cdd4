"""What jobs and local workers get of the submitting shell's environment, and what of it people are told."""

import os
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from launch.experiment import Cluster, Experiment, wishes
from launch.text import some
from slurm import environment
from slurm.environment import Passing

# Jobs read what `prepare` fetched: a compute node without a network would wait for it, one with it ask every time.
ENVIRONMENT = {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
_SHOWN = re.compile(r"[A-Za-z0-9_%]+")
# Whose staying behind is told unasked, as jobs may need them.
_LOOKED_FOR = ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "TMPDIR")
_WIDTH = 110  # of a remark in a script


def passing(cluster: Cluster) -> Passing:
    """What goes with Slurm's jobs, and what stays: by the rule, and by the file."""
    passing = environment.of_job(os.environ, cluster.environment.asked_for, cluster.environment.drop)
    if "PYTHONPATH" in cluster.environment.asked_for:  # it goes otherwise: `set_in_jobs`
        return replace(passing, stays=tuple(name for name in passing.stays if name != "PYTHONPATH"))
    return passing


def set_in_jobs(cluster: Cluster, code: Path) -> dict[str, str]:
    """What the first lines of a job set: what the file says, and where its code is."""
    return cluster.environment.set | {"PYTHONPATH": _python_path(cluster, code)} | ENVIRONMENT


def of_workers(cluster: Cluster, code: Path) -> dict[str, str]:
    """All of the environment of local workers: the shell's, but for what Slurm set in the job that it may be in."""
    shell = environment.without(environment.without_slurms(os.environ), cluster.environment.drop)
    return shell | set_in_jobs(cluster, code)


def _python_path(cluster: Cluster, code: Path) -> str:
    """The frozen code goes before whatever the shell has there, which is asked for by its name."""
    has_more = "PYTHONPATH" in cluster.environment.asked_for
    return ":".join(filter(None, (str(code), os.environ.get("PYTHONPATH", "") if has_more else "")))


def summary(cluster: Cluster) -> str:
    """How much goes with Slurm's jobs, and what stays of what people look for."""
    goes = passing(cluster)
    looked_for = [name for name in goes.stays if name in _LOOKED_FOR or environment.is_secret(name)]
    stays = f"{len(goes.stays)} stay" + (f", {some(looked_for)} among them" if looked_for else "")
    return f"{len(goes.names)} variables of your shell go with jobs, {stays} (plan --script names all)"


@dataclass(frozen=True)
class Notice:
    """What people should know of their shell before jobs are sent. `mend` is empty where nothing is to be done."""

    words: str
    mend: str = ""
    stops: bool = False  # nothing is sent until it is mended

    @property
    def line(self) -> str:
        return "; ".join(filter(None, (self.words, self.mend)))


def notices(experiment: Experiment) -> list[Notice]:
    """What is taken of the shell's wishes and what is not, and what of it may be meant otherwise."""
    cluster = experiment.cluster
    notes = [Notice(wish.words, wish.mend, wish.is_refused) for wish in experiment.wishes]
    if cluster.chosen_executor == "local":
        return notes
    goes = passing(cluster)
    if goes.missing:
        notes.append(
            Notice(f"`environment: {{pass: …}}`: {some(goes.missing)} not set in this shell", "export it, or remove it")
        )
    threads = {**goes.variables, **cluster.environment.set}.get("OMP_NUM_THREADS", "")
    cores_of_process = (cluster.asked.cores or 1) // cluster.lanes
    if threads.isdecimal() and int(threads) < cores_of_process:
        cores = f"{cores_of_process} cores a process"
        notes.append(Notice(f"jobs compute with OMP_NUM_THREADS={threads}, as your shell does, and have {cores}",
                           "not so with cluster: {environment: {drop: [OMP_NUM_THREADS]}}"))  # fmt: skip
    return notes


def check_wishes(experiment: Experiment) -> None:
    """UsageError for what the shell asks of sbatch, and sbatch would not take. Before anything is sent."""
    if experiment.cluster.chosen_executor != "local":
        wishes.refuse_what_sbatch_would(experiment.wishes)


def remarks(passing: Passing) -> tuple[str, ...]:
    """What goes and what stays, by name, for who reads a script."""
    return (
        *_wrapped("with the job goes of your shell: ", passing.names),
        *_wrapped("what stays behind: ", passing.stays),
    )


def _wrapped(heading: str, names: Iterable[str]) -> Iterator[str]:
    """Some variables' names, in lines; of odd ones, which could be anything, nothing."""
    text = heading + (" ".join(name for name in names if _SHOWN.fullmatch(name)) or "nothing")
    yield from textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
