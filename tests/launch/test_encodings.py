"""Where the encoding is not UTF-8, commands show what can be shown, and their files come first."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from launch import text

STORE = Path(__file__).parent / "store" / "store-of-2026-11-26.tar.xz"


def test_our_signs_are_shown_in_plain_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="iso-8859-1"))
    text.show_what_can_be_shown()
    print("é → ± … Ω \udcff", flush=True)  # the last: of a file name that is not UTF-8
    assert shown.getvalue().decode("iso-8859-1") == "é -> ± ... ? ?\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("before")
    with tarfile.open(STORE) as archive:
        archive.extractall(root, filter="data")
    return root


def _type(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    environment = os.environ | {"PYTHONIOENCODING": "iso-8859-1"}
    command = [Path(sys.executable).with_name("stepstone"), *arguments]
    return subprocess.run(command, capture_output=True, env=environment, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "plan study.yaml", "status study.yaml", "status study.yaml --stages", "collect study.yaml", "tasks",
        "tasks --markdown", "tasks xquad", "submit study.yaml", "doctor study.yaml", "plan study.yaml --script",
    ],
)  # fmt: skip
def test_every_command_says_what_it_can(folder: Path, command: str) -> None:
    arguments = [str(folder / word) if word.endswith(".yaml") else word for word in command.split()]
    done = _type(*arguments)
    assert done.returncode in (0, 1) and b"Traceback" not in done.stderr, done.stderr
    assert done.stdout or done.stderr


@pytest.mark.slow
def test_json_keeps_every_letter(folder: Path) -> None:
    done = _type("tasks", "--json")
    assert b"\\u" in done.stdout and json.loads(done.stdout)["schema"] == 1


@pytest.mark.slow
def test_files_are_written_before_the_reader_of_a_pipe_goes_away(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [Path(sys.executable).with_name("stepstone"), "collect", str(folder / "queue.yaml")]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    written = {path.name for path in (folder / "store" / "results" / "queue").iterdir()}
    assert done.returncode == 1 and written >= {"results.parquet", "table.md"}
