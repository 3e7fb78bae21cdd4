"""`stepstone usage`: where the hours went, what stages and elements used of what was asked for, what to change."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from launch.plan import Plan
from launch.show.lines import hanging, print_lines
from launch.status import Observation
from launch.store import Store
from launch.text import as_typed, brief, some, wrapped
from launch.usage import accounting, advice, hours, measured
from launch.usage.accounting import Accounts
from launch.usage.advice import LEAST, Advice, amount
from launch.usage.hours import Account, Hours
from launch.usage.measured import KindUse, Measured

SCHEMA = 1
_LISTED = 12  # recipes, kinds: of more, those that took the most
_NARROW = 16  # characters that names keep beside the numbers, however narrow it is


@dataclass(frozen=True)
class Report:
    """All that the command tells."""

    account: Account
    accounts: Accounts
    measured: Measured
    advice: tuple[Advice, ...]


def take(plan: Plan, store: Store, observation: Observation) -> Report:
    """The report of an experiment. Asks accounting for what it does not remember."""
    accounts = accounting.look(plan, store, observation)
    uses = measured.measure(plan, observation, accounts)
    return Report(hours.of(plan, observation), accounts, uses, tuple(advice.advise(plan, uses)))


def record(plan: Plan, report: Report) -> dict[str, Any]:
    """The contract of `stepstone usage FILE --json`: seconds, bytes, shares of 1, joules; hours of GPUs or cores."""
    cluster, elements, account = plan.experiment.cluster, report.measured.elements, report.account
    request = cluster.asked
    return {
        "schema": SCHEMA,
        "experiment": plan.experiment.name,
        "hours": {
            "unit": account.unit,
            "per_element": account.per_element,
            "total": _hours_json(account.total),
            "by_recipe": {name: _hours_json(part) for name, part in account.by_recipe.items()},
            "by_kind": {name: _hours_json(part) for name, part in account.by_kind.items()},
        },
        "asked": asdict(request) | {"time": cluster.time},
        "kinds": [asdict(use) for use in report.measured.kinds],
        "unseen": list(report.measured.unseen),
        "elements": asdict(elements) | {"stopped_by": sorted(elements.stopped_by)},
        "accounting": {
            "words": report.accounts.words,
            "jobs": [
                asdict(job) | {"cpu_efficiency": job.cpu_efficiency, "memory_efficiency": job.memory_efficiency}
                for job in report.accounts.jobs
            ],
        },
        "advice": [asdict(entry) | {"yaml": entry.yaml} for entry in report.advice],
    }


def _hours_json(part: Hours) -> dict[str, Any]:
    return asdict(part) | {"total": part.total, "wasted": part.wasted}


def print_all(plan: Plan, report: Report, console: Console) -> None:
    """For people, in the console's width."""
    width, account = console.width, report.account
    print_lines(console, _hours_lines("recipe", account, account.by_recipe, width))
    if len(account.by_recipe) > 1:
        print_lines(
            console, hanging("Trainings that recipes share count in equal parts for each of them.", width), "dim"
        )
    print_lines(console, ["", *_hours_lines("kind of stage", account, account.by_kind, width)])
    wasted_on = [f"{_number(value)} {outcome}" for outcome, value in account.total.wasted_on.items()]
    if wasted_on:
        print_lines(console, hanging(f"wasted on: {', '.join(wasted_on)}", width))
    print_lines(console, ["", *_kind_lines(report.measured.kinds, width)] if report.measured.kinds else [])
    for line in (*_element_lines(plan, report), *_accounting_lines(report)):
        print_lines(console, hanging(line, width))
    print_lines(console, ["", *_advice_lines(plan, report, width)])


def _hours_lines(label: str, account: Account, parts: Mapping[str, Hours], width: int) -> list[str]:
    largest = sorted(parts, key=lambda name: -parts[name].total)[:_LISTED]
    rows = [(name, *_amounts(parts[name])) for name in parts if name in largest]
    if len(parts) > len(rows):
        other_parts = [part for name, part in parts.items() if name not in largest]
        sums = (sum(values) for values in zip(*map(_values, other_parts), strict=True))
        rows.append((f"{len(other_parts)} more", *map(_number, sums)))
    rows.append(("all", *_amounts(account.total)))
    return table((f"{account.unit} by {label}", "all", "useful", "idle", "running", "wasted"), rows, width)


def _values(part: Hours) -> tuple[float, ...]:
    return part.total, part.useful, part.idle, part.running, part.wasted


def _amounts(part: Hours) -> tuple[str, ...]:
    return tuple(map(_number, _values(part)))


def _number(value: float) -> str:
    if value >= 100 or not value:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}" if value >= 0.01 else "<0.01"


