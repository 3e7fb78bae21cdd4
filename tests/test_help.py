"""The command line: quick to answer, and one line where something is wrong."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from launch.cli.app import app
from tests.paths import ROOT

HEAVY = {"torch", "transformers", "deepspeed", "datasets", "submitit", "polars", "numpy", "tokenizers"}
HELP = f"""
import sys
sys.argv = ["stepstone", *sys.argv[1:]]
from launch.cli.app import main
try:
    main()
finally:
    print("heavy:", *sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""


def _stepstone(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("stepstone")
    return subprocess.run([script, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"], ["devcluster", "up", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Usage: stepstone" in done.stdout
    assert done.stderr.strip() == "heavy:"


def test_help_lists_every_command() -> None:
    done = _stepstone("--help")
    assert done.returncode == 0
    names = "plan submit status usage collect table study report export logs demo devcluster models"
    for command in names.split():
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("group", [[], ["devcluster"], ["models"]], ids=lambda names: " ".join(names) or "stepstone")
def test_no_summary_of_a_command_is_cut(group: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    for name in group:
        command = command.commands[name]
    help_text = CliRunner().invoke(app, [*group, "--help"]).stdout
    assert max(map(len, help_text.splitlines())) <= 80
    listing = " ".join(help_text.partition("Commands:")[2].split())
    for name, listed_command in command.commands.items():
        first_sentence = re.split(r"(?<=\.) ", " ".join(listed_command.help.split()))[0]
        assert f"{name} {first_sentence}" in listing


def test_what_may_be_left_out_stands_in_one_pair_of_brackets() -> None:
    command: Any = typer.main.get_command(app)
    for name in command.commands:
        assert "[[" not in CliRunner().invoke(app, [name, "--help"]).stdout, name


REFUSED = """
import errno, os, sys
from launch.cli import app as cli
def refused():
    raise OSError(getattr(errno, sys.argv[1]), "said by the system", "/store/file")
cli.app = refused
cli.main()
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ENOSPC", "error: /store/file: said by the system; make room (`stepstone gc FILE` names what is not needed)"),
        ("EDQUOT", "error: /store/file: said by the system; make room"),
        ("EACCES", "error: /store/file: said by the system; its owner can let a group read"),
        ("ENOENT", "Traceback"),  # nobody foresaw that: where it happened must be seen
    ],
)
def test_what_the_file_system_refuses_is_one_line(name: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", REFUSED, name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith(said)
    assert name == "ENOENT" or done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "nowhere.yaml"], "error: nowhere.yaml: No such file or directory"),
        (["status", "/"], "error: /: is a folder; name the experiment file in it"),
    ],
    ids=["no file", "a folder"],
)
def test_a_users_error_is_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    done = _stepstone(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said + "\n")


@pytest.mark.parametrize("arguments", [["plna", "x"], ["plan"], ["plan", "x", "--jsn"]], ids=" ".join)
def test_a_mistyped_command_is_exit_code_2_without_a_traceback(arguments: list[str]) -> None:
    done = _stepstone(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "Error: " in done.stderr
