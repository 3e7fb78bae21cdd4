"""What README and docs say is there: links, paths, the errors they quote, the picture."""

import ast
import re
import runpy
from functools import cache
from pathlib import Path

import pytest
import typer

from launch.cli.app import app
from tests.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_PACKAGES = ("launch", "training", "eval", "slurm")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")
_PATH = re.compile(r"(?<![\w/.{])((?:launch|training|eval|slurm|tests|docs|examples)/[\w./-]*\w)(?![\w<*{])")
_QUOTE = re.compile(r"^\| `(.+)` \| ", re.MULTILINE)
_README_LENGTH = 9_000


@cache
def texts_of_the_code() -> str:
    """Every string of the code, one a line; what a formatted one fills in is `…`."""
    files = [file for package in (*_PACKAGES, "tests/slurm") for file in sorted((ROOT / package).rglob("*.py"))]
    return "\n".join(text for file in files for text in _texts(ast.parse(file.read_text())))


def _texts(tree: ast.AST) -> list[str]:
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return texts


def quoted_errors() -> list[str]:
    return [str(text) for text in _QUOTE.findall((ROOT / "docs/troubleshooting.md").read_text())]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text()) <= _README_LENGTH


def test_the_readme_has_every_command() -> None:
    names = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    listed = set(re.findall(r"^\| `stepstone ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert names == listed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, _ in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_is_there(page: Path) -> None:
    for path in _PATH.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists() or (ROOT / f"{path}.py").exists(), path


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text()
    assert [page.name for page in PAGES if f"{page.name})" not in index and page.name != "index.md"] == []


def test_the_errors_are_those_that_people_meet() -> None:
    assert 30 <= len(quoted_errors()) <= 60


@pytest.mark.parametrize("quoted", quoted_errors())
def test_every_quoted_error_stands_in_the_code(quoted: str) -> None:
    pieces = [re.escape(piece) for piece in quoted.split("…")]
    assert re.search("[^\n]*".join(pieces), texts_of_the_code()), quoted


@pytest.mark.slow
def test_the_pictures_of_watch_are_current() -> None:
    for name, picture in runpy.run_path(str(ROOT / "docs/pictures/watch.py"))["pictures"]().items():
        assert picture == (ROOT / "docs/pictures" / name).read_text(), f"{name}: make docs draws it anew"


def test_the_picture_is_current() -> None:
    picture = runpy.run_path(str(ROOT / "docs/pictures/make.py"))
    assert picture["terminal"]() == (ROOT / "docs/pictures/terminal.svg").read_text(), "make docs draws it anew"
