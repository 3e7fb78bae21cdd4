"""The act of sending one draft: everything is written down first, then sbatch per array, or local workers for all."""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from launch.draft import Draft, environment, request
from launch.draft import shares as throttle_shares
from launch.draft.elements import Array, Element
from launch.draft.manifests import identity, manifest
from launch.plan import Plan
from launch.store import Store, Submission, collects, manifests, provenance, sharing, submissions
from launch.store.lock import Lock
from launch.store.submissions import IntendedArray, Intent, Receipt
from slurm import arrays, granted, local
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


@dataclass(frozen=True)
class _Sent:
    """Slurm has the array."""

    job: str
    words: tuple[str, ...] = ()  # what sbatch said all the same


@dataclass(frozen=True)
class _InVain:
    """It was not tried: what it waits for, or the same, was refused before."""

    why: str


@dataclass(frozen=True)
class _Refusal:
    """sbatch refused it by policy; the others may go."""

    words: str
    advice: str  # for the person: what was asked for because of failures, and which setting to change


@dataclass(frozen=True)
class _NoRoom:
    """A limit leaves no room for it, nor for those after it."""

    words: str
    seconds: float  # that sbatch took to say so


@dataclass(frozen=True)
class _Unable:
    """Nothing can be sent at the moment."""

    words: str


@dataclass(frozen=True)
class _Open:
    """Slurm may have it all the same."""

    words: str


_Outcome = _Sent | _InVain | _Refusal | _NoRoom | _Unable | _Open


def share_group(plan: Plan) -> str | None:
    """The group that may read the store."""
    group: str | None = plan.experiment.cluster.share_group
    return group


def prepare(draft: Draft, store: Store, shares: list[int | None], code: Path) -> Submission:
    """Everything that must be on disk before anything is sent; the intent last. code: where it is frozen."""
    plan = draft.plan
    group = share_group(plan)
    submission, identifier = submissions.new_folder(store.root)
    for key in draft.needed:
        store.write_identity(plan.stages[key], identity(plan, plan.stages[key]))
    packages = provenance.versions()
    for number, array in enumerate(draft.arrays):
        manifests.write(submission.manifest(number), manifest(plan, store, array, packages))
        make_folder(submission.logs(number))
    names = [request.array_name(plan, identifier, number) for number in range(len(draft.arrays))]
    intent = Intent(
        id=identifier,
        experiment=plan.experiment.name,
        executor=plan.experiment.cluster.chosen_executor,
        since=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 60)),
        code=code.name,
        arrays=tuple(
            _intended(array, name, share) for array, name, share in zip(draft.arrays, names, shares, strict=True)
        ),
    )
    submissions.write_intent(submission, intent)
    folders = [store.stage_folder(plan.stages[key].folder) for key in draft.needed] if group else []
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
        lanes={index: list(element.lanes) for index, element in array.elements.items() if element.lanes},
    )


@dataclass
class _SlurmSending:
    """The arrays of one draft on their way to sbatch, one after the other."""

    submission: Submission
    draft: Draft
    shares: list[int | None]  # of the throttle, by array
    open_jobs: Sequence[str]  # the experiment's arrays in the queue, the oldest first
    jobs: dict[int, str] = field(default_factory=dict)  # of the arrays that were sent
    advice: dict[int, str] = field(default_factory=dict)  # of the refused ones; empty where another's says it
    reported_words: set[str] = field(default_factory=set)  # sbatch's, beside the arrays that it took
    refused_flags: Counter[str] = field(default_factory=Counter)

    def send_one(self, number: int) -> _Outcome:
        """Hand one array to sbatch, unless it would be in vain. Noted before: that sbatch is called now."""
        array_request = self._request(number)
        if why := self._in_vain(number, array_request):
            return _InVain(why)
        self.submission.write_sending(number)
        began = time.monotonic()
        try:
            words: list[str] = []
            return _Sent(arrays.send(array_request, words.append), tuple(words))
        except SendUnclear as error:
            return _Open(str(error))
        except LimitReached as error:
            return _NoRoom(str(error), time.monotonic() - began)
        except Refused as error:
            self.refused_flags[repr(array_request.flags)] += 1
            plan = self.draft.plan
            return _Refusal(str(error), f"{error}{_changed_flags(array_request, plan)}{_setting(str(error), plan)}")
        except UserError as error:
            return _Unable(str(error))

    def send_all(self, lock: Lock, report: Callable[[str], None]) -> SendResult:
        """Until a limit stops it. Every array has its receipt then, unless Slurm may have it all the same."""
        for number, array in enumerate(self.draft.arrays):
            lock.keep()
            match self.send_one(number):
                case _Sent(job, words):
                    self.jobs[number] = job
                    self.submission.write_receipt(number, Receipt(job=job, throttle=self.shares[number]))
                    name = self.submission.arrays[number].name
                    report(f"array {number}: job {job}, {len(array.elements)} elements, {name}")
                    for line in words:
                        if line not in self.reported_words:  # as a site may say it of every job
                            report(f"sbatch says: {line}")
                            self.reported_words.add(line)
                case _InVain(why):
                    self.advice[number] = ""
                    self.submission.write_receipt(number, Receipt(refused=why))
                case _Refusal(words, advice):
                    self.advice[number] = advice
                    self.submission.write_receipt(number, Receipt(refused=words))
                case _NoRoom(words, seconds):
                    self._give_up_from(number, Receipt(held=words))
                    self._raise_if_refused()
                    return SendResult(tuple(self.jobs), len(array.elements), words, seconds)
                case _Unable(words):
                    self._give_up_from(number, Receipt(refused=words))
                    raise UserError(f"{words}{self._so_far()}")
                case _Open(words):
                    self.submission.write_sending(number, left=True)
                    raise SendUnclear(f"{words}; type the command again: it finds what Slurm has, sends the rest")
        self._raise_if_refused()
        return SendResult(tuple(self.jobs))

    def _request(self, number: int) -> ArrayRequest:
        array, plan = self.draft.arrays[number], self.draft.plan
        earlier = [*self.open_jobs, *(self.jobs.get(before) for before in range(number))]
        turn = throttle_shares.turn(len(earlier), earlier, plan.experiment.cluster.throttle)
        dependency = request.dependency_text(array, lambda parent: self.jobs.get(parent, ""), turn)
        code = plan.experiment.store / "code" / self.submission.intent.code
        name, share = self.submission.arrays[number].name, self.shares[number]
        return request.request(self.draft, number, self.submission.folder, name, code, dependency, share)

    def _in_vain(self, number: int, array_request: ArrayRequest) -> str:
        """Why an array need not be tried, if so."""
        dependency = self.draft.arrays[number].dependency
        if dependency is not None and dependency.array in self.advice:
            return "what it waits for was refused"
        alike = self.refused_flags[repr(array_request.flags)]
        return "the same was refused before" if alike >= _SAME_FLAGS else ""

    def _give_up_from(self, number: int, receipt: Receipt) -> None:
        """Note of an array and those after it that they were not sent."""
        for later in range(number, len(self.submission.arrays)):
            self.submission.write_receipt(later, receipt)

    def _raise_if_refused(self) -> None:
        if self.advice:
            lines = list(dict.fromkeys(filter(None, self.advice.values())))
            raise Refused("; ".join(lines[:_SAID]) + self._so_far())

    def _so_far(self) -> str:
        total = len(self.draft.arrays)
        return f" ({len(self.jobs)} of {total} arrays were sent)" if self.jobs else "; nothing was sent"


