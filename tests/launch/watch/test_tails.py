"""What the panes of a stage show: ends of logs without what would move a terminal's cursor, curves that grow."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from launch.store import logs
from launch.watch import tails
from launch.watch.tails import Quantity, Series

LOSS = Quantity("loss", lambda record: record.get("loss"))


@given(st.text(max_size=60))
@settings(max_examples=30)
def test_nothing_moves_the_cursor(text: str) -> None:
    for line in tails.plain_lines(text):
        assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in line)


def test_a_line_that_was_written_over_is_seen_as_it_was_last() -> None:
    text = "loading\n 10%|#\r 50%|##\r100%|###\r\n\x1b[1;31mred\x1b[0m and \x1b]0;title\x07plain\tend\n\n"
    assert tails.plain_lines(text) == ["loading", "100%|###", "red and plain   end"]


def test_the_last_start_of_the_stage_alone() -> None:
    text = "--- start 0\n--- stage a\nold\n--- start 1\n--- stage a\nfirst\n--- stage b\n1%\r2%\nsecond\n"
    assert logs.of_last_start(text, "a") == "first"
    assert logs.of_last_start(text, "b") == "1%\r2%\nsecond\n"
    assert logs.of_last_start("no mark at all\n", "a") == "no mark at all\n"


def test_of_a_long_file_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert tails.tail_of(log) == ["no log.jsonl yet"]
    log.write_text("".join(f"line {n}\n" for n in range(50_000)))
    lines = tails.tail_of(log)
    assert lines[-1] == "line 49999" and len(lines) == tails._LINES
    log.write_text("")
    assert tails.tail_of(log) == ["empty so far"]


def test_a_curve_grows_with_its_file_and_stays_small(tmp_path: Path) -> None:
    series = Series(tmp_path / "log.jsonl", (LOSS,))
    series.read_on()
    assert not series.values
    with series.path.open("w") as file:
        for step in range(5000):
            file.write(json.dumps({"step": step, "loss": float(step)}) + "\n")
        file.write('{"step": 5000, "lo')
    series.read_on()
    points = series.values["loss"]
    assert len(points) <= tails._POINTS and points == sorted(points) and points[0] == 0.0 and points[-1] > 4900
    with series.path.open("a") as file:
        file.write('ss": 6000.0}\nnot JSON\n[1]\n{"loss": "x"}\n' + '{"loss": 7000.0}\n' * 8)
    series.read_on()
    assert series.values["loss"][-1] == 7000.0
    series.path.unlink()
    series.path.write_text('{"loss": 1.0}\n')  # another attempt's, or rewritten
    series.read_on()
    assert series.values["loss"] == [1.0]


def test_numbers_are_told_whole() -> None:
    assert tails.Curve("tokens/s", [12345.6, 999.0], "").numbers == "999  (999 to 12,346)"
    assert tails.Curve("loss", [], "").numbers == "nothing yet"


def test_what_is_no_number_is_in_no_curve(tmp_path: Path) -> None:
    series = Series(tmp_path / "log.jsonl", tails._TRAINING)
    values = ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "true", '"1"', "null", "[1]", "1.5"]
    series.path.write_text("".join(f'{{"loss": {value}}}\n' for value in values))
    series.read_on()
    assert series.values == {"loss": [1.5]}
