"""Words for the person at the terminal: lines end between words, and never inside what is to be typed."""

import ast
import io
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli.app import app
from launch.text import as_typed, fitted, labelled, wrapped
from tests.launch.workspace import Workspace
from tests.paths import ROOT

_COMMANDS = re.compile(r"`[^`]+`|stepstone [a-z]+[^;,()]*")
# What is drawn in columns, and holds no command: scores.
_TABLES = {("launch/show/results.py", "draw(columns[:count])")}


@pytest.mark.parametrize("width", [20, 40, 60, 80])
@pytest.mark.parametrize(
    "text",
    [
        "failed twice of host-oom (retry: 1): killed; mend it, then: stepstone retry FILE --class host-oom",
        "there is no room; type `stepstone gc FILE --yes` or ask for more",
        "nothing to send: stepstone status first.yaml --stages, or `stepstone doctor FILE --nodes` (minutes)",
    ],
)
def test_a_command_to_type_stays_in_one_line(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert " ".join(lines) == text
    for command in _COMMANDS.findall(text):
        assert sum(command.strip() in line for line in lines) == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_whole_words_and_everybody_else_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    line = "error: failed twice of host-oom (retry: 1): killed; mend it, then: stepstone retry FILE --class host-oom"
    assert fitted(line, io.StringIO()) == line
    assert fitted(line, _Terminal()).splitlines()[-1] == "then: stepstone retry FILE --class host-oom"


def test_a_path_stays_whole_and_text_goes_on_below_itself() -> None:
    path = "/store/" + "x" * 90
    assert labelled([("a", "long label", f"see {path} for it"), ("error", "b", "c")], 40) == [
        "a      long label  see",
        f"                   {path}",
        "                   for it",
        "error  b           c",
    ]


def test_what_doctor_and_plan_say_to_type_stays_whole_at_any_width(workspace: Workspace) -> None:
    file = str(workspace.file(cluster={"executor": "local", "partition": "gpu"}))
    for command in (["doctor", file], ["plan", file]):
        wide = CliRunner().invoke(app, command, env={"COLUMNS": "10000"}).stdout
        narrow = CliRunner().invoke(app, command, env={"COLUMNS": "60"}).stdout.splitlines()
        to_type = [found.strip() for line in wide.splitlines() for found in _COMMANDS.findall(line)]
        assert all(any(typed in line for line in narrow) for typed in to_type), narrow
        assert len(narrow) > len(wide.splitlines())


def test_whatever_is_printed_through_rich_is_left_to_the_terminal_to_wrap() -> None:
    """rich itself would end a line wherever the window ends, in the middle of a command too."""
    wrapped_by_rich = []
    for path in sorted((ROOT / "launch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "print":
                continue
            if not node.args:
                continue  # an empty line has nothing to wrap
            is_soft = any(keyword.arg == "soft_wrap" for keyword in node.keywords)
            said = ast.unparse(node.args[0])
            name = str(path.relative_to(ROOT))
            if not is_soft and (name, said) not in _TABLES:
                wrapped_by_rich.append(f"{name}:{node.lineno}: {said}")
    assert wrapped_by_rich == []


def test_a_file_is_named_so_that_a_shell_here_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    for folder in (here / "my runs", tmp_path / "there"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    for path, typed in (
        (Path("x.yaml"), "x.yaml"),
        (Path("my runs/x.yaml"), "'my runs/x.yaml'"),
        (Path("../there/x.yaml"), "../there/x.yaml"),
        (here / "my runs" / "x.yaml", "'my runs/x.yaml'"),
        (tmp_path / "there" / "x.yaml", f"{tmp_path}/there/x.yaml"),
    ):
        path.touch()
        assert as_typed(path) == typed
        assert Path(*shlex.split(as_typed(path))).samefile(path)
