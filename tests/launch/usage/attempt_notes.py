"""Attempts as jobs leave them, written by hand with round numbers."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from launch.store.attempts import Attempt
from launch.store.times import StageTimes

BEGAN = 1_700_000_000.0


def write_attempt(
    stage_folder: Path,
    number: int,
    *,
    minutes: float,
    cause: str | None = "none",
    steps: tuple[int, int] | None = None,
    stage_times: StageTimes | None = None,
    beat: dict[str, Any] | None = None,
    starter: dict[str, Any] | None = None,
    stage_usage: dict[str, Any] | None = None,
) -> Attempt:
    """cause: how it failed; "none": it ended well; None: no end was noted. steps: done before it, and at its last
    sign."""
    attempt = Attempt(stage_folder / "attempts" / f"{number:04d}")
    attempt.folder.mkdir(parents=True)
    began = BEGAN + number * 86400
    last = began + 60 * minutes
    _write(attempt.folder / "starter.json", {"job": f"{number}_0", "time": began} | (starter or {}))
    if cause is not None:
        failure = None if cause == "none" else {"class": cause, "message": "words"}
        _write(attempt.folder / "end.json", {"failure": failure, "time": last})
    lines: list[dict[str, Any]] = [{"matmul": "mkl"}] if steps else []
    if steps is not None:
        beat = {"step": steps[1], "total": 100}
        lines += [{"step": step, "loss": 1.0} for step in range(steps[0], steps[1])]
    if beat is not None or cause is None:
        _write(attempt.folder / "heartbeat.json", (beat or {}) | {"time": last})
    if stage_times is not None:
        lines.append({"times": asdict(stage_times)} | ({"usage": stage_usage} if stage_usage else {}))
    (attempt.folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return attempt


def _write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record), encoding="utf-8")
