"""The scripted scheduler's commands: what they take, check and print. What they do not know fails the test.

Words and exit codes are those of Slurm 22.05 where it was looked at, else of its sources' messages.
"""

import itertools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slurm.arrays import index_list
from slurm.commands import Missing, Output
from tests.slurm.scripted import Array, Element, Scheduler
from tests.slurm.scripted_queries import sacct, sacctmgr, squeue
from tests.slurm.scripted_words import (
    UNREACHABLE,
    Refused,
    first,
    flags_of,
    indices_of,
    moment,
    need_control,
    options_of,
    seconds_of,
    time_out,
)  # fmt: skip

_FAILED = "Batch job submission failed"


def answer(
    scheduler: Scheduler, command: Sequence[str], timeout: float, umask: int, variables: Mapping[str, str]
) -> Output:
    """One command's answer. AssertionError for what is not imitated; Missing and Silent as slurm.commands.run."""
    words = list(command)
    if words[0] == "env":
        words = list(itertools.dropwhile(lambda word: word == "env" or word.startswith("-"), words))
    name, *arguments = words
    assert name in _COMMANDS, f"the scripted scheduler has no {name}: {shlex.join(words)}"
    if name in scheduler.missing:
        raise Missing(name)
    scheduler.calls[name] += 1
    if name == "sbatch":
        scheduler.umasks.append(umask)
        scheduler.variables.append(variables)
    try:
        for topic in (name, " ".join([name, *arguments[:1]])):
            if topic in scheduler.errors:
                raise Refused(scheduler.errors[topic])
        for option in (word.partition("=")[0] for word in arguments):
            if option in scheduler.unknown_options.get(name, ()):
                raise Refused(f"{name}: unrecognized option '{option}'\nTry \"{name} --help\" for more information")
        output = _COMMANDS[name](scheduler, arguments, timeout)
    except Refused as refused:
        output = Output(1, "", f"{refused}\n")
    return Output(output.code, scheduler.banner + output.out, scheduler.banner + output.err)


# --- sbatch


def _sbatch(scheduler: Scheduler, words: Sequence[str], timeout: float) -> Output:
    options, paths = options_of(words, {"--parsable": False, "--test-only": False})
    assert len(paths) == 1, f"sbatch takes one script: {words}"
    try:
        script = Path(paths[0]).read_text(encoding="utf-8")
    except OSError:
        raise Refused(f"sbatch: error: Unable to open file {paths[0]}") from None
    flags = flags_of(script)
    may_fail = scheduler.send_faults and "--test-only" not in options
    fault = scheduler.send_faults.popleft() if may_fail else None
    if scheduler.ctld == "down":
        raise Refused(f"sbatch: error: {_FAILED}: {UNREACHABLE}")
    if scheduler.ctld == "stopped":
        scheduler.take_in(script)
        time_out(scheduler, "sbatch", timeout)
    if "--test-only" in options:
        _check_policy(scheduler, flags)
        return Output(0, "", "sbatch: Job 1 to start at 2026-11-21T14:30:05 using 1 processors on nodes node1\n")
    if fault == "refused":
        raise Refused(f"sbatch: error: {_FAILED}: {scheduler.refusal}")
    if fault in ("silent-lost", "socket-lost"):
        return _unclear(scheduler, fault, timeout)
    _check_policy(scheduler, flags)
    array = scheduler.accept(script)
    if fault:
        return _unclear(scheduler, fault, timeout)
    return Output(0, f"{array.id}\n" if "--parsable" in options else f"Submitted batch job {array.id}\n", "")


def _unclear(scheduler: Scheduler, fault: str, timeout: float) -> Output:
    if fault.startswith("silent"):
        time_out(scheduler, "sbatch", timeout)
    return Output(1, "", f"sbatch: error: {_FAILED}: Socket timed out on send/recv operation\n")


def _check_policy(scheduler: Scheduler, flags: dict[str, str]) -> None:
    limits = scheduler.limits
    indices, _ = indices_of(flags["array"]) if "array" in flags else ([None], None)
    partitions = flags.get("partition", next(iter(limits.partitions))).split(",")
    if not set(partitions) <= limits.partitions.keys():
        raise Refused(f"sbatch: error: invalid partition specified: {','.join(partitions)}\n"
                       f"sbatch: error: {_FAILED}: Invalid partition name specified")  # fmt: skip
    if flags.get("account", limits.accounts[0]) not in limits.accounts:
        raise Refused(f"sbatch: error: {_FAILED}: Invalid account or account/partition combination specified")
    if flags.get("qos", limits.qos[0]) not in limits.qos:
        raise Refused(f"sbatch: error: {_FAILED}: Invalid qos specification")
    longest = [limits.partitions[name] for name in partitions]
    if "time" in flags and all(most is not None and seconds_of(flags["time"]) > most for most in longest):
        raise Refused(f"sbatch: error: {_FAILED}: Requested time limit is invalid (missing or exceeds some limit)")
    if max(index or 0 for index in indices) >= limits.array_size:
        raise Refused(f"sbatch: error: {_FAILED}: Invalid job array specification")
    if set(limits.node_names) <= set(flags.get("exclude", "").split(",")):
        raise Refused(f"sbatch: error: {_FAILED}: Requested node configuration is not available")
    if reason := _no_room(scheduler, flags, partitions[0], len(indices)):
        raise Refused(f"sbatch: error: {reason}\nsbatch: error: {_FAILED}: Job violates "
                       "accounting/QOS policy (job submit limit, user's size and/or time limits)")  # fmt: skip
    if len(scheduler.live) + len(indices) > limits.jobs:
        raise Refused("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
                       f"sbatch: error: {_FAILED}: Resource temporarily unavailable")  # fmt: skip


