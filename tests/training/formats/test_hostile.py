"""Every reader, with corrupted files: what it gives are the same examples, or a UserError of one line with the file.

`HOSTILE_ROUNDS=300` tries that many places of each corruption. Where a corruption leaves a file that says something
else and is in order (a line that is gone, a label that is another), there is nothing to see. Such are not tried, but
for files that were cut: no example of these may be a new one, unless it is said that the last line has no end.
"""

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slurm.base import UserError
from training import formats
from training.data import load, splits
from training.formats.base import Example
from training.formats.report import Report, reporting
from training.spec import DataFile
from training.tasks import find

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "2"))
_ANSWER = {"text": "Oslo", "answer_start": 3}
_PARAGRAPH = {
    "context": "In Oslo. “Oslo” é.",
    "sentence_breaks": [[0, 8], [9, 18]],
    "qas": [
        {"id": f"q{n}", "question": "Where?", "is_impossible": False, "answers": [_ANSWER | {"answer_start": start}]}
        for n, start in enumerate((3, 10))
    ],
}
_SQUAD = json.dumps({"version": "1", "data": [{"title": "t", "paragraphs": [_PARAGRAPH] * 2}]}, indent=1)
_PAIR = find("mewslix").example
_MENTION, _ENTITY = _PAIR["contextual_mention"], _PAIR["entity"]
_MENTIONS = {"context": _MENTION["context"], "mentions": [_MENTION["mention"]]}
_CHOICES = [{"label": key, "text": f"t{key}"} for key in "ABCDE"]


def _lines(*rows: Any) -> str:
    return "".join(f"{row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)}\n" for row in rows)


_COLUMNS = {"question1": "a", "question2": "b", "is_duplicate": "1"}
_TSV = _lines("Ça.\tUnd.\tneutral", "Zwei “x”.\tDrei.\tentailment", "Vier.\tFünf.\tcontradiction")
_NLI = {"sentence1": "Ça \U0001f600.", "sentence2": "h", "gold_label": "neutral", "pairID": "n1"}
_QA = {"answerKey": "B", "id": "c1", "question": {"stem": "Q?", "choices": _CHOICES}}
_HELLASWAG = {"ind": 4, "ctx_a": "He", "ctx_b": "sits", "ctx": "He sits", "endings": ["a", "b", "c", "d"], "label": 1}
_COPA = {"premise": "It fell.", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 7}
_SIQA = {"context": "C.", "question": "Q?", "answerA": "a", "answerB": "b", "answerC": "c", "correct": "B"}
_CSV = 'id,context,question,answer0,answer1,answer2,answer3,label\nx,"c, “d”\ne",q,a,b,c,d,3\ny,c,q,a,b,c,d,0\n'
_AUTO = "ID=s.1 X\n(<L N X X a N>)\nID=s.2 X\n(<T N 0 1> (<L N X X b N>) )\n"
# task, files by name (with the roles that splits.yaml would give them), the first of which is corrupted
_FILES: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "TSV": ("xnli", {"x.tsv": ("", _TSV)}),
    "TSV with a header": ("qqp", {"x.tsv": ("", _lines("\t".join(_COLUMNS), *["\t".join(_COLUMNS.values())] * 3))}),
    "CSV": ("cosmos_qa", {"x.csv": ("", _CSV)}),
    "NLI": ("mnli", {"x.jsonl": ("", _lines(_NLI, _NLI | {"pairID": "n2"}))}),
    "labelled choices": ("commonsense_qa", {"x.jsonl": ("", _lines(_QA, _QA | {"id": "c2"}))}),
    "endings": ("hellaswag", {"x.jsonl": ("", _lines(_HELLASWAG, _HELLASWAG | {"ind": 5}))}),
    "choices in columns": ("xcopa", {"x.jsonl": ("", _lines(_COPA, _COPA | {"idx": 8, "question": "effect"}))}),
    "answers in columns": ("siqa", {"x.jsonl": ("", _lines(_SIQA, _SIQA))}),
    "CoNLL": ("panx", {"x.tsv": ("", "Zoë\tB-PER\nin\tO\nRom\tB-LOC\n\nja\tO\n\n")}),
    "words alone": ("udpos", {"x.tsv": ("", "Việt Nam\nđẹp\n\nja\n\n")}),
    "a sentence a line": ("ccg", {"x.stagged": ("", "a|X|N b|X|N/N\nc|X|N\n")}),
    "CCGbank": ("ccg", {"x.auto": ("", _AUTO)}),
    "SQuAD": ("squad", {"x.json": ("", _SQUAD)}),
    "SQuAD 2.0": ("squad_v2", {"x.json": ("", _SQUAD.replace("false", "true", 1))}),
    "SQuAD for a dual encoder": ("squad_retrieval", {"x.json": ("", _SQUAD)}),
    "XQuAD-R": ("lareqa", {"x.json": ("pool:de", _SQUAD), "y.json": ("questions", _SQUAD)}),
    "XQuAD-R's questions": ("lareqa", {"x.json": ("questions", _SQUAD), "y.json": ("pool:de", _SQUAD)}),
    "translations": ("tatoeba", {"x.deu": ("other", "Eins.\nZwei ü.\n"), "x.eng": ("english", "One.\nTwo.\n")}),
    "translations, English": ("tatoeba", {"x.eng": ("english", "One.\nTwo.\n"), "x.deu": ("other", "Eins.\nZwei.\n")}),
    **{
        f"BUCC, {first}": (
            "bucc",
            {
                name: (f"dev-{role}", text)
                for name, role, text in sorted(
                    (
                        ("de", "source", "de-1\tÜber.\nde-2\tZwei.\nde-3\tDrei.\n"),
                        ("en", "target", "en-1\tOver.\nen-2\tTwo.\nen-23\tMore.\n"),
                        ("gold", "gold", "de-1\ten-1\nde-2\ten-2\n"),
                    ),
                    key=lambda entry: entry[0] != first,
                )
            },
        )
        for first in ("de", "en", "gold")
    },
    "Mewsli-X's pairs": ("mewslix", {"x.jsonl": ("", _lines(_PAIR))}),
    "mentions": ("mewslix", {"x.jsonl": ("mentions", _lines(_MENTIONS)), "y.jsonl": ("entities", _lines(_ENTITY))}),
    "entities": ("mewslix", {"x.jsonl": ("entities", _lines(_ENTITY)), "y.jsonl": ("mentions", _lines(_MENTIONS))}),
    "text": ("mlm", {"x.txt": ("de", "Eins ü.\nZwei.\n")}),
}
_IS_JSON = {name for name, (_, files) in _FILES.items() if next(iter(files)).endswith(("json", "jsonl"))}


