"""Log files cut by start and stage, and read on while they grow, shrink and come and go."""

from pathlib import Path

import pytest

from launch.logbook import parts
from launch.logbook.parts import Reader, StageFilter

LOG = """\
module load cuda
--- start 0
heavy imports
--- stage squad-s1-aa
step 1
--- start 1
heavy imports again
--- stage squad-s1-aa
step 2
--- stage squad-s1--xquad-bb
de 50.0
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "7_3_0_log.out"
    path.write_text(LOG)
    return path


def _text(log: Path, start: int, folder: str | None, last: int | None = None) -> str:
    (part,) = parts.of_start(parts.parts_of(log), start)
    return "".join(parts.lines(part, folder, last))


def test_each_start_of_a_job_is_a_part(log: Path) -> None:
    first, second = parts.parts_of(log)
    assert (first.restart, first.begin, second.restart, second.end) == (0, 0, 1, len(LOG))
    assert _text(log, 0, None) + _text(log, 1, None) == LOG
    assert parts.last_start([first, second]) == [second]
    assert [[part.restart for part in start] for start in parts.by_start([first, second])] == [[0], [1]]


def test_of_a_stage_its_own_lines_and_those_before_any_stage(log: Path) -> None:
    train = "--- start 1\nheavy imports again\n--- stage squad-s1-aa\nstep 2\n"
    assert _text(log, 1, "squad-s1-aa") == train
    assert _text(log, 1, "squad-s1--xquad-bb").endswith("--- stage squad-s1--xquad-bb\nde 50.0\n")
    assert "step 2" not in _text(log, 1, "squad-s1--xquad-bb")
    assert _text(log, 1, "squad-s1-aa", last=1) == "step 2\n" and _text(log, 1, None, last=0) == ""
    assert parts.came_to(parts.parts_of(log)[1:], "squad-s1--xquad-bb")
    assert not parts.came_to(parts.parts_of(log)[:1], "squad-s1--xquad-bb")


def test_a_file_without_marks_is_of_the_last_start(log: Path) -> None:
    errors = log.with_suffix(".err")
    errors.write_text("srun: error\n")
    starts = parts.by_start([*parts.parts_of(log), *parts.parts_of(errors)])
    assert [[part.path.suffix for part in start] for start in starts] == [[".out"], [".out", ".err"]]
    assert parts.by_start([]) == []


def test_a_log_without_marks_is_one_part_and_an_empty_one_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("srun: error\nno end of line")
    (tmp_path / "b").touch()
    (part,) = parts.parts_of(tmp_path / "a")
    assert part.restart is None and list(parts.lines(part, "any")) == ["srun: error\n", "no end of line"]
    assert parts.parts_of(tmp_path / "b") == parts.parts_of(tmp_path / "nowhere") == []


def test_files_by_task_with_errors_last_or_alone(tmp_path: Path) -> None:
    names = ["7_3_10_log.out", "7_3_2_log.err", "7_3_2_log.out", "7_3_0_log.err"]
    paths = [tmp_path / name for name in names]
    assert [path.name for path in parts.in_order(paths, errors=False)] == [
        "7_3_0_log.err", "7_3_2_log.out", "7_3_2_log.err", "7_3_10_log.out",
    ]  # fmt: skip
    assert [path.name for path in parts.in_order(paths, errors=True)] == ["7_3_0_log.err", "7_3_2_log.err"]
    only_output = [tmp_path / "0_0_log.out"]  # local workers write both into one
    assert parts.in_order(only_output, errors=True) == only_output


def test_reading_on_survives_whatever_happens_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = Reader(path, StageFilter(None))
    assert reader.read() == ([], False)  # not there yet
    path.write_bytes(b"one\ntw")
    assert reader.read() == (["one\n"], False)
    with path.open("ab") as file:
        file.write(b"o\n\xff\n")
    assert reader.read() == (["two\n", "�\n"], False)
    path.write_text("new\n")  # cut, and written again
    assert reader.read() == (["new\n"], True)
    (tmp_path / "other").write_text("replaced, and longer\nno end")
    (tmp_path / "other").replace(path)
    assert reader.read() == (["replaced, and longer\n"], True)
    path.unlink()
    assert reader.read() == ([], False)
    assert (reader.rest(), reader.rest()) == ("no end\n", "")
