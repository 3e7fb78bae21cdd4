"""The log files of an element, cut by the starts of its job and by the stages that it came to.

A job prints a mark when it starts, and one when it comes to a stage (`launch.store.logs`); a requeued job goes on in
the same files. Files may be large: they are read line by line.
"""

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from launch.store import logs
from slurm.base import look

_ERRORS = ".err"


@dataclass(frozen=True)
class Part:
    """What one start of a job printed into one file. Offsets in bytes; `restart` is None where nothing says it."""

    path: Path
    restart: int | None
    begin: int
    end: int


@dataclass
class StageFilter:
    """Lets through what a job printed of one stage: that, and what came before its first stage.

    folder: the stage's; None lets everything through. It holds for one file, line by line.
    """

    folder: str | None
    section: str | None = field(default=None, init=False)  # folder of the stage that the job is at; None: before any

    def lets(self, line: str) -> bool:
        """Whether a line is of the stage. Lines come in the file's order."""
        if logs.start_of(line) is not None:
            self.section = None
        stage = logs.stage_of(line)
        if stage is not None:
            self.section = stage
        return self.folder is None or self.section is None or self.section == self.folder


def in_order(paths: Iterable[Path], *, errors: bool) -> list[Path]:
    """Log files by task, each one's output before its errors; `errors`: of tasks that write them apart, only those."""
    by_name = sorted(paths, key=lambda path: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", path.name)])
    by_name.sort(key=lambda path: (_task(path), path.suffix == _ERRORS))
    apart = [path for path in by_name if path.suffix == _ERRORS]
    return apart if errors and apart else by_name


def _task(path: Path) -> int:
    match = re.search(r"_(\d+)_log\.", path.name)
    return int(match[1]) if match else 0


def parts_of(path: Path) -> list[Part]:
    """One for each start, the first first. What stands before any mark belongs to the first start."""
    marks: list[tuple[int, int]] = []
    offset = 0
    try:
        with path.open("rb") as file:
            for line in file:
                restart = logs.start_of(line.decode(errors="replace"))
                if restart is not None:
                    marks.append((restart, offset))
                offset += len(line)
    except FileNotFoundError:
        return []
    if not marks:
        return [Part(path, None, 0, offset)] if offset else []
    ends = [begin for _, begin in marks[1:]] + [offset]
    begins = [0] + [begin for _, begin in marks[1:]]
    return [Part(path, marks[n][0], begins[n], ends[n]) for n in range(len(marks))]


def last_start(parts: Iterable[Part]) -> list[Part]:
    """Of the parts of an element's files, those of its job's last start."""
    all_parts = list(parts)
    return of_start(all_parts, max((part.restart or 0 for part in all_parts), default=0))


def of_start(parts: Iterable[Part], restart: int) -> list[Part]:
    """Those of one start of a job: in each file the last that says so, or the one in which nothing says it."""
    by_path = {part.path: part for part in parts if part.restart in (None, restart)}
    return list(by_path.values())


def by_start(parts: Iterable[Part]) -> list[list[Part]]:
    """The parts of an element's files, start by start; what nothing says it of, with the last."""
    all_parts = list(parts)
    *earlier, last = sorted({part.restart or 0 for part in all_parts}) or [0]
    marked_parts = [part for part in all_parts if part.restart is not None]
    starts = [*(of_start(marked_parts, restart) for restart in earlier), of_start(all_parts, last)]
    return [start for start in starts if start]


def came_to(parts: Iterable[Part], folder: str) -> bool:
    """Whether a start says in any of its files that it came to a stage."""
    return any(logs.stage_of(line) == folder for part in parts for line in _lines(part))


def lines(part: Part, folder: str | None, last: int | None = None) -> Iterator[str]:
    """What a part says of a stage (None: all of it), each line with its end; of that the last so many (None: all)."""
    stage_filter = StageFilter(folder)
    chosen_lines = (line for line in _lines(part) if stage_filter.lets(line))
    return iter(chosen_lines if last is None else deque(chosen_lines, maxlen=last))


def _lines(part: Part) -> Iterator[str]:
    with look.named(part.path), part.path.open("rb") as file:
        file.seek(part.begin)
        remaining = part.end - part.begin
        while remaining > 0 and (line := file.readline(remaining)):
            remaining -= len(line)
            yield line.decode(errors="replace")


@dataclass
class Reader:
    """Reads on in one file that grows, is cut, replaced, or not there yet. `filter` lets lines through."""

    path: Path
    filter: StageFilter
    offset: int = 0
    _file: int | None = field(default=None, init=False)  # inode
    _rest: bytes = field(default=b"", init=False)  # of a line that has no end yet

    def read(self) -> tuple[list[str], bool]:
        """The lines that were added, and whether the file had begun anew."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                is_new = self._file not in (None, status.st_ino) or status.st_size < self.offset
                if is_new:
                    self.offset, self._rest, self.filter = 0, b"", StageFilter(self.filter.folder)
                self._file = status.st_ino
                file.seek(self.offset)
                new_bytes = file.read(status.st_size - self.offset)
        except FileNotFoundError:
            return [], False
        self.offset += len(new_bytes)
        *whole_lines, self._rest = (self._rest + new_bytes).split(b"\n")
        texts = (f"{line.decode(errors='replace')}\n" for line in whole_lines)
        return [text for text in texts if self.filter.lets(text)], is_new

    def rest(self) -> str:
        """The last line where it has no end, once nothing more comes."""
        text = self._rest.decode(errors="replace")
        self._rest = b""
        return f"{text}\n" if text and self.filter.lets(text) else ""
