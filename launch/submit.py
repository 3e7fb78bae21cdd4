"""Desired state: compare plan, store and queue, and send the difference. Twice sends nothing the second time."""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launch import elements, submissions
from launch.added_tasks import to_record as to_record_of_task
from launch.attempts import attempts_of
from launch.elements import Array, Element, Sent
from launch.plan import Plan, Stage
from launch.states import Observation
from launch.store import Store
from launch.submissions import Submission
from slurm import arrays, limits, local
from slurm.arrays import ArrayRequest
from slurm.errors import UserError
from slurm.files import make_folder, sha256_file, sync_folder, to_json, write_atomic
from training.spec import to_record

_PACKAGES = ("launch", "training", "eval", "slurm")
# Jobs read what `prepare` fetched: a compute node without a network would wait for it, one with it ask every time.
_ENVIRONMENT = {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
_NO_SLURM_ARRAY_SIZE = 1001  # shown by `plan` where there is no Slurm to ask
MANIFEST_SCHEMA = 1


@dataclass(frozen=True)
class Draft:
    """What a submission would send, before it has an id: shown by `plan`, sent by `submit`."""

    plan: Plan
    needed: set[str]  # stages of these arrays
    arrays: list[Array]
    held_back: int  # elements that wait for a stage which another executor is at: sent by a later `submit`

    @property
    def element_count(self) -> int:
        return sum(len(array.elements) for array in self.arrays)


def draft(plan: Plan, seen: Observation, max_array_size: int) -> Draft:
    """The difference between what an experiment asks for and what is finished, queued or running."""
    needed = elements.stages_to_run(plan, seen.is_finished, seen.is_sent, seen.has_encoder)
    made = elements.make_elements(plan, needed, seen.is_sent)
    to_slurm = plan.experiment.cluster.chosen_executor == "slurm"
    sent = {
        key: Sent(location.job, location.index)
        for key, location in seen.locations.items()
        if key in plan.stages and seen.is_sent(plan.stages[key]) and location.job and to_slurm
    }
    reachable = _reachable(made, sent.keys())
    arrays = elements.arrange(reachable, sent, max_array_size)
    return Draft(plan, {key for e in reachable for key in e.stages}, arrays, len(made) - len(reachable))


def _reachable(made: list[Element], sent: Collection[str]) -> list[Element]:
    """The elements whose parents this submission runs, or an executor that a dependency can name."""
    running = {*sent, *(key for element in made for key in element.stages)}
    while True:
        kept = [e for e in made if e.parent is None or e.parent in running]
        if len(kept) == len(made):
            return kept
        made, running = kept, {*sent, *(key for element in kept for key in element.stages)}


def array_size(plan: Plan) -> int:
    """The cluster's MaxArraySize; local workers have no limit."""
    if plan.experiment.cluster.chosen_executor == "local":
        return sys.maxsize
    return limits.max_array_size()


def shown_array_size(plan: Plan) -> int:
    """The same for showing a plan, also where no Slurm answers."""
    try:
        return array_size(plan)
    except UserError:
        return _NO_SLURM_ARRAY_SIZE


@dataclass(frozen=True)
class Sending:
    """What `submit` did."""

    submission: Submission | None  # None: there was nothing to send
    draft: Draft
    adopted: list[str]  # a line per array of an interrupted submission


def submit(plan: Plan, report: Callable[[str], None] = lambda line: None) -> Sending:
    """Send what is missing. Returns at once; `report` gets a line per array."""
    experiment = plan.experiment
    store = Store(experiment.store)
    size = array_size(plan)
    check_writable(experiment.store)
    with submissions.lock(experiment.store) as lock:
        before = Observation(plan, store)
        adopted = submissions.adopt(before.submissions, before.entries)
        seen = Observation(plan, store) if adopted else before
        if any(seen.state(stage).state == "unknown" for stage in plan.stages.values()):
            raise UserError("Slurm does not answer, so what is queued is unknown; try again later, nothing was sent")
        made = draft(plan, seen, size)
        if not made.arrays:
            return Sending(None, made, adopted)
        submission = _prepare(made, store)
        if experiment.cluster.chosen_executor == "local":
            _start_local(submission, made, report)
        else:
            _send_arrays(submission, made, lock, report)
    return Sending(submission, made, adopted)


def check_writable(root: Path) -> None:
    """UserError unless the store can be made and written by this user."""
    make_folder(root)
    if not os.access(root, os.W_OK | os.X_OK):
        raise UserError(f"store: no permission to write in {root}; choose another `store:` in the experiment file")


def _prepare(made: Draft, store: Store) -> Submission:
    """Everything that must be on disk before anything is sent; the intent last."""
    plan = made.plan
    code = freeze_code(store.root)
    submission, identifier = submissions.new_folder(store.root)
    for key in made.needed:
        store.write_identity(plan.stages[key], identity(plan, plan.stages[key]))
    for number, array in enumerate(made.arrays):
        write_atomic(submission.manifest(number), to_json(manifest(plan, store, array)))
        make_folder(submission.logs(number))
    names = [array_name(plan, identifier, number) for number in range(len(made.arrays))]
    intent = {
        "schema": 1,
        "id": identifier,
        "experiment": plan.experiment.name,
        "executor": plan.experiment.cluster.chosen_executor,
        "since": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 60)),
        "code": code.name,
        "arrays": [_intended(array, name) for array, name in zip(made.arrays, names, strict=True)],
    }
    submissions.write_intent(submission, intent)
    return submission


