"""The logs of a stage: what the job that last ran it printed."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from launch.store.submissions import Submission
from slurm.base import look

_TAIL = 20_000  # characters of a log that are looked at
_MARK = "--- start "  # begins the line that a job prints first: a requeued job goes on in the same files
_STAGE = "--- stage "  # the same of each stage of an element


def with_content(submission: Submission, folder: Path, beginning: str) -> list[Path]:
    """The log files in a folder whose names begin as an element's do (`12_3_`), but for those that are empty."""
    paths = (folder / name for name in submission.listing(folder).get(beginning, ()))
    return [path for path in paths if look.size(path)]


def last_error(paths: list[Path]) -> str | None:
    """The last line of an element's logs that calls itself an error: why a job ended that no attempt speaks for."""
    texts = (look.read_bytes(path)[-_TAIL:].decode(errors="replace") for path in paths)
    lines = [line for text in texts for line in text.splitlines()]
    return next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), None)


def mark_start(restart: int) -> None:
    """Say in both of this process's logs, or the one, that the job starts here, for the n-th time after the first."""
    _print(f"{_MARK}{restart}")


def _print(line: str) -> None:
    is_same_file = os.path.sameopenfile(1, 2)
    for stream in (sys.stdout,) if is_same_file else (sys.stdout, sys.stderr):
        print(line, file=stream, flush=True)


def start_of(line: str) -> int | None:
    """The number of the start that a line marks; None: it marks none."""
    number = line.removeprefix(_MARK).strip() if line.startswith(_MARK) else ""
    return int(number) if number.isdecimal() else None


def stage_of(line: str) -> str | None:
    """The folder of the stage that a line marks; None: it marks none."""
    return line.removeprefix(_STAGE).rstrip("\n") if line.startswith(_STAGE) else None


def of_job(manifest: Path, job: str, lane: int | None = None) -> list[Path]:
    """The log files of a Slurm element (`123_4`), as it can tell itself: beside its manifest."""
    paths = sorted(_folder(manifest).glob(f"{job}_*_log.*"))
    return paths if lane is None else of_lane(paths, lane)


def lane_log(manifest: Path, job: str, lane: int, suffix: str) -> Path:
    """Where a lane of a Slurm element prints to: as a task would that comes after the element's one, which is 0."""
    return _folder(manifest) / f"{job}_{lane + 1}_log.{suffix}"


def of_lane(paths: Iterable[Path], lane: int) -> list[Path]:
    """Of an element's log files those of one of its lanes: its own, and the job's."""
    endings = tuple(f"_{task}_log.{suffix}" for task in (0, lane + 1) for suffix in ("out", "err"))
    return [path for path in paths if path.name.endswith(endings)]


def _folder(manifest: Path) -> Path:
    return manifest.parent / "logs" / manifest.stem.removeprefix("manifest-")


def of_probe(folder: Path) -> list[Path]:
    """The log files of the one element that was sent with this folder for its logs."""
    return sorted(path for path in folder.glob("*_log.*") if path.stat().st_size)


def mark_stage(folder: str) -> None:
    """Say in both logs that what follows is of this stage."""
    _print(f"{_STAGE}{folder}")


def tail(paths: list[Path], folder: str) -> str:
    """The end of what an element's last start printed about a stage, all its files one after the other; all that the
    start printed where it did not come to the stage."""
    parts = [_of_stage(_starts(path)[-1], folder) for path in paths]
    return "\n".join(parts)


def of_last_start(text: str, folder: str) -> str:
    """Of the end of one log, the same; its lines stay as they were written, such as a progress bar's."""
    _, _, after = f"\n{text}".rpartition(f"\n{_MARK}")
    return _of_stage(after.partition("\n")[2] if after != f"\n{text}" else text, folder)


def came_to(paths: list[Path], folder: str) -> bool:
    """Whether an element's last start says that it came to a stage."""
    return any(f"{_STAGE}{folder}\n" in _starts(path)[-1] for path in paths)


def _of_stage(text: str, folder: str) -> str:
    _, mark, after = text.rpartition(f"{_STAGE}{folder}\n")
    return after.partition(f"\n{_STAGE}")[0] if mark else text


def last_start(paths: list[Path]) -> str:
    """The end of what the last start printed."""
    return "\n".join(_starts(path)[-1] for path in paths)


def start_before(paths: list[Path]) -> str:
    """The end of what the start before the last one printed; empty where there was none."""
    return "\n".join(starts[-2] for path in paths if len(starts := _starts(path)) > 1)


def _starts(path: Path) -> list[str]:
    """What each start in the tail of a file printed; the first entry is what came before any mark."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return [""]
    starts = [""]
    for line in text.splitlines():
        if line.startswith(_MARK):
            starts.append("")
        else:
            starts[-1] += line + "\n"
    return starts
