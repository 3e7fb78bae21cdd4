"""What shells are told at a Tab: by each shell's protocol, in the shells themselves, and never a word too many."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from eval.studies import STUDIES
from launch.cli import completion, completion_names, completion_table
from launch.cli.app import app
from launch.cli.completion import Question
from launch.cli.options import load_plan
from tests.launch.workspace import Workspace, make
from tests.paths import ROOT

STEPSTONE = Path(sys.executable).with_name("stepstone")
TABLE = completion_table.table_of(typer.main.get_command(app))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield small


def _values(*words: str) -> list[str]:
    """What may stand in the place of the last word."""
    *before, incomplete = words
    return [candidate.value for candidate in completion.complete(TABLE, Question(before, incomplete)).candidates]


def test_commands_and_their_options() -> None:
    assert _values("lo") == ["logs"] and "up" in _values("devcluster", "")
    assert {"--follow", "--why", "--tail"} <= set(_values("logs", "a.yaml", "--"))
    assert "--why" not in _values("logs", "a.yaml", "--why", "--")
    assert "--stage" in _values("retry", "a.yaml", "--stage", "x", "--st")  # may be repeated
    assert _values("logs", "a.yaml", "--tail", "") == []  # a number
    assert _values("study", "") == [study.name for study in STUDIES]


def test_every_file_stage_recipe_target_and_cause_that_a_command_takes_is_known() -> None:
    """What is declared as one of these is completed as one, in every command."""
    kinds: dict[str, set[str]] = {}
    for name, command in TABLE.commands.items():
        for value in (*command.arguments, *command.options.values()):
            kinds.setdefault(str(value.kind), set()).add(name)
    with_a_file = {
        "plan",
        "prepare",
        "submit",
        "status",
        "collect",
        "export",
        "cancel",
        "retry",
        "throttle",
        "rehearse",
    }
    assert with_a_file | {"doctor", "gc", "logs", "tasks"} <= kinds["file"]
    assert {"logs", "retry", "cancel", "status"} <= kinds["stage"] and "export" in kinds["recipe"]


def test_experiment_files_here_and_in_folders(workspace: Workspace) -> None:
    for name in ("first.yaml", "second.yml", "notes.txt", "study/third.yaml", ".hidden/no.yaml"):
        (workspace.root / name).parent.mkdir(exist_ok=True)
        (workspace.root / name).touch()
    assert _values("plan", "") == ["data/splits.yaml", "first.yaml", "second.yml", "study/third.yaml"]
    assert _values("plan", "f") == ["first.yaml"] and _values("plan", "study/") == ["study/third.yaml"]
    assert _values("tasks", "--file", "sec") == ["second.yml"]
    assert completion.complete(TABLE, Question(["plan"], "")).files


def test_the_names_of_the_file_on_the_same_line(workspace: Workspace) -> None:
    file = workspace.file("other.yaml", recipes=["none", "squad > mnli", "hellaswag"])
    before = _values("export", "other.yaml", "out", "--recipe", "")
    assert before == ["hellaswag", "none", "squad > mnli"]  # as the file says
    assert _values("logs", "other.yaml", "") == []  # and nothing was ever sent
    load_plan(file)
    assert _values("logs", "other.yaml", "squad.m") == [
        name for name in _values("logs", "other.yaml", "") if name.startswith("squad.m")
    ]
    assert {"hellaswag-s1", "squad-s2"} <= set(_values("retry", "other.yaml", "--stage", ""))
    assert _values("export", "other.yaml", "out", "--recipe", "s") == ["squad > mnli"]
    assert "host-oom" in _values("retry", "other.yaml", "--class", "h")
    assert _values("retry", "--class=h")[0] == "--class=host-oom"
    # As in bash, for which the sign is a word.
    assert _values("retry", "--class", "=", "h") == _values("retry", "--class", "h")


def test_a_file_that_changed_since_is_read_and_its_store_looked_into(workspace: Workspace) -> None:
    file = workspace.file()
    load_plan(file)
    workspace.file(recipes=["hellaswag"])
    os.utime(file, (1, 1))
    assert _values("export", "experiment.yaml", "out", "--recipe", "") == ["hellaswag"]
    (workspace.root / "store/stages/hellaswag-s1-0123456789abcdef").mkdir(parents=True)
    assert _values("logs", "experiment.yaml", "") == ["hellaswag-s1"]
    file.write_text("name: [")  # cannot be read: better the old names than none
    assert "squad-s1" in _values("logs", "experiment.yaml", "")


def test_of_very_many_names_a_few_with_what_all_have_in_common(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = sorted(f"{task}.mnli-s{seed}" for task in ("hellaswag", "squad") for seed in range(50_000))
    monkeypatch.setattr(completion_names, "names", lambda file, kind, incomplete: every)
    few = _values("logs", "experiment.yaml", "")
    assert len(few) == 200 and (few[0], few[-1]) == (every[0], every[-1])


def _ask(shell: str, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = line.split(" ")
    protocol = {
        "_STEPSTONE_COMPLETE": f"complete_{shell}", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return subprocess.run(
        [STEPSTONE], env=os.environ | protocol | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_each_shell_is_answered_in_its_own_words_without_typer(workspace: Workspace) -> None:
    load_plan(workspace.file(recipes=["none", "squad > mnli"]))
    for _ in range(2):  # without the table of commands, and with it
        assert _ask("bash", "stepstone logs experiment.yaml start--t").stdout == "start--tatoeba"
        assert _ask("bash", "stepstone export experiment.yaml o --recipe sq").stdout == r"squad\ \>\ mnli"
        assert _ask("zsh", "stepstone logs experiment.yaml start--t").stdout == "compadd -- start--tatoeba"
        assert _ask("fish", "stepstone thr").stdout.startswith("throttle\tChange how many elements")
    assert (workspace.root / "cache/stepstone/completion/commands.json").stat().st_mode & 0o077 == 0
    assert _ask("zsh", "stepstone plan ").stdout.startswith("_files -g ")
    assert _ask("fish", "stepstone logs experiment.yaml s", _TYPER_COMPLETE_FISH_ACTION="is-args").returncode == 0
    assert _ask("fish", "stepstone logs no.yaml s", _TYPER_COMPLETE_FISH_ACTION="is-args").returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_nothing_is_ever_said_beside_the_answer(workspace: Workspace, shell: str) -> None:
    workspace.write("name: [", "broken.yaml")
    (workspace.root / "cache").mkdir()
    (workspace.root / "cache/stepstone").write_text("a file where the folder should be")
    for line in ("stepstone logs broken.yaml s", "stepstone logs 'un", "stepstone nothing --such ", "stepstone \x00"):
        try:
            answer = _ask(shell, line)
        except ValueError:  # no environment can hold it
            continue
        assert answer.stderr == "" and "Traceback" not in answer.stdout
    assert _ask("bash", "stepstone logs x", COMP_CWORD="no number").stderr == ""


@pytest.mark.slow
def test_the_table_is_made_anew_for_other_code(workspace: Workspace) -> None:
    assert _ask("bash", "stepstone lo").stdout == "logs"
    kept = workspace.root / "cache/stepstone/completion/commands.json"
    record = json.loads(kept.read_text())
    record["table"] = completion_table.Command("", {}, [], {})
    kept.write_text(json.dumps(record))
    assert _ask("bash", "stepstone lo").stdout == ""  # it is read
    kept.write_text(json.dumps(record | {"code": "another"}))
    assert _ask("bash", "stepstone lo").stdout == "logs"


# --- in the shells themselves

_START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
_PREPARE = {"bash": "", "zsh": "autoload -Uz compinit; compinit -u; ", "fish": ""}


@pytest.mark.slow
@pytest.mark.parametrize("shell", list(_START))
def test_in_a_real_shell(workspace: Workspace, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    load_plan(workspace.file(recipes=["none", "squad"]))
    script = _ask(shell, "", _STEPSTONE_COMPLETE=f"source_{shell}").stdout
    (workspace.root / "completion").write_text(script)
    with _Terminal(_START[shell], workspace.root) as terminal:
        terminal.type(f"{_PREPARE[shell]}source {workspace.root}/completion; echo re''ady\n")
        terminal.expect("ready")
        terminal.type("stepstone thr\t")
        terminal.expect("throttle")
        terminal.type("exp\t")
        terminal.expect("experiment.yaml")
        terminal.type("\x15stepstone logs experiment.yaml squad-s1--t\t")
        terminal.expect("squad-s1--tatoeba")
        assert "Traceback" not in terminal.screen


class _Terminal:
    """A shell on a terminal of its own, as a person types into it."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.screen = ""
        path = f"{STEPSTONE.parent}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "TERM": "xterm", "HOME": str(folder)}
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, environment)

    def __enter__(self) -> "_Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._master)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def type(self, text: str) -> None:
        self.screen = ""
        os.write(self._master, text.encode())

    def expect(self, text: str) -> None:
        patience = time.monotonic() + 60
        while text not in self.screen:
            readable, _, _ = select.select([self._master], [], [], 1.0)
            if readable:
                self.screen += os.read(self._master, 4096).decode(errors="replace")
            assert time.monotonic() < patience, f"no {text!r} in {self.screen!r}"
