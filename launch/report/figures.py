"""The figures' files: gathered as a report is, drawn one after the other, each put in its place whole."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch.plan import Plan
from launch.report import gather
from launch.status import Observation
from launch.store import Store, owner, sharing
from launch.text import some
from slurm.base import UsageError
from slurm.base.files import make_folder, write_atomic
from training.tasks import catalogue

if TYPE_CHECKING:
    from eval.figures import drawing
    from eval.figures.drawing import Format

CAPTIONS = "captions.txt"
_LISTED = 12


@dataclass(frozen=True)
class Drawn:
    """What was written: the folder, the names of the figures, and those of which there is nothing to show yet."""

    folder: Path
    names: tuple[str, ...]
    empty: tuple[str, ...]


def write(
    plan: Plan, out: Path | None, inches: float, forms: Collection["Format"], chosen_names: Collection[str] = ()
) -> Drawn:
    """Write an experiment's figures as it stands now, over those before. Safe beside running jobs.

    `out`: where, instead of `results/<experiment>/figures` in the store; it is made. `chosen_names`: of figures, or how
    they begin, such as `languages`; empty: all. UsageError for one that there is not.
    """
    from eval.figures import drawing  # matplotlib

    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is no folder")
    if out is None:
        owner.check(plan)
    store = Store(plan.experiment.store)
    content = gather.content(plan, store, Observation(plan, store))
    figure_plans = list(_chosen(drawing.figures(content), chosen_names))
    folder = make_folder(out or store.root / "results" / plan.experiment.name / "figures", "--out" if out else "store:")
    captions: dict[str, str] = {}
    empty_names = []
    for figure_plan in figure_plans:
        pages = drawing.draw(figure_plan, inches)
        empty_names += [] if pages else [figure_plan.name]
        for name, figure in pages.items():
            captions[name] = figure_plan.caption
            for form in forms:
                write_atomic(folder / f"{name}.{form}", drawing.content_of(figure, form))
    write_atomic(folder / CAPTIONS, "".join(f"{name}: {caption}\n" for name, caption in captions.items()))
    if out is None:
        sharing.let_in(plan.experiment.cluster.share_group, store.root, [folder])
    return Drawn(folder, tuple(captions), tuple(empty_names))


def _chosen(figure_plans: "list[drawing.Plan]", chosen_names: Collection[str]) -> "Iterator[drawing.Plan]":
    names = [item.name for item in figure_plans]
    kinds = list(dict.fromkeys(name.partition("-")[0] for name in names))
    for name in chosen_names:
        if name not in names and name not in kinds:
            raise UsageError(f"--only {name}: {catalogue.nearest(name, [*kinds, *names])}")
    yield from (
        item
        for item in figure_plans
        if not chosen_names or {item.name, item.name.partition("-")[0]} & set(chosen_names)
    )


def described(drawn_figures: Drawn) -> str:
    """In one line."""
    text = f"{drawn_figures.folder}: {some(drawn_figures.names, _LISTED)}"
    return text + (f"; nothing to show yet: {some(drawn_figures.empty, _LISTED)}" if drawn_figures.empty else "")