def to_slurm(
    submission: Submission,
    draft: Draft,
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
        return _SlurmSending(submission, draft, shares, open_jobs).send_all(lock, report)
    finally:
        sharing.let_in_again(submission.folder)


def _changed_flags(array_request: ArrayRequest, plan: Plan) -> str:
    """What earlier failures have changed in an array that was refused."""
    flags_of_file = plan.experiment.cluster.sbatch_flags()
    changes = [f"--{name}={value}" for name, value in array_request.flags.items() if flags_of_file.get(name) != value]
    if not changes:
        return ""
    why = f"because of earlier failures: see `failures:` in {plan.experiment.path.name}"
    return f"; {' '.join(changes)} was asked for {why}"


def _setting(words: str, plan: Plan) -> str:
    """Where a refusal by policy can be mended."""
    if "dependency" in words.lower():  # what it was to wait for has been forgotten since it was looked at
        return "; type the command again"
    reason = _BOILERPLATE.sub("", words)
    setting = next((setting for pattern, setting in _SETTINGS if re.search(pattern, reason, re.IGNORECASE)), None)
    return f"; see `cluster: {{{setting}: …}}` in {plan.experiment.path.name}" if setting else ""


# --- local workers


def to_workers(submission: Submission, draft: Draft, report: Callable[[str], None]) -> None:
    """One run of local workers for all arrays: an element waits for elements instead of arrays."""
    cluster = draft.plan.experiment.cluster
    code = draft.plan.experiment.store / "code" / submission.intent.code
    flat = [
        (n, index, element) for n, array in enumerate(draft.arrays) for index, element in sorted(array.elements.items())
    ]
    number_of = {key: i for i, (_, _, element) in enumerate(flat) for key in element.stages}
    run = local.LocalRun(
        command=(sys.executable, "-P", "-u", "-m", "launch.job"),
        elements=tuple(_local_element(submission, n, index) for n, index, _ in flat),
        after=tuple(_local_after(element, number_of) for _, _, element in flat),
        tasks=cluster.tasks_per_node,
        gpus=cluster.asked.gpus,
        places=str(draft.plan.experiment.store / "workers"),
        width=cluster.workers,
        fork="launch.job.forked",
        last=_last_command(submission, draft.plan),
    )
    workers = min(cluster.workers, len(flat))
    threads = max(1, granted.cores() // (workers * cluster.tasks_per_node))
    variables = {"OMP_NUM_THREADS": str(threads)} | environment.of_workers(cluster, code)  # workers share the cores
    for number in range(len(draft.arrays)):
        submission.write_sending(number)
    local.start(make_folder(submission.folder / "local"), run, workers, variables)
    for number in range(len(draft.arrays)):
        submission.write_receipt(number, Receipt(local=True))
    sharing.let_in_again(submission.folder)
    report(f"{len(flat)} elements on {workers} local workers")


def _last_command(submission: Submission, plan: Plan) -> tuple[str, ...]:
    """What collects once all is over; nothing where the file does not want it."""
    if not plan.experiment.collect.job:
        return ()
    collects.write_request(submission, collects.request_of(plan))
    request_path = str(collects.request_path(submission))
    return (sys.executable, "-P", "-u", "-m", "launch.collecting", "local workers", request_path)


def _local_element(submission: Submission, array: int, index: int) -> dict[str, str]:
    return {"STEPSTONE_MANIFEST": str(submission.manifest(array)), "STEPSTONE_INDEX": str(index)}


def _local_after(element: Element, number_of: dict[str, int]) -> tuple[int, ...]:
    return (number_of[element.parent],) if element.parent in number_of else ()
