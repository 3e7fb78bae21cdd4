"""How much a stage reads: examples and tokens of one pass over its data.

As `prepare` counted them, else by arithmetic on the files' sizes: a plan must stay quick. What a finished training
counted takes the place of both.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from launch.plan import keys
from slurm.base import UserError
from slurm.base.files import make_folder, read_sealed, seal, to_json, write_atomic
from training import formats
from training.data.tokens import Entry
from training.formats.lengths import CHARACTERS_OF_TOKEN, SPECIALS, FileCounts
from training.formats.rows import field, read_bytes, read_rows, skipping
from training.spec import DataFile, EvaluateSpec, HubPart, Settings, Split, TaskData
from training.tasks import Task, catalogue
from training.tasks.task import Columns

_USUAL_EXAMPLES = 10_000  # of a data set on the Hub without published numbers
_SAMPLED = 200  # rows of a table whose texts are measured
Source = Literal["usual lengths", "file sizes", "token cache", "results"]  # the worst first
_SOURCES: tuple[Source, ...] = get_args(Source)
_SCHEMA = 1
Counts = Mapping[str, tuple[int, int, int]]  # by name of the list: examples, sequences, tokens
_LATER_BYTES = bytes(range(0x80, 0xC0))  # of a character in UTF-8


@dataclass(frozen=True)
class Amount:
    """One pass over some data. `length`: tokens of one sequence, on average. `source`: how all this is known."""

    examples: float
    tokens: float
    length: float
    source: Source = "file sizes"

    @property
    def squares(self) -> float:
        """The sequences' lengths squared, together; lengths differ, which adds a third to what equal ones make."""
        return 1.3 * self.tokens * self.length

    def times(self, factor: float) -> "Amount":
        """So many passes, or a share of one."""
        return replace(self, examples=self.examples * factor, tokens=self.tokens * factor)


def together(amounts: list[Amount]) -> Amount:
    """Several lists, one after the other."""
    tokens = sum(amount.tokens for amount in amounts)
    length = sum(amount.length * amount.tokens for amount in amounts) / tokens if tokens else 1.0
    examples = sum(amount.examples for amount in amounts)
    source = _SOURCES[min((_SOURCES.index(amount.source) for amount in amounts), default=1)]
    return Amount(examples, tokens, length, source)


def of_training(part: TaskData, settings: Settings, counts: Counts) -> tuple[Amount, Amount]:
    """One epoch's train data and one scoring of dev. `counts`: what `prepare` counted (`read`)."""
    task = catalogue.find(part.task)
    as_prepared = [_as_counted(counts.get(name)) for name in training_names(part, settings)]
    if as_prepared[0] and as_prepared[1]:
        return as_prepared[0], as_prepared[1]
    train, dev = (_of_split(split, task, settings) for split in (part.train, part.dev))
    if part.hold_out is not None:
        train, dev = train.times(1 - part.hold_out), train.times(part.hold_out)
    return _at_most(train, part.max_train), _at_most(dev, part.max_eval)