@dataclass(frozen=True)
class Case:
    task: str
    roles: dict[str, str]
    content: bytes  # of the first file
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / next(iter(self.roles))

    def read(self, content: bytes) -> tuple[list[Example], Report]:
        """The examples with the first file's content changed, each with its share of the hold-out worked out."""
        self.path.write_bytes(content)
        files = [DataFile(str(self.folder / name), "", role) for name, role in self.roles.items()]
        with reporting() as report:
            examples: list[Example] = formats.get(find(self.task).format).read_split(files, find(self.task), "en")
        for example in examples:
            load.held_out(example.group, 0.5)
        return examples, report


def _case(name: str, folder: Path) -> Case:
    task, files = _FILES[name]
    for file, (_, text) in files.items():
        (folder / file).write_text(text)
    roles = {file: role for file, (role, _) in files.items()}
    return Case(task, roles, next(iter(files.values()))[1].encode(), folder)


# --- corruptions: of the content, with what is left to chance; None where there is no place for one

Corruption = Callable[[bytes, random.Random], bytes | None]


def _inserted(what: bytes) -> Corruption:
    def insert(content: bytes, chance: random.Random) -> bytes:
        place = chance.randrange(len(content))
        return content[:place] + what + content[place:]

    return insert


def _in_string(what: str) -> Corruption:
    def insert(content: bytes, chance: random.Random) -> bytes:
        text = content.decode()
        quotes = [place for place, character in enumerate(text) if character == '"']
        place = quotes[2 * chance.randrange(len(quotes) // 2)] + 1
        return (text[:place] + what + text[place:]).encode()

    return insert


def _line_start(what: bytes) -> Corruption:
    def insert(content: bytes, chance: random.Random) -> bytes | None:
        starts = [place + 1 for place, byte in enumerate(content[:-1]) if byte == 0x0A]
        if not starts:
            return None
        place = chance.choice(starts)
        return content[:place] + what + content[place:]

    return insert


def _documents(content: bytes) -> tuple[list[Any], int | None]:
    """The JSON values of a file, and their indent."""
    text = content.decode()
    return (
        ([json.loads(text)], 1) if text.startswith("{\n") else ([json.loads(line) for line in text.splitlines()], None)
    )


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value that is no object or list."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
        else:
            yield value, key


def _wrong_type(content: bytes, chance: random.Random) -> bytes:
    values, indent = _documents(content)
    container, key = chance.choice([leaf for value in values for leaf in _leaves(value)])
    was = container[key]
    container[key] = chance.choice([None, [], {}, [was], {"text": was}, 1.5, float("nan")])
    return "\n".join(json.dumps(value, indent=indent) for value in values).encode() + b"\n"


def _key_twice(content: bytes, chance: random.Random) -> bytes:
    """A key of an object again, behind its last."""
    text = content.decode()
    ends = [place for place, character in enumerate(text) if character == "}" and text[:place].rstrip()[-1] not in "{,"]
    end = chance.choice(ends)
    depth, start = 0, end - 1
    while depth or text[start] != "{":
        depth += {"}": 1, "{": -1}.get(text[start], 0)
        start -= 1
    key = text[start + 1 : end].strip().split('"')[1]
    return (text[:end] + f', "{key}": {chance.choice(["null", "1", json.dumps("x")])}' + text[end:]).encode()


def _blanks_for_tabs(content: bytes, chance: random.Random) -> bytes | None:
    return content.replace(b"\t", b" ") if b"\t" in content else None


def _label_swapped(content: bytes, chance: random.Random) -> bytes | None:
    """The last cell of a line of a table in the place of the first."""
    lines = content.split(b"\n")
    rows = [number for number, line in enumerate(lines) if b"\t" in line]
    if not rows:
        return None
    cells = lines[row := chance.choice(rows)].split(b"\t")
    cells[0], cells[-1] = cells[-1], cells[0]
    return b"\n".join([*lines[:row], b"\t".join(cells), *lines[row + 1 :]])


def _header_twice(content: bytes, chance: random.Random) -> bytes | None:
    head, newline, rest = content.partition(b"\n")
    for separator in (b"\t", b","):
        cells = head.split(separator)
        if cells[0] in (b"question1", b"id"):
            place = chance.randrange(1, len(cells))
            return separator.join([*cells[:place], cells[place - 1], *cells[place + 1 :]]) + newline + rest
    return None


_OF_ANY: dict[str, Corruption] = {
    "NUL": _inserted(b"\0"),
    "half a character": _inserted(b"\xc3\x28"),
    "surrogate in UTF-8": _inserted(b"\xed\xa0\x80"),
    "UTF-16": lambda content, chance: content.decode().encode("utf-16"),
    "BOM inside": _line_start(b"\xef\xbb\xbf"),
    "blanks for tabs": _blanks_for_tabs,
    "header twice": _header_twice,
}
_OF_JSON: dict[str, Corruption] = {
    "lone surrogate": _in_string("\\ud800"),
    "lone low surrogate": _in_string("\\uDC00"),
    "escaped NUL": _in_string("\\u0000"),
    "wrong type": _wrong_type,
    "key twice": _key_twice,
    "deep": lambda content, chance: b'{"data":' + b"[" * 100_000,
}
_BLANK_LINE = _line_start(b"\n")
_NO_BLANK_LINES = {"CoNLL", "words alone", "text", "CSV"}  # where they mean something
_NO_SWAP = {"BUCC, de", "BUCC, en"}  # an id is any text


def _corruptions(name: str) -> dict[str, Corruption]:
    return (
        _OF_ANY
        | (_OF_JSON if name in _IS_JSON else {})
        | ({} if name in _NO_BLANK_LINES else {"blank line": _BLANK_LINE})
        | ({} if name in _NO_SWAP else {"label swapped": _label_swapped})
    )


def _check_refusal(error: UserError, case: Case, where: str) -> None:
    assert "\n" not in str(error) and len(str(error)) < 1000, (where, str(error))
    assert any(str(case.folder / name) in str(error) for name in case.roles), (where, str(error))


@pytest.mark.parametrize("name", _FILES)
def test_a_corrupted_file_gives_the_same_examples_or_a_line(name: str, tmp_path: Path) -> None:
    case = _case(name, tmp_path)
    examples, _ = case.read(case.content)
    assert examples
    for kind, corrupt in _corruptions(name).items():
        for seed in range(ROUNDS):
            content = corrupt(case.content, random.Random(f"{name} {kind} {seed}"))
            if content is None:
                break
            where = f"{kind}, {seed}: {content[:2000]!r}"
            try:
                assert case.read(content)[0] == examples, where
            except UserError as error:
                _check_refusal(error, case, where)


@pytest.mark.parametrize("name", _FILES)
def test_a_cut_file_gives_no_example_that_was_not_there_or_says_so(name: str, tmp_path: Path) -> None:
    case = _case(name, tmp_path)
    examples, _ = case.read(case.content)
    chance = random.Random(name)
    places = range(len(case.content))
    lengths = chance.sample(places, min(len(places), 8 * ROUNDS))
    for length in lengths:
        try:
            cut_examples, report = case.read(case.content[:length])
        except UserError as error:
            _check_refusal(error, case, f"{length} bytes")
            continue
        new_examples = [example for example in cut_examples if example not in examples]
        said = any("ends without a newline" in text for text in report.remarks)
        within_sentence = name in ("CoNLL", "words alone") and len(new_examples) == 1
        # With fewer pairs or candidates, all others are other examples.
        assert not new_examples or said or within_sentence or name in ("BUCC, gold", "XQuAD-R"), (length, new_examples)


@pytest.mark.parametrize("seed", range(8 * ROUNDS))
def test_a_corrupted_splits_yaml_is_read_or_refused_in_a_line(seed: int, tmp_path: Path) -> None:
    content = "version: 1\nmnli: {train: [ä.tsv], hold_out: 0.5}\nxnli: {test: ['x-{lang}.tsv']}\n".encode()
    chance = random.Random(seed)
    corrupt = chance.choice([*_OF_ANY.values(), lambda text, chance: text[: chance.randrange(len(text))]])
    (tmp_path / "splits.yaml").write_bytes(corrupt(content, chance) or content)
    try:
        splits.read_splits(tmp_path)
    except UserError as error:
        assert str(error).startswith(f"{tmp_path / 'splits.yaml'}:") and "\n" not in str(error), str(error)