def _no_room(scheduler: Scheduler, flags: dict[str, str], partition: str, count: int) -> str | None:
    """The limit of submission that so many more jobs would break: of the partition's QOS, the job's, the account's."""
    limits = scheduler.limits
    mine = [element.array for element in scheduler.live if element.array.user == scheduler.user]
    names = (limits.partition_qos.get(partition, ""), flags.get("qos", limits.qos[0]))
    qos = next((name for name in names if name in limits.qos_submit), None)
    if qos is not None:
        there = [a for a in mine if qos in (a.qos, *(limits.partition_qos.get(name) for name in a.partitions))]
        return "QOSMaxSubmitJobPerUserLimit" if len(there) + count > limits.qos_submit[qos] else None
    there = [a for a in mine if a.account == flags.get("account", limits.accounts[0])]
    return "AssocMaxSubmitJobLimit" if limits.submit is not None and len(there) + count > limits.submit else None


# --- scontrol, scancel, sinfo, sdiag


def _chosen(scheduler: Scheduler, target: str) -> list[Element]:
    """`12`, `12_3` or `12_[3-7,9]`: what slurmctld remembers of it."""
    job, _, index = target.partition("_")
    indices = indices_of(index.strip("[]"))[0] if index else None
    return [
        e
        for e in scheduler.elements
        if (str(e.array.id) == job and (indices is None or e.index in indices))
        or (indices is None and str(e.own_id) == job)
    ]


def _scontrol(scheduler: Scheduler, words: Sequence[str], timeout: float) -> Output:
    options, others = options_of(words, dict.fromkeys(("--all", "-a", "--oneliner", "-o", "--version", "-V"), False))
    if {"--version", "-V"} & options.keys():
        return Output(0, "slurm 22.05.8\n", "")
    need_control(scheduler, "scontrol", timeout, f"slurm_load_ctl_conf error: {UNREACHABLE}")
    match others:
        case ["ping"]:
            return Output(0, "Slurmctld(primary) at scripted is UP\n", "")
        case ["show", "config"]:
            return Output(0, _config(scheduler), "")
        case ["show", "partition" | "partitions", *names]:
            return _partitions(scheduler, names)
        case ["update", *settings]:
            return _update(scheduler, dict(word.split("=", 1) for word in settings))
        case ["requeue" | "hold" | "release" as verb, targets]:
            return _each(scheduler, verb, targets)
    raise AssertionError(f"the scripted scheduler does not know scontrol {shlex.join(words)}")


def _config(scheduler: Scheduler) -> str:
    limits = scheduler.limits
    settings = {
        "AccountingStorageEnforce": "associations,limits,qos" if scheduler.has_accounting else "none",
        "AccountingStorageType": "accounting_storage/" + ("slurmdbd" if scheduler.has_accounting else "none"),
        "ClusterName": "scripted", "JobRequeue": int(limits.may_requeue), "KillWait": "30 sec",
        "MaxArraySize": limits.array_size, "MaxJobCount": limits.jobs, "MinJobAge": "300 sec",
        "PowerPlugin": "", "PreemptMode": limits.preempt, "SLURM_VERSION": "22.05.8",
    }  # fmt: skip
    lines = [f"{name:<23} = {value}\n" for name, value in settings.items()]
    return f"Configuration data as of {moment(scheduler.now)}\n{''.join(lines)}\n"


def _partitions(scheduler: Scheduler, names: list[str]) -> Output:
    lines = []
    for number, (name, most) in enumerate(scheduler.limits.partitions.items()):
        if not names or name in names:
            first_one, qos = "NO" if number else "YES", scheduler.limits.partition_qos.get(name, "N/A")
            lines.append(f"PartitionName={name} AllowAccounts=ALL Default={first_one} QoS={qos} DefaultTime=NONE "
                         f"MaxTime={_limit(most)} State=UP\n")  # fmt: skip
    if not lines:
        raise Refused(f"Partition {names[0]} not found")
    return Output(0, "".join(lines), "")


