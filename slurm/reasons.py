"""Why a job waits: every reason that Slurm gives, in plain words, with what can be done about it and by whom.

From squeue(1) and job_state_reason.c, 22.05 to 25.05. Limits of accounts and QOS are families (`QOSGrpGRESMinutes`),
read piece by piece; a word that is in neither is passed on as Slurm says it. Pure: nothing is asked here.
"""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

Who = Literal["nobody", "you", "administrator"]  # nobody: it passes by itself


@dataclass(frozen=True)
class Reason:
    """Why a job waits, in plain words; what can be done, and who can. `words` and `remedy` are each half a sentence."""

    words: str
    remedy: str
    who: Who

    def __str__(self) -> str:
        return f"{self.words}; {self.remedy}"


_WAIT = "nothing to do: it starts by itself"
_ASK = "ask the cluster's administrators"
_AGAIN = "`stepstone cancel` it, change that, and `submit` again"
_OTHER_QOS = "or choose another `qos` or `account`"

_REASONS: dict[str, Reason] = {
    # --- its turn has not come
    "None": Reason("Slurm has not looked at it yet", _WAIT, "nobody"),
    "WaitingForScheduling": Reason("Slurm has not looked at it yet", _WAIT, "nobody"),
    "Priority": Reason(
        "others are before it in the queue",
        "wait; a shorter `time` or another `partition` may start sooner, since gaps are filled with short jobs",
        "nobody",
    ),
    "Resources": Reason(
        "it is next, as soon as what it asks for is free", "wait; a smaller or shorter job finds a gap sooner", "nobody"
    ),
    "SchedDefer": Reason("the cluster starts nothing at once", _WAIT, "nobody"),
    "BeginTime": Reason(
        "the earliest time that it may start has not come (after a requeue Slurm waits two minutes)", _WAIT, "nobody"
    ),
    "Dependency": Reason("another job must end first, mostly its parent's", _WAIT, "nobody"),
    "DependencyNeverSatisfied": Reason(
        "what it waits for failed, so it can never start",
        "the next `stepstone submit` or `retry` clears it away",
        "you",
    ),
    "JobArrayTaskLimit": Reason(
        "as many elements of its array run as the throttle lets in", "`stepstone throttle FILE N` lets in more", "you"
    ),
    "Cleaning": Reason("its last start is still being cleaned up", _WAIT, "nobody"),
    "Prolog": Reason("its node is being made ready", _WAIT, "nobody"),
    "Licenses": Reason("it waits for a licence that others use", _WAIT, "nobody"),
    "FedJobLock": Reason("clusters of a federation agree on who runs it", _WAIT, "nobody"),
    # --- held
    "JobHeldUser": Reason("you hold it", "`stepstone release FILE` lets it go", "you"),
    "JobHeldAdmin": Reason(
        "an administrator holds it", f"{_ASK} why; `stepstone release FILE` is for them alone", "administrator"
    ),
    "JobHoldMaxRequeue": Reason(
        "it was requeued as often as the cluster allows, and is held",
        "`stepstone logs FILE STAGE` may say why it never ran through; then `stepstone release FILE`",
        "you",
    ),
    "job_requeued_in_held_state": Reason("it was requeued, and held", "`stepstone release FILE` lets it go", "you"),
    "launch_failed_requeued_held": Reason(
        "it could not be launched on its node, was requeued, and is held",
        "`stepstone release FILE` tries again; where it comes back, a node is broken: tell the administrators",
        "you",
    ),
    # --- the partition
    "PartitionDown": Reason(
        "the partition is down", f"wait, or {_ASK}; another `partition` may be up", "administrator"
    ),
    "PartitionInactive": Reason(
        "the partition starts no jobs now", f"wait, or {_ASK}; another `partition` may be open", "administrator"
    ),
    "PartitionNodeLimit": Reason(
        "it asks for more or fewer nodes than the partition allows, or those that it needs are down",
        f"choose another `partition` or other `nodes`: {_AGAIN}",
        "you",
    ),
    "PartitionTimeLimit": Reason(
        "its time limit is longer than the partition's", f"ask for less `time` or another `partition`: {_AGAIN}", "you"
    ),
    "PartitionConfig": Reason(
        "it breaks a limit of the partition", f"look at `scontrol show partition`; then {_AGAIN}", "you"
    ),
    # --- nodes
    "ReqNodeNotAvail": Reason(
        "a node that it needs is busy, reserved, down or drained",
        "wait; where nodes are reserved for maintenance, a `time` that ends before it may start now",
        "nobody",
    ),
    "NodeDown": Reason("a node that it needs is down", f"wait, or {_ASK}", "administrator"),
    "FrontEndDown": Reason("no front-end node is up", _ASK, "administrator"),
    "PowerNotAvail": Reason("it needs more power than the cluster has", _ASK, "administrator"),
    "PowerReserved": Reason("it needs more power than is free now", _WAIT, "nobody"),
    "BadConstraints": Reason(
        "no node of the partition has what it asks for", f"ask for less, or drop `constraint`: {_AGAIN}", "you"
    ),
    "Constraints": Reason("no free node has what it asks for", "wait, or drop `constraint`", "nobody"),
    "MaxMemPerLimit": Reason(
        "it asks for more memory per CPU or node than is allowed", f"ask for less `mem`: {_AGAIN}", "you"
    ),
    "BlockMaxError": Reason("too many blocks of the machine are in error", _ASK, "administrator"),
    "BlockFreeAction": Reason("a block of the machine is being freed", _WAIT, "nobody"),
    # --- reservations
    "Reservation": Reason("its reservation has not begun, or is in use", _WAIT, "nobody"),
    "ReservationDeleted": Reason("its reservation is gone", f"drop `reservation`: {_AGAIN}", "you"),
    "ReservationInvalid": Reason("its reservation is not valid any more", f"drop `reservation`: {_AGAIN}", "you"),
    # --- burst buffers
    "BurstBufferResources": Reason("the burst buffer has no room now", _WAIT, "nobody"),
    "BurstBufferStageIn": Reason("its data are on the way into the burst buffer", _WAIT, "nobody"),
    "BurstBufferOperation": Reason("the burst buffer failed", _ASK, "administrator"),
    # --- accounts and QOS that do not fit
    "AccountNotAllowed": Reason(
        "its account may not use the partition", f"choose another `account` or `partition`: {_AGAIN}", "you"
    ),
    "InvalidAccount": Reason("its account is not valid (any more)", f"choose another `account`: {_AGAIN}", "you"),
    "InvalidQOS": Reason("its QOS is not valid (any more)", f"choose another `qos`: {_AGAIN}", "you"),
    "QOSNotAllowed": Reason(
        "its QOS may not be used with this account or partition", f"choose another `qos`: {_AGAIN}", "you"
    ),
    "QOSUsageThreshold": Reason(
        "its account has used more than the QOS lets run", f"wait until use decays, {_OTHER_QOS}", "nobody"
    ),
    "AccountingPolicy": Reason(
        "it breaks a limit of the account or QOS", f"look at `sacctmgr show assoc` and `show qos`, or {_ASK}", "you"
    ),
    "AssociationJobLimit": Reason("your account runs as many jobs as it may", _WAIT, "nobody"),
    "AssociationResourceLimit": Reason("your account uses as much as it may", _WAIT, "nobody"),
    "AssociationTimeLimit": Reason(
        "your account has used up its time, or the job asks for too long",
        f"ask for less `time`: {_AGAIN}; or {_ASK}",
        "you",
    ),
    "QOSJobLimit": Reason("as many jobs of the QOS run as may", f"wait, {_OTHER_QOS}", "nobody"),
    "QOSResourceLimit": Reason("the QOS uses as much as it may", f"wait, {_OTHER_QOS}", "nobody"),
    "QOSTimeLimit": Reason(
        "the QOS has used up its time, or the job asks for too long",
        f"ask for less `time`, {_OTHER_QOS}: {_AGAIN}",
        "you",
    ),
    # --- how its last start ended, which a requeued job goes on saying
    "SystemFailure": Reason("Slurm, its file system or network failed", f"wait, or {_ASK}", "administrator"),
    "JobLaunchFailure": Reason(
        "it could not be launched: a broken node, or a folder that the node does not see",
        "`stepstone doctor FILE --nodes` tries the nodes",
        "you",
    ),
    "NonZeroExitCode": Reason("its last start failed", "`stepstone logs FILE STAGE` shows why", "you"),
    "RaisedSignal": Reason("a signal ended its last start", "`stepstone logs FILE STAGE` shows why", "you"),
    "TimeLimit": Reason("its last start used up its time", "it goes on from its checkpoint", "nobody"),
    "InactiveLimit": Reason("Slurm ended it for being idle", _ASK, "administrator"),
    "OutOfMemory": Reason("its last start was out of memory", "ask for more `mem`", "you"),
    "DeadLine": Reason("it can no longer be over by its deadline", f"drop `deadline`: {_AGAIN}", "you"),
}
REASONS = tuple(_REASONS)

