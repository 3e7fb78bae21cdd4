"""What a submission would send: the difference between what is asked for and what is finished, queued or running."""

import itertools
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from launch import bundles, elements, estimate, policies, resources, throttle
from launch.attempts import Failure
from launch.cluster import Cluster
from launch.elements import Array, Dependency, Element, Sent
from launch.plan import Plan
from launch.policies import Changes, Failures
from launch.states import Observation
from launch.terminal import some
from slurm import arrays
from slurm.arrays import ArrayRequest
from slurm.limits import Limits

# Jobs read what `prepare` fetched: a compute node without a network would wait for it, one with it ask every time.
ENVIRONMENT = {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@dataclass(frozen=True)
class Bounds:
    """What the cluster takes at the moment."""

    elements: int | None = None  # how many more it takes from this user; None: no limit is known
    which: str = ""  # the limit that says so
    limits: Limits | None = None  # as the cluster said them; None: it was not asked


_UNBOUNDED = Bounds()


@dataclass(frozen=True)
class Draft:
    """What a submission would send, before it has an id: shown by `plan`, sent by `submit`."""

    plan: Plan
    needed: set[str]  # stages of these arrays
    arrays: list[Array]
    held_back: int  # elements that wait for a stage which another executor is at: sent by a later `submit`
    no_room: int = 0  # elements beyond what the cluster takes now: the same
    bounds: Bounds = _UNBOUNDED
    blocked: Mapping[str, str] = field(default_factory=dict)  # failed stages that are not sent again, and why
    breaker: str | None = None  # why nothing new is sent: too many stages failed alike

    @property
    def element_count(self) -> int:
        return sum(len(array.elements) for array in self.arrays)


def draft(
    plan: Plan,
    seen: Observation,
    max_array_size: int,
    bounds: Bounds = _UNBOUNDED,
    only: Collection[str] | None = None,
    force: Collection[str] = (),
) -> Draft:
    """The difference between what an experiment asks for and what is finished, queued or running.

    only: nothing but these stages (by key) and the trainings whose encoder they need again. force: stages that are
    sent whatever the policy says of their failures.
    """
    missing = elements.stages_to_run(plan, seen.is_finished, seen.is_sent, seen.has_encoder)
    if only is not None:
        missing &= _with_encoders(plan, seen, only)
    policy = plan.experiment.failures
    breaker = policies.held(_last_failures(plan, seen), policy)
    judged, changes = _judge(plan, seen, missing, policy, force)
    blocked = dict(judged)
    most_nodes = resources.most_excluded(plan.experiment.cluster, bounds.limits)
    if breaker:
        blocked = {key: blocked.get(key, breaker) for key in missing if key not in force}
        breaker = breaker if blocked else None
    needed = _possible(plan, seen, missing - blocked.keys())
    made = elements.make_elements(plan, needed, seen.is_sent, lambda stages: _together(stages, changes, most_nodes))
    sent = _sent(plan, seen)
    reachable = _reachable(made, sent.keys())
    packed = _packed(plan, reachable)
    everything = elements.arrange(packed, sent, max_array_size)
    kept = everything if bounds.elements is None else within(everything, bounds.elements)
    count = sum(len(array.elements) for array in kept)
    return Draft(
        plan,
        {key for array in kept for element in array.elements.values() for key in element.stages},
        kept,
        len(made) - len(reachable),
        len(packed) - count,
        bounds,
        {k: why for k, why in blocked.items() if k in judged or seen.state(plan.stages[k]).state == "failed"},
        breaker,
    )


def _with_encoders(plan: Plan, seen: Observation, only: Collection[str]) -> set[str]:
    """Some stages, and the finished trainings above them: those may have to make their encoder again."""
    found = set(only)
    for key in only:
        parent = plan.stages[key].parent
        while parent is not None and seen.is_finished(plan.stages[parent]):
            found.add(parent)
            parent = plan.stages[parent].parent
    return found


def _last_failures(plan: Plan, seen: Observation) -> dict[str, Failure]:
    """The last failure of every stage that is failed now."""
    failed = [stage for stage in plan.stages.values() if seen.state(stage).state == "failed"]
    return {stage.key: found[-1] for stage in failed if (found := seen.failures(stage))}


def _judge(
    plan: Plan, seen: Observation, missing: set[str], policy: Failures, force: Collection[str]
) -> tuple[dict[str, str], dict[str, Changes]]:
    """Of stages that failed before: why not to send them again, or with what changes."""
    blocked: dict[str, str] = {}
    changes: dict[str, Changes] = {}
    for key, stage in plan.stages.items():
        if key not in missing or key not in seen.locations:
            continue
        decision = policies.decide(seen.failures(stage), policy)
        if decision.changes != Changes():
            changes[key] = decision.changes
        # What was sent after its last failure, and then cancelled, held or not reached, was meant to run.
        for_itself = seen.state(stage).state in ("failed", "held") and seen.failed_there(stage)
        if not decision.send and key not in force and for_itself:
            blocked[key] = decision.why
    return blocked, changes


def _together(stages: tuple[str, ...], changes: Mapping[str, Changes], most_nodes: int) -> Changes | None:
    """The changes of an element: what the neediest of its stages needs; of the nodes at most so many, the last ones."""
    found = [changes[key] for key in stages if key in changes]
    if not found:
        return None
    made = Changes(
        max(change.mem_factor for change in found),
        max(change.time_factor for change in found),
        min(change.token_budget_factor for change in found),
        _last_nodes([change.exclude for change in found], most_nodes),
    )
    return made if made != Changes() else None


def _last_nodes(lists: list[tuple[str, ...]], most: int) -> tuple[str, ...]:
    """Some nodes of several lists, from the end of each; in order, so that equal ones look alike."""
    turns = itertools.zip_longest(*(reversed(nodes) for nodes in lists))
    return tuple(sorted(list(dict.fromkeys(node for turn in turns for node in turn if node))[:most]))


def _possible(plan: Plan, seen: Observation, wanted: set[str]) -> set[str]:
    """Without what stands under a stage that is neither finished nor on its way."""
    kept: set[str] = set()
    serves: dict[str | None, bool] = {None: True}  # by parent
    for key in plan.stages:
        parent = plan.stages[key].parent
        if key not in wanted:
            continue
        if parent is not None and parent not in serves:
            stage = plan.stages[parent]
            # Of one that is unknown nobody can say that it will end.
            on_its_way = parent in kept or seen.state(stage).state in ("queued", "running")
            serves[parent] = on_its_way or (seen.is_finished(stage) and seen.has_encoder(stage))
        if serves[parent]:
            kept.add(key)
    return kept


def _sent(plan: Plan, seen: Observation) -> dict[str, Sent]:
    """The stages that Slurm is at: what a dependency can name."""
    if plan.experiment.cluster.chosen_executor != "slurm":
        return {}
    return {
        key: Sent(location.job, location.index)
        for key, location in seen.locations.items()
        if key in plan.stages and location.job and seen.is_sent(plan.stages[key])
    }


def _reachable(made: list[Element], sent: Collection[str]) -> list[Element]:
    """The elements whose parents this submission runs, or an executor that a dependency can name."""
    running = {*sent, *(key for element in made for key in element.stages)}
    while True:
        kept = [e for e in made if e.parent is None or e.parent in running]
        if len(kept) == len(made):
            return kept
        made, running = kept, {*sent, *(key for element in kept for key in element.stages)}


def _packed(plan: Plan, made: list[Element]) -> list[Element]:
    cluster = plan.experiment.cluster
    if not cluster.bundle:
        return made
    return bundles.pack(made, cluster, estimate.Estimates(plan).element_seconds)


def within(everything: list[Array], room: int) -> list[Array]:
    """As many elements as there is room for, none without the one that it waits for; parents come first as they are."""
    kept: list[Array] = []
    place: dict[int, int] = {}  # position before -> position among those kept
    for number, array in enumerate(everything):
        free = {i: e for i, e in array.elements.items() if _parent_is_kept(array.dependency, i, place, kept)}
        chosen = dict(list(free.items())[:room])
        if not chosen:
            continue
        room -= len(chosen)
        place[number] = len(kept)
        kept.append(replace(array, elements=chosen, dependency=_moved(array.dependency, chosen, place)))
    return kept


def _parent_is_kept(wanted: Dependency | None, index: int, place: Mapping[int, int], kept: list[Array]) -> bool:
    if wanted is None or wanted.array is None:
        return True
    if wanted.array not in place:
        return False
    parent = index if wanted.type == "aftercorr" else wanted.index
    return parent in kept[place[wanted.array]].elements


def _moved(wanted: Dependency | None, chosen: Mapping[int, Element], place: Mapping[int, int]) -> Dependency | None:
    if wanted is None or wanted.array is None:
        return wanted
    stages = tuple(dict.fromkeys(element.parent for element in chosen.values() if element.parent))
    return replace(wanted, array=place[wanted.array], stages=stages)


# --- as Slurm is asked


def array_name(plan: Plan, identifier: str, number: int) -> str:
    """The job name by which an array is found again: `<experiment>-<id8>.<array>`."""
    return f"{plan.experiment.name}-{identifier}.{number}"


def dependency_text(array: Array, job_of: Callable[[int], str], turn: str | None = None) -> str | None:
    """sbatch's `--dependency`. `job_of` gives the id of an array of this submission; turn: the job to be over first."""
    found = [f"afterany:{turn}"] if turn else []
    if array.dependency is not None:
        found.insert(0, _after_parents(array.dependency, job_of))
    return ",".join(found) or None


def _after_parents(wanted: Dependency, job_of: Callable[[int], str]) -> str:
    job = job_of(wanted.array) if wanted.array is not None else wanted.job
    return f"afterok:{job}_{wanted.index}" if wanted.type == "afterok" else f"aftercorr:{job}"


def changes_of(array: Array) -> Changes | None:
    """What is different from the file's resources, in all elements of an array."""
    return next(iter(array.elements.values())).changes


def request(
    made: Draft, number: int, submission: Path, name: str, code: Path, dependency: str | None, share: int | None
) -> ArrayRequest:
    """The array as Slurm is asked for it; also what `plan --script` shows. `share`: of the throttle."""
    cluster = made.plan.experiment.cluster
    array = made.arrays[number]
    manifest_path = submission / f"manifest-{number}.json"
    return ArrayRequest(
        name=name,
        command=("env", "--ignore-signal=USR2", sys.executable, "-P", "-u", "-m", "launch.job", str(manifest_path)),
        indices=tuple(array.elements),
        logs=submission / "logs" / str(number),
        flags=resources.flags(cluster, changes_of(array), made.bounds.limits),
        throttle=share,
        dependency=dependency,
        # Once more in the job's first line: a site may set another one for its jobs.
        setup=(f"umask {_umask(cluster):03o}", *cluster.setup),
        environment={"PYTHONPATH": str(code)} | ENVIRONMENT,
        umask=_umask(cluster),
    )


def _umask(cluster: Cluster) -> int:
    """Logs and files of a job are closed to others, or open to one group for reading."""
    return 0o027 if cluster.share_group else 0o077


def scripts(made: Draft) -> list[str]:
    """The sbatch text of every array, exact but for the ids that only submission gives."""
    root = made.plan.experiment.store
    shares = throttle.shares([len(array.elements) for array in made.arrays], made.plan.experiment.cluster.throttle)
    shown = []
    ids = [f"JOBID_OF_ARRAY_{number}" for number in range(len(made.arrays))]
    for number, array in enumerate(made.arrays):
        turn = throttle.turn(number, ids, made.plan.experiment.cluster.throttle)
        wanted = dependency_text(array, ids.__getitem__, turn)
        name = array_name(made.plan, "SUBMISSION", number)
        folder = root / "submissions" / "SUBMISSION"
        asked = request(made, number, folder, name, root / "code" / "CODE", wanted, shares[number])
        shown.append(arrays.script(asked))
    return shown


def names(plan: Plan, keys: Collection[str], most: int = 4) -> str:
    """Some stages' names, for a line."""
    return some((stage.name for stage in plan.stages.values() if stage.key in keys), most)
