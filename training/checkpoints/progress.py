"""How far a stage has come."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TaskMetrics:
    """A task's English dev under all of its metrics, by the head that was trained on it. Percent; a loss in nats."""

    task: str
    head: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class DevScore:
    """What English dev says of a model, in percent. `at_chance`: heads that do no better than a constant answer.
    `metrics`: of each of the stage's tasks."""

    score: float
    at_chance: tuple[str, ...] = ()
    metrics: tuple[TaskMetrics, ...] = ()


@dataclass
class Progress:
    """How far a stage has come: what a checkpoint holds besides tensors. Counts include earlier attempts."""

    step: int = 0  # steps done
    scores: list[float] = field(default_factory=list)  # on dev, per epoch
    at_chance: list[list[str]] = field(default_factory=list)  # heads, per epoch
    best: dict[str, Any] | None = None  # epoch, score
    points: list[dict[str, Any]] = field(default_factory=list)  # of dev: step, progress, task, head, metrics
    examples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    out_of_memory: list[dict[str, int]] = field(default_factory=list)  # step, and its token_budget from then on
    # How the numbers are rounded: kept by a resume, so that it continues bit for bit.
    token_budget: int = 0
    matmul: str = ""
    vocabulary: str | None = None  # hash of the compact vocabulary's ids
