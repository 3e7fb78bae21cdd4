"""Two texts that are not parallel, sentence by sentence: which sentences are translations? Evaluated only (BUCC 2018).

Files of a language, as XTREME has them: the sentences of the other language ("source") and of English ("target"),
`id<TAB>sentence`, and the pairs of ids that are translations ("gold"), `source id<TAB>target id`; for dev, for test or
for both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from training.formats.base import Example as BaseExample
from training.formats.base import Floats, Format, Piece
from training.formats.batch import token_ids
from training.formats.rows import bad_row, read_lines, render, row_id
from training.spec import DataFile, Settings
from training.tasks import Task

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


class Mining(Format[Example]):
    """One piece per sentence."""

    name = "mining"
    key_settings = ("layer", "pooling")

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        raise AssertionError("a mining split is several files: use read_split")

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

    def decode(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[Any]:
        raise AssertionError("eval.prediction.mining compares all sentences with all")

    def gold(self, example: Example, task: Task) -> list[str]:
        return list(example.translations or ())

    def labelled(self, example: Example) -> bool:
        return example.translations is not None


def gold_pairs(examples: Sequence[Example]) -> set[tuple[str, str]] | None:
    """(source name, target name) of all translations among the examples of one split; None where it has no gold."""
    if not any(example.translations is not None for example in examples):
        return None
    return {(example.name, other) for example in examples for other in example.translations or ()}


def _read(files: Mapping[str, Path], split: str, language: str) -> list[Example]:
    source, target, gold = (files.get(f"{split}-{role}") for role in (*SIDES, "gold"))
    if source is None or target is None:
        return []
    sources, targets = _sentences(source), _sentences(target)
    found = _gold(gold, sources, targets) if gold else None
    translations = {name: None if found is None else found.get(name, ()) for name in sources}
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
    found: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        name, tab, text = line.partition("\t")
        if not tab or not name:
            bad_row(path, number, "not id<TAB>sentence")
        elif name in found:
            bad_row(path, number, f"id {name} is there twice")
        else:
            found[name] = text.strip()
    return found


def _gold(path: Path, sources: Mapping[str, str], targets: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The names of the translations by the name of the source sentence."""
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        source, tab, target = line.strip().partition("\t")
        unknown = [name for name, known in ((source, sources), (target, targets)) if name not in known]
        if not tab:
            bad_row(path, number, "not source id<TAB>target id")
        elif unknown:
            bad_row(path, number, f"no sentence has the id {unknown[0]}")
        else:
            found[source] = (*found.get(source, ()), target)
    return found


def _first(examples: Sequence[Example], limit: int) -> list[Example]:
    pairs = list(islice(((e.name, other) for e in examples for other in e.translations or ()), limit))
    in_gold = {name for e in examples for name in ((e.name, *e.translations) if e.translations else ())}
    kept = {name for pair in pairs for name in pair}
    for side in SIDES:
        others = (e.name for e in examples if e.side == side and e.name not in in_gold)
        kept |= set(islice(others, _OTHERS * limit))
    return [_with(e, pairs) for e in examples if e.name in kept]


def _with(example: Example, pairs: Sequence[tuple[str, str]]) -> Example:
    """The example with those of its translations that are among `pairs`."""
    if example.translations is None:
        return example
    return replace(example, translations=tuple(other for name, other in pairs if name == example.name))
