"""Two texts that are not parallel, sentence by sentence: which sentences are translations? Evaluated only (BUCC 2018).

Files of a language, as XTREME has them: the sentences of the other language ("source") and of English ("target"),
`id<TAB>sentence`, and the pairs of ids that are translations ("gold"), `source id<TAB>target id`; for dev, for test or
for both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from training.formats.base import Example as BaseExample
from training.formats.base import Piece
from training.formats.batch import token_ids
from training.formats.compared import Compared
from training.formats.rows import bad_row, malformed, read_lines, render, row_id
from training.spec import DataFile, Settings, Split
from training.tasks import Task
from training.tasks.task import File, Files

SPLITS = ("dev", "test")
SIDES = ("source", "target")
_OTHERS = 4  # a trial has this many sentences without a translation for each pair


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    """A sentence. `name`: its id in the file (dev and test have the same); `translations`: of a source sentence, the
    names of its target sentences; None where the split has no gold."""

    split: str  # dev, test
    side: str  # source, target
    name: str
    text: str
    translations: tuple[str, ...] | None


class Mining(Compared[Example]):
    """One piece per sentence."""

    name = "mining"
    kind_of_data = "which sentences are translations, among others that are not"
    evaluates_dev = True
    usual_tokens = 35
    key_settings = ("layer", "pooling")

    def roles(self, split: str) -> tuple[tuple[str, ...], ...]:
        return ((*SIDES, "gold"), SIDES) if split in SPLITS else ((),)

    def read_split(self, files: Sequence[DataFile], task: Task, language: str) -> list[Example]:
        by_role = {file.role: Path(file.path) for file in files}
        assert by_role, task.name
        return [example for split in SPLITS for example in _read(by_role, split, language)]

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        """A sentence of the other language. The Hub's copies hold only those with a translation, another task."""
        return _example("test", "source", language, row_id(row, task, position), render(row, task.columns.first), None)

    def first(self, examples: Sequence[Example], limit: int | None) -> list[Example]:
        """Of each split the first `limit` pairs, and four times as many sentences of each side that are in no pair."""
        if limit is None:
            return list(examples)
        return [
            example
            for split in SPLITS
            for example in _first([example for example in examples if example.split == split], limit)
        ]

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        rows = token_ids(tokenizer, [example.text for example in examples], max_length=settings.max_length)
        return [Piece(index, (tuple(row),), ()) for index, row in enumerate(rows)]

    def gold(self, example: Example, task: Task) -> list[str]:
        return list(example.translations or ())

    def labelled(self, example: Example) -> bool:
        return example.translations is not None

    def target_files(
        self, task: Task, files: Files, language: str, is_there: Callable[[File, str], bool], named_in: Path
    ) -> list[tuple[File, str]]:
        """Those of dev and of test with roles such as "dev-source"; either may be missing, and its gold."""
        there: list[tuple[File, str]] = []
        for split, templates in (("dev", files.dev), ("test", files.test)):
            if any(is_there(file, language) for file in templates if file.role != "gold"):
                there += [
                    (replace(file, role=f"{split}-{file.role}"), language)
                    for file in templates
                    if file.role != "gold" or is_there(file, language)
                ]
        return there

    def has_test(self, split: Split) -> bool:
        return any(part.role.startswith("test") for part in split if isinstance(part, DataFile))

    def evaluated_lists(self, examples: Sequence[Example]) -> list[list[Example]]:
        """Each side of each split, every text once."""
        sides: dict[tuple[str, str], list[Example]] = {}
        for example in examples:
            sides.setdefault((example.split, example.side), []).append(example)
        return [[*unique(side).values()] for side in sides.values()]

    def answer_shown(self, example: Example, gold: Any, tokenizer: Any) -> list[str]:
        return []


def unique(examples: Sequence[Example]) -> dict[str, Example]:
    """The first example of each text."""
    by_text: dict[str, Example] = {}
    for example in examples:
        by_text.setdefault(example.text, example)
    return by_text


def gold_pairs(examples: Sequence[Example]) -> set[tuple[str, str]] | None:
    """(source name, target name) of all translations among the examples of one split; None where it has no gold."""
    if not any(example.translations is not None for example in examples):
        return None
    return {(example.name, target) for example in examples for target in example.translations or ()}


def _read(files: Mapping[str, Path], split: str, language: str) -> list[Example]:
    source, target, gold = (files.get(f"{split}-{role}") for role in (*SIDES, "gold"))
    if source is None or target is None:
        return []
    sources, targets = _sentences(source), _sentences(target)
    pairs = _gold(gold, sources, targets) if gold else None
    translations = {name: None if pairs is None else pairs.get(name, ()) for name in sources}
    return [
        *(_example(split, "source", language, name, text, translations[name]) for name, text in sources.items()),
        *(_example(split, "target", language, name, text, None) for name, text in targets.items()),
    ]


def _example(
    split: str, side: str, language: str, name: str, text: str, translations: tuple[str, ...] | None
) -> Example:
    return Example(
        id=f"{split}:{name}",
        language=language,
        group=text,
        split=split,
        side=side,
        name=name,
        text=text,
        translations=translations,
    )


def _sentences(path: Path) -> dict[str, str]:
    """Sentences by id, in the file's order."""
    sentences: dict[str, str] = {}
    for number, line in enumerate(_lines(path, "id<TAB>sentence"), start=1):
        name, tab, text = line.partition("\t")
        if not tab or not name:
            bad_row(path, number, "not id<TAB>sentence")
        elif name in sentences:
            bad_row(path, number, f"id {name} is there twice")
        else:
            sentences[name] = text.strip()
    return sentences


def _lines(path: Path, form: str) -> list[str]:
    """The lines of a file, at least one."""
    lines = read_lines(path)
    if not lines:
        malformed(path, 1, f"is empty; a line is {form}")
    return lines


def _gold(path: Path, sources: Mapping[str, str], targets: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The names of the translations by the name of the source sentence."""
    translations: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(_lines(path, "source id<TAB>target id"), start=1):
        source, tab, target = line.strip().partition("\t")
        unknown = [name for name, side in ((source, sources), (target, targets)) if name not in side]
        if not tab:
            bad_row(path, number, "not source id<TAB>target id")
        elif unknown:
            bad_row(path, number, f"no sentence has the id {unknown[0]}")
        elif target in translations.get(source, ()):
            bad_row(path, number, f"the pair {source}, {target} is there twice")
        else:
            translations[source] = (*translations.get(source, ()), target)
    return translations


def _first(examples: Sequence[Example], limit: int) -> list[Example]:
    pairs = list(islice(((e.name, target) for e in examples for target in e.translations or ()), limit))
    in_gold = {name for e in examples for name in ((e.name, *e.translations) if e.translations else ())}
    names = {name for pair in pairs for name in pair}
    for side in SIDES:
        alone = (e.name for e in examples if e.side == side and e.name not in in_gold)
        names |= set(islice(alone, _OTHERS * limit))
    return [_with(e, pairs) for e in examples if e.name in names]


def _with(example: Example, pairs: Sequence[tuple[str, str]]) -> Example:
    """The example with those of its translations that are among `pairs`."""
    if example.translations is None:
        return example
    return replace(example, translations=tuple(target for source, target in pairs if source == example.name))
