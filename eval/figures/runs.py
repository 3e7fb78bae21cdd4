"""Figures of single runs: English dev against transfer, and training curves."""

from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from eval.figures import panels, style
from eval.report.content import Curve, TransferPoint
from eval.tables.baseline import BASELINE, is_baseline, split, with_label

_TICKS = 0.3  # inches, for the numbers beside a panel
_DIVERGED = "diverged"


def dev_against_transfer(points: Sequence[TransferPoint], recipes: Sequence[str], inches: float) -> list[Figure]:
    """A panel a target, a point a run; crosses are runs that diverged. Empty without a run."""
    if not points:
        return []
    targets = list(dict.fromkeys(point.target for point in points))
    shown_recipes = [name for name in recipes if any(point.recipe == name for point in points)]
    has_diverged = any(point.diverged for point in points)
    handles = [style.point(recipes.index(name)) for name in shown_recipes] + ([_cross()] if has_diverged else [])
    names = shown_recipes + ([_DIVERGED] if has_diverged else [])
    below = style.legend_height(names, inches) + 0.05
    y_label = "zero-shot, mean of the other languages, percent" if len(targets) > 2 else "zero-shot, percent"
    layout = panels.Layout(inches, _TICKS, 0.85, 0.85, shares_y=False, y_label=y_label, below=below)
    x_label = "English dev of the training on the target, percent"
    pages = panels.draw(targets, layout, x_label)
    all_axes = [of for _, of_page in pages for of in of_page]
    for of, target in zip(all_axes, targets, strict=True):
        for point in points:
            if point.target == target:
                sign = _cross() if point.diverged else style.point(recipes.index(point.recipe))
                copy = Line2D([point.dev], [point.transfer])
                copy.update_from(sign)
                of.add_line(copy)
        of.margins(0.1)
        of.autoscale_view()
        of.locator_params(nbins=4)
    for drawn_figure, _ in pages:
        style.legend_below(drawn_figure, handles, names, below)
    return [drawn_figure for drawn_figure, _ in pages]


def _cross() -> Line2D:
    return Line2D([], [], linestyle="", marker="x", markersize=3.5, color=style.FAINT, markeredgewidth=0.7)


def losses(curves: Sequence[Curve], inches: float) -> list[Figure]:
    """Training loss by optimizer step: a panel a last step, a line a training; of those that diverged dashed."""
    with_loss = [curve for curve in curves if curve.steps]
    return _curves(with_loss, lambda of, curve, line: _loss(of, curve, line), "training loss", inches)


def dev_scores(curves: Sequence[Curve], inches: float) -> list[Figure]:
    """English dev by optimizer step, at the end of each epoch; the dot is the selected epoch."""
    with_dev = [curve for curve in curves if curve.dev]
    return _curves(with_dev, lambda of, curve, line: _dev(of, curve, line), "English dev, percent", inches)


def _curves(
    curves: Sequence[Curve], draw_curve: Callable[[Axes, Curve, Line2D], None], y_label: str, inches: float
) -> list[Figure]:
    if not curves:
        return []
    steps = list(dict.fromkeys(_last_step(curve) for curve in curves))
    paths = list(dict.fromkeys(_path(curve) for curve in curves))
    styles = [_line_style(number) for number in range(len(paths))]
    names = [path if is_baseline(path) else f"after {path}" for path in paths]
    below = style.legend_height(names, inches) + 0.05
    layout = panels.Layout(inches, _TICKS + 0.02, 0.85, 0.75, shares_y=False, y_label=y_label, below=below)
    pages = panels.draw(steps, layout, "optimizer step")
    all_axes = [of for _, of_page in pages for of in of_page]
    for of, step in zip(all_axes, steps, strict=True):
        for curve in curves:
            if _last_step(curve) == step:
                draw_curve(of, curve, styles[paths.index(_path(curve))])
        of.margins(0.05)
        of.autoscale_view()
        of.set_xlim(left=0)
        of.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        of.yaxis.set_major_locator(MaxNLocator(4))
    for drawn_figure, _ in pages:
        style.legend_below(drawn_figure, styles, names, below)
    return [drawn_figure for drawn_figure, _ in pages]


def _last_step(curve: Curve) -> str:
    return split(curve.training)[1].rpartition(" > ")[2]


def _path(curve: Curve) -> str:
    """What was trained before, as a recipe is named."""
    model, training = split(curve.training)
    return with_label(model, training.rpartition(" > ")[0] or BASELINE)


def _line_style(number: int) -> Line2D:
    dashes: Sequence[Literal["-", "--", "-."]] = ("-", "--", "-.")
    return Line2D([], [], color=style.colour(number), linestyle=dashes[number // 7 % 3], linewidth=0.9)


def _loss(of: Axes, curve: Curve, line: Line2D) -> None:
    of.plot(
        curve.steps, curve.loss, color=line.get_color(), linewidth=0.6, alpha=0.8,
        linestyle=":" if curve.diverged else line.get_linestyle(), dash_capstyle="butt",
    )  # fmt: skip


def _dev(of: Axes, curve: Curve, line: Line2D) -> None:
    steps, scores = zip(*curve.dev, strict=True)
    linestyle = ":" if curve.diverged else line.get_linestyle()
    of.plot(steps, scores, color=line.get_color(), linewidth=0.6, alpha=0.8, linestyle=linestyle)
    if curve.selected_epoch is not None and curve.selected_epoch < len(steps):
        at = curve.selected_epoch
        of.plot([steps[at]], [scores[at]], "o", color=line.get_color(), markersize=2.2)