def _kind_lines(kinds: Sequence[KindUse], width: int) -> list[str]:
    head = (
        "used, by kind of stage",
        "seen",
        "usual",
        "longest",
        "memory",
        "cores",
        "GPU",
        "its memory",
        "data",
        "disks",
    )
    rows = [
        (
            use.kind,
            str(use.seen),
            brief(use.usual),
            brief(use.longest),
            amount(use.memory) if use.memory else "",
            "" if use.cores is None else f"{use.cores:.1f}",
            "" if use.busy is None else f"{use.busy:.0f} %",
            amount(use.gpu_memory) if use.gpu_memory else "",
            "" if use.data_wait is None else f"{use.data_wait:.0%}",
            brief(use.io_wait) if use.io_wait and use.io_wait >= 1 else "",
        )
        for use in sorted(kinds, key=lambda use: -use.longest)[:_LISTED]
    ]
    columns = [number for number in range(len(head)) if number == 0 or any(row[number] for row in rows)]
    lines = table([head[n] for n in columns], [[row[n] for n in columns] for row in rows], width)
    return [*lines, *([f"{len(kinds) - _LISTED} more (--json lists them)"] if len(kinds) > _LISTED else [])]


def _element_lines(plan: Plan, report: Report) -> list[str]:
    """What was asked for of an element, and the most that one used."""
    cluster, elements = plan.experiment.cluster, report.measured.elements
    if not elements.seen:
        return ["elements: none has ended well yet"]
    request = cluster.asked
    limit = f" of {cluster.time}" if cluster.time else ""
    parts = [f"{elements.seen} ended well", f"{advice.clock(elements.longest)}{limit} the longest"]
    if elements.memory:
        of_node = f" of {amount(request.memory << 20)}" if request.memory else ""
        parts.append(f"{amount(elements.memory)}{of_node} of memory of a node")
    cores = [use.cores for use in report.measured.kinds if use.cores is not None]
    if cores:
        of_all = f" of {request.ranks * request.cores}" if request.cores else ""
        parts.append(f"{max(cores):.1f}{of_all} cores busy in the busiest stage")
    return [f"elements: {', '.join(parts)}"]


def _accounting_lines(report: Report) -> list[str]:
    elements, words = report.measured.elements, report.accounts.words
    lines = []
    if elements.accounted:
        parts = [f"{elements.accounted} that completed"]
        if elements.cpu_efficiency is not None:
            parts.append(f"{elements.cpu_efficiency:.1%} of their CPUs' time")
        if elements.memory_efficiency is not None:
            parts.append(f"{elements.memory_efficiency:.1%} of the memory at most")
        if elements.energy:
            parts.append(f"{elements.energy / 3.6e6:,.1f} kWh")
        lines.append(f"accounting: {', '.join(parts)} (as `seff` counts)")
    if words is not None:
        lines.append(words + ("" if elements.accounted else "; all numbers are the jobs' own notes and samples"))
    return lines


def _advice_lines(plan: Plan, report: Report, width: int) -> list[str]:
    uses, file = report.measured, as_typed(plan.experiment.path)
    if not report.advice:
        is_local = plan.experiment.cluster.chosen_executor == "local"
        return [] if is_local else hanging(f"no advice: {why_none(plan, report)}", width)
    lines = ["advice, under `cluster:`"]
    for entry in report.advice:
        lines += [f"  {entry.yaml}", *hanging(f"      {entry.why}", width)]
    if uses.unseen:
        lines += hanging(f"  not seen yet, and not in it: {some(uses.unseen, 3)}", width)
    return [*lines, *hanging(f"to change the file: stepstone usage {file} --apply", width)]


def why_none(plan: Plan, report: Report) -> str:
    """Why nothing is advised."""
    uses = report.measured
    if plan.experiment.cluster.chosen_executor == "local":
        return "local workers ask nobody for anything"
    if uses.elements.seen < LEAST:
        return f"{uses.elements.seen} of {LEAST} elements ended well"
    if uses.unseen:
        return f"nothing has ended well yet of {some(uses.unseen, 3)}"
    return "what is asked for fits what was used"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Names on the left, which are wrapped where there is too little room; numbers, never cut, on the right."""
    numbers = [max(len(row[n]) for row in (head, *rows)) for n in range(1, len(head))]
    room = max(_NARROW, width - sum(numbers) - 2 * len(numbers))
    names = [wrapped(row[0], room) for row in (head, *rows)]
    widest = max(len(line) for lines in names for line in lines)
    drawn_lines: list[str] = []
    for name, row in zip(names, (head, *rows), strict=True):
        cells = (f"  {text:>{size}}" for text, size in zip(row[1:], numbers, strict=True))
        drawn_lines += [*name[:-1], f"{name[-1]:<{widest}}{''.join(cells)}".rstrip()]
    return drawn_lines
