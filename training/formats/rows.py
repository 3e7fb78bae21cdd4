"""Tables (TSV, CSV, JSON lines), line by line, and the texts and labels in a row."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from slurm.base import UserError
from training.formats import strict_json
from training.formats.report import current

if TYPE_CHECKING:
    from training.tasks import Task

Row = Mapping[str, Any]
_FIELD = re.compile(r"\{([\w.]+)\}")
_WITHOUT_MARKS = r"sed 's/^\xef\xbb\xbf//'"
_MARK_INSIDE = b"\n\xef\xbb\xbf"
_LONGEST = 300  # characters of a reason: a "line" may be a whole file
_SKIPPED: ContextVar[list[str] | None] = ContextVar("_SKIPPED", default=None)  # None: a bad row is an error


class RowError(ValueError):
    """A row is not what its task says; whoever knows where the row came from turns this into a UserError."""


def malformed(path: Path, line: int, reason: str) -> NoReturn:
    """Refuse a data file."""
    raise UserError(f"{path}:{line}: {_in_one_line(reason)}. Mend the file, or take another in splits.yaml.")


@contextmanager
def skipping() -> Iterator[list[str]]:
    """Inside, malformed rows are left out instead of refused: the list gets a text `file:line: what` for each.

    Inside another, the outer list gets them too."""
    outer = _SKIPPED.get()
    bad_rows: list[str] = []
    token = _SKIPPED.set(bad_rows)
    try:
        yield bad_rows
    finally:
        _SKIPPED.reset(token)
        if outer is not None:
            outer.extend(bad_rows)


def skips(text: str) -> bool:
    """Whether malformed rows are left out; if so, this one is listed as `text`."""
    bad_rows = _SKIPPED.get()
    if bad_rows is None:
        return False
    bad_rows.append(text)
    current().left_out += 1
    return True


def bad_row(path: Path, line: int, reason: str) -> None:
    """Refuse a data file for one row in it; where such rows are skipped, list it and return."""
    text = f"{path}:{line}: {_in_one_line(reason)}"
    if not skips(text):
        raise UserError(
            f"{text}. Mend the file, take another in splits.yaml, or leave such rows out: in the"
            " experiment file, data: {skip_bad_rows: true}."
        )


def filtered(path: Path, program: str) -> str:
    """What to type to have the file mended by a program that copies its input: for messages."""
    if path.suffix == ".gz":
        return f"mend: zcat {path.name} | {program} | gzip > NEW.gz"
    return f"mend: {program} {path.name} > NEW"


def _in_one_line(reason: str) -> str:
    """What people can read of a reason that quotes the data."""
    text = " ".join(reason.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


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
    if (nul := content.find(b"\0")) >= 0:
        malformed(path, content.count(b"\n", 0, nul) + 1, "a NUL character; write the file as UTF-8 text")
    if (mark := content.find(_MARK_INSIDE)) >= 0:  # elsewhere in a line it is a character that published texts have
        malformed(
            path,
            content.count(b"\n", 0, mark) + 2,
            "begins with a byte order mark, inside the file (were files put together?);"
            f" {filtered(path, _WITHOUT_MARKS)}",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        malformed(path, content.count(b"\n", 0, error.start) + 1, "not UTF-8")


def read_lines(path: Path) -> list[str]:
    """Lines as wc counts them: only a newline ends one, for sentences do contain U+2028 and the like."""
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    if lines[-1] == "":
        return lines[:-1]
    current().remarks.append(f"{path}:{len(lines)}: ends without a newline: if it was cut, fetch it again")
    return lines


def ends_with_newline(path: Path) -> bool:
    """Whether the last line is ended: of a file that was cut it is not."""
    return read_bytes(path).endswith(b"\n")


def read_rows(path: Path, header: Sequence[str] | None) -> Iterator[tuple[int, int, Row]]:
    """(position from 0, line number from 1, row) of a .jsonl, .csv or .tsv file; `header`: a TSV's columns where it
    names none. Positions count malformed rows too, so that they stay parallel over languages where such are skipped."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind in ("jsonl", "json"):
        rows = _json_rows(path)
    elif kind == "csv":
        rows = _csv_rows(path)
    elif kind == "tsv":
        rows = _tsv_rows(path, header)
    else:
        raise UserError(f"{path}: a table is a .jsonl, .csv or .tsv file (or that with .gz).")
    for position, (line, row) in enumerate(rows):
        if isinstance(row, str):
            bad_row(path, line, row)
        else:
            yield position, line, row


