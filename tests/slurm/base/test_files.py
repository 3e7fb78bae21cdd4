"""Files: whole or not at all, private, first wins, and nothing that was touched verifies."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base import UserError
from slurm.base.files import (
    copy_file,
    link_file,
    make_folder,
    read_json,
    read_sealed,
    remove_folder,
    seal,
    to_json,
    unseal,
    write_atomic,
    write_file,
    write_once,
)
from tests import trace
from tests.at_once import at_once, trials
from tests.paths import ROOT

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.dictionaries(st.text(max_size=6).filter(lambda name: name != "sha256"), VALUES, max_size=4)


@given(RECORDS)
def test_what_is_sealed_reads_back(record: dict[str, Any]) -> None:
    assert unseal(seal(record)) == json.loads(to_json(record))


@given(RECORDS, st.data())
def test_any_flipped_bit_is_noticed(record: dict[str, Any], data: st.DataObject) -> None:
    content = bytearray(seal(record))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert unseal(bytes(content)) is None


@given(RECORDS, st.data())
def test_any_cut_or_addition_is_noticed(record: dict[str, Any], data: st.DataObject) -> None:
    content = seal(record)
    assert unseal(content[: data.draw(st.integers(0, len(content) - 1))]) is None
    assert unseal(content + data.draw(st.binary(min_size=1, max_size=4))) is None


@given(st.binary(max_size=40))
def test_bytes_that_nobody_sealed_do_not_verify(content: bytes) -> None:
    assert unseal(content) is None


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"sha256"', b"{}", b'{"sha256":null}', b'{"sha256":"x"}'])
def test_json_that_is_no_sealed_record(content: bytes) -> None:
    assert unseal(content) is None


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_sealed(tmp_path / "none") is read_sealed(tmp_path / "file" / "below") is None
    assert read_json(tmp_path / "none") is None


def test_not_a_number_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"score": float("nan")})


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        folder = make_folder(tmp_path / "made")
        write_atomic(folder / "atomic", b"x")
        write_once(folder / "once", b"x")
    finally:
        os.umask(previous)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]


def test_every_change_goes_through_the_functions_that_a_trace_sees(tmp_path: Path) -> None:
    recorded, root = trace.Trace(tmp_path / "root"), tmp_path / "root"
    with recorded.recording():
        make_folder(root / "a" / "b")
        write_file(root / "a" / "b" / "one", b"1" * 3_000_000)
        write_file(root / "a" / "b" / "one", "one")
        write_atomic(root / "a" / "two", "two")
        write_once(root / "a" / "b" / "three", b"three")
        copy_file(root / "a" / "two", root / "a" / "copy")
        link_file(root / "a" / "two", root / "a" / "link")
        link_file(root / "a" / "two", root / "a" / "link")  # as where the reply of the first was lost
        with pytest.raises(FileExistsError):
            link_file(root / "a" / "copy", root / "a" / "link")
        remove_folder(root / "a" / "b")
        remove_folder(root / "a" / "b")
    *_, (_, left) = trace.crashes(recorded.events, "all")
    on_disk = {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}
    expected = {"a": None, "a/two": b"two", "a/copy": b"two", "a/link": b"two"}
    assert {name: content for name, content in left.items() if name} == on_disk == expected
    assert (root / "a" / "link").stat().st_ino == (root / "a" / "two").stat().st_ino
    # And all of it but the names of the copies is safe from a loss of power.
    *_, (_, left) = trace.crashes(recorded.events, "names")
    assert left.get("a/two") == b"two"


def test_without_hard_links_there_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    (tmp_path / "one").write_bytes(b"1")
    monkeypatch.setattr(os, "link", refuse)
    link_file(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == b"1"
    assert (tmp_path / "two").stat().st_ino != (tmp_path / "one").stat().st_ino


def test_a_folder_below_a_file_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/below: cannot make this folder: Not a directory"):
        make_folder(tmp_path / "file" / "below")


def test_the_first_write_wins(tmp_path: Path) -> None:
    path = tmp_path / "record"
    assert write_once(path, b"first") and not write_once(path, b"second")
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["record"]


@pytest.mark.parametrize("trial", trials(5))
def test_the_first_write_wins_among_processes(tmp_path: Path, trial: int) -> None:
    path = tmp_path / "record"
    answers = at_once(8, lambda number: write_once(path, b"%d" % number * 10_000))
    assert sum(answers) == 1
    assert path.read_bytes() == b"%d" % answers.index(True) * 10_000
    assert os.listdir(tmp_path) == ["record"]


@pytest.mark.parametrize("trial", trials(5))
def test_a_reader_sees_a_whole_file_whoever_replaces_it(tmp_path: Path, trial: int) -> None:
    path = tmp_path / "record"
    write_atomic(path, seal({"n": -1}))

    def work(number: int) -> bool:
        if number:
            for turn in range(20):
                write_atomic(path, seal({"n": number, "long": "x" * 1000 * turn}))
            return True
        return all(read_sealed(path) is not None for _ in range(500))

    assert at_once(4, work) == [True] * 4


KILLED = """
import os, signal, sys
from pathlib import Path
from slurm.base import files
left = int(sys.argv[2])
def counted(function):
    def wrapper(*arguments, **named):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return wrapper
for name in ("open", "write", "fsync", "replace"):
    setattr(os, name, counted(getattr(os, name)))
files.write_atomic(Path(sys.argv[1]), files.seal({"is": "new"}))
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, pytest.param(99, id="through")])
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, step: int) -> None:
    path = tmp_path / "record"
    write_atomic(path, seal({"is": "old"}))
    done = subprocess.run([sys.executable, "-S", "-c", KILLED, path, str(step)], cwd=ROOT, check=False)
    assert done.returncode == (0 if step == 99 else -signal.SIGKILL)
    assert read_sealed(path) == {"is": "old" if step < 5 else "new"}
