"""Log files as jobs leave them: what a job of a stage prints in tests, start by start."""

from pathlib import Path

from launch import executors
from launch.plan import Plan
from launch.store import Location, submissions


def location_of(plan: Plan, name: str) -> Location:
    """The element that a stage was last sent in."""
    return submissions.locate(submissions.read_all(plan.experiment.store))[plan.find(name).key]


def log_of(plan: Plan, name: str, suffix: str = "out", task: int = 0) -> Path:
    """The log file of a task of that element, on Slurm."""
    at = location_of(plan, name)
    assert executors.of_location(at).has_queue
    return at.submission.logs(at.array) / f"{at.job}_{at.index}_{task}_log.{suffix}"


def start(plan: Plan, name: str, text: str, restart: int = 0, suffix: str = "out") -> None:
    """What a start of its job prints when it comes to the stage, at the end of its log."""
    with log_of(plan, name, suffix).open("a", encoding="utf-8") as file:
        file.write(f"--- start {restart}\n--- stage {plan.find(name).folder}\n{text}")
