"""The scripted scheduler's squeue, sacct and sacctmgr: fixed formats only, and only the fields that are here."""

import os
import pwd
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from slurm.commands import Output
from tests.slurm.scripted import NEVER, Element, Scheduler
from tests.slurm.scripted_words import UNREACHABLE, Refused, first, moment, need_control, options_of

# --- squeue


def _fold(elements: list[Element], *, truncate: bool) -> str:
    """The pending elements of an array as squeue shows them without --array: `1-3,7%2`."""
    from slurm.arrays import index_list

    listed = index_list(e.index for e in elements if e.index is not None)
    if truncate and listed.count(",") > 1:
        listed = ",".join(listed.split(",")[:2]) + ",..."
    throttle = elements[0].array.throttle
    return listed + (f"%{throttle}" if throttle else "")


_QUEUE: dict[str, Callable[[Element, str], str]] = {
    "A": lambda e, index: str(e.own_id),
    "F": lambda e, index: str(e.array.id),
    "K": lambda e, index: index,
    "i": lambda e, index: str(e.array.id) + (f"_{index}" if index.isdigit() else f"_[{index}]" if e.index is not None
                                             else ""),
    "T": lambda e, index: e.shown or e.state,
    "r": lambda e, index: e.reason,
    "R": lambda e, index: e.node or f"({e.reason})",
    "j": lambda e, index: e.array.name,
    "V": lambda e, index: moment(e.submitted),
    "S": lambda e, index: moment(e.expected if e.started is None else e.started),
    "P": lambda e, index: ",".join(e.array.partitions),
    "a": lambda e, index: e.array.account,
    "q": lambda e, index: e.array.qos,
    "k": lambda e, index: e.array.flags.get("comment", "(null)"),
    "u": lambda e, index: e.array.user,
    "U": lambda e, index: str(os.getuid() if e.array.user == pwd.getpwuid(os.getuid()).pw_name else 4242),
    "N": lambda e, index: e.node,
    "l": lambda e, index: e.array.flags.get("time", "UNLIMITED"),
}  # fmt: skip


def squeue(scheduler: Scheduler, words: Sequence[str], timeout: float) -> Output:
    bare = ("--noheader", "-h", "--array", "-r", "--all", "-a", "--me", "--start")
    valued = ("--user", "-u", "--jobs", "-j", "--name", "--format", "-o")
    known = dict.fromkeys(bare, False) | dict.fromkeys(valued, True)
    options, others = options_of(words, known)
    assert not others, f"squeue: {words}"
    form = first(options, "--format", "-o")
    assert form, "squeue without a fixed format"
    strange = set(re.findall(r"%([A-Za-z])", form)) - _QUEUE.keys()
    assert not strange, f"the scripted scheduler does not know squeue's %{strange}"
    need_control(scheduler, "squeue", timeout, f"slurm_load_jobs error: {UNREACHABLE}")
    chosen = [e for e in scheduler.elements if e.live]
    user = scheduler.user if "--me" in options else first(options, "--user", "-u")
    if user:
        chosen = [e for e in chosen if e.array.user == user]
    if name := options.get("--name"):
        chosen = [e for e in chosen if e.array.name in name.split(",")]
    if jobs := first(options, "--jobs", "-j"):
        known_ids = {e.id for e in scheduler.elements} | {str(a.id) for a in scheduler.arrays}
        if "," not in jobs and jobs not in known_ids:
            raise Refused("slurm_load_jobs error: Invalid job id specified")
        chosen = [e for e in chosen if {e.id, str(e.array.id), str(e.own_id)} & set(jobs.split(","))]
    if "--start" in options:
        chosen = [e for e in chosen if e.started is None]
    each = "--array" in options or "-r" in options
    heading = "" if {"--noheader", "-h"} & options.keys() else re.sub(r"%[A-Za-z]", "HEADING", form) + "\n"
    return Output(0, heading + "".join(f"{_line(form, group, scheduler)}\n" for group in _groups(chosen, each)), "")


def _groups(elements: list[Element], each: bool) -> Iterable[list[Element]]:
    """One line each; without --array, one for all pending elements of an array that look the same."""
    if each:
        return [[element] for element in elements]
    folded: dict[Any, list[Element]] = {}
    for element in elements:
        key = (
            (element.array.id, element.reason, element.expected)
            if element.started is None and element.index is not None
            else element.id
        )
        folded.setdefault(key, []).append(element)
    return folded.values()


def _line(form: str, group: list[Element], scheduler: Scheduler) -> str:
    element = group[0]
    if element.index is None:
        index = "N/A"
    elif len(group) == 1:
        index = str(element.index)
    else:
        index = _fold(group, truncate=scheduler.truncates_ids)

    return re.sub(r"%([A-Za-z])", lambda match: _QUEUE[match[1]](element, index), form)