def _intended(array: Array, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "elements": {str(index): list(element.stages) for index, element in array.elements.items()},
        "dependency": asdict(array.dependency) if array.dependency else None,
    }


def array_name(plan: Plan, identifier: str, number: int) -> str:
    """The job name by which an array is found again: `<experiment>-<id8>.<array>`."""
    return f"{plan.experiment.name}-{identifier}.{number}"


def identity(plan: Plan, stage: Stage) -> dict[str, Any]:
    """What a stage means, for people and later versions; jobs read the manifest."""
    spec = to_record(plan.train_spec(stage) if stage.kind == "train" else plan.evaluate_spec(stage))
    spec.pop("languages", None)  # no part of what an evaluate stage is
    return {
        "key": stage.key, "name": stage.name, "kind": stage.kind, "task": stage.task, "seed": stage.seed,
        "parent": stage.parent or plan.start.identity, "spec": spec,
    }  # fmt: skip


def manifest(plan: Plan, store: Store, array: Array) -> dict[str, Any]:
    """What the job of each element is told."""
    entries = {str(i): [_stage_entry(plan, key) for key in e.stages] for i, e in array.elements.items()}
    leaves = {
        str(i): [plan.stages[key].folder for key in e.stages if _may_drop_encoder(plan, plan.stages[key])]
        for i, e in array.elements.items()
    }
    cluster = plan.experiment.cluster
    return {
        "schema": MANIFEST_SCHEMA,
        "store": str(store.root),
        "experiment": plan.experiment.name,
        "start": asdict(plan.start),
        "gpus_asked_for": cluster.gpus_asked_for,
        "tasks": [to_record_of_task(task) for task in plan.added_tasks()],
        "elements": entries,
        "drop": leaves,  # stages whose encoder goes once the element's evaluates are finished
    }


def _may_drop_encoder(plan: Plan, stage: Stage) -> bool:
    keep = plan.experiment.keep
    if stage.kind != "train" or keep == "all":
        return False
    return not any(plan.stages[key].kind == "train" for key in plan.children[stage.key])


def _stage_entry(plan: Plan, stage_key: str) -> dict[str, Any]:
    stage = plan.stages[stage_key]
    spec = plan.train_spec(stage) if stage.kind == "train" else plan.evaluate_spec(stage)
    return {
        "key": stage.key,
        "folder": stage.folder,
        "kind": stage.kind,
        "spec": to_record(spec),
        "runtime": to_record(plan.runtime(stage)),
        "parent": plan.stages[stage.parent].folder if stage.parent else None,
    }


def freeze_code(root: Path) -> Path:
    """Copy our own code into the store, by content: jobs run what was submitted, whatever is edited meanwhile."""
    source = Path(__file__).resolve().parent.parent
    files = sorted(p.relative_to(source) for package in _PACKAGES for p in (source / package).rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path}\0{sha256_file(source / path)}\n".encode())
    frozen = root / "code" / digest.hexdigest()[:16]
    if frozen.exists():
        return frozen
    temporary = make_folder(root / "code" / f".tmp-{os.getpid()}-{digest.hexdigest()[:16]}")
    for path in files:
        (temporary / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, temporary / path)
    try:
        os.rename(temporary, frozen)
    except OSError:
        shutil.rmtree(temporary)  # another submitter was first, with the same content
    sync_folder(root / "code")
    return frozen


