"""What the screen shows of one picture, as texts with styles: made by the thread that looks: drawing is cheap."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from launch.draft import budget
from launch.plan import Plan
from launch.show import totals
from launch.show.cells import STYLES, parts
from launch.standing import Overview
from launch.standing.records import Fold
from launch.standing.when import WhenDone, when_done
from launch.status import Observation
from launch.store import Store
from launch.text import brief, some
from launch.watch.grid import Table
from slurm.starts import Starts

_WORDS_OF = 20_000  # seeds whose stages' names the search knows; of more it knows recipes, targets, states and causes
_NAME = 44  # cells of the terminal that a recipe's name takes at most


@dataclass(frozen=True)
class Entry:
    """A cell of the matrix, or a shared training, ready to be drawn. `words`: what a search looks at."""

    fold: Fold
    text: str
    style: str
    words: str

    def fits(self, wanted_words: Sequence[str]) -> bool:
        return all(word in self.words for word in wanted_words)


@dataclass(frozen=True)
class Shared:
    """A shared training, its name and who needs it."""

    name: str
    users: str
    entry: Entry


@dataclass(frozen=True)
class Sheet:
    """All that is drawn of an experiment but for its age."""

    name: str
    recipes: Sequence[str]
    targets: Sequence[str]
    cells: Mapping[tuple[str, str], Entry]
    shared: Sequence[Shared]
    counts: str  # "34 of 54 finished, 3 running"
    totals: Sequence[str]
    next_step: str
    silence: str | None = None  # that Slurm says nothing
    widths: Mapping[str, int] = field(default_factory=dict)  # by target


def make(plan: Plan, store: Store, observation: Observation, overview: Overview, starts: Starts | None) -> Sheet:
    """The texts of one picture."""
    seeds = sum(len(cell.seeds) for cell in overview.cells.values())
    names = plan if seeds <= _WORDS_OF else None
    cells = {at: _entry(fold, f"{fold.recipe} {fold.target}", names) for at, fold in overview.cells.items()}
    widths = {target: len(target) for target in overview.targets}
    for (_, target), entry in cells.items():
        widths[target] = max(widths[target], len(entry.text))
    steps = totals.next_steps(observation)
    return Sheet(
        name=overview.name,
        recipes=overview.recipes,
        targets=overview.targets,
        cells=cells,
        shared=_shared(overview, names),
        counts=_counts(overview),
        totals=_totals(plan, store, observation, overview, starts),
        next_step=str(steps[-1]) if steps else "",
        silence=totals.silence(overview),
        widths=widths,
    )


def _entry(fold: Fold, name: str, plan: Plan | None) -> Entry:
    text = ", ".join(part.text for part in parts(fold))
    return Entry(fold, text, STYLES[fold.state], f"{name} {_words(fold, plan)}".lower())


def _words(fold: Fold, plan: Plan | None) -> str:
    words: list[str] = [*fold.counts, *fold.causes]
    if plan is not None:
        keys = {key for seed in fold.seeds for key in (seed.stage, seed.at)}
        words += [plan.stages[key].folder for key in keys]
    return " ".join(words)


def _shared(overview: Overview, plan: Plan | None) -> list[Shared]:
    """Those that are not finished first."""
    trainings = []
    for training in sorted(overview.shared, key=lambda training: training.state == "finished"):
        recipes = list(dict.fromkeys(recipe for recipe, _ in training.users))
        users = f"{len(training.users)} cells: {some(recipes, 2)}"
        trainings.append(Shared(training.name, users, _entry(training, training.name, plan)))
    return trainings


def _counts(overview: Overview) -> str:
    state_counts = [f"{count} {state}" for state, count in overview.counts.items() if count and state != "finished"]
    return ", ".join([f"{overview.counts['finished']} of {overview.total} finished", *state_counts])


def _totals(plan: Plan, store: Store, observation: Observation, overview: Overview, starts: Starts | None) -> list[str]:
    lines = []
    if plan.experiment.cluster.gpus_asked_for:
        lines.append(budget.of(plan, observation).line())
    foretold = {f"{job.job}_{job.index}": when for job, when in starts.times.items()} if starts else {}
    lines += totals.when_lines(_when(plan, store, observation, overview, foretold), overview.taken)[:1]
    return lines


def _when(
    plan: Plan, store: Store, observation: Observation, overview: Overview, starts: Mapping[str, float]
) -> WhenDone | None:
    return when_done(plan, store, observation, overview, starts)


def age(moment: float) -> str:
    """How old a picture is."""
    return f"{brief(max(0.0, time.time() - moment))} ago"


# --- as tables


@dataclass(frozen=True)
class Chosen:
    """What a filter lets through: rows and columns of the matrix, and shared trainings."""

    recipes: Sequence[str]
    targets: Sequence[str]
    shared: Sequence[Shared]


def choose(sheet: Sheet, search: str) -> Chosen:
    """The recipes and targets with a cell in which every word of the search stands, and the trainings likewise."""
    wanted_words = search.lower().split()
    if not wanted_words:
        return Chosen(sheet.recipes, sheet.targets, sheet.shared)
    fitting = [at for at, entry in sheet.cells.items() if entry.fits(wanted_words)]
    recipes, targets = {recipe for recipe, _ in fitting}, {target for _, target in fitting}
    return Chosen(
        [recipe for recipe in sheet.recipes if recipe in recipes],
        [target for target in sheet.targets if target in targets],
        [training for training in sheet.shared if training.entry.fits(wanted_words)],
    )


def matrix(sheet: Sheet, choice: Chosen, search: str) -> Table:
    """Recipes down, targets across; cells that a search passes over are dim."""
    wanted_words = search.lower().split()

    def text(row: int, column: int) -> tuple[str, str]:
        recipe = choice.recipes[row]
        if column == 0:
            return recipe, ""
        entry = sheet.cells[recipe, choice.targets[column - 1]]
        return entry.text, entry.style if entry.fits(wanted_words) else "dim"

    names_width = min(_NAME, max(map(len, ("recipe", *choice.recipes)), default=0))
    widths = [names_width, *(sheet.widths[target] for target in choice.targets)]
    return Table(["recipe", *choice.targets], widths, len(choice.recipes), text, "no cell fits; Escape shows all")


def shared_table(choice: Chosen) -> Table:
    """Shared trainings: name, how its seeds stand, who needs it."""

    def text(row: int, column: int) -> tuple[str, str]:
        training = choice.shared[row]
        texts = (training.name, training.entry.text, training.users)
        return texts[column], training.entry.style if column == 1 else "" if column == 0 else "dim"

    headings = ("shared training", "seeds", "needed by")
    return Table(headings, _widths(headings, choice.shared, text), len(choice.shared), text)


def _widths(headings: Sequence[str], rows: Sequence[Shared], text: Callable[[int, int], tuple[str, str]]) -> list[int]:
    widths = [
        max([len(heading), *(len(text(row, n)[0]) for row in range(len(rows)))]) for n, heading in enumerate(headings)
    ]
    return [min(_NAME, widths[0]), *widths[1:]]
