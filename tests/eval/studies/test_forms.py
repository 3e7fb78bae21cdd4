"""A finding as JSON, CSV and Markdown: every number is there, nothing of a text is read as a sign."""

import csv
import io
import json

from eval.studies import forms
from eval.studies.finding import Column, Estimate, Estimates, Finding, Matrix, Point, Scatter, Table

TABLE = Table(
    "What's *new*?",
    (Column("a|b", "text"), Column("points", "difference"), Column("95 %", "interval"), Column("p", "p")),
    (("x, y", 1 / 3, (-0.5, 1.0), 0.0004), ("z", None, None, None)),
    ("a caption",),
)
FIGURES = (
    Scatter("s", "x", "y", (Point("a", 1.0, 2.0, interval=(1.0, 3.0)),), (0.0, 2.0)),
    Estimates("e", "points", (Estimate("a", 1.0, None),)),
    Matrix("m", "points", ("a", "b"), ("c",), ((1.0,), (None,)), frozenset((("b", "c"), ("a", "c")))),
)
FINDING = Finding("order", "One < two.", (TABLE,), FIGURES, ("a limit",))


def test_json_is_plain_and_whole() -> None:
    record = json.loads(json.dumps(forms.as_record(FINDING)))
    assert record["tables"][0]["rows"] == [["x, y", 1 / 3, [-0.5, 1.0], 0.0004], ["z", None, None, None]]
    assert [figure["kind"] for figure in record["figures"]] == ["scatter", "estimates", "matrix"]
    assert record["figures"][2]["marked"] == [["a", "c"], ["b", "c"]]


def test_csv_has_both_ends_of_intervals_unrounded() -> None:
    rows = list(csv.reader(io.StringIO(forms.table_csv(TABLE))))
    assert rows[0] == ["a|b", "points", "95 % low", "95 % high", "p"]
    assert [float(cell) for cell in rows[1][1:]] == [1 / 3, -0.5, 1.0, 0.0004]
    assert rows[2] == ["z", "", "", "", ""]


def test_markdown_shows_numbers_as_printed() -> None:
    text = forms.markdown(FINDING, "Why?")
    assert text.startswith("## Why?\n\nOne \\< two.\n\n**What's \\*new\\*?**\n")
    assert "| a\\|b | points | 95 % | p |\n| --- | ---: | ---: | ---: |\n" in text
    assert "| x, y | +0.33 | \\[-0.50, +1.00\\] | \\<0.001 |\n| z | - | - | - |\n\na caption\n\n- a limit\n" in text


def test_names_of_files() -> None:
    assert forms.file_name("What's *new*? Pearson's r, 25 %") == "whats-new-pearsons-r-25"
    assert len(forms.file_name("x" * 300)) == 80 and "/" not in forms.file_name("../a/b")
