"""The act of sending one draft: everything is written down first, then sbatch per array, or local workers for all."""

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from launch.draft import Draft, request
from launch.draft import shares as throttle_shares
from launch.draft.elements import Array, Element
from launch.draft.manifests import identity, manifest
from launch.draft.request import ENVIRONMENT
from launch.plan import Plan
from launch.store import Store, Submission, manifests, provenance, sharing, submissions
from launch.store.lock import Lock
from launch.store.submissions import IntendedArray, Intent, Receipt
from slurm import arrays, local
from slurm.arrays import ArrayRequest, LimitReached, Refused, SendUnclear
from slurm.base import UserError
from slurm.base.files import make_folder

# What sbatch says beside every reason of a QOS or an account: it names all that might be meant.
_BOILERPLATE = re.compile(r"Job violates accounting/QOS policy \([^)]*\)")
# What sbatch's words name, and the setting to change; the first that fits. Reasons (QOSMaxGRESPerJob) before sentences.
_SETTINGS = (
    (r"(Assoc|QOS|Max)\w*GRES", "gpus-per-node"), (r"(Assoc|QOS|Max)\w*Mem", "mem"),
    (r"(Assoc|QOS)\w*(Wall|Time)|PartitionTimeLimit|time limit", "time"),
    (r"(Assoc|QOS|Max)\w*Cpu", "cpus-per-task"), (r"(Assoc|QOS|Max|Partition)\w*Node|node count", "nodes"),
    ("account", "account"), ("qos", "qos"), ("memory", "mem"), ("gres", "gpus-per-node"), ("feature", "constraint"),
    ("node configuration", "mem, gpus-per-node or constraint"), ("node name", "nodelist or exclude"),
    ("partition", "partition"),
)  # fmt: skip
_SAME_FLAGS = 2  # refusals of equal flags, after which no more of them are tried
_SAID = 3  # different refusals that are told


@dataclass(frozen=True)
class SendResult:
    """How far sending came."""

    sent: tuple[int, ...]  # arrays, by number
    refused: int = 0  # elements of the array that a limit stopped
    words: str = ""  # which limit, as sbatch says
    seconds: float = 0.0  # that sbatch took to say so


def share_group(plan: Plan) -> str | None:
    """The group that may read the store."""
    group: str | None = plan.experiment.cluster.share_group
    return group


def prepare(made: Draft, store: Store, shares: list[int | None], code: Path) -> Submission:
    """Everything that must be on disk before anything is sent; the intent last. code: where it is frozen."""
    plan = made.plan
    group = share_group(plan)
    submission, identifier = submissions.new_folder(store.root)
    for key in made.needed:
        store.write_identity(plan.stages[key], identity(plan, plan.stages[key]))
    packages = provenance.versions()
    for number, array in enumerate(made.arrays):
        manifests.write(submission.manifest(number), manifest(plan, store, array, packages))
        make_folder(submission.logs(number))
    names = [request.array_name(plan, identifier, number) for number in range(len(made.arrays))]
    intent = Intent(
        id=identifier,
        experiment=plan.experiment.name,
        executor=plan.experiment.cluster.chosen_executor,
        since=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 60)),
        code=code.name,
        arrays=tuple(
            _intended(array, name, share) for array, name, share in zip(made.arrays, names, shares, strict=True)
        ),
    )
    submissions.write_intent(submission, intent)
    folders = [store.stage_folder(plan.stages[key].folder) for key in made.needed] if group else []
    sharing.let_in(group, store.root, [code, submission.folder, *folders])
    return submission


def _intended(array: Array, name: str, share: int | None) -> IntendedArray:
    changes = request.changes_of(array)
    return IntendedArray(
        name=name,
        elements={index: list(element.stages) for index, element in array.elements.items()},
        dependency=asdict(array.dependency) if array.dependency else None,
        throttle=share,
        changes=asdict(changes) if changes else None,
    )


def to_slurm(
    submission: Submission,
    made: Draft,
    shares: list[int | None],
    lock: Lock,
    report: Callable[[str], None],
    open_jobs: Sequence[str] = (),
) -> SendResult:
    """Send the arrays of a prepared draft, until a limit stops it; what waits for a refused one is left out.

    open_jobs: the experiment's arrays in the queue. Refused with sbatch's words where it did so by policy; SendUnclear
    where Slurm may have an array all the same.
    """
    try:
        return _to_slurm(submission, made, shares, lock, report, open_jobs)
    finally:
        sharing.let_in_again(submission.folder)


