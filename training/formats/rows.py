"""Tables (TSV, CSV, JSON lines), line by line, and the texts and labels in a row."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from slurm.errors import UserError

if TYPE_CHECKING:
    from training.task import Task

Row = Mapping[str, Any]
_FIELD = re.compile(r"\{([\w.]+)\}")


class RowError(ValueError):
    """A row is not what its task says; whoever knows where the row came from turns this into a UserError."""


def malformed(path: Path, line: int, what: str) -> NoReturn:
    """Refuse a data file."""
    raise UserError(f"{path}:{line}: {what}. Mend the file, or take another in splits.yaml.")


def read_bytes(path: Path) -> bytes:
    """The decompressed content of a plain or .gz file."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file: {error}. Fetch it again.") from error


def read_text(path: Path) -> str:
    """A data file as text: UTF-8, with or without a byte order mark."""
    content = read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        malformed(path, content.count(b"\n", 0, error.start) + 1, "not UTF-8")


def read_lines(path: Path) -> list[str]:
    """Lines as wc counts them: only a newline ends one, for sentences do contain U+2028 and the like."""
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def read_rows(path: Path, header: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
    """(line number from 1, row) of a .jsonl, .csv or .tsv file; `header`: a TSV's columns where it names none."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind in ("jsonl", "json"):
        return _json_rows(path)
    if kind == "csv":
        return _csv_rows(path)
    if kind == "tsv":
        return _tsv_rows(path, header)
    raise UserError(f"{path}: a table is a .jsonl, .csv or .tsv file (or that with .gz).")


def _json_rows(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            malformed(path, number, f"not JSON ({error})")
        if not isinstance(row, dict):
            malformed(path, number, "not a JSON object")
        yield number, row


def _csv_rows(path: Path) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                malformed(path, reader.line_num, f"not {len(reader.fieldnames or ())} columns")
            yield reader.line_num, row
    except csv.Error as error:
        malformed(path, reader.line_num, f"not CSV ({error})")


def _tsv_rows(path: Path, header: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
    """Tabs only: the quotes in these files are a part of the sentences."""
    lines = read_lines(path)
    names = list(header) if header else lines[0].split("\t") if lines else []
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and not header):
            continue
        cells = line.split("\t")
        if len(cells) != len(names):
            malformed(path, number, f"{len(cells)} columns instead of {len(names)} ({', '.join(names)})")
        yield number, dict(zip(names, cells, strict=True))


def field(row: Row, path: str) -> Any:
    """The value at a dotted path; KeyError where there is none."""
    value: Any = row
    for name in path.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(path)
        value = value[name]
    return value


def render(row: Row, templates: Sequence[str], **more: str) -> str:
    """The first template whose fields the row has, filled in: `{context} {question}`."""
    values = {**row, **more}
    for template in templates:
        try:
            return _FIELD.sub(lambda found: str(field(values, found[1])), template).strip()
        except KeyError:
            continue
    raise RowError(f"no field {' or '.join(dict.fromkeys(_FIELD.findall(' '.join(templates))))}")


def row_id(row: Row, task: "Task", position: int) -> str:
    """The data set's own id, else the row's position (which is parallel over languages)."""
    for name in task.columns.id:
        if name in row and str(row[name]):
            return str(row[name])
    return str(position)


def row_label(row: Row, task: "Task") -> str | None:
    """The label's name; None where the row is one of those that came without."""
    raw = next((str(row[name]) for name in task.columns.label if name in row), None)
    if raw is None:
        raise RowError(f"no field {' or '.join(task.columns.label)}")
    if raw in task.unlabelled:
        return None
    if raw not in task.label_map:
        raise RowError(f"label {raw!r} is none of {', '.join(task.label_map)}")
    return task.label_map[raw]
