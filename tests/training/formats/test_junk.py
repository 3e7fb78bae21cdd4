"""Input that looks right and is not: a one-line error with file and line, or the right reading; never a stand-in."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm.base import UserError
from training import formats
from training.data import splits
from training.formats.answers import anchored
from training.formats.base import Example
from training.formats.report import reporting
from training.formats.rows import RowError, row_label, skipping
from training.spec import DataFile
from training.tasks import find


def read(path: Path, task: str, content: str | bytes) -> list[Any]:
    """The examples of a file with this content."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    examples: list[Example] = formats.get(find(task).format).read(path, find(task), "en")
    return examples


def squad(qas: str, context: str = "In Oslo.") -> str:
    """A SQuAD file; the questions begin on line 2."""
    return '{"data": [{"paragraphs": [{"context": ' + json.dumps(context) + ', "qas": [\n' + qas + "\n]}]}]}"


ANSWER = '"answers": [{"text": "Oslo", "answer_start": 3}]'
QUESTION = f'{{"id": "q", "question": "Where?", {ANSWER}}}'
NLI = '{"sentence1": "p", "sentence2": "h", "gold_label": "neutral"}'
COPA = '{"premise": "It fell.", "choice1": "a", "choice2": "b", "question": "cause", "label": 1}'
CHOICES = [{"label": key, "text": f"t{key}"} for key in "ABCDE"]


def commonsense(choices: Any) -> str:
    return json.dumps({"answerKey": "A", "question": {"stem": "Q?", "choices": choices}})


