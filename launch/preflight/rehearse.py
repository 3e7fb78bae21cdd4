"""A rehearsal: each distinct step and target of an experiment once, on a few examples, through the whole real path.

It has a store of its own, `rehearsal/<experiment>/` in the experiment's, so that nothing of it is taken for a result.
What would fail after a night in the queue fails here in minutes: data, model, memory of a step, checkpoints, scores,
the table.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from launch import executors
from launch import plan as planning
from launch.draft import elements
from launch.experiment import Cluster, Experiment, Failures, Overrides
from launch.plan import Plan, Stage
from launch.preflight import checks
from launch.results import scores, table
from launch.status import Observation
from launch.status import under_way as way
from launch.store import Store, lock, submissions
from launch.store.store import rehearsal_folder
from launch.submit import follow, submitter
from slurm.base import UserError
from slurm.base.files import remove_folder
from slurm.causes import Cause

Kind = Literal["train", "evaluate"]
_SUFFIX = "-rehearsal"
STEPS = 2  # of the training with the largest batch
_EVAL_EXAMPLES = 16
_TIME = "30:00"  # of a job: starting it, loading a model and two steps
_NAME_LENGTH = 64
_NO_FAILURE = ("preempted", "cancelled", "elsewhere")  # of the experiment
_GPU_FLAGS = ("gres", "gpus", "gpus-per-task", "gpus-per-socket")


@dataclass(frozen=True)
class Outcome:
    """One stage of a rehearsal. `stands_for`: how many stages of the experiment have its definition."""

    stage: Stage
    stands_for: int
    failure: str | None  # None: it went well
    logs: tuple[Path, ...]  # of its job, where it failed

    @property
    def line(self) -> str:
        """For people."""
        what = f"{self.stage.kind} {self.stage.task}"
        many = "1 stage" if self.stands_for == 1 else f"{self.stands_for} stages"
        shown = "ok" if self.failure is None else f"failed: {self.failure}"
        return f"{what} (for {many}): {shown}" + "".join(f"\n  log: {path}" for path in self.logs)


@dataclass(frozen=True)
class Rehearsal:
    """What came of it. `collected`: why no table could be made, None: it could, or nothing was there to collect."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    collected: str | None = None

    @property
    def went_well(self) -> bool:
        return self.collected is None and all(outcome.failure is None for outcome in self.outcomes)


def rehearse(experiment: Experiment, *, local: bool, report: Callable[[str], None], keep: bool = False) -> Rehearsal:
    """Run the rehearsal to its end. Its store goes when all went well, unless `keep`; else it stays for its logs.

    `local`: with local workers on this machine, whatever the file says. A rehearsal that is still under way is gone on
    with. UserError where the experiment cannot be planned or sent.
    """
    whole = planning.make(experiment)
    made = make(whole, local=local)
    if local and experiment.cluster.gpus_asked_for and not made.experiment.cluster.gpus_asked_for:
        report("no GPU here: rehearsed on the CPU, which says nothing about the GPUs' memory")
    report(f"{len(made.stages)} stages stand for {len(whole.stages)}")
    checks.check(made)
    checks.check_fetched(made)
    submitter.check_writable(experiment.store)
    # The experiment's own lock: gc, and another rehearsal of the experiment, are to see all of it or nothing.
    with lock.lock(experiment.store, lock.PATIENCE, report):
        _clear(made, report)
        submitter.submit(made, report=report)
    follow.follow(made, report)
    done = _rehearsal(whole, made)
    if done.went_well and not keep:
        with suppress(UserError), lock.lock(experiment.store, lock.PATIENCE, report):
            if _is_under_way(made) is False:
                remove_folder(made.experiment.store)
    return done


# --- what is rehearsed


def make(whole: Plan, *, local: bool) -> Plan:
    """The plan of a rehearsal: the first seed, and of its paths as few as have every step and every target."""
    made = planning.make(smaller(whole, local=local))
    chosen: dict[tuple[str, str, int], str] = {}
    covered: set[str] = set()
    for path, key in made.paths.items():
        chain = list(_chain(made, key))
        if not covered.issuperset(stage.definition for stage in chain):
            chosen[path] = key
            covered |= {stage.definition for stage in chain}
    kept = {stage.key for key in chosen.values() for stage in _chain(made, key)}
    stages = {key: stage for key, stage in made.stages.items() if key in kept}
    return replace(made, stages=stages, paths=chosen)


def _chain(plan: Plan, key: str) -> Iterator[Stage]:
    """An evaluate stage and the trainings that it rests on."""
    at: str | None = key
    while at is not None:
        yield plan.stages[at]
        at = plan.stages[at].parent


def smaller(whole: Plan, *, local: bool) -> Experiment:
    """The experiment on a slice of its data. Batches and lengths stay as they are: they are what memory goes by."""
    experiment = whole.experiment
    batch = max((step.settings.global_batch_size for step in whole.steps.values()), default=1)
    return replace(
        experiment,
        name=f"{experiment.name[: _NAME_LENGTH - len(_SUFFIX)]}{_SUFFIX}",
        store=rehearsal_folder(experiment.store, experiment.name),
        seeds=experiment.seeds[:1],
        max_train=min(experiment.max_train or STEPS * batch, STEPS * batch),
        max_eval=min(experiment.max_eval or _EVAL_EXAMPLES, _EVAL_EXAMPLES),
        # A checkpoint after the first step: disks fill up and quotas end there.
        training=experiment.training.model_copy(update={"epochs": 1, "checkpoint_minutes": 0.0}),
        tasks={name: _without_length(overrides) for name, overrides in experiment.tasks.items()},
        cluster=_cluster(experiment.cluster, local=local),
        keep="intermediate",
        failures=no_retries(),
    )