def _to_slurm(
    submission: Submission,
    made: Draft,
    shares: list[int | None],
    lock: Lock,
    report: Callable[[str], None],
    open_jobs: Sequence[str],
) -> SendResult:
    code = made.plan.experiment.store / "code" / submission.intent.code
    jobs: dict[int, str] = {}
    refused: dict[int, str] = {}  # what a person is told; empty where another array's refusal says it
    flags: Counter[str] = Counter()  # of refused arrays
    held = SendResult(())
    for number, array in enumerate(made.arrays):
        lock.keep()
        name = submission.arrays[number].name
        earlier = [*open_jobs, *(jobs.get(other) for other in range(number))]
        turn = throttle_shares.turn(len(earlier), earlier, made.plan.experiment.cluster.throttle)
        wanted = request.dependency_text(array, lambda parent: jobs.get(parent, ""), turn)
        asked = request.request(made, number, submission.folder, name, code, wanted, shares[number])
        if why := _in_vain(array, refused, flags[repr(asked.flags)]):
            refused[number] = ""
            submission.write_receipt(number, Receipt(refused=why))
            continue
        submission.write_sending(number)
        began = time.monotonic()
        try:
            jobs[number] = arrays.send(asked)
        except SendUnclear as error:
            submission.write_sending(number, left=True)
            raise SendUnclear(f"{error}; type the command again: it finds what Slurm has, sends the rest") from None
        except LimitReached as error:
            _give_up(submission, number, Receipt(held=str(error)))
            held = SendResult((), len(array.elements), str(error), time.monotonic() - began)
            break
        except Refused as error:
            submission.write_receipt(number, Receipt(refused=str(error)))
            flags[repr(asked.flags)] += 1
            refused[number] = f"{error}{_changed(asked, made.plan)}{_setting(str(error), made.plan)}"
            continue
        except UserError as error:  # nothing can be sent at the moment
            _give_up(submission, number, Receipt(refused=str(error)))
            raise UserError(f"{error}{_so_far(jobs, made)}") from None
        submission.write_receipt(number, Receipt(job=jobs[number], throttle=shares[number]))
        report(f"array {number}: job {jobs[number]}, {len(array.elements)} elements, {name}")
    if refused:
        told = list(dict.fromkeys(filter(None, refused.values())))
        raise Refused("; ".join(told[:_SAID]) + _so_far(jobs, made))
    return replace(held, sent=tuple(jobs))


def _give_up(submission: Submission, number: int, receipt: Receipt) -> None:
    """Note of an array and those after it that they were not sent."""
    for rest in range(number, len(submission.arrays)):
        submission.write_receipt(rest, receipt)


def _in_vain(array: Array, refused: Collection[int], equal: int) -> str:
    """Why an array need not be tried, if so. equal: refused arrays with the same flags."""
    if array.dependency is not None and array.dependency.array in refused:
        return "what it waits for was refused"
    return "the same was refused before" if equal >= _SAME_FLAGS else ""


def _so_far(jobs: Collection[int], made: Draft) -> str:
    return f" ({len(jobs)} of {len(made.arrays)} arrays were sent)" if jobs else "; nothing was sent"


def _changed(asked: ArrayRequest, plan: Plan) -> str:
    """What earlier failures have changed in an array that was refused."""
    own = plan.experiment.cluster.sbatch_flags()
    changed = [f"--{name}={value}" for name, value in asked.flags.items() if own.get(name) != value]
    if not changed:
        return ""
    why = f"because of earlier failures: see `failures:` in {plan.experiment.path.name}"
    return f"; {' '.join(changed)} was asked for {why}"


def _setting(words: str, plan: Plan) -> str:
    """Where a refusal by policy can be mended."""
    if "dependency" in words.lower():  # what it was to wait for has been forgotten since it was looked at
        return "; type the command again"
    told = _BOILERPLATE.sub("", words)
    found = next((setting for pattern, setting in _SETTINGS if re.search(pattern, told, re.IGNORECASE)), None)
    return f"; see `cluster: {{{found}: …}}` in {plan.experiment.path.name}" if found else ""


# --- local workers


def to_workers(submission: Submission, made: Draft, report: Callable[[str], None]) -> None:
    """One run of local workers for all arrays: an element waits for elements instead of arrays."""
    cluster = made.plan.experiment.cluster
    code = made.plan.experiment.store / "code" / submission.intent.code
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
        places=str(made.plan.experiment.store / "workers"),
        width=cluster.workers,
    )
    workers = min(cluster.workers, len(flat))
    threads = max(1, len(os.sched_getaffinity(0)) // (workers * cluster.tasks_per_node))
    environment = {"PYTHONPATH": str(code)} | ENVIRONMENT
    environment |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}  # workers share the cores
    for number in range(len(made.arrays)):
        submission.write_sending(number)
    local.start(make_folder(submission.folder / "local"), run, workers, environment)
    for number in range(len(made.arrays)):
        submission.write_receipt(number, Receipt(local=True))
    sharing.let_in_again(submission.folder)
    report(f"{len(flat)} elements on {workers} local workers")


def _local_element(submission: Submission, array: int, index: int) -> dict[str, str]:
    return {"STEPSTONE_MANIFEST": str(submission.manifest(array)), "STEPSTONE_INDEX": str(index)}


def _local_after(element: Element, number_of: dict[str, int]) -> tuple[int, ...]:
    return (number_of[element.parent],) if element.parent in number_of else ()
