"""How many seeds every pair of a recipe and a target is given (`seeds: {min, max, until}`), by what is published.

A pair's seeds are taken in their order, each as the difference to `none` of the same seed. One that diverged, or failed
for good, on either side tells nothing, and the next one stands in for it. What is decided is a function of the file,
of results, and of what the failure policy says of failures: whoever looks at the same store comes to the same.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eval.tables.baseline import baseline_of, is_baseline
from launch.experiment import Race
from launch.plan import Plan, Stage
from launch.results import scores
from launch.status import policy

_VOID = 2  # times `min`: so many first seeds that tell nothing are enough

if TYPE_CHECKING:
    from eval.statistics.sequential import Look, Rule
    from launch.status.observation import Observation


@dataclass(frozen=True)
class PairRace:
    """A recipe on a target against `none`. `wanted`: seeds that shall be there, the first ones but for those that tell
    nothing; `look`: what the seeds so far say, None before there are enough."""

    recipe: str
    target: str
    wanted: tuple[int, ...]
    void_seeds: tuple[int, ...]  # that tell nothing, as they failed for good or diverged
    compared: int  # seeds with a difference
    look: "Look | None"
    is_over: bool  # it gets no more seeds

    @property
    def void(self) -> int:
        """How many seeds tell nothing."""
        return len(self.void_seeds)

    def words(self, race: Race) -> str:
        """For a line."""
        lost = f", without {self.void} that failed or diverged" if self.void else ""
        if self.look is None:
            count = f"{self.compared} of {race.min} to {race.max} seeds{lost}"
            return f"given up, {count}" if self.is_over else f"racing, {count}"
        seeds, interval = f"{self.look.seeds} seeds{lost}", _interval(self.look)
        if not self.is_over:
            return f"racing, {seeds}: {interval}"
        if self.look.conclusion == "different":
            return f"decided after {seeds}: {interval}"
        if self.look.conclusion == "equal":
            return f"equal within {race.until:g} after {seeds}: {self.look.value:+.1f}, at most {self.look.at_most:.2g}"
        if self.look.seeds + self.void < race.max:
            return f"given up after {seeds}, as {race.max} would hardly tell: {interval}"
        return f"open after {seeds}: {interval}"


def _interval(look: "Look") -> str:
    if look.high - look.low == float("inf"):
        return f"{look.value:+.1f}, all alike"
    return f"{look.value:+.1f} [{look.low:+.1f}, {look.high:+.1f}]"


@dataclass(frozen=True)
class Racing:
    """By (recipe, target). `unneeded`: stages that are not finished and that no pair wants now, and why;
    `unwanted_keys`: those of them that none will want, as all pairs that would are over."""

    pairs: Mapping[tuple[str, str], PairRace] = field(default_factory=dict)
    unneeded: Mapping[str, str] = field(default_factory=dict)
    unwanted_keys: Set[str] = frozenset()


def of(plan: Plan, observation: "Observation") -> Racing:
    """How the race stands; empty where there is none."""
    race = plan.experiment.race
    if race is None:
        return Racing()
    from eval.statistics.sequential import Looks, Rule

    judge = _Judge(plan, observation, Rule(Looks(race.min, race.max), race.until, race.alpha))
    cells = dict.fromkeys((recipe, target) for recipe, target, _ in plan.paths if not is_baseline(recipe))
    pairs = {cell: judge.pair(*cell) for cell in cells}
    needed: set[str] = set()
    for pair in pairs.values():
        for seed in pair.wanted:
            for recipe in (pair.recipe, baseline_of(pair.recipe)):
                needed |= _path(plan, recipe, pair.target, seed)
    users = {
        key: _users(plan, pairs, stage)
        for key, stage in plan.stages.items()
        if key not in needed and key not in observation.finished
    }
    unwanted_keys = frozenset(
        key for key, users_of_stage in users.items() if all(pair.is_over for pair in users_of_stage)
    )
    return Racing(pairs, {key: _why(users_of_stage, race) for key, users_of_stage in users.items()}, unwanted_keys)


def _users(plan: Plan, pairs: Mapping[tuple[str, str], PairRace], stage: Stage) -> list[PairRace]:
    """The pairs that a stage may serve; of `none` those that are compared with it."""
    cells = set(plan.users[stage.key])
    users = cells & pairs.keys()
    return [
        pair
        for cell, pair in pairs.items()
        if (cell in users if users else (baseline_of(pair.recipe), pair.target) in cells)
    ]


def _why(users: Sequence[PairRace], race: Race) -> str:
    open_count = sum(not pair.is_over for pair in users)
    if open_count:
        return f"racing: not wanted yet by {open_count} of {len(users)} pairs"
    if len(users) == 1:
        return users[0].words(race)
    return f"all {len(users)} pairs that would need it are decided or given up"


def _path(plan: Plan, recipe: str, target: str, seed: int) -> set[str]:
    return {stage.key for stage in plan.chain(plan.paths[recipe, target, seed])}


@dataclass(frozen=True)
class Outcome:
    """One seed of a pair. Without a difference it is on its way, or still to be sent, unless it `is_void`: then it
    tells nothing and never will."""

    difference: float | None = None
    is_void: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a pair is. `wanted`: places of its seeds that shall be there; `compared`: the first so many of them have
    a difference that counted."""

    wanted: tuple[int, ...]
    void: int
    compared: int
    look: "Look | None"
    is_over: bool


