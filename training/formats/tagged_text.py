"""Sentences of words with tags: CoNLL's columns, a sentence a line (`word|POS|category`), and CCGbank's derivations."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.formats.rows import RowError, bad_row, read_lines
from training.tasks import Task

Sentence = tuple[str, list[str], list[str]]  # id, words, tags
# CCGbank's manual: <L category modified-POS original-POS word predicate-argument-category>
_LEAF = re.compile(r"\(<L (\S+) \S+ \S+ (\S+) \S+>\)")
_ID = re.compile(r"ID=(\S+)")


def read_sentences(path: Path, task: Task) -> Iterator[Sentence]:
    """The sentences of a file. Without an id of its own a sentence has its number, malformed ones counted.

    `*.auto` files are CCGbank's; others have a sentence a line where the task has a separator, else a word a line.
    """
    if path.name.removesuffix(".gz").endswith(".auto"):
        return _derivations(path, task)
    return _lines(path, task) if task.columns.separator else _columns(path, task)


def tag_name(tag: str, task: Task) -> str:
    """The label that the data calls `tag`. RowError where the task has none."""
    if task.open_labels:
        return tag
    if tag not in task.label_map:
        raise RowError(f"tag {tag!r} is none of {' '.join(task.label_map)}")
    return task.label_map[tag]


def _columns(path: Path, task: Task) -> Iterator[Sentence]:
    """Word, tab, tag; an empty line ends a sentence. One bad line takes its whole sentence with it. XTREME's own test
    files have words alone: then no line has a tag."""
    lines = read_lines(path)
    if task.languages and not any("\t" in line for line in lines):
        yield from _words_alone(lines)
        return
    position, is_whole = 0, True
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            word, tab, tag = line.partition("\t")
            if not tab or not word or not tag or (not task.open_labels and tag not in task.label_map):
                if is_whole:
                    label_list = f" ({' '.join(task.labels)})" if task.labels else ""
                    bad_row(path, number, f"{line!r} is not a word, a tab and a tag{label_list}")
                is_whole = False
                continue
            words.append(word)
            tags.append(tag_name(tag, task))
        elif words or not is_whole:
            if is_whole:
                yield str(position), words, tags
            position, is_whole, words, tags = position + 1, True, [], []


def _words_alone(lines: Sequence[str]) -> Iterator[Sentence]:
    words: list[str] = []
    position = 0
    for line in [*lines, ""]:
        if line.strip():
            words.append(line.strip())
        elif words:
            yield str(position), words, []
            position, words = position + 1, []


def _lines(path: Path, task: Task) -> Iterator[Sentence]:
    position = -1
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        position += 1
        try:
            pairs = [_cell(cell, task) for cell in line.split()]
        except RowError as error:
            bad_row(path, number, str(error))
            continue
        yield str(position), [word for word, _ in pairs], [tag for _, tag in pairs]


def _cell(cell: str, task: Task) -> tuple[str, str]:
    word, *_, tag = cell.split(task.columns.separator) if task.columns.separator in cell else (cell, "")
    if not word or not tag:
        raise RowError(f"{cell!r} is not a word and its tag with {task.columns.separator!r} between")
    return word, tag_name(tag, task)


def _derivations(path: Path, task: Task) -> Iterator[Sentence]:
    name = ""
    position = -1
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        if match := _ID.match(line):
            name = match[1]
            continue
        position += 1
        leaves = _LEAF.findall(line)
        if not leaves or len(leaves) != line.count("(<L "):
            bad_row(path, number, "not a derivation of CCGbank: (<T ...> (<L category POS POS word category>) ...)")
        else:
            yield name or str(position), [word for _, word in leaves], [tag_name(tag, task) for tag, _ in leaves]
        name = ""
