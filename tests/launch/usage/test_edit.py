"""The edit of an experiment file: one line each, all else as it was; or a refusal with what to write."""

import os
from pathlib import Path

import pytest

from launch.usage import edit
from slurm.base import UsageError, UserError

BLOCK = """\
# my file
name: x   # a name
cluster:
  # how long: see the wiki
  time: 12:00:00    # twelve hours, to be safe
  mem: "64G"
  cpus-per-task:  '8'

  sbatch: {comment: "time: 12:00:00"}
seeds: [1, 2]
"""
FLOW = "name: x\ncluster: {executor: slurm, time: 12:00:00, mem: 64G}  # short\n"


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.yaml"


def _edited(file: Path, text: str, **values: str) -> str:
    file.write_bytes(text.encode())
    change = edit.of_cluster(file, {name.replace("_", "-"): value for name, value in values.items()})
    change.write()
    return file.read_bytes().decode()


def test_only_the_values_change(file: Path) -> None:
    text = _edited(file, BLOCK, time="02:30:00", mem="12G", cpus_per_task="2")
    assert text == (
        BLOCK.replace("  time: 12:00:00 ", '  time: "02:30:00" ').replace("64G", "12G").replace("'8'", "'2'")
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_line_ends_and_marks_stay(file: Path, begin: str, end: str) -> None:
    before = begin + FLOW.replace("\n", end)
    assert _edited(file, before, time="00:15:00") == before.replace("12:00:00", '"00:15:00"')


def test_json_stays_json(file: Path) -> None:
    text = '{"name": "x",\n "cluster": {"gpus-per-node": "a100:4", "time": "12:00:00", "mem": "4G"}}\n'
    edited = _edited(file, text, gpus_per_node="a100:1", time="00:30:00", mem="2G")
    assert edited == text.replace("a100:4", "a100:1").replace("12:00:00", "00:30:00").replace("4G", "2G")


def test_the_diff_is_what_a_person_expects(file: Path) -> None:
    _write(file, FLOW)
    assert edit.of_cluster(file, {"time": "00:15:00"}).diff() == (
        "--- x.yaml\n+++ x.yaml\n@@ -1,2 +1,2 @@\n name: x\n"
        "-cluster: {executor: slurm, time: 12:00:00, mem: 64G}  # short\n"
        '+cluster: {executor: slurm, time: "00:15:00", mem: 64G}  # short\n'
    )
    assert file.read_bytes().decode() == FLOW  # not yet


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\n", "has no key time to change; write by hand: cluster: {time: \"00:15:00\"}"),
        ("cluster: {mem: 4G}\n", "has no key time"),
        ("cluster:\n  time: >-\n    12:00:00\n", ":2: time is not on one line; write by hand"),
        ("cluster:\n  time: \"12:\\\n    00:00\"\n", ":2: time is not on one line"),
        ("cluster:\n  time:\n", "time is not on one line"),
        ("cluster: {time: 12:00:00, mem: 1G, mem-per-cpu: 2G}\n", "cannot be changed safely; write by hand"),
    ],
)  # fmt: skip
def test_what_is_not_safe_is_refused_with_the_line(file: Path, text: str, words: str) -> None:
    _write(file, text)
    with pytest.raises(UsageError) as refusal:
        edit.of_cluster(file, {"time": "00:15:00"})
    assert words in str(refusal.value) and "\n" not in str(refusal.value)
    assert file.read_bytes().decode() == text


def test_a_value_that_the_section_does_not_take_is_never_written(file: Path) -> None:
    _write(file, FLOW)
    with pytest.raises(UsageError, match="cannot be changed safely"):
        edit.of_cluster(file, {"mem": "a lot"})


def test_a_file_that_somebody_changed_stays(file: Path) -> None:
    _write(file, FLOW)
    change = edit.of_cluster(file, {"time": "00:15:00"})
    _write(file, FLOW + "seeds: [3]\n")
    with pytest.raises(UserError, match="was changed meanwhile"):
        change.write()
    assert file.read_bytes().decode() == FLOW + "seeds: [3]\n"


def test_links_and_permissions_stay(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    _write(real, FLOW)
    real.chmod(0o664)
    file.symlink_to(real)
    edit.of_cluster(file, {"mem": "2G"}).write()
    assert file.is_symlink() and "mem: 2G" in real.read_bytes().decode() and os.stat(real).st_mode & 0o777 == 0o664