def progress(outcomes: Sequence[Outcome], rule: "Rule") -> Progress:
    """Which of a pair's seeds are wanted, all that it may have being given in their order.

    The first ones at once, then one at a time, until the pair is decided or given up, or there are no more. One whose
    first seeds all tell nothing is given up.
    """
    differences: list[float] = []
    places: list[int] = []
    void = 0
    for place, outcome in enumerate(outcomes):
        look = rule.last_look(differences)
        is_decided = look is not None and look.conclusion is not None
        is_decided |= not places and void >= _VOID * rule.looks.first  # as where a recipe diverges with any seed
        if is_decided or len(places) >= max(rule.looks.first, len(differences) + 1):
            return Progress(tuple(places), void, len(differences), look, is_decided)
        if outcome.is_void:
            void += 1
            continue
        # A seed that comes before its turn has to wait for those before it: else who comes first would have a say.
        if outcome.difference is not None and len(places) == len(differences):
            differences.append(outcome.difference)
        places.append(place)
    is_complete = len(places) == len(differences)
    return Progress(tuple(places), void, len(differences), rule.last_look(differences), is_complete)


@dataclass(frozen=True)
class _Judge:
    plan: Plan
    observation: "Observation"
    rule: "Rule"
    _is_void: dict[str, bool] = field(default_factory=dict)  # by evaluate stage

    def pair(self, recipe: str, target: str) -> PairRace:
        seeds = self.plan.experiment.seeds
        outcomes = [self._outcome(recipe, target, seed) for seed in seeds]
        at = progress(outcomes, self.rule)
        void_seeds = tuple(seed for seed, outcome in zip(seeds, outcomes, strict=True) if outcome.is_void)[: at.void]
        wanted_seeds = tuple(seeds[place] for place in at.wanted)
        return PairRace(recipe, target, wanted_seeds, void_seeds, at.compared, at.look, at.is_over)

    def _outcome(self, recipe: str, target: str, seed: int) -> Outcome:
        stage, baseline = (
            self.plan.stages[self.plan.paths[name, target, seed]] for name in (recipe, baseline_of(recipe))
        )
        if self.is_void(stage) or self.is_void(baseline):
            return Outcome(is_void=True)
        if not (self.observation.is_finished(stage) and self.observation.is_finished(baseline)):
            return Outcome()
        return Outcome(self._score(stage) - self._score(baseline))

    def _score(self, stage: Stage) -> float:
        score = scores.score(self.plan, self.observation.store, stage)
        assert score is not None, stage
        return score

    def is_void(self, stage: Stage) -> bool:
        """Whether an evaluate stage tells nothing: it rests on chance, or failed for good."""
        if stage.key not in self._is_void:
            chain = list(self.plan.chain(stage.key))
            self._is_void[stage.key] = any(map(self._failed_for_good, chain)) or self._says_nothing(stage)
        return self._is_void[stage.key]

    def _says_nothing(self, stage: Stage) -> bool:
        if not self.observation.is_finished(stage):
            return False
        plan, store = self.plan, self.observation.store
        rests_on_chance = any(scores.at_chance(plan, store, train) for train in scores.trainings_under(plan, stage))
        return rests_on_chance or scores.score(plan, store, stage) is None

    def _failed_for_good(self, stage: Stage) -> bool:
        if self.observation.state(stage).state != "failed":
            return False
        return not policy.decide(self.observation.failures(stage), self.plan.experiment.failures).send