# --- sacct and sacctmgr


def _need_accounting(scheduler: Scheduler, name: str) -> None:
    if not scheduler.has_accounting:
        raise Refused("Slurm accounting storage is disabled")
    if not scheduler.dbd_up:
        raise Refused(f"{name}: error: Sending PersistInit msg: Connection refused\n"
                       f"{name}: error: Problem talking to the database: Connection refused")  # fmt: skip


_RECORD: dict[str, Callable[[Element], str]] = {
    "jobid": lambda e: e.id,
    "jobidraw": lambda e: str(e.own_id),
    "jobname": lambda e: e.array.name,
    "state": lambda e: e.state_in_accounting,
    "exitcode": lambda e: f"{e.exit_code}:{e.signal}",
    "derivedexitcode": lambda e: f"{e.exit_code}:0",
    "submit": lambda e: moment(e.submitted).replace("N/A", "Unknown"),
    "start": lambda e: moment(e.started).replace("N/A", "Unknown"),
    "end": lambda e: moment(e.ended).replace("N/A", "Unknown"),
    "elapsedraw": lambda e: "0" if e.started is None or e.ended is None else str(int(e.ended - e.started)),
    "nodelist": lambda e: e.node or "None assigned",
    "maxrss": lambda e: "",
    "timelimitraw": lambda e: e.array.flags.get("time", "UNLIMITED"),
    "ntasks": lambda e: "",
    "totalcpu": lambda e: "00:02.500",
    "tresusageintot": lambda e: "",
    "consumedenergyraw": lambda e: "",
    "alloctres": lambda e: "billing=1,cpu=1,node=1",
    "reqtres": lambda e: "billing=1,cpu=1,node=1",
    "comment": lambda e: e.array.flags.get("comment", ""),
    "partition": lambda e: ",".join(e.array.partitions),
    "account": lambda e: e.array.account,
    "user": lambda e: e.array.user,
    "reason": lambda e: e.reason,
    "cluster": lambda e: "scripted",
}


def sacct(scheduler: Scheduler, words: Sequence[str], timeout: float) -> Output:
    known = {"--noheader": False, "-n": False, "--parsable2": False, "-P": False, "--allocations": False, "-X": False,
             "--duplicates": False, "-D": False, "--array": False, "--jobs": True, "-j": True, "--name": True,
             "--user": True, "-u": True, "--starttime": True, "-S": True, "--endtime": True, "-E": True,
             "--format": True, "-o": True, "--units": True, "--noconvert": False}  # fmt: skip
    options, others = options_of(words, known)
    assert not others and {"--noheader", "-n"} & options.keys() and {"--parsable2", "-P"} & options.keys(), words
    fields = (first(options, "--format", "-o") or "").lower().split(",")
    assert all(field in _RECORD for field in fields), f"the scripted scheduler does not know sacct's {fields}"
    _need_accounting(scheduler, "sacct")
    told_records = [e for e in scheduler.records if (e.ended or 0.0) + scheduler.accounting_delay <= scheduler.now]
    rows = [*told_records, *scheduler.live, *_claimed(scheduler)]
    if jobs := first(options, "--jobs", "-j"):
        wanted = set(jobs.split(","))
        rows = [e for e in rows if {e.id, str(e.array.id), str(e.own_id)} & wanted]
    if name := options.get("--name"):
        # 22.05 leaves out what waits for its parents.
        rows = [e for e in rows if e.array.name in name.split(",") and not (e.live and e.reason == "Dependency")]
    if since := first(options, "--starttime", "-S"):
        rows = [e for e in rows if e.live or moment(e.ended) >= since]
    if not {"--duplicates", "-D"} & options.keys():
        rows = list({e.id: e for e in rows}.values())  # the last record of an id
    steps = not {"--allocations", "-X"} & options.keys()
    told = [
        line for group in _waiting(rows) for line in _rows(group, fields, steps, scheduler.steps, scheduler.cuts_states)
    ]
    return Output(0, "".join(f"{line}\n" for line in told), "")


def _claimed(scheduler: Scheduler) -> list[Element]:
    """Elements cancelled before they started: Slurm 22.05 goes on calling them PENDING while others of the array are,
    and then has no record of them."""
    waiting = {e.array.id for e in scheduler.live if e.started is None}
    gone = [e for e in scheduler.elements if e.state == "CANCELLED" and e.started is None and not e.cancelled_by]
    return [replace(e, state="PENDING", ended=None) for e in gone if e.array.id in waiting and e.reason != NEVER]