JUNK = {
    "surrogate": ("x.jsonl", "mnli", NLI + "\n" + NLI.replace('"p"', '"P \\ud800"'), ":2: .*lone surrogate"),
    "surrogate, SQuAD": ("x.json", "squad", squad(QUESTION.replace("Where", "\\udc00")), ":2: .*lone surrogate"),
    "NUL, escaped": ("x.jsonl", "mnli", NLI.replace('"p"', '"\\u0000"'), ":1: .*NUL"),
    "NUL": ("x.tsv", "xnli", "a\tb\tneutral\na\0\tb\tneutral\n", ":2: a NUL character"),
    "a key twice": (
        "x.jsonl",
        "mnli",
        NLI[:-1] + ', "gold_label": "entailment"}',
        ':1: the key "gold_label" is given tw',
    ),
    "a key twice, SQuAD": (
        "x.json",
        "squad",
        squad(QUESTION[:-1] + ',\n"id": "r"}'),
        ':3: the key "id" is given twice',
    ),
    "a column twice, TSV": (
        "x.tsv",
        "qqp",
        "question1\tquestion1\tis_duplicate\na\tb\t1\n",
        ":1: the column 'question1'",
    ),
    "a column twice, CSV": (
        "x.csv",
        "cosmos_qa",
        "context,question,answer0,answer0,answer2,answer3,label\nc,q,a,b,c,d,1\n",
        ":1: the column 'answer0' is there twice",
    ),
    "id null": ("x.json", "squad", squad(QUESTION.replace('"q"', "null")), ": id is null"),
    "id with a fraction": ("x.jsonl", "mnli", NLI[:-1] + ', "pairID": 3.5}', ":1: pairID is 3.5, neither"),
    "id with a point where it is needed": ("x.json", "squad", squad(QUESTION.replace('"q"', "3.0")), ": id is 3.0"),
    "a text that is a list": ("x.jsonl", "mnli", NLI.replace('"p"', '["p"]'), ":1: sentence1 is a list, not a text"),
    "a text that is a number": ("x.jsonl", "mnli", NLI.replace('"p"', "1"), ":1: sentence1 is 1, not a text"),
    "a label that is null": ("x.jsonl", "mnli", NLI.replace('"neutral"', "null"), ":1: gold_label is null"),
    "a context that is null": ("x.json", "squad", squad(QUESTION).replace('"In Oslo."', "null"), "context is null"),
    "answer_start in quotes": ("x.json", "squad", squad(QUESTION.replace("3}", '"3"}')), ":2: .*answer_start is '3'"),
    "is_impossible in quotes": (
        "x.json",
        "squad_v2",
        squad(QUESTION[:-1] + ', "is_impossible": "false"}'),
        "is_impossible is 'false'; it is true or false",
    ),
    "no list of questions": ("x.json", "squad", '{"data": ""}', ":1: not SQuAD's form .*data is no list"),
    "five choices A": ("x.jsonl", "commonsense_qa", commonsense([CHOICES[0]] * 5), ":1: .*label 'A' is there twice"),
    "no choice E": ("x.jsonl", "commonsense_qa", commonsense(CHOICES[:4]), ":1: 4 choices instead of 5: .*label E"),
    "a choice F": (
        "x.jsonl",
        "commonsense_qa",
        commonsense([*CHOICES[:4], {"label": "F", "text": "f"}]),
        ":1: .*label 'F' is none of A, B",
    ),
    "a choice without a label": (
        "x.jsonl",
        "commonsense_qa",
        commonsense([*CHOICES[:4], {"text": "tE"}]),
        ":1: .*not every choice has a label and a text",
    ),
    **{
        f"a choice that is {value!r}": (
            "x.jsonl",
            "commonsense_qa",
            commonsense([*CHOICES[:4], {"label": "E", "text": value}]),
            ":1: the text of choice E in question.choices is ",
        )
        for value in (None, {"label": "A"}, ["e"], 5)
    },
    "an ending that is null": (
        "x.jsonl",
        "hellaswag",
        '{"ctx": "A", "endings": ["a", null, "c", "d"], "label": 0}',
        ":1: choice 2 of endings is null, not a text",
    ),
    "a choice in a column that is null": ("x.jsonl", "copa", COPA.replace('"a"', "null"), ":1: choice1 is null"),
    "Cause": ("x.jsonl", "copa", COPA.replace("cause", "Cause"), ":1: question is 'Cause'; it is one of cause, effect"),
    "BOM inside": (
        "x.tsv",
        "panx",
        "Oslo\tB-LOC\n\ufeffist\tO\n",
        r":2: .*byte order mark.* sed 's/\^\\xef\\xbb\\xbf//'",
    ),
    "blanks for tabs": ("x.tsv", "panx", "Paris B-LOC\nist O\n\nja O\n", r":1: 'Paris B-LOC' has no tab .*sed 's/ "),
    "blanks for some tabs": (
        "x.tsv",
        "panx",
        "Paris B-LOC\nist\tO\n",
        ":1: 'Paris B-LOC' is not .*a blank stands where",
    ),
    "CoNLL's columns": ("x.tsv", "panx", "Paris NNP I-NP B-LOC\n", r":1: .*mend: awk .* x\.tsv > NEW"),
    "raw PAN-X": (
        "x.tsv",
        "panx",
        "en:Paris\tB-LOC\nen:ist\tO\n",
        r":1: every word begins with 'en:'.*sed 's/\^en://'",
    ),
    "raw PAN-X without tags": ("x.tsv", "panx", "en:Paris\nen:ist\n", ":1: every word begins with 'en:'"),
    "white space with a tag missing": ("x.tsv", "panx", "a\tO\n\u00a0\nb\tO\n", ":2: '.xa0' is not a word"),
}


@pytest.mark.parametrize("kind", JUNK)
def test_junk_is_refused_in_one_line_that_names_file_and_line(kind: str, tmp_path: Path) -> None:
    name, task, content, message = JUNK[kind]
    with pytest.raises(UserError, match=message) as refused:
        read(tmp_path / name, task, content)
    assert str(refused.value).startswith(f"{tmp_path / name}:") and "\n" not in str(refused.value)


