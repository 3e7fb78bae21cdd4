"""`stepstone status --stages`: a row for each stage; `--stage`: every attempt at one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.console import Console

from eval.tables.baseline import split
from eval.tables.cells import DIVERGED
from launch.experiment.errors import nearest
from launch.plan import Plan, Stage
from launch.results import scores, table
from launch.show.cells import STYLES
from launch.show.lines import hanging, print_lines
from launch.status import Observation, State, history
from launch.store import Store
from launch.store.attempts import attempts_of
from slurm.base import UsageError

# What needs a person first.
_ORDER: tuple[State, ...] = ("failed", "held", "unknown", "cancelled", "running", "queued", "new", "finished")


@dataclass(frozen=True)
class Filter:
    """Which stages are listed: those that fit everything that is said. `recipe`, `target`: what they are needed for."""

    states: Collection[State] = ()  # none: all
    recipe: str | None = None  # as the file, or `status`, writes it: without a label from all start models
    target: str | None = None

    def check(self, plan: Plan) -> None:
        """UsageError for a recipe or a target that the experiment does not have."""
        recipe_names = table.recipe_names(plan)
        if self.recipe is not None and not any(map(self._is_asked_for, recipe_names)):
            raise UsageError(f"--recipe {self.recipe}: no such recipe here{nearest(self.recipe, recipe_names)}")
        if self.target is not None and self.target not in plan.targets:
            raise UsageError(f"--target {self.target}: no such target here{nearest(self.target, list(plan.targets))}")

    def select(self, plan: Plan, observation: Observation) -> list[Stage]:
        """The stages, those that need a person first."""
        stages = [stage for stage in plan.stages.values() if self.fits(plan, observation, stage)]
        return sorted(stages, key=lambda stage: _ORDER.index(observation.state(stage).state))

    def fits(self, plan: Plan, observation: Observation, stage: Stage) -> bool:
        """Whether a stage is listed."""
        if self.states and observation.state(stage).state not in self.states:
            return False
        if self.recipe is None and self.target is None:
            return True
        return any(
            self._is_asked_for(recipe) and self.target in (None, target) for recipe, target in plan.users[stage.key]
        )

    def _is_asked_for(self, name: str) -> bool:
        return self.recipe is None or _plain(self.recipe) in map(_plain, (name, split(name)[1]))


def _plain(recipe: str) -> str:
    """Without blanks, which people put as they like."""
    return "".join(recipe.split())


def print_stages(plan: Plan, store: Store, observation: Observation, wish: Filter, console: Console) -> None:
    """A row for each stage that fits, and why it stands so."""
    stages = wish.select(plan, observation)
    if stages:
        _print_rows(plan, store, observation, stages, console)
    console.print(f"{len(stages)} of {len(plan.stages)} stages", markup=False, highlight=False, soft_wrap=True)


def print_history(plan: Plan, store: Store, observation: Observation, stages: list[Stage], console: Console) -> None:
    """Some stages with every attempt that was made at them."""
    if not stages:
        console.print("none of these stages fits", markup=False, soft_wrap=True)
        return
    _print_rows(plan, store, observation, stages, console)
    for stage in stages:
        lines = (
            history.lines(store.stage_folder(stage.folder), observation.failures(stage)) if store.exists(stage) else []
        )
        console.print(
            f"{stage.name}, key {stage.key}: {'' if lines else 'no attempt yet'}", markup=False, soft_wrap=True
        )
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def tries(store: Store, stage: Stage) -> int:
    """How many attempts were made at a stage."""
    return len(attempts_of(store.stage_folder(stage.folder))) if store.exists(stage) else 0


_HEADS = ("state", "stage", "tries", "job", "score")
_STAGE = _HEADS.index("stage")  # the column whose texts are broken where there is no room


def _print_rows(plan: Plan, store: Store, observation: Observation, stages: Sequence[Stage], console: Console) -> None:
    rows = [_row(plan, store, observation, stage) for stage in stages]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    widths[_STAGE] = max(
        len("stage"), min(widths[_STAGE], console.width - sum(widths) + widths[_STAGE] - 2 * (len(widths) - 1))
    )
    print_lines(console, _laid_out(_HEADS, widths), "bold")
    for stage, row in zip(stages, rows, strict=True):
        state = observation.state(stage)
        print_lines(console, _laid_out(row, widths), STYLES[state.state])
        if state.plain_reason:
            print_lines(console, hanging(f"  {_why(state.cause, state.plain_reason)}", console.width))


def _row(plan: Plan, store: Store, observation: Observation, stage: Stage) -> tuple[str, ...]:
    state, score = observation.state(stage), scores.score(plan, store, stage)
    score_text = "" if score is None else f"{score:.1f}"
    score_text += f" {DIVERGED}" if scores.at_chance(plan, store, stage) else ""
    return state.state, stage.name, str(tries(store, stage)), state.job or "", score_text


def _laid_out(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A row's lines: a name that is too long goes on in the next one."""
    name, room = row[_STAGE], widths[_STAGE]
    pieces = [name[start : start + room] for start in range(0, len(name), room)] or [""]
    cells = [*row[:_STAGE], pieces[0], *row[_STAGE + 1 :]]
    first_line = "  ".join(
        cell.rjust(width) if head in ("tries", "score") else cell.ljust(width)
        for head, cell, width in zip(_HEADS, cells, widths, strict=True)
    )
    return [first_line.rstrip(), *(" " * (widths[0] + 2) + piece for piece in pieces[1:])]


def _why(cause: str | None, reason: str) -> str:
    """The cause is what `failures:` and `retry --class` call it."""
    return reason if cause in (None, "unknown") else f"{cause}: {reason}"