# What squeue prints where it has a sentence of its own, with `_` for spaces.
_SENTENCES = {
    "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved": "ReqNodeNotAvail",
    "Required_nodes": "ReqNodeNotAvail",
    "Reserved_for_maintenance": "ReqNodeNotAvail",
}


class _Resource(NamedTuple):
    name: str
    is_counted: bool = True  # many of it, not much
    setting: str = "what it asks for"  # that says how much of it a job has


_RESOURCES = {
    "cpu": _Resource("CPU cores", setting="`cpus-per-task`"),
    "mem": _Resource("memory", False, "`mem`"),
    "memory": _Resource("memory", False, "`mem`"),
    "node": _Resource("nodes", setting="`nodes`"),
    "gres": _Resource("GPUs (or the like)", setting="`gpus-per-node`"),
    "billing": _Resource("billed units"),
    "energy": _Resource("energy", False),
    "license": _Resource("licences", setting="`licenses`"),
    "bb": _Resource("burst buffer", False, "`bb`"),
    "unknown": _Resource("other resources"),
    "jobs": _Resource("running jobs"),
    "submitjob": _Resource("jobs in the queue"),
    "submitjobs": _Resource("jobs in the queue"),
    "wall": _Resource("hours of running jobs", setting="`time`"),
    "wallduration": _Resource("time", False, "`time`"),
}
_FAMILY = re.compile(
    r"(?P<holder>QOS|Assoc)(?P<sort>Grp|Max|Min)(?P<resource>[A-Za-z]+?)(?P<minutes>RunMinutes|Minutes)?"
    r"(?P<per>PerJob|PerNode|PerUser)?(?:Limit|NotSatisfied)?"
    r"|Max(?P<account_resource>[A-Za-z]+?)PerAccount",
    re.IGNORECASE,
)