def test_an_id_that_pandas_wrote_has_its_one_reading(tmp_path: Path) -> None:
    """A missing one is null, and the whole numbers of its column are 3.0: of a table's rows nothing else needs them."""
    rows = [NLI[:-1] + f', "pairID": {identifier}}}\n' for identifier in ("1.0", "null", "4", '"5"')]
    examples = read(tmp_path / "x.jsonl", "mnli", "".join(rows))
    assert [example.id for example in examples] == ["1", "row 1", "4", "5"]
    assert [example.id for example in read(tmp_path / "z.jsonl", "mnli", NLI + "\n" + NLI)] == ["0", "1"]
    with_points = "".join(
        f'{{"question1": "A", "question2": "B", "label": {label}}}\n' for label in ("0.0", "1", "1.0")
    )
    assert [e.label for e in read(tmp_path / "y.jsonl", "qqp", with_points)] == [
        "different", "paraphrase", "paraphrase",
    ]  # fmt: skip


@pytest.mark.parametrize("written", ["0.0", "0"])
def test_a_label_goes_by_its_form_in_the_file_where_the_task_has_that(written: str) -> None:
    task = replace(find("qqp"), labels=("no", "yes"), label_map={written: "no", "1.0": "yes"}, unlabelled=("-1.0",))
    values = [0.0, 1.0, -1.0]
    assert [row_label({"is_duplicate": value}, task) for value in values] == ["no", "yes", None]
    with pytest.raises(RowError, match=r"label '3\.0' is none of"):
        row_label({"is_duplicate": 3.0}, task)


def test_columns_without_a_name_are_nobodys(tmp_path: Path) -> None:
    """pandas writes its index so, once more each time."""
    table = ",,premise,hypothesis,gold_label\n0,7,A,B,neutral\n1,8,C,D,neutral\n"
    assert len(read(tmp_path / "x.csv", "mnli", table)) == 2
    with pytest.raises(UserError, match="'premise' is there twice"):
        read(tmp_path / "z.csv", "mnli", table.replace("hypothesis", "premise"))


def test_choices_go_by_their_labels(tmp_path: Path) -> None:
    (example,) = read(tmp_path / "x.jsonl", "commonsense_qa", commonsense(CHOICES[::-1]))
    assert (example.label, example.seconds) == ("A", ("tA", "tB", "tC", "tD", "tE"))
    of_hub = {"label": list("BACDE"), "text": ["tB", "tA", "tC", "tD", "tE"]}
    (example,) = read(tmp_path / "x.jsonl", "commonsense_qa", commonsense(of_hub))
    assert example.seconds[0] == "tA"


def test_a_file_of_words_alone_may_have_blanks_and_white_space_in_words(tmp_path: Path) -> None:
    examples = read(tmp_path / "x.tsv", "udpos", "Việt Nam\n\u00a0\nđẹp\n\nX\n")
    assert [example.words for example in examples] == [("Việt Nam", "\u00a0", "đẹp"), ("X",)]


def test_numbers_name_things(tmp_path: Path) -> None:
    (example,) = read(tmp_path / "x.jsonl", "copa", COPA[:-1] + ', "idx": 7}')
    assert (example.id, example.label) == ("7", "choice2")


# --- answers beside their place


def test_a_file_of_byte_offsets_is_refused(tmp_path: Path) -> None:
    context = "Уже в 1941 году и снова в 1941, пишут в 1941."
    start = context.index("1941", 10)
    in_bytes = len(context[:start].encode())
    assert abs(in_bytes - context.rindex("1941")) < 8  # it looks as if the third were meant
    question = json.dumps({"id": "q", "question": "?", "answers": [{"text": "1941", "answer_start": in_bytes}]})
    message = rf"x\.json:2: .*not at character {in_bytes} but at {start}: answer_start counts bytes"
    with pytest.raises(UserError, match=message):
        read(tmp_path / "x.json", "squad", squad(question, context))


