"""What runs elements: Slurm, or workers on this machine. All that differs between the two is asked of an `Executor`.

Imports `launch.store`. Begin with `base`, the questions; `slurm` and `local` answer them. A submission knows its
executor by name, and the file chooses one (`cluster: {executor: …}`); whoever branches on that name belongs in here.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from launch.executors.base import ElementStart, Executor, Look, Queued, Scope, Unanswered, Verb, Whereabouts
from launch.executors.local import LocalWorkers
from launch.executors.slurm import Slurm
from launch.experiment import Cluster
from launch.plan import Stage
from launch.store import Location, Submission, submissions
from slurm.base import UserError

__all__ = [
    "EXECUTORS", "ElementStart", "Executor", "Look", "Queued", "Scope", "Unanswered", "Verb", "Whereabouts",
    "by_executor", "logs_of", "of_cluster", "of_location", "of_submission",
]  # fmt: skip

EXECUTORS: Mapping[str, Executor] = {"slurm": Slurm(), "local": LocalWorkers()}


def of_cluster(cluster: Cluster) -> Executor:
    """The executor that an experiment file chooses."""
    return EXECUTORS[cluster.chosen_executor]


def of_submission(submission: Submission) -> Executor:
    """The executor that a submission went to."""
    return EXECUTORS[submission.executor]


def of_location(location: Location) -> Executor:
    """The executor that has, or had, an element."""
    return EXECUTORS[location.submission.executor]


def by_executor(locations: Iterable[Location]) -> list[tuple[Executor, list[Location]]]:
    """Elements by the executor that has them, those without a queue first: to end them, nobody else has to answer."""
    groups: dict[str, list[Location]] = {}
    for location in locations:
        groups.setdefault(location.submission.executor, []).append(location)
    return sorted(((EXECUTORS[name], group) for name, group in groups.items()), key=lambda pair: pair[0].has_queue)


def logs_of(root: Path, stage: Stage) -> list[Path]:
    """The log files of the element that a stage was last sent in, whichever task wrote them. UserError: none was."""
    location = submissions.locate(submissions.read_all(root)).get(stage.key)
    if location is None:
        raise UserError(f"{stage.name} was never sent; `stepstone submit FILE` sends it")
    return of_location(location).logs(location)
