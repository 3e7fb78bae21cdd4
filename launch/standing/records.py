"""What an experiment looks like at one moment: cells of the matrix, shared trainings, totals. Seeds are folded.

Pure: everything here is told from what `overview` gathered.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean, stdev
from typing import Literal, NamedTuple

from launch.plan import Plan, Stage
from launch.standing.progress import Progress
from launch.status import State
from slurm.causes import Cause

# `waiting`: queued for a stage that is not finished; `queued`: only for room.
FoldState = Literal["failed", "held", "unknown", "cancelled", "running", "queued", "waiting", "new", "finished"]
# What needs a person comes first, then what moves.
FOLD_STATES: tuple[FoldState, ...] = (
    "failed", "held", "unknown", "cancelled", "running", "queued", "waiting", "new", "finished",
)  # fmt: skip


class SeedStanding(NamedTuple):  # of 100,000, dataclasses take more than twice as long
    """One seed of a cell, or of a shared training.

    `at`: key of the stage that says so: of the training before `stage` that runs or failed, or that it waits for.
    """

    seed: int | None  # None: chance plays no part
    stage: str  # key of its evaluate, or of the shared training
    state: FoldState
    at: str
    cause: Cause | None = None  # of failed
    reason: str | None = None  # of failed, held and unknown; of queued where it is no ordinary one
    place: int | None = None  # of queued: among the user's own that wait, where that is known
    progress: Progress | None = None  # of running, and of unknown where a heartbeat tells
    score: float | None = None  # of finished, in percent: its mean over languages; English dev of a training
    diverged: bool = False  # rests on a training that did no better than a constant answer


@dataclass(frozen=True)
class Fold:
    """Several seeds of the same thing."""

    seeds: tuple[SeedStanding, ...]

    @cached_property
    def counts(self) -> Mapping[FoldState, int]:
        """How many seeds are in each state: only those that there are, the most urgent state first."""
        counts = Counter(seed.state for seed in self.seeds)
        return {state: counts[state] for state in FOLD_STATES if counts[state]}

    @property
    def state(self) -> FoldState:
        """The one that needs a person most."""
        return next(iter(self.counts))

    def among(self, state: FoldState) -> list[SeedStanding]:
        return [seed for seed in self.seeds if seed.state == state]

    @property
    def causes(self) -> dict[Cause, int]:
        """Of the seeds that failed, the most frequent cause first."""
        return dict(Counter(seed.cause or "unknown" for seed in self.among("failed")).most_common())

    @property
    def place(self) -> int | None:
        """The best place in the queue of its seeds."""
        return min((seed.place for seed in self.seeds if seed.place is not None), default=None)

    @property
    def share(self) -> float | None:
        """How far its seeds that run are, on average; None while none has said so."""
        shares = [s.progress.share for s in self.seeds if s.progress is not None and s.progress.share is not None]
        return mean(shares) if shares else None

    @property
    def seconds_left(self) -> float | None:
        """Until the last of the stages that run now is done; None while nothing tells."""
        progresses = [seed.progress for seed in self.seeds if seed.progress is not None]
        return max((p.seconds_left for p in progresses if p.seconds_left is not None), default=None)

    @cached_property
    def _scores(self) -> list[float]:
        """Of the seeds that count: where all diverged, of those."""
        scored_seeds = [seed for seed in self.seeds if seed.score is not None]
        sound = [seed for seed in scored_seeds if not seed.diverged]
        return [seed.score for seed in sound or scored_seeds if seed.score is not None]

    @cached_property
    def score(self) -> float | None:
        """The mean over its finished seeds, without those that diverged, in percent."""
        return mean(self._scores) if self._scores else None

    @cached_property
    def deviation(self) -> float | None:
        """The sample standard deviation of the same; None for fewer than two."""
        return stdev(self._scores) if len(self._scores) > 1 else None

    @cached_property
    def diverged(self) -> int:
        """How many of its seeds diverged."""
        return sum(seed.diverged for seed in self.seeds)


@dataclass(frozen=True)
class Cell(Fold):
    """One recipe on one target."""

    recipe: str
    target: str


@dataclass(frozen=True)
class SharedTraining(Fold):
    """A training that several cells rest on. `users`: the (recipe, target) that need it."""

    name: str  # what it is trained on, as recipes are written: "squad > mnli"
    users: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Silence:
    """That Slurm does not say what is in the queue: since when (Unix time), and in words."""

    words: str
    since: float | None


@dataclass(frozen=True)
class Overview:
    """One look at an experiment. `cells` are in the file's order: by (recipe, target).

    `progress`: by stage key, of the first that run; where Slurm is silent, of those that were heard of last.
    """

    name: str
    taken: float  # Unix time
    recipes: tuple[str, ...]
    targets: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    shared: tuple[SharedTraining, ...]
    counts: Mapping[State, int]  # of stages
    total: int  # stages
    progress: Mapping[str, Progress] = field(default_factory=dict)
    silence: Silence | None = None  # None: Slurm has answered, or need not


def stages_of(plan: Plan, fold: Fold) -> list[Stage]:
    """The stages that a cell or a shared training rests on, seed by seed, each path from its beginning, each once."""
    stages: dict[str, Stage] = {}
    for seed in fold.seeds:
        path: list[Stage] = []
        key: str | None = seed.stage
        while key is not None:
            path.append(plan.stages[key])
            key = plan.stages[key].parent
        stages |= {stage.key: stage for stage in reversed(path)}
    return list(stages.values())