def test_few_moved_answers_are_mended_and_counted_and_many_refused(tmp_path: Path) -> None:
    right = {"id": "q", "question": "?", "answers": [{"text": "Oslo", "answer_start": 9}]}
    beside = {"id": "r", "question": "?", "answers": [{"text": "Oslo", "answer_start": 7}]}
    with reporting() as report:
        content = squad(",\n".join(map(json.dumps, [beside] + [right] * 39)), "Where is Oslo?")
        examples = read(tmp_path / "x.json", "squad", content)
    assert {example.answers for example in examples} == {examples[1].answers}
    assert report.remarks == [
        f"{tmp_path / 'x.json'}: 1 of 40 answers stand up to 8 characters beside the place that answer_start says; they"
        " were read where they stand"
    ]
    content = squad(",\n".join(map(json.dumps, [beside] * 2 + [right] * 38)), "Where is Oslo?")
    with pytest.raises(UserError, match=r"x\.json: 2 of 40 answers are beside the place that answer_start says"):
        read(tmp_path / "x.json", "squad", content)


@pytest.mark.parametrize(
    ("context", "start", "place"),
    [
        ("VII-VII", 2, 0),  # white space was taken away before the context: only what stands before can be meant
        ("VII-VII", 3, 0),
        (" VII-VII", 3, None),  # either
        ("VII VII VII", 6, None),  # two before
        ("VII, many words later VII", 10, None),  # too far
    ],
)
def test_an_answer_is_moved_to_one_place_or_none(context: str, start: int, place: int | None) -> None:
    if place is None:
        with pytest.raises(RowError, match=f"'VII' is not at answer_start {start}; it is at"):
            anchored(context, "VII", start)
    else:
        assert anchored(context, "VII", start).start == place


@pytest.mark.parametrize(
    "row",
    [
        '"answers": [], "is_impossible": 1',
        f'{ANSWER}, "is_impossible": true',
    ],
)
def test_ways_of_writing_that_there_is_no_answer(row: str, tmp_path: Path) -> None:
    (example,) = read(tmp_path / "x.json", "squad_v2", squad(f'{{"id": "q", "question": "Where?", {row}}}'))
    assert example.answers == ()


@pytest.mark.parametrize("start", [0, -1])
def test_files_without_gold_have_an_empty_answer(start: int, tmp_path: Path) -> None:
    row = f'"answers": [{{"text": "", "answer_start": {start}}}]'
    (example,) = read(tmp_path / "x.json", "squad_v2", squad(f'{{"id": "q", "question": "Where?", {row}}}'))
    assert [(answer.text, answer.start) for answer in example.answers] == [("", 0)]


def test_a_missing_word_on_answers_says_nothing(tmp_path: Path) -> None:
    (example,) = read(tmp_path / "x.json", "squad_v2", squad(QUESTION[:-1] + ', "is_impossible": null}'))
    assert len(example.answers) == 1


def test_stripped_contexts_may_be_many(tmp_path: Path) -> None:
    """A quarter of TyDiQA's contexts on the Hub are stripped, its offsets are not. Where nearly all answers stand so,
    the file counts from 1."""
    right, beside = (
        json.dumps({"id": "q", "question": "?", "answers": [{"text": "Oslo", "answer_start": start}]})
        for start in (3, 4)
    )
    half = [right] * 20 + [beside] * 20
    assert len(read(tmp_path / "x.json", "squad", squad(",\n".join(half)))) == 40
    with pytest.raises(UserError, match=r"21 of 40 answers are beside the place that answer_start says"):
        read(tmp_path / "x.json", "squad", squad(",\n".join([*half[1:], beside])))


# --- parallel text


def sides(folder: Path, english: str, other: str) -> tuple[DataFile, ...]:
    (folder / "x.eng").write_text(english)
    (folder / "x.deu").write_text(other)
    return DataFile(str(folder / "x.deu"), "", "other"), DataFile(str(folder / "x.eng"), "", "english")


