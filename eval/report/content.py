"""What a report tells, as frozen records. `launch.report` gathers them from a plan and its store.

Scores are percent, differences points, as in `eval.tables.sheet`, whose entries the grids are made of: of an entry
`value` is a difference to `none` or, for `none`, the score; `interval` is 95 %, `error` the standard error over seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from eval.studies.finding import Finding
from eval.tables.facts import Grouping
from eval.tables.sheet import Entry, Sheet

CURVE_POINTS = 200  # at most, of a curve
Unit = Literal["GPU-hours", "core-hours"]


@dataclass(frozen=True)
class Grid:
    """A sheet of recipes by targets, languages or groups of them, with both errors and intervals in its entries.

    `examples`: of each column, over how many test examples a score of one seed is; 0: not known yet.
    """

    sheet: Sheet
    examples: tuple[int, ...]

    @property
    def recipes(self) -> tuple[str, ...]:
        return tuple(recipe for recipe, _ in self.sheet.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.sheet.columns)

    def entry(self, recipe: str, column: str) -> Entry:
        return dict(self.sheet.rows)[recipe][self.columns.index(column)]


@dataclass(frozen=True)
class TargetGrids:
    """One target. `languages`: its columns are `mean`, then the languages; `groups`: the same of families, scripts and
    amounts of pretraining text, each after the mean."""

    target: str
    metric: str
    languages: Grid
    groups: Mapping[Grouping, Grid]


@dataclass(frozen=True)
class Curve:
    """One training. `steps` and `loss`: at most `CURVE_POINTS`, each the mean over the steps since the one before;
    `dev`: (step, English dev score) at the end of each epoch. `training`: as recipes are written, without its seed."""

    training: str
    seed: int
    stage: str  # key
    steps: tuple[int, ...]
    loss: tuple[float, ...]
    dev: tuple[tuple[int, float], ...]
    selected_epoch: int | None = None  # from 0
    diverged: bool = False


@dataclass(frozen=True)
class TransferPoint:
    """One run: English dev of the training on the target, and what it scores zero-shot.

    `transfer`: the mean over languages but English; `english`: the English test score, where there is one.
    """

    recipe: str
    target: str
    seed: int | None
    dev: float
    transfer: float
    english: float | None
    diverged: bool = False


@dataclass(frozen=True)
class Cost:
    """Hours by what became of them. `name`: a recipe, or a kind of stage such as `train squad`."""

    name: str
    useful: float
    running: float
    idle: float
    wasted: float

    @property
    def total(self) -> float:
        return self.useful + self.running + self.idle + self.wasted


@dataclass(frozen=True)
class Costs:
    """`by_recipe`: a stage that several need counts in equal parts for each. `shared`: hours of trainings that several
    cells need; `from_scratch`: trainings, had each (recipe, target, seed) done its whole path for itself."""

    unit: Unit
    total: Cost
    by_recipe: tuple[Cost, ...]
    by_kind: tuple[Cost, ...]
    wasted_on: tuple[tuple[str, float], ...]  # by what, the most first
    trainings: int
    from_scratch: int
    shared: float
    saved: float | None  # hours that training shared steps once has saved so far; None: nothing tells


@dataclass(frozen=True)
class Missing:
    """A run that is not finished. `state`: where its first open stage stands; `languages`: those without a score."""

    recipe: str
    target: str
    seed: int | None
    stage: str  # key of the evaluate
    state: str
    reason: str
    languages: tuple[str, ...]


@dataclass(frozen=True)
class NotCounted:
    """A result that is there and does not count. `name`: its stage's, and the language of an evaluate stage."""

    name: str
    stage: str  # key
    why: str


@dataclass(frozen=True)
class Divergence:
    """A training that did no better on English dev than a constant answer. `runs`: (recipe, target, seed) on it."""

    name: str
    stage: str  # key
    heads: tuple[str, ...]
    dev_score: float | None
    runs: int


@dataclass(frozen=True)
class Provenance:
    """Where the scores of one run come from: its evaluate stage, and the trainings that it rests on, the first
    first."""

    recipe: str
    target: str
    seed: int | None
    stage: str  # key
    name: str
    trainings: tuple[str, ...]  # keys
    generation: str  # hash of the encoder
    code: tuple[str, ...]  # hashes of the code that made the scores and the trainings
    languages: int
    examples: int


@dataclass(frozen=True)
class DataSource:
    """One list of examples. `use`: train, dev, test; `identity`: a Hub repository at a commit, or files by content."""

    task: str
    use: str
    language: str
    identity: str
    examples: int | None


@dataclass(frozen=True)
class Environment:
    """What made the results. `versions`: of each package every version there was, with how many results it made."""

    model: str
    code: tuple[tuple[str, int], ...]  # hash of the code, results
    versions: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    devices: tuple[tuple[str, int], ...]
    precisions: tuple[tuple[str, int], ...]
    settings: tuple[tuple[str, str], ...]  # of each training step: what differs from the defaults


@dataclass(frozen=True)
class RacedPair:
    """Of a recipe on a target how its race against `none` stands or ended, with the interval, as `stepstone status`
    says it. `void_seeds`: those that failed for good or diverged."""

    recipe: str
    target: str
    seeds: tuple[int, ...]
    void_seeds: tuple[int, ...]
    words: str


@dataclass(frozen=True)
class Raced:
    """`level`: of the intervals, over all looks, in percent; `until`: points within which a pair is equal."""

    level: float
    until: float
    pairs: tuple[RacedPair, ...]


@dataclass(frozen=True)
class AskedStudy:
    """A study that the experiment asks for. `lacking`: what is not there yet, and what to type. `model`: the label of
    the start model that it is of; "" without one."""

    question: str
    finding: Finding
    lacking: tuple[str, ...]
    model: str = ""

    @property
    def address(self) -> str:
        """Of its section, and the beginning of its plots' names."""
        return f"study-{self.finding.study}" + (f"-{self.model}" if self.model else "")

    @property
    def title(self) -> str:
        return f"Study: {self.finding.study}" + (f", from {self.model}" if self.model else "")


@dataclass(frozen=True)
class Content:
    """A whole report. `written`: Unix time; `finished` of `total`: stages; `counts`: of stages, by state. `command`:
    what makes every number again in an empty store."""

    name: str
    file: str  # the name of the experiment file, as a shell takes it
    command: str
    written: float
    finished: int
    total: int
    counts: Mapping[str, int]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    matrix: Grid
    targets: tuple[TargetGrids, ...]
    curves: tuple[Curve, ...]
    transfer: tuple[TransferPoint, ...]
    costs: Costs
    missing: tuple[Missing, ...]
    diverged: tuple[Divergence, ...]
    provenance: tuple[Provenance, ...]
    data: tuple[DataSource, ...]
    environment: Environment
    notes: tuple[str, ...]  # what a reader of the numbers must know
    not_counted: tuple[NotCounted, ...] = ()  # as they did not verify, or cannot be read
    raced: Raced | None = None
    least_seeds: int | None = None  # of a race, in which not every recipe gets all `seeds` on every target
    studies: tuple[AskedStudy, ...] = ()

    @property
    def is_partial(self) -> bool:
        return self.finished < self.total