def explain(reason: str) -> Reason | None:
    """What squeue's `%r` means; None for a word of no known Slurm, which is for showing as it is.

    Also with details behind it (`ReqNodeNotAvail, UnavailableNodes:node[1-2]`), which are kept.
    """
    word = re.split(r"[,(: ]", reason.strip().strip("()"), maxsplit=1)[0]
    explanation = _REASONS.get(word) or _REASONS.get(_sentence(reason)) or _of_family(word)
    unavailable = re.search(r"UnavailableNodes:(\S+)", reason)
    if explanation is None or unavailable is None or not unavailable[1].strip(",)"):
        return explanation
    nodes = unavailable[1].strip(",)")
    return Reason(f"nodes that it needs are down or drained ({nodes})", f"wait, or {_ASK}", "administrator")


def words(reason: str) -> str:
    """The same on one line for people: plain words and what can be done, or Slurm's own word."""
    explanation = explain(reason)
    return f"Slurm says {reason}" if explanation is None else str(explanation)


def _sentence(reason: str) -> str:
    text = reason.strip().strip("()").replace(" ", "_")
    return next((word for start, word in _SENTENCES.items() if text.startswith(start)), "")


def _of_family(word: str) -> Reason | None:
    match = _FAMILY.fullmatch(word)
    if match is None:
        return None
    resource = _RESOURCES.get((match["account_resource"] or match["resource"]).lower())
    if resource is None:
        return None
    minutes, per = (match["minutes"] or "").lower(), (match["per"] or "").lower()
    if match["account_resource"]:
        return _used_up("your account", "the QOS allows it", resource, "")
    holder = "the QOS" if match["holder"].lower() == "qos" else "your account"
    if match["sort"].lower() == "min":
        words = f"{holder} wants each job to ask for more {resource.name}"
        return Reason(words, f"ask for more, {_OTHER_QOS}: {_AGAIN}", "you")
    if match["sort"].lower() == "max" and (per in ("perjob", "pernode") or minutes):
        return _too_much(holder, resource, "node" if per == "pernode" else "job", in_minutes=bool(minutes))
    if per == "peruser":
        return _used_up("you", "the QOS allows one user", resource, minutes)
    return _used_up(holder, "it may", resource, minutes)


def _too_much(holder: str, resource: _Resource, of_each: str, *, in_minutes: bool) -> Reason:
    """What one job asks for is more than any may: it never starts as it is."""
    amount = f"{resource.name} × time" if in_minutes else resource.name
    less = f"{resource.setting} or `time`" if in_minutes else resource.setting
    return Reason(
        f"it asks for more {amount} than {holder} allows one {of_each}, and never starts so",
        f"lower {less}, {_OTHER_QOS}: {_AGAIN}",
        "you",
    )


def _used_up(holder: str, limit_words: str, resource: _Resource, minutes: str) -> Reason:
    """What many jobs have together is as much as they may. holder, limit_words: `the QOS`, `it may`."""
    have = "have" if holder == "you" else "has"
    if minutes == "minutes":
        words = f"{holder} {have} used up the budget of {resource.name} × time"
        return Reason(words, f"{_ASK} for more, {_OTHER_QOS}", "administrator")
    if minutes == "runminutes":
        words = f"{holder} {have} as much {resource.name} × time still to run as {limit_words}"
        return Reason(words, f"it starts as others end; a shorter `time` counts for less, {_OTHER_QOS}", "nobody")
    many = "many" if resource.is_counted else "much"
    less = f"; with less of {resource.setting} it may sooner" if resource.setting.startswith("`") else ""
    return Reason(
        f"{holder} {have} as {many} {resource.name} as {limit_words}",
        f"it starts as others end{less}, {_OTHER_QOS}",
        "nobody",
    )
