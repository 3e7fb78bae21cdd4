"""Figures of invented records: files open with their fonts in them, the same bytes each time, nothing over the edge or
over another text; one recipe, forty languages, cells that are missing, names that look like formulas."""

import re
import shutil
import subprocess
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from eval.figures import drawing, style
from eval.report.content import Content, Grid
from eval.studies.finding import Estimate, Estimates, Finding, Matrix, Point, Scatter
from eval.tables.sheet import Entry
from slurm.base import UsageError
from tests.eval.report import invented

HOSTILE = ("none", "$x_1^2$ & 50 % \\frac{a}{b}", "a_" * 60, "squad > " + " + ".join(f"task_{n}" for n in range(20)),
           "<b>&amp;</b>\n\t", "über 中文 ∑", "$")  # fmt: skip
LARGE = invented.content(invented.RECIPES, invented.TARGETS[:2], invented.LANGUAGES, seeds=3)


A_KIND_EACH = ("matrix", "languages-xnli", "family-xnli", "transfer", "curves-dev", "cost")


def _drawn(content: Content, inches: float, names: tuple[str, ...] = ()) -> dict[str, Figure]:
    figure_plans = [plan for plan in drawing.figures(content) if not names or plan.name in names]
    return {name: page for plan in figure_plans for name, page in drawing.draw(plan, inches).items()}


def _with_entries(grid: Grid, change: dict[tuple[int, int], Entry]) -> Grid:
    rows = tuple(
        (name, tuple(change.get((row, column), entry) for column, entry in enumerate(entries)))
        for row, (name, entries) in enumerate(grid.sheet.rows)
    )
    return replace(grid, sheet=replace(grid.sheet, rows=rows))


def _texts(figure: Figure) -> list[Text]:
    """Those that are drawn: labels of ticks beyond an axis' ends are not."""
    texts: list[Text] = []
    draw = Text.draw

    def noted(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            texts.append(text)
        draw(text, renderer)

    with mock.patch.object(Text, "draw", noted):
        figure.canvas.draw()
    return texts


@pytest.mark.parametrize("width", ["column", "text"])
@pytest.mark.parametrize(
    "content", [invented.content(), pytest.param(LARGE, marks=pytest.mark.slow)], ids=["small", "large"]
)
def test_texts_are_on_the_page_and_not_on_each_other(content: Content, width: str) -> None:
    inches = style.width(width)
    for name, figure in _drawn(content, inches).items():
        assert figure.get_size_inches()[0] == pytest.approx(inches)
        assert figure.get_size_inches()[1] <= style.PAGE + 0.01, name
        texts = _texts(figure)
        boxes = [text.get_window_extent().padded(-0.6) for text in texts]
        page_width, page_height = figure.canvas.get_width_height()
        for text, box in zip(texts, boxes, strict=True):
            assert box.x0 >= -0.5 and box.x1 <= page_width + 0.5, (name, text.get_text())
            assert box.y0 >= -0.5 and box.y1 <= page_height + 0.5, (name, text.get_text())
            assert text.get_fontsize() >= style.TINY
        for number, box in enumerate(boxes):
            for earlier in range(number):
                assert not box.overlaps(boxes[earlier]), (name, texts[number].get_text(), texts[earlier].get_text())


@pytest.mark.slow
def test_files_open_with_their_fonts(tmp_path: Path) -> None:
    for name, figure in _drawn(invented.content(), style.width("column"), A_KIND_EACH).items():
        content_of = {form: drawing.content_of(figure, form) for form in ("pdf", "svg", "png")}
        assert content_of["pdf"].startswith(b"%PDF-") and content_of["png"].startswith(b"\x89PNG")
        tree = ElementTree.fromstring(content_of["svg"])
        assert tree.get("width") == f"{72 * 3.03:g}pt", name
        texts = {"".join(text.itertext()) for text in tree.iter("{http://www.w3.org/2000/svg}text")}
        assert texts and all(b"STIXGeneral" in content_of[form] for form in ("pdf", "svg"))
        if shutil.which("pdffonts"):
            path = tmp_path / f"{name}.pdf"
            path.write_bytes(content_of["pdf"])
            lines = subprocess.run(["pdffonts", path], capture_output=True, text=True, check=True).stdout.splitlines()[
                2:
            ]
            fonts = [re.split(r"\s{2,}", line) for line in lines]
            assert fonts and all("TrueType" in line and re.search(r" yes +(yes|no) +yes ", line) for line in lines), (
                lines
            )


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_whatever_the_users_style(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    def files() -> dict[tuple[str, str], bytes]:
        figures = _drawn(invented.content(), 3.0, A_KIND_EACH)
        return {(name, form): drawing.content_of(figure, form) for name, figure in figures.items()
                for form in ("pdf", "svg", "png")}  # fmt: skip

    before = files()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "text.usetex": True}):
        assert files() == before
        assert matplotlib.rcParams["font.size"] == 20


