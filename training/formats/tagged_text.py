"""Sentences of words with tags: CoNLL's columns, a sentence a line (`word|POS|category`), and CCGbank's derivations."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.formats.rows import RowError, bad_row, filtered, malformed, read_lines
from training.tasks import Task

Sentence = tuple[str, list[str], list[str]]  # id, words, tags
# CCGbank's manual: <L category modified-POS original-POS word predicate-argument-category>
_LEAF = re.compile(r"\(<L (\S+) \S+ \S+ (\S+) \S+>\)")
_PREFIX = re.compile(r"[a-z]{2,3}(-[a-z]+)*:(?=.)")
_BLANK_TO_TAB = r"'s/ \([^ ]*\)$/\t\1/'"
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
    _refuse_prefixes(path, lines)
    if task.languages and not any("\t" in line for line in lines):
        _refuse_spaces(path, lines, task)
        yield from _words_alone(lines)
        return
    position, is_whole = 0, True
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*lines, ""], start=1):
        if _has_word(line):
            word, tab, tag = line.partition("\t")
            if not tab or not word or not _is_tag(tag, task):
                if is_whole:
                    label_list = f" ({' '.join(task.labels)})" if task.labels else ""
                    mend = f"; {_spaces(path, line)}" if not tab and _ends_with_tag(line, task) else ""
                    bad_row(path, number, f"{line!r} is not a word, a tab and a tag{label_list}{mend}")
                is_whole = False
                continue
            words.append(word)
            tags.append(tag_name(tag, task))
        elif words or not is_whole:
            if is_whole:
                yield str(position), words, tags
            position, is_whole, words, tags = position + 1, True, [], []


def _has_word(line: str) -> bool:
    """Whether the line is no end of a sentence. Other white space than blanks and tabs is a word: Wikipedia has it."""
    return bool(line.strip(" \t"))


def _is_tag(tag: str, task: Task) -> bool:
    return bool(tag) and not re.search(r"\s", tag) if task.open_labels else tag in task.label_map


def _ends_with_tag(line: str, task: Task) -> bool:
    """Whether a tag of the task stands behind a blank."""
    fields = line.split(" ")
    return len(fields) > 1 and bool(fields[0]) and _is_tag(fields[-1], task)


def _refuse_spaces(path: Path, lines: Sequence[str], task: Task) -> None:
    """A file whose tabs became blanks looks like one of words alone, for words may have blanks in them."""
    words = [number for number, line in enumerate(lines) if _has_word(line)]
    with_tag = [number for number in words if _ends_with_tag(lines[number], task)]
    if with_tag and (len(with_tag) == len(words) if task.open_labels else 2 * len(with_tag) > len(words)):
        first = with_tag[0]
        malformed(path, first + 1, f"{lines[first]!r} has no tab between word and tag; {_spaces(path, lines[first])}")


def _spaces(path: Path, line: str) -> str:
    """What is wrong with a line that has blanks where a tab belongs, and how to mend the file."""
    if line.count(" ") > 1:  # CoNLL's columns
        script = """awk 'NF {print $1 "\\t" $NF} !NF {print ""}'"""
        return f"blanks stand where tabs belong; if it has columns, {filtered(path, script)}"
    return f"a blank stands where the tab belongs; {filtered(path, 'sed ' + _BLANK_TO_TAB)}"


def _refuse_prefixes(path: Path, lines: Sequence[str]) -> None:
    """PAN-X as it was published has `en:` before each word of English; XTREME's scripts take it away."""
    first = next((number for number, line in enumerate(lines) if _has_word(line)), None)
    prefix = _PREFIX.match(lines[first]) if first is not None else None
    if first is not None and prefix and all(line.startswith(prefix[0]) for line in lines if _has_word(line)):
        script = f"sed 's/^{prefix[0]}//'"
        malformed(path, first + 1, f"every word begins with {prefix[0]!r}, as in raw PAN-X; {filtered(path, script)}")


def _words_alone(lines: Sequence[str]) -> Iterator[Sentence]:
    words: list[str] = []
    position = 0
    for line in [*lines, ""]:
        if _has_word(line):
            words.append(line.strip(" \t"))
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