def _waiting(rows: list[Element]) -> Iterable[list[Element]]:
    """The pending elements of an array, that never started, stand on one line."""
    groups: dict[Any, list[Element]] = {}
    for number, element in enumerate(rows):
        folded = element.state == "PENDING" and element.index is not None and not element.restarts
        groups.setdefault(element.array.id if folded else f"row {number}", []).append(element)
    return groups.values()


def _cut(state: str) -> str:
    """As in a column of ten characters."""
    return state if len(state) <= 10 else state[:9] + "+"


def _rows(
    group: list[Element], fields: list[str], steps: bool, told_steps: dict[str, tuple[str, str]], cuts_states: bool
) -> Iterable[str]:
    element = group[0]
    values = {field: _RECORD[field](element) for field in fields}
    if cuts_states and "state" in values:
        values["state"] = _cut(values["state"])
    if len(group) > 1 and "jobid" in values:
        values["jobid"] = f"{element.array.id}_[{_fold(group, truncate=False)}]"
    yield "|".join(values[field] for field in fields)
    if steps and element.started is not None and element.ended is not None:
        for step, name in ((".batch", "batch"), (".0", "env")):
            own = {"jobid": element.id + step, "jobidraw": f"{element.own_id}{step}", "jobname": name,
                   "maxrss": f"{element.max_rss // 1024}K", "user": "", "partition": ""}  # fmt: skip
            own["state"], own["exitcode"] = element.state, values.get("exitcode", "")
            if step == ".0" and element.id in told_steps:
                own["state"], own["exitcode"] = told_steps[element.id]
            if cuts_states:
                own["state"] = _cut(own["state"])
            yield "|".join(own.get(field, values[field]) for field in fields)


_ASSOCIATION = {"maxsubmit": "submit", "maxsubmitjobs": "submit", "grpsubmit": "", "grpsubmitjobs": "", "maxjobs": "",
                "grpjobs": "", "maxwall": "", "grpwall": ""}  # fmt: skip
_QOS = ("maxsubmitpu", "maxsubmitjobsperuser", "maxsubmitpa", "maxsubmitjobsperaccount", "grpsubmit", "grpsubmitjobs",
        "maxjobspu", "maxwall", "flags", "grpjobs")  # fmt: skip


def sacctmgr(scheduler: Scheduler, words: Sequence[str], timeout: float) -> Output:
    known = dict.fromkeys(("--noheader", "-n", "--parsable2", "-P", "--readonly", "-r", "--immediate", "-i"), False)
    options, others = options_of(words, known)
    assert {"--noheader", "-n"} & options.keys() and {"--parsable2", "-P"} & options.keys(), words
    verb, entity, *rest = others
    assert verb in ("show", "list"), f"the scripted scheduler does not know sacctmgr {verb}"
    settings = dict(word.lower().split("=", 1) for word in rest if "=" in word)
    assert set(settings) <= {"format", "user", "users", "account", "accounts", "name", "names", "where", "cluster"}
    fields = settings["format"].split(",")
    _need_accounting(scheduler, "sacctmgr")
    if entity.lower() == "user" and rest[1] == "withassoc":
        return _associations(scheduler, fields, settings.get("cluster"))
    assert entity.lower() == "qos", f"the scripted scheduler does not know sacctmgr show {entity}"
    wanted = settings.get("name", settings.get("names"))
    names = [name for name in scheduler.limits.qos if wanted is None or name in wanted.split(",")]
    assert all(field in (*_QOS, "name") for field in fields), fields
    rows = [
        {"name": n, "maxsubmitjobsperuser": str(scheduler.limits.qos_submit.get(n, "")), "flags": ""} for n in names
    ]
    return Output(0, "".join("|".join(row.get(f, "") for f in fields) + "\n" for row in rows), "")


def _associations(scheduler: Scheduler, fields: list[str], cluster: str | None) -> Output:
    """The user's; slurmdbd serves another cluster too, whose rows come first where no cluster is named."""
    limits = scheduler.limits
    own = {"user": scheduler.user, "partition": "", "qos": ",".join(limits.qos),
           "defaultqos": limits.qos[0], "defaultaccount": limits.accounts[0]}  # fmt: skip
    lines = []
    there = [("another", limits.accounts[0], 1), *(("scripted", account, limits.submit) for account in limits.accounts)]
    for name, account, most in (row for row in there if cluster in (None, row[0])):
        row = own | {"cluster": name, "account": account} | dict.fromkeys(_ASSOCIATION, "")
        for field, limit in _ASSOCIATION.items():
            if limit and most is not None:
                row[field] = str(most)
        assert all(field in row for field in fields), f"the scripted scheduler does not know sacctmgr's {fields}"
        lines.append("|".join(row[field] for field in fields) + "\n")
    return Output(0, "".join(lines), "")