# These give (line number, row, or what is wrong with it).


def _json_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = strict_json.parse(line)
        except strict_json.JsonError as error:
            yield number, str(error)
            continue
        yield number, row if isinstance(row, dict) else "not a JSON object"


def _csv_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        names = reader.fieldnames or ()
    except csv.Error as error:
        malformed(path, reader.reader.line_num, f"not CSV ({error})")
    _refuse_equal_names(path, names)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield reader.reader.line_num, f"not CSV ({error})"  # the outer number is that of the last good row
            continue
        if row is None:
            return
        is_whole = None not in row and None not in row.values()
        yield reader.line_num, row if is_whole else f"not {len(names)} columns"


def _tsv_rows(path: Path, header: Sequence[str] | None) -> Iterator[tuple[int, Row | str]]:
    """Tabs only: the quotes in these files are a part of the sentences. XTREME's own test files are without the label,
    the last of the header's columns: then all lines are."""
    lines = read_lines(path)
    names = list(header) if header else lines[0].split("\t") if lines else []
    _refuse_equal_names(path, names)
    if header and {line.count("\t") for line in lines if line} == {len(header) - 2}:
        names.pop()
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and not header):
            continue
        cells = line.split("\t")
        if len(cells) == len(names):
            yield number, dict(zip(names, cells, strict=True))
        else:
            yield number, f"{len(cells)} columns instead of {len(names)} ({', '.join(names)})"


def _refuse_equal_names(path: Path, names: Sequence[str]) -> None:
    # One without a name can be meant by nobody: pandas' index, each time that a table was written.
    twice = next((name for name in names if name.strip() and names.count(name) > 1), None)
    if twice is not None:
        malformed(path, 1, f"the column {twice!r} is there twice")


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
            return _FIELD.sub(lambda match: _text(values, match[1]), template).strip()
        except KeyError:
            continue
    raise RowError(f"no field {' or '.join(dict.fromkeys(_FIELD.findall(' '.join(templates))))}")


def _text(row: Row, path: str) -> str:
    return text_of(field(row, path), path)


def text_of(value: Any, name: str) -> str:
    """The text in a field. RowError for anything else: what stands in for it, such as "None", would be trained on."""
    if isinstance(value, str):
        return value
    raise RowError(f"{name} is {_shown(value)}, not a text")


def name_of(value: Any, name: str) -> str:
    """What names a thing: a text, or a whole number as text. RowError for anything else."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise RowError(f"{name} is {_shown(value)}, neither a text nor a whole number")


def _without_point(value: Any) -> Any:
    """3 for 3.0; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole_number(value: Any, name: str) -> int:
    """A whole number. RowError for anything else, a text of digits too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise RowError(f"{name} is {_shown(value)}, not a whole number")


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return "an object" if isinstance(value, Mapping) else "a list"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def row_id(row: Row, task: "Task", position: int) -> str:
    """The data set's own id, else the row's position, which is parallel over languages.

    pandas writes a column of whole numbers in which one is missing as `3.0` and null: that is 3, as it reads it again,
    and the row without is `row 1`, since 1 may be another's id.
    """
    for name in task.columns.id:
        if row.get(name) is not None and (text := name_of(_without_point(row[name]), name)):
            return text
    has_ids = any(name in row for name in task.columns.id)
    return f"row {position}" if has_ids else str(position)


def check_values(row: Row, task: "Task") -> None:
    """RowError where a field has a value that the task does not know there."""
    for name, values in task.values.items():
        if name in row and row[name] not in values:
            raise RowError(f"{name} is {_shown(row[name])}; it is one of {', '.join(values)}")


def row_label(row: Row, task: "Task") -> str | None:
    """The label's name. Of a row that came without: None, and "" for a target, which is predicted all the same."""
    without = "" if task.languages else None
    column = next((name for name in task.columns.label if name in row), None)
    if column is None:
        if without is None:
            raise RowError(f"no field {' or '.join(task.columns.label)}")
        return without
    if not isinstance(row[column], str | int | float):
        raise RowError(f"{column} is {_shown(row[column])}, not a label")
    raw = str(row[column])
    for text in (raw, str(_without_point(row[column]))):  # as it stands there, if the task has it so
        if text in task.unlabelled:
            return without
        if text in task.label_map:
            return task.label_map[text]
    raise RowError(f"label {raw!r} is none of {', '.join(task.label_map)}")