@pytest.mark.slow
def test_names_are_taken_as_they_are_written() -> None:
    content = invented.content(HOSTILE, ("xnli", "p_$^%"), ("ar", "de", "en"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in _drawn(content, style.width("column"), A_KIND_EACH).values():
            for form in ("pdf", "svg", "png"):
                drawing.content_of(figure, form)
    matrix = drawing.draw(drawing.figures(content)[0], 6.3)["matrix"]
    svg = ElementTree.fromstring(drawing.content_of(matrix, "svg"))
    texts = ["".join(text.itertext()).strip() for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "p_$^%" in texts and any(text.startswith("$x_1^2$ &") for text in texts)
    assert {plan.name for plan in drawing.figures(content)} >= {"languages-p____", "family-p____"}


@pytest.mark.parametrize("recipes", [("none",), ("squad",), ("none", "squad")])
def test_one_recipe(recipes: tuple[str, ...]) -> None:
    names = set(_drawn(invented.content(recipes, ("xnli",), ("de",), seeds=1), style.width("column")))
    assert {"matrix", "languages-xnli", "cost"} <= names


def test_what_is_missing_is_hatched_and_what_has_no_gold_a_dash() -> None:
    content = invented.content()
    holes = {
        (1, 0): Entry("difference", None, note="3 missing", missing=3),
        (2, 1): Entry("score", None, note="no gold"),
    }
    matrix = drawing.draw(drawing.figures(replace(content, matrix=_with_entries(content.matrix, holes)))[0], 3.03)[
        "matrix"
    ]
    cells = [patch for patch in matrix.axes[0].patches]
    assert [cell.get_hatch() for cell in cells].count("////") == 1
    assert "–" in [text.get_text() for text in matrix.axes[0].texts]


def test_an_average_that_nobody_has_takes_no_room() -> None:
    content = invented.content()
    nobody = {(row, 1): Entry("difference", None, note="-") for row in range(3)}
    matrix = drawing.draw(drawing.figures(replace(content, matrix=_with_entries(content.matrix, nobody)))[0], 3.03)
    assert [label.get_text() for label in matrix["matrix"].axes[0].get_xticklabels()] == ["xnli"]


def test_nothing_yet() -> None:
    content = invented.content()
    all_missing = {(row, column): Entry("difference", None, note="3 missing", missing=3)
                   for row in range(3) for column in range(9)}  # fmt: skip
    targets = tuple(
        replace(target, languages=_with_entries(target.languages, all_missing),
                groups={by: _with_entries(grid, all_missing) for by, grid in target.groups.items()})
        for target in content.targets
    )  # fmt: skip
    empty = replace(content, matrix=_with_entries(content.matrix, all_missing), targets=targets, curves=(), transfer=(),
                    costs=replace(content.costs, by_recipe=()))  # fmt: skip
    assert set(_drawn(empty, 3.03)) == {"matrix", "languages-xnli", "languages-pawsx"}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.floats(0.3, 3), st.integers(1, 5))
def test_a_wrapped_name_fits(name: str, widest: float, lines: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # characters that no font has
        wrapped_name = style.wrapped(name, style.SMALL, widest, lines)
        assert wrapped_name.count("\n") < lines
        assert style.text_width(wrapped_name, style.SMALL) <= max(widest, style.text_width(wrapped_name[:2], 7) + 0.2)


@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=20), st.floats(0, 2))
def test_pages_hold_every_row_once_and_no_more_than_fits(heights: list[float], below: float) -> None:
    pages = style.pages(heights, below)
    assert [row for page in pages for row in page] == list(range(len(heights)))
    for page in pages:
        assert len(page) == 1 or sum(heights[row] for row in page) <= style.PAGE - below + 1e-9


@pytest.mark.parametrize(("text", "inches"), [("column", 3.03), ("text", 6.3), ("5.5", 5.5)])
def test_widths(text: str, inches: float) -> None:
    assert style.width(text) == inches


@pytest.mark.parametrize("text", ["colum", "0", "-3", "nan", "inf", "1000", ""])
def test_other_widths_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--width .*: it is column, text or inches from 1.5 to 20"):
        style.width(text)


def test_formats() -> None:
    assert drawing.formats("PDF, svg,pdf") == ("pdf", "svg")
    for text, message in (("jpg", "jpg is none of pdf, svg, png"), (",", "name one or more of")):
        with pytest.raises(UsageError, match=message):
            drawing.formats(text)


@pytest.mark.parametrize("width", ["column", "text"])
def test_figures_of_studies_are_on_the_page(width: str) -> None:
    points = tuple(Point(name, float(n), float(n % 3), interval=(0.0, 3.0)) for n, name in enumerate(HOSTILE))
    estimates = tuple(
        Estimate(name, n - 2.5, (n - 4.0, n + 90.0 * n), group=str(n // 3), marked=n == 1)
        for n, name in enumerate(HOSTILE * 20)
    )
    values = tuple(tuple(None if row == column else row - column / 2 for column in range(3))
                   for row in range(len(HOSTILE)))  # fmt: skip
    figures = (
        Scatter("plane", "x " * 60, "y " * 60, points, (0.0, 0.1)),
        Estimates("effects", "points", estimates),
        Matrix("matrix", "coefficient", HOSTILE, HOSTILE[:3], values, frozenset(((HOSTILE[1], HOSTILE[0]),))),
        Scatter("plane", "x", "y", ()),
    )
    plans = drawing.of_finding(Finding("order", "", (), figures, ()))
    assert [plan.name for plan in plans] == ["order-plane", "order-effects", "order-matrix", "order-plane-2"]
    figures_drawn = {name: figure for plan in plans for name, figure in drawing.draw(plan, style.width(width)).items()}
    assert {"order-plane", "order-effects-1", "order-effects-2", "order-matrix"} <= figures_drawn.keys()
    assert "order-plane-2" not in figures_drawn  # there is nothing to show
    for name, figure in figures_drawn.items():
        page_width, page_height = figure.canvas.get_width_height()
        assert figure.get_size_inches()[1] <= style.PAGE + 0.01, name
        for text in _texts(figure):
            box = text.get_window_extent().padded(-0.6)
            assert box.x0 >= -0.5 and box.x1 <= page_width + 0.5, (name, text.get_text())
            assert box.y0 >= -0.5 and box.y1 <= page_height + 0.5, (name, text.get_text())
    assert "+1.00*" in {text.get_text() for text in _texts(figures_drawn["order-matrix"])}