def steps(parts: Iterable[TaskData], settings: Settings, counts: Counts) -> int:
    """Optimizer steps of one training on some parts, all epochs: each part's batches, however they are mixed."""
    examples = (round(of_training(part, settings, counts)[0].examples) for part in parts)
    return settings.epochs * sum(-(-count // settings.global_batch_size) for count in examples)


def of_evaluating(spec: EvaluateSpec, counts: Counts) -> Amount:
    """All languages."""
    task = catalogue.find(spec.target)
    amounts = []
    for split in spec.languages.values():
        as_prepared = _as_counted(counts.get(language_name(task, split, spec.max_eval, spec.settings)))
        amounts.append(as_prepared or _at_most(_of_split(split, task, spec.settings), spec.max_eval))
    return together(amounts)


# --- as `prepare` counted


def training_names(part: TaskData, settings: Settings) -> tuple[str, str]:
    """Under which names the train and dev lists of a task are counted."""
    data = [keys.data_identity(part.train), keys.data_identity(part.dev), part.hold_out, part.max_train, part.max_eval]
    task = catalogue.find(part.task)
    return _name(task, settings, ["train", *data]), _name(task, settings, ["dev", *data])


def language_name(task: Task, split: Split, limit: int | None, settings: Settings) -> str:
    """The same of a target's list in one language."""
    return _name(task, settings, ["test", keys.data_identity(split), limit])


def _name(task: Task, settings: Settings, data: list[object]) -> str:
    lengths = [getattr(settings, name) for name in formats.get(task.format).encode_settings]
    return hashlib.sha256(to_json([task.name, task.version, lengths, data])).hexdigest()[:16]


def _as_counted(count: tuple[int, int, int] | None) -> Amount | None:
    if count is None:
        return None
    examples, sequences, tokens = count
    return Amount(examples, max(1, tokens), max(1, tokens) / max(1, sequences), "token cache")


def _file(root: Path) -> Path:
    return root / "cache" / "amounts.json"


def read(root: Path) -> Counts:
    """What `prepare` has counted for a store, so far."""
    record = read_sealed(_file(root))
    if record is None or record["schema"] != _SCHEMA:
        return {}
    return {name: (examples, sequences, tokens) for name, (examples, sequences, tokens) in record["lists"].items()}


def remember(root: Path, new: Mapping[str, Iterable[tuple[Entry, Task]]]) -> None:
    """Add what `prepare` counted: by name, the encoded lists that are counted together, each once."""
    counts = dict(read(root))
    for name, entries in new.items():
        examples = sequences = tokens = 0
        for entry, task in entries:
            examples += entry.examples
            sequences += entry.pieces * formats.get(task.format).sequences_of_piece(task)
            tokens += entry.tokens
        counts[name] = (examples, sequences, tokens)
    make_folder(_file(root).parent)
    write_atomic(_file(root), seal({"schema": _SCHEMA, "lists": {name: list(count) for name, count in counts.items()}}))


# --- by the files' sizes


def _at_most(amount: Amount, limit: int | None) -> Amount:
    if limit is None or amount.examples <= limit:
        return amount
    return amount.times(limit / amount.examples)


def _of_split(split: Split, task: Task, settings: Settings) -> Amount:
    without_text = formats.get(task.format).roles_without_text
    parts = [part for part in split if not (isinstance(part, DataFile) and part.role in without_text)]
    return together([_of_part(part, task, settings) for part in parts])


def _of_part(part: DataFile | HubPart, task: Task, settings: Settings) -> Amount:
    form = formats.get(task.format)
    if isinstance(part, HubPart):
        count = task.sizes.get(f"{part.config}/{part.split}", task.sizes.get(part.split))
        examples: float = count or _USUAL_EXAMPLES
        return Amount(
            examples, *form.tokens_and_length(examples, form.usual_tokens, task, settings), source="usual lengths"
        )
    path = Path(part.path)
    counts = _counts(path, part.sha256)
    if form.texts_in_columns and (texts := _texts(path, part.sha256, task.columns)):
        rows = form.sequences_of_piece(task)
        characters = texts[0] + texts[1] / rows
        length = min(settings.max_length, characters / CHARACTERS_OF_TOKEN + SPECIALS)
        return Amount(counts.lines, counts.lines * rows * length, length)
    examples, tokens = form.text_of_file(counts, task)
    return Amount(examples, *form.tokens_and_length(examples, tokens, task, settings))


@lru_cache(maxsize=4096)
def _texts(path: Path, sha256: str, columns: Columns) -> tuple[float, float] | None:
    """Characters of the texts in a table's row, on average: apart from its choices, and of these together.

    Of its first rows; None where it is no such table.
    """
    names = set(re.findall(r"\{([\w.]+)\}", " ".join((*columns.first, *columns.second)))) - {"choice"}
    choices = {name for alternative in columns.choices for name in alternative} - names
    try:
        with skipping():
            rows = [row for _, _, row in islice(read_rows(path, columns.header), _SAMPLED)]
    except UserError:
        return None
    texts = [sum(_length(row, name) for name in names) for row in rows]
    if not any(texts):
        return None
    return sum(texts) / len(rows), sum(_length(row, name) for row in rows for name in choices) / len(rows)


def _length(row: Mapping[str, Any], name: str) -> int:
    try:
        value = field(row, name)
    except KeyError:
        return 0
    return sum(len(str(part)) for part in value) if isinstance(value, list) else len(str(value))


@lru_cache(maxsize=4096)
def _counts(path: Path, sha256: str) -> FileCounts:
    """Counted in bytes, which is quick; `sha256` makes a changed file another one."""
    try:
        content = read_bytes(path)
    except UserError:
        return FileCounts(0, 0, 0, 0, 0)  # `plan` and `submit` say so where they check the data
    blank = content.count(b"\n\n")
    lines = max(0, content.count(b"\n") - blank + (not content.endswith(b"\n")))
    characters = len(content.translate(None, _LATER_BYTES))
    return FileCounts(characters, lines, blank + 1, content.count(b'"question"'), content.count(b'"context"'))
