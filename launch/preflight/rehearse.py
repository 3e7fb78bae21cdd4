"""A rehearsal: each distinct step and target of an experiment once with each start model, on a few examples, through
the whole real path.

It has a store of its own, `rehearsal/<experiment>/` in the experiment's, so that nothing of it is taken for a result.
What would fail after a night in the queue fails here in minutes: data, model, memory of a step, checkpoints, scores,
the table.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from eval.tables.baseline import with_label
from launch import executors
from launch import plan as planning
from launch.draft import elements
from launch.experiment import Cluster, Collect, Experiment, Failures, Notify, Overrides
from launch.plan import Plan, Stage
from launch.preflight import checks
from launch.results import table
from launch.standing.so_far import Standing
from launch.status import Observation
from launch.status import under_way as way
from launch.store import Store, lock, submissions
from launch.store.store import rehearsal_folder
from launch.submit import follow, submitter
from slurm import snapshot
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
# Flags that ask for GPUs, or for something beside each.
_GPU_FLAGS = ("gres", "gpus", "gpus-per-task", "gpus-per-socket", "cpus-per-gpu", "gpu-bind")


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
        stage = f"{self.stage.kind} {with_label(self.stage.model, self.stage.task)}"
        many = "1 stage" if self.stands_for == 1 else f"{self.stands_for} stages"
        outcome = "ok" if self.failure is None else f"failed: {self.failure}"
        return f"{stage} (for {many}): {outcome}" + "".join(f"\n  log: {path}" for path in self.logs)


@dataclass(frozen=True)
class Rehearsal:
    """What came of it. `collected`: why no table could be made, None: it could, or nothing was there to collect."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    collected: str | None = None

    @property
    def went_well(self) -> bool:
        return self.collected is None and all(outcome.failure is None for outcome in self.outcomes)


def rehearse(
    experiment: Experiment,
    *,
    local: bool,
    report: Callable[[str], None],
    keep: bool = False,
    draw: Callable[[Standing], None] | None = None,
) -> Rehearsal:
    """Run the rehearsal to its end. Its store goes when all went well, unless `keep`; else it stays for its logs.

    `local`: with local workers on this machine, whatever the file says. A rehearsal that is still under way is gone on
    with. `draw`: is told how far it is; None: `report` is. UserError where the experiment cannot be planned or sent.
    """
    full_plan = planning.make(experiment)
    plan = make(full_plan, local=local)
    if local and experiment.cluster.gpus_asked_for and not plan.experiment.cluster.gpus_asked_for:
        report("no GPU here: rehearsed on the CPU, which says nothing about the GPUs' memory")
    report(f"{len(plan.stages)} stages stand for {len(full_plan.stages)}")
    checks.check(plan)
    checks.check_fetched(plan)
    submitter.check_writable(experiment.store)
    # The experiment's own lock: gc, and another rehearsal of the experiment, are to see all of it or nothing.
    with lock.lock(experiment.store, lock.PATIENCE, report):
        _clear(plan, report)
        submitter.submit(plan, report=report)
    follow.follow(plan, report, draw)
    rehearsal = _rehearsal(full_plan, plan)
    if rehearsal.went_well and not keep:
        with suppress(UserError), lock.lock(experiment.store, lock.PATIENCE, report):
            if _is_under_way(plan) is False:
                remove_folder(plan.experiment.store)
    return rehearsal


# --- what is rehearsed


def make(full_plan: Plan, *, local: bool) -> Plan:
    """The plan of a rehearsal: the first seed, and of its paths as few as have every step and every target with
    each start model."""
    plan = planning.make(smaller(full_plan, local=local))
    paths: dict[tuple[str, str, int], str] = {}
    works: set[tuple[str, str]] = set()
    for path, key in plan.paths.items():
        chain = list(plan.chain(key))
        if not works.issuperset(stage.work for stage in chain):
            paths[path] = key
            works |= {stage.work for stage in chain}
    keys = {stage.key for key in paths.values() for stage in plan.chain(key)}
    stages = {key: stage for key, stage in plan.stages.items() if key in keys}
    return replace(plan, stages=stages, paths=paths)


