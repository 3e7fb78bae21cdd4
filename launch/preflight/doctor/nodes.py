"""`stepstone doctor --nodes`: a job of seconds on each kind of node that the file would use, and what it sees there.

It is sent as the file's own jobs are: same flags, setup, environment, Python, place of its log. Kinds are nodes of one
partition with equal cores, memory, GPUs and features; those that cannot take such a job are left out.
"""

import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launch.draft import request
from launch.experiment import Cluster, Experiment
from launch.preflight.doctor.commands import change_commands, refused_change
from launch.preflight.doctor.lines import Level, Line
from launch.store import logs, provenance
from slurm import accounting, arrays, causes, control, limits, snapshot, ways
from slurm.accounting import Ended, NoAccounting
from slurm.arrays import Refused
from slurm.base import UserError
from slurm.base.files import make_folder, read_sealed, remove_folder
from slurm.commands import Refusal, Silent

PATIENCE = 300.0  # seconds that a job may wait in the queue
_LATE = 20.0  # seconds in which a file, or a record of accounting, comes
_POLL = 1.0  # seconds between two looks at the disk; Slurm is asked less often, for all jobs together
_SLURM_POLL = 15.0
_ACCOUNTING_POLL = 5.0
_TIME = "5"  # minutes of a job
_SKEW_SECONDS = 5.0
_COLUMNS = "%R|%c|%m|%G|%f|%T|%N"
_WAYS = (
    ("sinfo", "--all", "--noheader", "--exact", "--format", _COLUMNS),
    ("sinfo", "-a", "-h", "-e", "-o", _COLUMNS),
    ("sinfo", "-h", "-e", "-o", _COLUMNS),
)
_NOT_OF_USE = "node configuration is not available"  # sbatch's words where no node of a kind can take the job


@dataclass(frozen=True)
class _Kind:
    """Nodes that are alike."""

    partition: str
    nodes: str  # Slurm's list of them
    others: str  # all other nodes of the partition, likewise

    @property
    def name(self) -> str:
        return f"{self.partition}: {self.nodes}"


@dataclass(frozen=True)
class _Job:
    """One that was sent."""

    kind: _Kind
    folder: Path
    identifier: str  # `12_0`


def node_lines(experiment: Experiment) -> Iterator[Line]:
    """Lines for every kind of node, as they become known. The jobs are over when it ends, or cancelled."""
    base = next(folder for folder in (experiment.store, *experiment.store.parents) if folder.exists())
    name = f"stepstone-doctor-{uuid.uuid4().hex[:8]}"
    folder = make_folder(base / f".{name}")
    open_jobs: list[_Job] = []
    try:
        code = provenance.freeze(folder)
        for number, kind in enumerate(_kinds(experiment.cluster)):
            sending = _send(experiment.cluster, kind, name, make_folder(folder / str(number)), code)
            if isinstance(sending, Line):
                yield sending
            elif sending is not None:
                open_jobs.append(sending)
        if not open_jobs:
            yield Line("warning", "nodes", "no job could be sent", "see the lines above, and: stepstone plan FILE")
        else:
            yield from _change_lines(experiment.cluster, name, make_folder(folder / "held"), code)
        yield from _followed(open_jobs)
    except (Refusal, Silent) as words:
        yield Line("warning", "nodes", f"Slurm does not say which there are: {words}", "try again later")
    finally:
        try:
            _cancel(name, open_jobs)
        finally:
            remove_folder(folder)


def _kinds(cluster: Cluster) -> list[_Kind]:
    """Of nodes in the file's partitions, else in the default one, that are in use."""
    rows = [row for line in ways.ask("sinfo kinds", _WAYS, str).split("\n") if len(row := line.strip().split("|")) == 7]
    partitions = limits.discover(cluster.account, cluster.partition, cluster.qos).partitions(cluster.partition)
    kinds = []
    for partition in partitions:
        alike: dict[tuple[str, ...], list[str]] = {}
        usable: set[tuple[str, ...]] = set()
        for name, cores, memory, gres, features, state, nodes in rows:
            if name == partition:
                alike.setdefault((cores, memory, gres, features), []).append(nodes)
                if not state.startswith(limits.OUT_OF_USE):
                    usable.add((cores, memory, gres, features))
        for key in (key for key in alike if key in usable):
            other_nodes = [nodes for other_key, lists in alike.items() if other_key != key for nodes in lists]
            kinds.append(_Kind(partition, ",".join(alike[key]), ",".join(other_nodes)))
    return kinds


def _send(cluster: Cluster, kind: _Kind, name: str, folder: Path, code: Path) -> _Job | Line | None:
    """The job; a line why there is none; None where no node of that kind can take what the file asks for."""
    exclude = ",".join(filter(None, (cluster.exclude, kind.others))) or None
    changes: dict[str, Any] = {"partition": kind.partition, "time": _TIME, "exclude": exclude}
    command = request.job_command("launch.job.node_probe", str(folder))
    array = request.of_cluster(cluster.model_copy(update=changes), name, command, make_folder(folder / "logs"), code)
    try:
        return _Job(kind, folder, f"{arrays.send(array)}_0")
    except Refused as refusal:
        if _NOT_OF_USE in str(refusal):
            return None
        return Line("error", kind.name, str(refusal), "change `cluster:` in the file")
    except UserError as error:
        return Line("warning", kind.name, str(error), "try again later")