@pytest.mark.parametrize(
    ("english", "other", "message"),
    [
        ("a\nb\nc\n", "A\n\nC\n", r"x\.deu:2: an empty line, but line 2 of .*x\.eng is none"),
        ("a\n \nc\n", "A\nB\nC\n", r"x\.eng:2: an empty line"),
        ("a\nb\nc\n", "A\nB\nC", r"x\.deu:3: ends within a line"),
        ("a\nb\nc", "A\nB\nC\n", r"x\.eng:3: ends within a line"),
        ("a\nb\nc\n", "A\nB\n", r"x\.deu:2: 2 lines, but .*x\.eng has 3"),
    ],
)
def test_parallel_text_that_may_be_shifted_is_refused(english: str, other: str, message: str, tmp_path: Path) -> None:
    with skipping(), pytest.raises(UserError, match=message):
        formats.get("retrieval").read_split(sides(tmp_path, english, other), find("tatoeba"), "de")


def test_parallel_text_may_end_without_a_newline_and_have_gaps_on_both_sides(tmp_path: Path) -> None:
    files = sides(tmp_path, "a\n\nc", "A\n\nC")
    assert len(formats.get("retrieval").read_split(files, find("tatoeba"), "de")) == 3


# --- retrieval


@pytest.mark.parametrize("name", ["zh", "en", "gold"])
def test_an_empty_bucc_file_is_named(name: str, tmp_path: Path) -> None:
    content = {"zh": "zh-1\tja\n", "en": "en-1\tyes\n", "gold": "zh-1\ten-1\n"} | {name: ""}
    roles = {"zh": "source", "en": "target", "gold": "gold"}
    for part, text in content.items():
        (tmp_path / part).write_text(text)
    files = [DataFile(str(tmp_path / part), "", f"dev-{role}") for part, role in roles.items()]
    with pytest.raises(UserError, match=f"{name}:1: is empty; a line is"):
        formats.get("mining").read_split(files, find("bucc"), "zh")


def test_an_entity_listed_twice_is_an_error_with_its_line(tmp_path: Path) -> None:
    pair, entity = find("mewslix").example["contextual_mention"], find("mewslix").example["entity"]
    row = {"context": pair["context"], "mentions": [pair["mention"]]}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    (tmp_path / "e.jsonl").write_text(f"{json.dumps(entity)}\n{json.dumps(entity)}\n")
    files = [DataFile(str(tmp_path / f"{name[0]}.jsonl"), "", name) for name in ("mentions", "entities")]
    with pytest.raises(UserError, match=r"e\.jsonl:2: .*entity Q26087 is there twice"):
        formats.get("dual_encoder").read_split(files, find("mewslix"), pair["context"]["language"])


@pytest.mark.parametrize("start", [0, 8])
def test_an_answer_outside_every_sentence_is_refused(start: int, tmp_path: Path) -> None:
    paragraph = {
        "context": "Oslo ok Oslo.",
        "sentence_breaks": [[5, 7]],
        "qas": [{"id": "q", "question": "?", "answers": [{"text": "Oslo", "answer_start": start}]}],
    }
    path = tmp_path / "en.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}, indent=1))
    files = [DataFile(str(path), "", role) for role in ("questions", "pool:en")]
    with pytest.raises(UserError, match=rf"en\.json:\d+: question q: the answer 'Oslo' at {start} is in no sentence"):
        formats.get("dual_encoder").read_split(files, find("lareqa"), "en")


# --- splits.yaml


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version: 1\nmnli: {train: [a\0]}\n", r"splits\.yaml:2: not YAML: the character U\+0000 is not allowed$"),
        (b"version: 1\n\xff\n", r"splits\.yaml:2: not UTF-8$"),
        (b"version: 1\nmnli: [\n", r"splits\.yaml:3: not YAML: "),
    ],
)
def test_a_broken_splits_yaml_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "splits.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        splits.read_splits(tmp_path)
    assert "\n" not in str(refused.value)
