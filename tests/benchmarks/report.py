"""Readings as tables in Markdown: medians with the smallest and the largest, and what they are in proportion."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Key(NamedTuple):
    """What was measured: task, "train" or "evaluate", math library, side."""

    task: str
    what: str
    math: str
    side: str


Rates = dict[Key, list[float]]  # real tokens per second, one per repetition

_WHAT = ("train", "evaluate")
_OURS = "ours zero 2"
_PEERS = ("peer default", "peer best")


def report(rates: Rates, *chosen: str) -> str:
    """A table per task (a line per side and library), and one of ratios. `chosen`: the libraries the engine takes, to
    train and to evaluate."""
    tasks = list(dict.fromkeys(key.task for key in rates))
    parts = [_table(task, rates) for task in tasks]
    return "\n\n".join([*parts, _ratios(tasks, rates, chosen)]) + "\n"


def _table(task: str, rates: Rates) -> str:
    lines = [f"| {task}, real tokens/s | library | training | evaluation |", "|---|---|---|---|"]
    for side in dict.fromkeys(key.side for key in rates if key.task == task):
        for math in dict.fromkeys(key.math for key in rates):
            shown = [_spread(rates.get(Key(task, what, math, side), [])) for what in _WHAT]
            lines.append(f"| {side} | {math} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    return f"{median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f}, n={len(values)})"


def _ratios(tasks: list[str], rates: Rates, chosen: Sequence[str]) -> str:
    """ "as shipped": ours with the libraries it chooses against the peer with MKL, as it chooses none."""
    lines = [
        "| ours under ZeRO-2, times | training: default | best | evaluation: default | best |",
        "|---|---|---|---|---|",
    ]
    for task in tasks:
        for name in ("as shipped", "mkl", "onednn"):
            pairs = [(ours, "mkl") if name == "as shipped" else (name, name) for ours in chosen]
            shown = [
                _ratio(task, what, *pair, peer, rates)
                for what, pair in zip(_WHAT, pairs, strict=True)
                for peer in _PEERS
            ]
            lines.append(f"| {task}, {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _ratio(task: str, what: str, ours: str, theirs: str, peer: str, rates: Rates) -> str:
    try:
        mine, other = rates[Key(task, what, ours, _OURS)], rates[Key(task, what, theirs, peer)]
    except KeyError:
        return "–"
    return f"{median(mine) / median(other):.1f}"