def _limit(seconds: float | None) -> str:
    if seconds is None:
        return "UNLIMITED"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hours:02}:{minutes:02}:{rest:02}"


def _update(scheduler: Scheduler, settings: dict[str, str]) -> Output:
    wanted = {name.lower(): value for name, value in settings.items()}
    assert wanted.keys() in ({"jobid", "arraytaskthrottle"}, {"jobid", "mailtype"}), (
        f"the scripted scheduler does not know update {settings}"
    )
    arrays: list[Array] = [array for array in scheduler.arrays if str(array.id) == wanted["jobid"]]
    if not arrays or not any(element.live for element in arrays[0].elements):
        raise Refused(f"slurm_update error: {'Job has already finished' if arrays else 'Invalid job id specified'}")
    if "mailtype" in wanted:
        arrays[0].flags["mail-type"] = wanted["mailtype"]
        return Output(0, "", "")
    arrays[0].throttle = int(wanted["arraytaskthrottle"]) or None
    over = [element for element in arrays[0].elements if not element.live]
    if not over:
        return Output(0, "", "")
    # It was set, and yet: as 22.05.8 says it.
    live = index_list(e.index for e in arrays[0].elements if e.live and e.index is not None)
    said = [f"{element.id}: Job has already finished" for element in over] + [f"{arrays[0].id}_{live}: No error"]
    return Output(1, "", "\n".join(said) + "\n")


def _each(scheduler: Scheduler, verb: str, targets: str) -> Output:
    for target in re.split(r",(?![^\[]*\])", targets):
        again = verb == "requeue"  # which starts elements that have ended again, too
        chosen = [e for e in _chosen(scheduler, target) if e.live or (again and e.started is not None)]
        if not chosen:
            raise Refused(f"Invalid job id specified for job {target}")
        for element in chosen:
            if not again:
                element.held = verb == "hold"
            elif not scheduler.limits.may_requeue:
                raise Refused(f"Requested operation is presently disabled for job {target}")
            elif element.started is not None:
                scheduler.requeue(element)
    return Output(0, "", "")


def _scancel(scheduler: Scheduler, words: Sequence[str], timeout: float) -> Output:
    known = {"--quiet": False, "-Q": False, "--name": True, "--user": True, "-u": True, "--me": False, "--state": True}
    options, targets = options_of(words, known)
    need_control(scheduler, "scancel", timeout, f"scancel: error: slurm_kill_jobs: {UNREACHABLE}")
    assert set(options) <= {"--quiet", "-Q"}, f"the scripted scheduler cancels by id only: {words}"
    said = []
    for target in targets:
        chosen = _chosen(scheduler, target)  # none: 22.05 says nothing of an id that it does not know
        if chosen and not any(element.live for element in chosen):
            said.append(f"scancel: error: Kill job error on job id {target}: "
                        "Job/step already completing or completed\n")  # fmt: skip
        for element in chosen:
            if element.live:
                scheduler.cancel(element, by=scheduler.uid)
    return Output(0, "", "".join(said))


def _sinfo(scheduler: Scheduler, words: Sequence[str], timeout: float) -> Output:
    known = {"--all": False, "-a": False, "--exact": False, "-e": False, "--noheader": False, "-h": False,
             "--format": True, "-o": True, "--version": False, "-V": False}  # fmt: skip
    options, others = options_of(words, known)
    if {"--version", "-V"} & options.keys():
        return Output(0, "slurm 22.05.8\n", "")
    need_control(scheduler, "sinfo", timeout, f"slurm_load_partitions: {UNREACHABLE}")
    form = first(options, "--format", "-o")
    assert form and not others, f"sinfo: {words}"
    lines = []
    for number, (name, most) in enumerate(scheduler.limits.partitions.items()):
        values = {
            "P": name + ("" if number else "*"),
            "R": name,
            "l": _limit(most).lower(),
            "a": "up",
            "t": "idle",
            "T": "idle",
            "m": "64000",
        }
        values |= {"D": str(scheduler.limits.nodes), "N": f"node[1-{scheduler.limits.nodes}]", "G": "(null)"}
        lines.append(re.sub(r"%([A-Za-z])", r"{\1}", form).format(**values) + "\n")
    return Output(0, "".join(lines), "")


def _sdiag(scheduler: Scheduler, words: Sequence[str], timeout: float) -> Output:
    assert not words, f"the scripted scheduler does not know sdiag {words}"
    need_control(scheduler, "sdiag", timeout, f"slurm_get_statistics: {UNREACHABLE}")
    return Output(0, f"Jobs submitted: {len(scheduler.arrays)}\n", "")


_COMMANDS: dict[str, Callable[[Scheduler, Sequence[str], float], Output]] = {
    "sbatch": _sbatch, "squeue": squeue, "sacct": sacct, "sacctmgr": sacctmgr, "scontrol": _scontrol,
    "scancel": _scancel, "sinfo": _sinfo, "sdiag": _sdiag,
}  # fmt: skip
