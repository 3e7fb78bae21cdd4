"""A cell of the matrix in few words, and what these mean: the same words for a shared training."""

from collections.abc import Iterable
from dataclasses import dataclass

from eval.tables.cells import DIVERGED
from launch.standing.records import Fold, FoldState
from launch.text import brief

STYLES: dict[FoldState, str] = {
    "failed": "bold red", "held": "yellow", "unknown": "yellow", "cancelled": "yellow", "running": "green",
    "queued": "cyan", "waiting": "cyan", "new": "dim", "finished": "",
}  # fmt: skip
_WORDS: dict[FoldState, str] = {"running": "run", "waiting": "waits", "unknown": "?", "finished": "done"}


@dataclass(frozen=True)
class Part:
    """What is said of the seeds that are in one state: a line of a cell. It may be wrapped between its words."""

    text: str
    state: FoldState

    @property
    def style(self) -> str:
        return STYLES[self.state]


def parts(fold: Fold) -> list[Part]:
    """The score first, then what is not finished, the most urgent first; with numbers where seeds differ."""
    states = sorted(fold.counts, key=lambda state: state != "finished")
    return [Part(_words(fold, state, of_all=len(states) == 1), state) for state in states]


def _words(fold: Fold, state: FoldState, *, of_all: bool) -> str:
    if state == "finished":
        return _score(fold)
    words = [_WORDS.get(state, state)]
    if not of_all:
        words.insert(0, str(fold.counts[state]))
    if state == "failed":
        words += [cause for cause in fold.causes if cause != "unknown"]
    if state == "queued" and fold.place is not None:
        words.append(f"#{fold.place}")
    if state in ("running", "unknown"):
        shares = [
            s.progress.share for s in fold.among(state) if s.progress is not None and s.progress.share is not None
        ]
        if shares:
            words.append(f"{sum(shares) / len(shares):.0%}")
    if state == "running" and fold.seconds_left is not None:
        words.append(brief(fold.seconds_left))
    return " ".join(words)


def _score(fold: Fold) -> str:
    """As the table of `collect` has it."""
    if fold.score is None:
        return "done"
    deviation = "" if fold.deviation is None else f" ±{fold.deviation:.1f}"
    finished_count = fold.counts["finished"]
    mark = "" if not fold.diverged else f" {DIVERGED}{fold.diverged if fold.diverged < finished_count else ''}"
    return f"{fold.score:.1f}{deviation}{mark}"


def legend(folds: Iterable[Fold]) -> list[str]:
    """What the words and signs mean, of those that some folds show."""
    shown_folds = list(folds)
    states = {state for fold in shown_folds for state in fold.counts}
    texts = " ".join(part.text for fold in shown_folds for part in parts(fold))
    meanings = {
        "±: standard deviation over seeds": "±" in texts,
        f"{DIVERGED}: did no better than a constant answer": DIVERGED in texts,
        "2 run: two seeds of the cell": any(len(fold.counts) > 1 for fold in shown_folds),
        "45% 12m: how far, and the time left": "%" in texts,
        "#3: its place among your jobs in the queue": "#" in texts,
        "waits: for a training that others need too": "waiting" in states,
        "held: what it needs failed": "held" in states,
        "?: Slurm does not say": "unknown" in states,
        "new: not sent": "new" in states,
        "done: finished, without a score": "done" in texts,
    }
    return [meaning for meaning, is_shown in meanings.items() if is_shown]
