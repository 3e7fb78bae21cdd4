"""Which figures a report's records give, and how each becomes a file."""

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import matplotlib
from matplotlib.figure import Figure

from eval.figures import costs, findings, groups, heat, runs, style
from eval.report.content import Content, TargetGrids
from eval.studies.finding import Finding
from eval.studies.forms import file_name
from slurm.base import UsageError

Format = Literal["pdf", "svg", "png"]
_DPI = 300  # of PNG
_METADATA: dict[Format, dict[str, Any]] = {  # without dates and versions: the same records give the same bytes
    "pdf": {"Creator": "Stepstone", "Producer": None, "CreationDate": None},
    "svg": {"Date": None, "Creator": "Stepstone"},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Plan:
    """A figure that can be drawn. `name`: of its file, without an ending; `caption`: what it shows, in words; `draw`:
    of a width in inches; one, or as many as it takes pages, or none where there is nothing to show yet."""

    name: str
    caption: str
    draw: Callable[[float], list[Figure]]


def formats(text: str) -> tuple[Format, ...]:
    """Those of a list such as `pdf,svg`. UsageError for another name."""
    names = [name for name in text.lower().replace(" ", "").split(",") if name]
    known_names = {name: name for name in get_args(Format)}
    for name in names:
        if name not in known_names:
            raise UsageError(f"--format {text}: {name} is none of {', '.join(known_names)}")
    if not names:
        raise UsageError(f"--format: name one or more of {', '.join(known_names)}, as in --format pdf,png")
    return tuple(dict.fromkeys(known_names[name] for name in names))


def figures(content: Content) -> list[Plan]:
    """All that there are, in the order of a paper."""
    return [
        Plan("matrix", _caption(content.matrix.sheet.caption), partial(heat.matrix, content.matrix)),
        *(plan for target in content.targets for plan in _of_target(target)),
        Plan(
            "transfer",
            "English dev of the training on the target against the zero-shot mean of the other languages, run by run",
            partial(runs.dev_against_transfer, content.transfer, content.recipes),
        ),
        Plan("curves-loss", "training loss by optimizer step, every seed", partial(runs.losses, content.curves)),
        Plan(
            "curves-dev",
            "English dev score after each epoch, every seed; dots: the selected epoch",
            partial(runs.dev_scores, content.curves),
        ),
        Plan(
            "cost",
            f"{content.costs.unit} by recipe; a stage that several recipes need counts in equal parts for each",
            partial(costs.draw, content.costs),
        ),
    ]


def of_finding(finding: Finding) -> list[Plan]:
    """Those of a study, in its order."""
    counts: Counter[str] = Counter()
    plans: list[Plan] = []
    for figure in finding.figures:
        name = f"{finding.study}-{file_name(figure.title)}"
        counts[name] += 1
        plans.append(
            Plan(name if counts[name] == 1 else f"{name}-{counts[name]}", figure.title, partial(findings.draw, figure))
        )
    return plans


def _of_target(target: TargetGrids) -> Iterator[Plan]:
    caption, name = _caption(target.languages.sheet.caption), re.sub(r"[^\w.+-]", "_", target.target)
    yield Plan(f"languages-{name}", caption, partial(heat.languages, target))
    for by, grid in target.groups.items():
        text = f"filled: significant; {_caption(grid.sheet.caption)}"
        yield Plan(f"{by}-{name}", text, partial(groups.draw, grid))


def _caption(lines: Sequence[str]) -> str:
    return "; ".join(lines)


def draw(plan: Plan, inches: float) -> dict[str, Figure]:
    """The figures by name, in the style that all have: `matrix`, or `matrix-1`, `matrix-2` of several pages."""
    with _styled():
        pages = plan.draw(inches)
    return {
        plan.name if len(pages) == 1 else f"{plan.name}-{number}": page for number, page in enumerate(pages, start=1)
    }


def content_of(figure: Figure, form: Format) -> bytes:
    """The file. The same figure gives the same bytes."""
    out = io.BytesIO()
    with _styled():
        figure.savefig(out, format=form, dpi=_DPI if form == "png" else style.POINTS, metadata=_METADATA[form])
    return out.getvalue()


@contextmanager
def _styled() -> Iterator[None]:
    """Whatever a user's own matplotlibrc says."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a character that no font has is a box
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style.RC)
        yield