def request(made: Draft, number: int, submission: Path, name: str, code: Path, dependency: str | None) -> ArrayRequest:
    """The array as Slurm is asked for it; also what `plan --script` shows."""
    cluster = made.plan.experiment.cluster
    manifest_path = submission / f"manifest-{number}.json"
    return ArrayRequest(
        name=name,
        command=("env", "--ignore-signal=USR2", sys.executable, "-P", "-u", "-m", "launch.job", str(manifest_path)),
        indices=tuple(made.arrays[number].elements),
        logs=submission / "logs" / str(number),
        flags=cluster.sbatch_flags(),
        throttle=cluster.throttle,
        dependency=dependency,
        setup=tuple(cluster.setup),
        environment={"PYTHONPATH": str(code)} | _ENVIRONMENT,
    )


def dependency_text(array: Array, job_of: Callable[[int], str]) -> str | None:
    """sbatch's `--dependency`. `job_of` gives the id of an array of this submission."""
    wanted = array.dependency
    if wanted is None:
        return None
    job = job_of(wanted.array) if wanted.array is not None else wanted.job
    return f"afterok:{job}_{wanted.index}" if wanted.type == "afterok" else f"aftercorr:{job}"


def scripts(made: Draft) -> list[str]:
    """The sbatch text of every array, exact but for the ids that only submission gives."""
    root = made.plan.experiment.store
    shown = []
    for number, array in enumerate(made.arrays):
        wanted = dependency_text(array, lambda parent: f"JOBID_OF_ARRAY_{parent}")
        name = array_name(made.plan, "SUBMISSION", number)
        asked = request(made, number, root / "submissions" / "SUBMISSION", name, root / "code" / "CODE", wanted)
        shown.append(arrays.script(asked))
    return shown


def _send_arrays(submission: Submission, made: Draft, lock: Path, report: Callable[[str], None]) -> None:
    code = made.plan.experiment.store / "code" / submission.intent["code"]
    jobs: dict[int, str] = {}
    for number, array in enumerate(made.arrays):
        os.utime(lock)
        name = submission.arrays[number]["name"]
        asked = request(made, number, submission.folder, name, code, dependency_text(array, jobs.__getitem__))
        try:
            jobs[number] = arrays.send(asked)
        except UserError as error:
            for rest in range(number, len(made.arrays)):
                submission.write_receipt(rest, {"refused": str(error)})
            sent = f" ({number} of {len(made.arrays)} arrays were sent before)" if number else "; nothing was sent"
            raise UserError(f"{error}{sent}") from None
        submission.write_receipt(number, {"job": jobs[number]})
        report(f"array {number}: job {jobs[number]}, {len(array.elements)} elements, {name}")


def _start_local(submission: Submission, made: Draft, report: Callable[[str], None]) -> None:
    """One run of local workers for all arrays: an element waits for elements instead of arrays."""
    cluster = made.plan.experiment.cluster
    code = made.plan.experiment.store / "code" / submission.intent["code"]
    flat = [
        (n, index, element) for n, array in enumerate(made.arrays) for index, element in sorted(array.elements.items())
    ]
    number_of = {key: i for i, (_, _, element) in enumerate(flat) for key in element.stages}
    run = local.LocalRun(
        command=(sys.executable, "-P", "-u", "-m", "launch.job"),
        elements=tuple(_local_element(submission, n, index) for n, index, _ in flat),
        after=tuple(_local_after(element, number_of) for _, _, element in flat),
        tasks=cluster.tasks_per_node,
        gpus=cluster.gpus_per_node or 0,
    )
    workers = min(cluster.workers, len(flat))
    threads = max(1, len(os.sched_getaffinity(0)) // (workers * cluster.tasks_per_node))
    environment = {"PYTHONPATH": str(code)} | _ENVIRONMENT
    environment |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}  # workers share the cores
    local.start(make_folder(submission.folder / "local"), run, workers, environment)
    for number in range(len(made.arrays)):
        submission.write_receipt(number, {"local": True})
    report(f"{len(flat)} elements on {workers} local workers")


def _local_element(submission: Submission, array: int, index: int) -> dict[str, str]:
    return {"STEPSTONE_MANIFEST": str(submission.manifest(array)), "STEPSTONE_INDEX": str(index)}


def _local_after(element: Element, number_of: dict[str, int]) -> tuple[int, ...]:
    return (number_of[element.parent],) if element.parent in number_of else ()


def attempts_made(store: Store, stage: Stage) -> int:
    """How often a stage was started."""
    return len(attempts_of(store.stage_folder(stage.folder))) if store.exists(stage) else 0
