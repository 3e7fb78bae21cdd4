"""Tables to publish, in every format: golden files, escapes, and LaTeX that compiles."""

import csv
import html.parser
import os
import shutil
import subprocess
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.tables.latex import escaped, latex
from eval.tables.long import long_csv
from eval.tables.page import page
from eval.tables.sheet import Column, Entry, Sheet, as_records
from eval.tables.table import markdown_sheet
from launch.show import tables
from tests.eval.tables.study import models_sheet, study_sheet

GOLDEN = Path(__file__).with_name("golden")
FILES = {
    "terminal": "study.txt",
    "csv": "study.csv",
    "markdown": "study.md",
    "latex": "study.tex",
    "html": "study.html",
}


def _texts() -> dict[str, str]:
    sheets = [study_sheet(), replace(study_sheet(with_intervals=True), title="intervals")]
    texts = {FILES[name]: tables.text_of(sheets, name) for name in FILES}  # type: ignore[arg-type]
    models = [models_sheet()]
    return texts | {FILES[name].replace("study", "models"): tables.text_of(models, name) for name in FILES}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*FILES.values(), *(name.replace("study", "models") for name in FILES.values())])
def test_every_format_is_as_it_was(name: str) -> None:
    """`STEPSTONE_GOLDEN=write` writes them anew: look at the difference."""
    text = _texts()[name]
    if os.environ.get("STEPSTONE_GOLDEN") == "write":
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_a_terminals_table_keeps_to_80_columns() -> None:
    columns = [Column(f"target{number}", "accuracy", "accuracy") for number in range(12)]
    entries = tuple(Entry("difference", 1.25, 0.5, mark="***", best=True) for _ in columns)
    sheet = Sheet("wide", tuple(columns), (("a > b", entries),), ("a caption " * 30,))
    lines = tables.text_of([sheet], "terminal").splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("***^" in line for line in lines) > 1  # several tables, one below the other
    assert " ".join(lines).count("target") == 12


def test_csv_has_every_number_as_it_is() -> None:
    sheet = study_sheet()
    records = list(csv.DictReader(StringIO(long_csv([sheet]))))
    assert len(records) == 20  # 5 rows, 4 columns
    for record, expected in zip(records, as_records(sheet), strict=True):
        for name in ("score", "difference", "error", "p", "adjusted_p", "effect", "better", "detectable"):
            assert (float(record[name]) if record[name] else None) == expected[name]
        assert record["best"] == str(expected["best"]).lower()


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open_tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_is_whole_and_asks_for_nothing() -> None:
    reader = _Page()
    reader.feed(page([study_sheet()]))
    assert reader.open_tags == [] and reader.links == []
    assert "max_eval: 50 % & more <b>" in reader.texts


@given(st.text(max_size=20))
@settings(deadline=None, max_examples=30)
def test_names_come_through_html_as_they_are(name: str) -> None:
    sheet = Sheet("t", (Column(name, "f1", "f1"),), ((name, (Entry("score", 1.0),)),), (name,))
    reader = _Page()
    reader.feed(page([sheet]))
    text = name.replace("\r\n", "\n").replace("\r", "\n").strip("\0")
    assert reader.open_tags == [] and (not text.isprintable() or text in "".join(reader.texts))


def test_markdown_keeps_its_columns() -> None:
    sheet = Sheet("a|b", (Column("x|y", "f1", "f1"),), (("r|s_t", (Entry("score", 1.0, 0.5, mark="*"),)),), ())
    lines = markdown_sheet(sheet).splitlines()
    assert lines[2:] == ["| recipe | x\\|y (f1) |", "| --- | ---: |", "| r\\|s\\_t | 1.0 ±0.5\\* |", ""]


def test_latex_escapes_what_it_would_read() -> None:
    assert escaped("50% & a_b #1 {x} $ ~ ^ \\") == (
        r"50\% \& a\_b \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escaped("[1, 2] ±3 > a") == r"{[}1, 2{]} $\pm$3 \textgreater{} a"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX here")
def test_latex_compiles(tmp_path: Path) -> None:
    printable = "".join(map(chr, range(32, 127))) + "±×≥≤†…·–—→"
    odd = Sheet(printable, (Column(printable, printable, "f1"),), ((printable, (Entry("score", -1.0),)),), (printable,))
    wide = replace(study_sheet(), columns=study_sheet().columns * 4)
    wide = replace(wide, rows=tuple((n, r * 4) for n, r in wide.rows), references=())
    sheets = [study_sheet(), study_sheet(with_intervals=True), odd, wide]
    document = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n\\input{table}\n\\end{document}\n"
    (tmp_path / "table.tex").write_text(latex(sheets))
    (tmp_path / "main.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "main.pdf").stat().st_size > 1000