def _change_lines(cluster: Cluster, name: str, folder: Path, code: Path) -> Iterator[Line]:
    """Whether jobs can be changed once they are sent: tried with one that is held and never starts."""
    command = request.job_command("launch.job.node_probe", str(folder))
    array = request.of_cluster(
        cluster.model_copy(update={"time": _TIME}), name, command, make_folder(folder / "logs"), code
    )
    try:
        job = arrays.send(replace(array, flags=array.flags | {"hold": True}, throttle=1))
    except UserError as error:
        yield Line("warning", "changes", f"not tried: {error}", "type the command again")
        return
    try:
        trials = [refused_change(topic, command) for topic, command in change_commands(job, 2)]
    finally:
        snapshot.changed()
    refusals = [line for line in trials if line is not None]
    yield from refusals
    if not refusals:
        yield Line("ok", "changes", "a job that was held got another throttle, and was cancelled")


def _followed(open_jobs: list[_Job]) -> Iterator[Line]:
    """What each saw, once it is over. Those that are told leave the list."""
    patience = time.time() + PATIENCE
    while open_jobs and time.time() < patience:
        for job in _over(open_jobs):
            open_jobs.remove(job)
            yield from _told(job)
        if open_jobs:
            time.sleep(_POLL)
    for job in open_jobs:
        why = _reason(job)
        yield Line("warning", job.kind.name, f"its job still waits after {PATIENCE / 60:.0f} minutes{why}; cancelled",
                   "type the command again when there is room")  # fmt: skip


def _over(jobs: list[_Job]) -> list[_Job]:
    """Those that have looked, or have left the queue."""
    here = snapshot.look(_SLURM_POLL)
    in_queue = {f"{entry.job}_{entry.index}" for entry in here.entries or []}
    is_known = here.stale_since is None
    return [job for job in jobs if _record(job) or (is_known and job.identifier not in in_queue)]


def _record(job: _Job) -> dict[str, Any] | None:
    with suppress(OSError):
        os.listdir(job.folder)  # on a network's file system: what is new there is asked for
    return read_sealed(job.folder / "node.json")


def _reason(job: _Job) -> str:
    entries = snapshot.look(0).entries or []
    return next((f" ({entry.reason})" for entry in entries if f"{entry.job}_{entry.index}" == job.identifier), "")


def _told(job: _Job) -> Iterator[Line]:
    """What a job that is over has seen, or why it could not tell."""
    until, ending, next_question = time.time() + _LATE, None, 0.0
    while (record := _record(job)) is None and time.time() <= until:
        if time.time() >= next_question:
            next_question = time.time() + _ACCOUNTING_POLL
            ending = _ending(job)
            if ending is not None and ending.phase == "ended" and ending.state != "COMPLETED":
                break
        time.sleep(_POLL)
    if record:
        record.pop("sha256", None)
        yield from _seen(job.kind, record)
        return
    verdict = causes.classify(ending, None, logs.tail(logs.of_probe(job.folder / "logs"), ""))
    where = f" on {ending.node}" if ending and ending.node else ""
    yield Line("error", job.kind.name, f"its job{where} did not come to look: {verdict.evidence}", _mend(verdict.cause))


def _ending(job: _Job) -> Ended | None:
    """None where accounting has no record, or will not tell."""
    number, _, index = job.identifier.partition("_")
    try:
        return (accounting.ended([job.identifier]) or {}).get((number, int(index)))
    except (Refusal, NoAccounting):
        return None


def _mend(cause: str) -> str:
    if cause == "not-started":
        return "name `store:` and the Python in use (`.venv`) as nodes see them, on a file system that they share"
    return "mend what it says; `setup:` and `environment:` of the file hold for this job too"


def _seen(kind: _Kind, record: dict[str, Any]) -> Iterator[Line]:
    node = f"{record['node']} ({kind.partition})"
    here = provenance.versions()
    yield _line(f"store on {node}", record["store"], "seen and written", "choose a `store:` that nodes can write")
    yield _line(f"Python on {node}", record["torch"], f"Python {record['packages'].get('python')}; torch is imported",
                "mend the environment: nodes load other libraries than this machine")  # fmt: skip
    yield _line(f"packages on {node}", ", ".join(provenance.differences(here, record["packages"])), "as here",
                "make one `.venv` that this machine and nodes share")  # fmt: skip
    skew = f"{record['skew']:+.0f} s off the file server's" if abs(record["skew"]) > _SKEW_SECONDS else ""
    in_time = f"within {_SKEW_SECONDS:.0f} s of the file server's"
    yield _line(f"clock on {node}", skew, in_time, "tell the administrators: NTP", "warning")
    yield _line(f"home on {node}", record["home"], "there", "set what looks for it, such as HF_HOME", "warning")
    yield _line(f"limits on {node}", ", ".join(record["limits"]), "as on ordinary nodes",
                "lift them with `ulimit` in `setup:`", "warning")  # fmt: skip
    yield Line("ok", f"size of {node}", f"{record['cores']} cores, {record['gpus']} GPUs"
               + (f", {record['memory']:,} MB" if record["memory"] else ""))  # fmt: skip


def _line(topic: str, trouble: str, well: str, fix: str, level: Level = "error") -> Line:
    return Line(level, topic, trouble, fix) if trouble else Line("ok", topic, well)


def _cancel(name: str, jobs: Iterable[_Job]) -> None:
    """Also what Slurm took without saying so."""
    of_that_name = {entry.job for entry in snapshot.look(0).entries or [] if entry.name == name}
    identifiers = sorted({job.identifier.partition("_")[0] for job in jobs} | of_that_name)
    if identifiers:
        control.cancel(identifiers)