def smaller(full_plan: Plan, *, local: bool) -> Experiment:
    """The experiment on a slice of its data. Batches and lengths stay as they are: they are what memory goes by."""
    experiment = full_plan.experiment
    batch = max((step.settings.global_batch_size for step in full_plan.steps.values()), default=1)
    return replace(
        experiment,
        name=f"{experiment.name[: _NAME_LENGTH - len(_SUFFIX)]}{_SUFFIX}",
        store=rehearsal_folder(experiment.store, experiment.name),
        seeds=experiment.seeds[:1],
        race=None,
        max_train=min(experiment.max_train or STEPS * batch, STEPS * batch),
        max_eval=min(experiment.max_eval or _EVAL_EXAMPLES, _EVAL_EXAMPLES),
        # A checkpoint after the first step: disks fill up and quotas end there.
        training=experiment.training.model_copy(update={"epochs": 1, "checkpoint_minutes": 0.0}),
        tasks={name: _without_length(overrides) for name, overrides in experiment.tasks.items()},
        cluster=_cluster(experiment.cluster, local=local),
        keep="intermediate",
        failures=no_retries(),
        notify=Notify(),
        collect=Collect.model_validate({"job": "false", "every": "0"}),
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
    if cluster.chosen_executor == "local":
        return cluster
    short = cluster.time is None or elements.seconds(cluster.time) > elements.seconds(_TIME)
    return cluster.model_copy(update={"time": _TIME} if short else {})


def _without_gpus(cluster: Cluster) -> dict[str, Any]:
    flags = {flag: value for flag, value in cluster.sbatch.items() if flag not in _GPU_FLAGS}
    return {"gpus_per_node": None, "mem_per_gpu": None, "sbatch": flags}


def _gpu_is_here() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


# --- what came of it


def _clear(plan: Plan, report: Callable[[str], None]) -> None:
    """Remove what an earlier rehearsal left, unless some of it is still under way."""
    folder = plan.experiment.store
    under_way = _is_under_way(plan)
    if under_way is None:
        raise snapshot.unanswered(f"{folder} may be in use by an earlier rehearsal")
    if under_way:
        report(f"an earlier rehearsal is under way in {folder}: going on with what is there")
    else:
        remove_folder(folder)


def _is_under_way(plan: Plan) -> bool | None:
    """Whether anything that was ever sent from a rehearsal's store is queued or runs, also by the file as it was before
    an edit; None where Slurm does not answer."""
    intents = submissions.read_all(plan.experiment.store)
    queue = way.in_queue(intents)
    return None if queue is None else way.is_busy(intents, queue)


def _rehearsal(full_plan: Plan, plan: Plan) -> Rehearsal:
    store = Store(plan.experiment.store)
    observation = Observation(plan, store, 0)
    counts = _counts(full_plan)
    outcomes = tuple(
        _outcome(plan, observation, work, counts.get(_means(plan, kind, work), 0)) for work, kind in _works(plan)
    )
    all_finished = all(observation.is_finished(stage) for stage in plan.stages.values())
    return Rehearsal(plan, outcomes, _collect(plan, store) if all_finished else None)


def _works(plan: Plan) -> list[tuple[tuple[str, str], Kind]]:
    """Every definition with every start model that it follows, and the kind of its stages, in the plan's order."""
    return list({stage.work: stage.kind for stage in plan.stages.values()}.items())


def _outcome(plan: Plan, observation: Observation, work: tuple[str, str], stands_for: int) -> Outcome:
    """Of all stages with the same work: well where each is finished, else what the first one says that failed."""
    alike = [stage for stage in plan.stages.values() if stage.work == work]
    bad = [stage for stage in alike if not observation.is_finished(stage)]
    if not bad:
        return Outcome(alike[0], stands_for, None, ())
    worst = next((stage for stage in bad if observation.state(stage).state == "failed"), bad[0])
    state = observation.state(worst)
    return Outcome(worst, stands_for, state.reason or state.state, _logs(plan, observation, worst))


def _logs(plan: Plan, observation: Observation, stage: Stage) -> tuple[Path, ...]:
    try:
        return (
            tuple(executors.logs_of(plan.experiment.store, stage)) if observation.state(stage).state == "failed" else ()
        )
    except UserError:
        return ()


def _counts(plan: Plan) -> Counter[tuple[Any, ...]]:
    """How many stages mean the same apart from how much data there is and how long they train."""
    stages = Counter(stage.work for stage in plan.stages.values())
    counts: Counter[tuple[Any, ...]] = Counter()
    for work, kind in _works(plan):
        counts[_means(plan, kind, work)] += stages[work]
    return counts


def _means(plan: Plan, kind: Kind, work: tuple[str, str]) -> tuple[Any, ...]:
    """What a definition with a model is apart from that."""
    model, digest = work
    if kind == "evaluate":
        target = plan.by_digest[digest]
        return model, kind, target.task.name, replace(target.settings, epochs=0)
    step = plan.steps[digest]
    parts = tuple((part.task, part.head_name) for part in step.parts)
    return model, kind, parts, replace(step.settings, epochs=0)


def _collect(plan: Plan, store: Store) -> str | None:
    """Make the table as `collect` does; what is wrong with it, if anything."""
    from launch.merging import collect  # with it comes polars, which nothing else here needs

    try:
        rows = collect(plan, store).rows
        table.write(plan, table.summary(plan, store, rows))
    except UserError as error:
        return str(error)
    return None if rows else "all stages finished, but there is no score to collect"
