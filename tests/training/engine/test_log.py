"""log.jsonl says how fast a stage was, and leaves out what is no training."""

import json
import time
from pathlib import Path

import pytest

from training.engine.log import TrainingLog


def lines(out: Path) -> list[dict[str, object]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_an_interval_has_rates_and_shares(tmp_path: Path) -> None:
    record = TrainingLog(tmp_path, first=True, world=2, peak=1e9)
    record.times.steps, record.times.examples, record.times.tokens = 3, 24, 600
    record.times.filler, record.times.computed, record.times.flops = 6, 606, 1e6
    record.times.update = 0.01
    time.sleep(0.05)
    record.interval(last=11)
    (line,) = lines(tmp_path)
    assert line["interval"] == [9, 11] and line["padding"] == pytest.approx(6 / 606, abs=1e-4)
    seconds = float(str(line["seconds"]))
    assert line["tokens_per_second"] == pytest.approx(600 / seconds, rel=0.02)
    assert line["mfu"] == pytest.approx(1e6 / (seconds * 2e9), rel=0.1)
    assert 0 < float(str(line["optimizer"])) < 1


def test_nothing_is_said_of_no_steps_nor_by_other_ranks(tmp_path: Path) -> None:
    record = TrainingLog(tmp_path, first=True, world=1, peak=None)
    record.interval(last=0)
    other = TrainingLog(tmp_path, first=False, world=1, peak=None)
    other.times.steps = 1
    other.interval(last=0)
    assert lines(tmp_path) == []


def test_a_pause_begins_anew(tmp_path: Path) -> None:
    record = TrainingLog(tmp_path, first=True, world=1, peak=None)
    record.times.steps = 5
    record.pause()
    assert record.times.steps == 0
    record.times.steps = 1
    record.interval(last=7)
    (line,) = lines(tmp_path)
    assert line["interval"] == [7, 7] and line["mfu"] is None
