"""Parallel text, English and another language: how alike does a model represent a sentence and its translation?

The files of a language, by their names' endings:

    english and other, .tsv     id<TAB>sentence each, the same ids in both
    english and other, .json    XQuAD-R's: the sentences of its paragraphs
    english and other, else     a sentence a line, line by line (Moses)
    one file or several, .tmx   a translation memory
    one file or several, .tsv, .csv, .jsonl    a table, a pair a row

Evaluated only. Of texts that stand there twice only the first pair counts, and pairs with fewer than three English
words are left out: both would make retrieval look better, or worse, than the model is.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.formats.base import with_unique_ids
from training.formats.report import current
from training.formats.retrieval import Example, Retrieval, example_of, read_lines_of_both
from training.formats.rows import RowError, bad_row, malformed, read_lines, read_rows, render, row_id
from training.formats.tmx import read_pairs
from training.formats.xquad_r import read_paragraphs
from training.spec import DataFile
from training.tasks import Task, presets
from training.tasks.languages import fill
from training.tasks.task import File, Files

FEWEST_WORDS = 3  # of the English side, in which words can be counted
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_ENGLISH_COLUMNS, _OTHER_COLUMNS = ("{english}", "{en}"), ("{other}", "{lang}")


@dataclass(frozen=True)
class _Sentence:
    line: int
    text: str


class Parallel(Retrieval):
    """Two pieces per example, as in retrieval; every layer and pooling is compared, by several measures."""

    name = "parallel"
    kind_of_data = "sentences and their translations"
    metrics = ("alignment",)
    usual_tokens = 60
    target_settings = presets.RETRIEVAL_TARGET

    def roles(self, split: str) -> tuple[tuple[str, ...], ...]:
        return (("other", "english"), ()) if split == "test" else ((),)

    def target_files(
        self, task: Task, files: Files, language: str, is_there: Callable[[File, str], bool], named_in: Path
    ) -> list[tuple[File, str]]:
        """The English file may be the same for all languages, so it says nothing of whether one is there."""
        if not any(is_there(file, language) for file in files.test if file.role != "english"):
            return []
        return [(file, language) for file in files.test]

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        """One file with both sides."""
        if _kind(path) == "tmx":
            names = (language, fill("{iso3}", language, task.iso3))
            pairs = read_pairs(path, ("en", "eng"), names)
            return [example_of(str(n), language, *pair) for n, pair in enumerate(pairs)]
        examples = []
        for position, line, row in read_rows(path, task.columns.header):
            try:
                examples.append(self.from_row(row, task, language, position))
            except RowError as error:
                bad_row(path, line, str(error))
        return examples

    def read_split(self, files: Sequence[DataFile], task: Task, language: str) -> list[Example]:
        by_role = {file.role: Path(file.path) for file in files}
        if "english" in by_role:
            examples = _read_both(by_role["english"], by_role["other"], language)
        else:
            examples = with_unique_ids(
                example for file in files for example in self.read(Path(file.path), task, language)
            )
        return _usable(examples, files[0].path)

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example:
        """By the task's columns, else `english` or `en`, and `other` or the language's code."""
        english = render(row, task.columns.first or _ENGLISH_COLUMNS)
        templates = [
            template.replace("{lang}", f"{{{language}}}") for template in task.columns.second or _OTHER_COLUMNS
        ]
        foreign = render(row, templates)
        if not (english and foreign):
            raise RowError(f"an empty text in {'English' if not english else language}")
        return example_of(row_id(row, task, position), language, english, foreign)


def _kind(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[2].lower()


def _read_both(english: Path, foreign: Path, language: str) -> list[Example]:
    """The two sides from a file each."""
    kinds = {_kind(english), _kind(foreign)}
    if kinds == {"tsv"}:
        return _by_id(english, foreign, language)
    if kinds == {"json"}:
        return _by_paragraph(english, foreign, language)
    pairs = zip(*read_lines_of_both(english, foreign), strict=True)
    return [example_of(str(n), language, *pair) for n, pair in enumerate(pairs)]


def _by_id(english: Path, foreign: Path, language: str) -> list[Example]:
    english_side, other_side = _sentences(english), _sentences(foreign)
    _check_ids(english, english_side, foreign, other_side)
    _check_ids(foreign, other_side, english, english_side)
    return [example_of(name, language, sentence.text, other_side[name].text) for name, sentence in english_side.items()]


def _check_ids(path: Path, side: Mapping[str, _Sentence], its_path: Path, its_other: Mapping[str, _Sentence]) -> None:
    """UserError for the first sentence of `side` that the other side lacks."""
    missing = next((name for name in side if name not in its_other), None)
    if missing is not None:
        malformed(path, side[missing].line, f"no sentence of {its_path} has the id {missing}")


def _sentences(path: Path) -> dict[str, _Sentence]:
    """By id, in the file's order."""
    sentences: dict[str, _Sentence] = {}
    for number, line in enumerate(read_lines(path), start=1):
        name, tab, text = line.partition("\t")
        if not tab or not name or not text.strip():
            malformed(path, number, "not id<TAB>sentence")
        if name in sentences:
            malformed(path, number, f"id {name} is there twice")
        sentences[name] = _Sentence(number, text)
    return sentences


def _by_paragraph(english: Path, foreign: Path, language: str) -> list[Example]:
    """Sentence by sentence, of paragraphs that have as many in both languages: their sentences were split apart, not
    translated apart."""
    paragraphs, translations = read_paragraphs(english), read_paragraphs(foreign)
    if [paragraph.place for paragraph in paragraphs] != [paragraph.place for paragraph in translations]:
        malformed(foreign, 1, f"not the paragraphs of {english}")
    same_length = [
        pair for pair in zip(paragraphs, translations, strict=True) if len(pair[0].breaks) == len(pair[1].breaks)
    ]
    if len(same_length) < len(paragraphs):
        left_out = len(paragraphs) - len(same_length)
        current().remarks.append(
            f"{foreign}: {left_out} of {len(paragraphs)} paragraphs are left out: they have not as many sentences as in"
            " English"
        )
    return [
        example_of(
            f"{paragraph.place}.{number}",
            language,
            paragraph.context[slice(*span)],
            its_other.context[slice(*its_span)],
        )
        for paragraph, its_other in same_length
        for number, (span, its_span) in enumerate(zip(paragraph.breaks, its_other.breaks, strict=True))
    ]


def _usable(examples: Sequence[Example], path: str) -> list[Example]:
    """Without short and repeated ones; how many those were is reported."""
    long_enough = [example for example in examples if len(_WORD.findall(example.english)) >= FEWEST_WORDS]
    texts: tuple[set[str], set[str]] = (set(), set())
    unique = []
    for example in long_enough:
        pair = " ".join(example.english.split()), " ".join(example.other.split())
        if pair[0] not in texts[0] and pair[1] not in texts[1]:
            unique.append(example)
            for side, text in zip(texts, pair, strict=True):
                side.add(text)
    if len(unique) < len(examples):
        short_pairs, repeats = len(examples) - len(long_enough), len(long_enough) - len(unique)
        current().left_out += short_pairs + repeats
        current().remarks.append(
            f"{path}: {len(unique):,} of {len(examples):,} pairs are compared: {short_pairs:,} have fewer than"
            f" {FEWEST_WORDS} English words, {repeats:,} repeat a sentence"
        )
    return unique