def no_retries() -> Failures:
    """What fails is told, not tried again: that is what a rehearsal is for. A preemption is no failure of it."""
    rules: dict[str, Any] = {cause: {"retry": "0"} for cause in get_args(Cause) if cause not in _NO_FAILURE}
    return Failures.model_validate(rules | {"equal": "10000"})


def _without_length(overrides: Overrides) -> Overrides:
    values = {name: value for name, value in overrides.given().items() if name not in ("epochs", "checkpoint_minutes")}
    shorter: Overrides = Overrides.model_construct(**values)
    return shorter


def _cluster(cluster: Cluster, *, local: bool) -> Cluster:
    """Where it runs: as the file says, for a short time, so that it starts soon."""
    if local:
        return cluster.model_copy(update={"executor": "local"} | ({} if _gpu_is_here() else _without_gpus(cluster)))
    short = cluster.time is None or elements.seconds(cluster.time) > elements.seconds(_TIME)
    return cluster.model_copy(update={"time": _TIME} if short else {})


def _without_gpus(cluster: Cluster) -> dict[str, Any]:
    kept = {flag: value for flag, value in cluster.sbatch.items() if flag not in _GPU_FLAGS}
    return {"gpus_per_node": None, "sbatch": kept}


def _gpu_is_here() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


# --- what came of it


def _clear(made: Plan, report: Callable[[str], None]) -> None:
    """Remove what an earlier rehearsal left, unless some of it is still under way."""
    folder = made.experiment.store
    under_way = _is_under_way(made)
    if under_way is None:
        raise UserError(f"Slurm does not answer, and {folder} may be in use by an earlier rehearsal; try again later")
    if under_way:
        report(f"an earlier rehearsal is under way in {folder}: going on with what is there")
    else:
        remove_folder(folder)


def _is_under_way(made: Plan) -> bool | None:
    """Whether anything that was ever sent from a rehearsal's store is queued or runs, also by the file as it was before
    an edit; None where Slurm does not answer."""
    sent = submissions.read_all(made.experiment.store)
    queued = way.in_queue(sent)
    return None if queued is None else way.is_busy(sent, queued)


def _rehearsal(whole: Plan, made: Plan) -> Rehearsal:
    store = Store(made.experiment.store)
    seen = Observation(made, store, 0)
    counts = _counts(whole)
    outcomes = tuple(
        _outcome(made, seen, digest, counts.get(_means(made, kind, digest), 0)) for digest, kind in _definitions(made)
    )
    finished = all(seen.is_finished(stage) for stage in made.stages.values())
    return Rehearsal(made, outcomes, _collect(made, store) if finished else None)


def _definitions(plan: Plan) -> list[tuple[str, Kind]]:
    """The digest of every definition and the kind of its stages, in the plan's order."""
    return list({stage.definition: stage.kind for stage in plan.stages.values()}.items())


def _outcome(made: Plan, seen: Observation, digest: str, stands_for: int) -> Outcome:
    """Of all stages with one definition: well where each is finished, else what the first one says that failed."""
    alike = [stage for stage in made.stages.values() if stage.definition == digest]
    bad = [stage for stage in alike if not seen.is_finished(stage)]
    if not bad:
        return Outcome(alike[0], stands_for, None, ())
    worst = next((stage for stage in bad if seen.state(stage).state == "failed"), bad[0])
    state = seen.state(worst)
    return Outcome(worst, stands_for, state.reason or state.state, _logs(made, seen, worst))


def _logs(made: Plan, seen: Observation, stage: Stage) -> tuple[Path, ...]:
    try:
        return tuple(executors.logs_of(made.experiment.store, stage)) if seen.state(stage).state == "failed" else ()
    except UserError:
        return ()


def _counts(plan: Plan) -> Counter[tuple[Any, ...]]:
    """How many stages mean the same apart from how much data there is and how long they train."""
    stages = Counter(stage.definition for stage in plan.stages.values())
    found: Counter[tuple[Any, ...]] = Counter()
    for digest, kind in _definitions(plan):
        found[_means(plan, kind, digest)] += stages[digest]
    return found


def _means(plan: Plan, kind: Kind, digest: str) -> tuple[Any, ...]:
    """What a definition is apart from that."""
    if kind == "evaluate":
        target = plan.by_digest[digest]
        return kind, target.task.name, replace(target.settings, epochs=0)
    step = plan.steps[digest]
    parts = tuple((part.task, part.head_name) for part in step.parts)
    return kind, parts, replace(step.settings, epochs=0)


def _collect(made: Plan, store: Store) -> str | None:
    """Make the table as `collect` does; what is wrong with it, if anything."""
    try:
        rows = scores.rows(made, store)
        table.cells(made, store, rows)
        table.write(made, store, rows)
    except UserError as error:
        return str(error)
    return None if rows else "all stages finished, but there is no score to collect"
