"""One look as an `Overview`: where the seeds of every cell and of every shared training stand.

Cheap at 100,000 stages: states, scores and causes are what the observation and the index know by now. Only of stages
that run, and of no more of them than are shown, files are read: their heartbeats.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from eval.tables.baseline import with_label
from launch.plan import Plan, Stage
from launch.results import scores
from launch.standing import places, progress
from launch.standing.progress import Progress
from launch.standing.records import Cell, FoldState, Overview, SeedStanding, SharedTraining, Silence
from launch.status import Observation, StageState
from launch.store import Store
from launch.store.store import Known

_SCORE: Final = 3  # of a Known, which in memory is a plain list
_AT_CHANCE: Final = 4
assert Known._fields[_SCORE : _AT_CHANCE + 1] == ("score", "at_chance")


def take(plan: Plan, store: Store, observation: Observation) -> Overview:
    """How an experiment stands, by one observation of it."""
    at_work = _progress(store, observation)
    sources = _Sources(plan, store, observation, at_work, places.of_jobs(observation.entries), {})
    return Overview(
        name=plan.experiment.name,
        taken=time.time(),
        recipes=plan.recipe_names,
        targets=tuple(plan.targets),
        cells=_cells(sources),
        shared=tuple(_shared(sources)),
        counts=observation.counts(),
        total=observation.total,
        progress=at_work,
        silence=_silence(observation),
    )


def _progress(store: Store, observation: Observation) -> dict[str, Progress]:
    """Of what runs; where nobody says what does, of what has begun."""
    at_work = observation.among(["running"])
    if len(at_work) < progress.MOST_READ:
        at_work += [stage for stage in observation.among(["unknown"]) if store.exists(stage)]
    return progress.of_stages(store, at_work[: progress.MOST_READ])


def _silence(observation: Observation) -> Silence | None:
    states = [observation.state(stage) for stage in observation.among(["unknown"])]
    if observation.entries is not None or not states:
        return None
    first = min(states, key=lambda state: state.since or 0.0)
    return Silence(first.reason or "Slurm does not answer", first.since)


@dataclass(frozen=True)
class _Sources:
    """What seeds are told from."""

    plan: Plan
    store: Store
    observation: Observation
    at_work: Mapping[str, Progress]
    places: Mapping[str, int]
    _rests_on_chance: dict[str, bool]

    def is_shared(self, stage: Stage) -> bool:
        return len(self.plan.users[stage.key]) > 1

    def score(self, stage: Stage) -> float | None:
        record = self.store.index.get(stage.key)
        score: float | None = record[_SCORE] if record is not None else scores.score(self.plan, self.store, stage)
        return score

    def has_diverged(self, stage: Stage) -> bool:
        record = self.store.index.get(stage.key)
        return bool(record[_AT_CHANCE] if record is not None else scores.at_chance(self.plan, self.store, stage))

    def rests_on_chance(self, training: str | None) -> bool:
        """Whether a training (by key), or one before it, has diverged; None: the start model."""
        if training is None:
            return False
        if training not in self._rests_on_chance:
            stage = self.plan.stages[training]
            self._rests_on_chance[training] = self.has_diverged(stage) or self.rests_on_chance(stage.parent)
        return self._rests_on_chance[training]


def _cells(sources: _Sources) -> dict[tuple[str, str], Cell]:
    plan = sources.plan
    evaluates: dict[tuple[str, str], dict[str, int | None]] = {}  # by cell: the keys of its evaluates, and their seeds
    for (recipe, target, _), key in plan.paths.items():
        evaluates.setdefault((recipe, target), {})[key] = plan.stages[key].seed
    return {
        (recipe, target): Cell(
            tuple(_of_evaluate(sources, plan.stages[key]) for key in _shown(sources, seeds)), recipe, target
        )
        for (recipe, target), seeds in evaluates.items()
    }


def _shown(sources: _Sources, seeds: Mapping[str, int | None]) -> list[str]:
    """Of a cell's evaluates, by key, all but what no pair of a race has wanted. Where that is all of them, as where
    another experiment showed that a training of the recipe always fails, the seeds that every pair gets."""
    optional_seeds = sources.plan.experiment.optional_seeds
    shown_keys = [key for key in seeds if _is_shown(sources, key)]
    return shown_keys or [key for key, seed in seeds.items() if seed not in optional_seeds]


def _of_evaluate(sources: _Sources, stage: Stage) -> SeedStanding:
    if stage.key in sources.observation.finished:
        rests_on_chance, score = sources.rests_on_chance(stage.parent), sources.score(stage)
        return SeedStanding(stage.seed, stage.key, "finished", stage.key, score=score, diverged=rests_on_chance)
    # Its own trainings, which no other cell needs, stand for it: what is not finished of them, the first first.
    own_stages, before = [stage], _parent(sources.plan, stage)
    while before is not None and not sources.is_shared(before) and not sources.observation.is_finished(before):
        own_stages.insert(0, before)
        before = _parent(sources.plan, before)
    if before is not None and sources.observation.is_finished(before):
        before = None
    return _unfinished(sources, stage, own_stages, before)


def _is_shown(sources: _Sources, key: str) -> bool:
    """All but what no pair of a race has wanted."""
    observation = sources.observation
    return key not in observation.unneeded or observation.state(sources.plan.stages[key]).state != "new"


def _parent(plan: Plan, stage: Stage) -> Stage | None:
    return plan.stages[stage.parent] if stage.parent else None


def _unfinished(sources: _Sources, stage: Stage, own_stages: list[Stage], before: Stage | None) -> SeedStanding:
    """`own_stages`: those that are not finished, in order; `before`: what they wait for, where that is not finished."""
    states = [sources.observation.state(own_stage) for own_stage in own_stages]
    telling = next((n for n, state in enumerate(states) if state.state in ("running", "failed")), 0)
    state, at = states[telling], own_stages[telling]
    fold_state: FoldState = state.state
    if state.state == "queued" and before is not None:
        fold_state, at = "waiting", before
    return _standing(sources, stage, fold_state, at, state)


def _standing(sources: _Sources, stage: Stage, fold_state: FoldState, at: Stage, state: StageState) -> SeedStanding:
    place = sources.places.get(state.job or "") if fold_state == "queued" else None
    progress_there = sources.at_work.get(at.key) if fold_state in ("running", "unknown") else None
    return SeedStanding(stage.seed, stage.key, fold_state, at.key, state.cause, state.reason, place, progress_there)


def _shared(sources: _Sources) -> Iterator[SharedTraining]:
    """In the plan's order: parents before children."""
    plan = sources.plan
    groups: dict[tuple[str, ...], list[Stage]] = {}  # by the start model, and the definitions from there on
    path_of: dict[str, tuple[str, ...]] = {}
    for stage in plan.stages.values():
        if stage.kind == "train" and sources.is_shared(stage) and _is_shown(sources, stage.key):
            path = (*(path_of[stage.parent] if stage.parent else (stage.model,)), stage.definition)
            path_of[stage.key] = path
            groups.setdefault(path, []).append(stage)
    for path, stages in groups.items():
        seeds = tuple(_of_training(sources, stage) for stage in stages)
        model, *steps = path
        name = with_label(model, " > ".join(plan.steps[definition].task for definition in steps))
        yield SharedTraining(seeds, name, tuple(plan.users[stages[0].key]))


def _of_training(sources: _Sources, stage: Stage) -> SeedStanding:
    observation = sources.observation
    if observation.is_finished(stage):
        score, at_chance = sources.score(stage), sources.has_diverged(stage)
        return SeedStanding(stage.seed, stage.key, "finished", stage.key, score=score, diverged=at_chance)
    before = _parent(sources.plan, stage)
    if before is not None and observation.is_finished(before):
        before = None
    return _unfinished(sources, stage, [stage], before)
