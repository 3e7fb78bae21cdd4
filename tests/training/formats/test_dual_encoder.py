"""Format dual_encoder: SQuAD, XQuAD-R and Mewsli-X as questions and candidates, their rows, and the way back."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import metrics
from slurm.base import UserError
from training import formats
from training.data import load, locate
from training.formats.base import Example as BaseExample
from training.formats.dual_encoder import rank
from training.formats.dual_example import Example
from training.formats.english import sentence_spans
from training.formats.xquad_r import read_paragraphs
from training.spec import DataFile, Settings
from training.tasks import find

DUAL = formats.get("dual_encoder")
SQUAD, LAREQA, MEWSLIX = find("squad_retrieval"), find("lareqa"), find("mewslix")
HOW = Settings(**SQUAD.target)
HERE = [code for code in LAREQA.languages if code != "th"]  # in ../shared/data


def pair(question: str = "Who?", sentence: str = "It was Ada.", context: str = "Look. It was Ada.") -> Example:
    return Example(
        id="0",
        language="en",
        group=context,
        question=question,
        sentence=sentence,
        context=context,
        candidate="c.1",
        right=("c.1",),
    )


# --- sentences ---


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. Smith met J. R. Jones in the U.S. Senate. They talked.", 2),
        ("It rose to 3.5 percent (see Fig. 2). Then it fell!", 2),
        ('"Is it?" she asked. "It is." He left.', 3),
        ("One line\nand another", 2),
        ("no capital. after the stop", 1),
        ("Born in 1815.[12] She died in 1852.", 2),
        ("", 1),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(sentence_spans(text)) == count


@given(st.text())
def test_sentences_cover_all_but_white_space(text: str) -> None:
    spans = sentence_spans(text)
    covered = {place for start, end in spans for place in range(start, end)}
    assert spans == sorted(spans)
    assert all(text[place].isspace() for place in range(len(text)) if place not in covered)


def test_sentences_agree_with_xquad_rs(shared_data: Path) -> None:
    """What LAReQA's authors cut with another splitter: 98.1 % of the sentences, 98.7 % of those with an answer."""
    paragraphs = read_paragraphs(shared_data / "lareqa" / "xquad-r" / "en.json.gz")
    theirs = {(p.place, *span) for p in paragraphs for span in p.breaks}
    mine = {(p.place, *span) for p in paragraphs for span in sentence_spans(p.context)}
    assert (len(theirs), len(theirs & mine)) == (1180, 1157)
    same = [
        max(span for span in p.breaks if span[0] <= q.answers[0].start)
        == max(span for span in sentence_spans(p.context) if span[0] <= q.answers[0].start)
        for p in paragraphs
        for q in p.questions
    ]
    assert (len(same), sum(same)) == (1190, 1174)


# --- training data ---


def test_every_squad_question_gets_the_sentence_of_its_answer(shared_data: Path) -> None:
    train, dev = load.load_training(locate.find_training(SQUAD, shared_data, None, None))
    assert len(train) > 2500 and len(dev) == 335  # questions that have an answer; the folder's training files may grow
    for example in (*train, *dev):
        assert isinstance(example, Example)
        assert example.sentence in example.context and example.right == (example.candidate,)
    by_candidate = {e.candidate: e.sentence for e in train if isinstance(e, Example)}
    assert all(by_candidate[e.candidate] == e.sentence for e in train if isinstance(e, Example))


def test_the_sentence_is_where_the_answer_begins() -> None:
    context = "Ada wrote. Bob read what Ada. Smith wrote."
    row = {"id": "q", "question": " Who? ", "context": context, "answers": {"text": ["Bob"], "answer_start": [11]}}
    example = DUAL.from_row(row, SQUAD, "en")
    assert (example.sentence, example.question) == ("Bob read what Ada.", "Who?")
    assert DUAL.from_row(row | {"answers": {"text": [], "answer_start": []}}, SQUAD, "en") is None


# --- rows ---


def test_rows_are_those_of_the_tokenizer(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    """The question alone; the sentence and its context as a pair of which only the second is cut."""
    example = pair(context="Ada wrote a lot of very long letters to Bob. " * 20)
    for max_length in (256, 40):
        settings = Settings(max_length=max_length, max_query_length=96)
        (piece,) = DUAL.encode([example], xlmr_tokenizer, SQUAD, settings)
        assert list(piece.rows[0]) == library_tokenizer(example.question)["input_ids"]
        both = library_tokenizer(example.sentence, example.context, truncation="only_second", max_length=max_length)
        assert list(piece.rows[1]) == both["input_ids"]
    assert DUAL.count(piece) == 1 and piece.target == ()


def candidate(sentence: str, context: str) -> Example:
    """Of a target: without its question."""
    return replace(pair(sentence=sentence, context=context), question="")


@pytest.mark.parametrize("max_length", [256, 16])
def test_a_target_joins_sentence_and_context_as_published(xlmr_tokenizer: Any, max_length: int) -> None:
    """google-research/xtreme@68ff4be, third_party/evaluate_retrieval.py, task lareqa: sentence + context without line
    breaks, stripped when it is read back, in tokens, of which the first max_length - 2 stand between the specials."""
    sentence, context = "It was Ada.", " Look.\nIt was Ada. Nobody else.\n"
    settings = Settings(max_length=max_length, candidate_text="joined")
    (piece,) = DUAL.encode([candidate(sentence, context)], xlmr_tokenizer, LAREQA, settings)
    published = xlmr_tokenizer.tokenize("It was Ada. Look.It was Ada. Nobody else.")[: max_length - 2]
    whole = [xlmr_tokenizer.cls_token, *published, xlmr_tokenizer.sep_token]
    assert list(piece.rows[0]) == xlmr_tokenizer.convert_tokens_to_ids(whole)


def test_only_a_targets_candidates_with_a_context_are_joined(xlmr_tokenizer: Any) -> None:
    """Training is on pairs, as published (processors/lareqa.py@c168376); Mewsli-X's entities have no context."""
    for example in (pair(), candidate("It was Ada.", ""), replace(pair(), candidate="")):
        (apart,), (joined,) = (
            DUAL.encode([example], xlmr_tokenizer, SQUAD, Settings(candidate_text=text)) for text in ("pair", "joined")
        )
        assert apart.rows == joined.rows


def test_lengths_hold_whatever_is_long(xlmr_tokenizer: Any) -> None:
    long = "many words " * 60
    for example in (pair(long), pair(sentence=long), pair(context=""), pair(long, long, long)):
        (piece,) = DUAL.encode([example], xlmr_tokenizer, SQUAD, Settings(max_length=20, max_query_length=10))
        assert len(piece.rows[0]) <= 10 and len(piece.rows[1]) <= 20
        for row in piece.rows:
            assert row[0] == xlmr_tokenizer.cls_token_id and row[-1] == xlmr_tokenizer.sep_token_id
    with pytest.raises(UserError, match="task squad_retrieval: max_query_length 3: make it 8 or more"):
        DUAL.encode([], xlmr_tokenizer, SQUAD, Settings(max_query_length=3))


# --- the way back ---


def test_dev_is_ranked_among_its_own_candidates(xlmr_tokenizer: Any) -> None:
    """Three questions, two candidates: the third question's is the first's."""
    names = ("a", "b", "a")
    examples = [Example(id=str(n), language="en", group="", question="q", sentence="s", candidate=c, right=(c,))
                for n, c in enumerate(names)]  # fmt: skip
    pieces = DUAL.encode(examples, xlmr_tokenizer, SQUAD, HOW)
    right, wrong = np.float32([1, 0]), np.float32([0, 1])
    outputs = [np.stack([right, right]), np.stack([right, wrong]), np.stack([right, right])]
    predictions = DUAL.decode(examples, pieces, outputs, SQUAD, HOW)
    assert predictions == [["a", "b"]] * 3
    golds = [DUAL.gold(example, SQUAD) for example in examples]
    assert metrics.score("mrr20", golds, predictions, "en") == {"mrr@20": pytest.approx(100 * (1 + 0.5 + 1) / 3)}


def test_ranks_name_at_most_20_and_the_first_of_equals() -> None:
    found = rank(np.ones((2, 3), np.float32), np.ones((30, 3), np.float32), [str(n) for n in range(30)])
    assert found == [[str(n) for n in range(20)]] * 2


# --- LAReQA ---


@cache
def lareqa(language: str, root: Path, limit: int | None) -> tuple[list[Any], list[Any]]:
    split = locate.find_languages(LAREQA, root, [language]).found[language]
    examples: list[BaseExample] = load.load_language(LAREQA, language, split, limit)
    questions = [e for e in examples if isinstance(e, Example) and e.question]
    return questions, [e for e in examples if isinstance(e, Example) and not e.question]


def test_the_pool_is_every_language_there_is(shared_data: Path) -> None:
    """Sentences per language as counted in the published files; th is not in the folder."""
    questions, pool = lareqa("zh", shared_data, None)
    assert len(questions) == 1190
    counts = {code: sum(e.language == code for e in pool) for code in ("ar", "de", "el", "en", "es", "hi", "ru", "th")}
    assert counts == {"ar": 1222, "de": 1276, "el": 1234, "en": 1180, "es": 1215, "hi": 1244, "ru": 1219, "th": 0}
    assert len(pool) == 13014 - 852
    by_id = {e.candidate: e for e in pool}
    for question in questions:
        assert [name.partition(":")[0] for name in question.right] == HERE
        assert all(name in by_id for name in question.right)


def test_right_sentences_hold_the_answers(shared_data: Path) -> None:
    """Of the 11900 answers 103 run on into the next sentence; theirs is the one that they begin in."""
    questions, pool = lareqa("zh", shared_data, None)
    sentences, right = {e.candidate: e.sentence for e in pool}, {e.id: e.right for e in questions}
    answers = {
        q.id: q.answers[0].text
        for paragraph in read_paragraphs(shared_data / "lareqa" / "xquad-r" / "zh.json.gz")
        for q in paragraph.questions
    }
    own = {name: next(r for r in names if r.startswith("zh:")) for name, names in right.items()}
    assert sum(answers[name] not in sentences[own[name]] for name in answers) == 11


def test_a_trial_keeps_the_paragraphs_of_its_questions_in_every_language(shared_data: Path) -> None:
    questions, pool = lareqa("hi", shared_data, 7)
    assert len(questions) == 7
    names = {e.candidate for e in pool}
    assert len({e.language for e in pool}) == 10 and len(pool) < 200
    assert all(right in names for question in questions for right in question.right)


def test_a_language_covers_the_pool_but_asks_its_own_questions(shared_data: Path) -> None:
    found = locate.find_languages(LAREQA, shared_data, ["tr", "en"]).found
    for code, split in found.items():
        files = [part for part in split if isinstance(part, DataFile)]
        assert files[0].role == "questions" and files[0].path.endswith(f"{code}.json.gz")
        assert [file.role for file in files[1:]] == [f"pool:{c}" for c in HERE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentence_breaks": [[0, 99]]}, r"en\.json:\d: paragraph 0\.0: sentence_breaks do not fit"),
        ({"sentence_breaks": []}, r"en\.json:\d: paragraph 0\.0: sentence_breaks do not fit"),
        ({"qas": [{"id": "q", "question": "?", "answers": [{"text": "Eve", "answer_start": 0}]}]}, r"question q: the"),
        ({"qas": [{"id": "q", "question": "?", "answers": []}]}, r"question q: no answer"),
        ({"qas": 3}, r"not XQuAD-R's form"),
    ],
)
def test_a_malformed_paragraph_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    answers = [{"text": "Ada", "answer_start": 0}]
    good = {
        "context": "Ada wrote. Bob read.",
        "sentence_breaks": [[0, 10], [11, 20]],
        "qas": [{"id": "q", "question": "Who?", "answers": answers}],
    }
    path = tmp_path / "en.json"
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": [good | change]}]}, indent=1))
    with pytest.raises(UserError, match=message):
        read_paragraphs(path)


# --- Mewsli-X, by rows of our own ---


def entity(name: str, text: str) -> dict[str, Any]:
    spans = [{"start": 0, "end": len(text)}]
    return {
        "entity_id": name,
        "title": name,
        "description": text,
        "description_language": "en",
        "sentence_spans": spans,
    }


def mention(text: str, sentence: tuple[int, int], word: str, name: str) -> dict[str, Any]:
    start = text.index(word)
    return {
        "context": {
            "document_id": "d",
            "language": "de",
            "text": text,
            "sentence_spans": [{"start": sentence[0], "end": sentence[1]}],
        },
        "mentions": [
            {
                "example_id": name,
                "entity_id": "Q1",
                "mention_span": {"start": start, "end": start + len(word), "text": word},
            }
        ],
    }


@pytest.fixture
def mewslix_root(tmp_path: Path) -> Path:
    folder = tmp_path / "mewslix"
    folder.mkdir()
    rows = [
        mention("Früher. Hier {lag}  Rom\nam Tiber. Später.", (8, 33), "Rom", "m1"),
        mention("Rom", (0, 3), "Rom", "m2"),
    ]
    rows[1]["context"]["language"] = "tr"
    entities = [entity("Q1", "Rome is a city."), entity("Q2", "Bonn is a city.\nIt lies on the Rhine.")]
    for name, content in (("wikinews_mentions-test", rows), ("candidate_set_entities", entities)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    for split in ("train", "dev"):
        (folder / f"wikipedia_pairs-{split}.jsonl").write_text(json.dumps(MEWSLIX.example) + "\n")
    return tmp_path


def test_mewslix_is_read_by_language(mewslix_root: Path) -> None:
    found = locate.find_languages(MEWSLIX, mewslix_root, ["de"]).found["de"]
    asked, *pool = load.load_language(MEWSLIX, "de", found, None)
    assert isinstance(asked, Example)
    assert (asked.id, asked.question) == ("m1", "Rom: Hier (lag) { Rom } am Tiber.")
    assert (DUAL.gold(asked, MEWSLIX), asked.right) == ("Q1", ("Q1",))
    assert [(e.candidate, e.sentence) for e in pool if isinstance(e, Example)] == [
        ("Q1", "Rome is a city."),
        ("Q2", "Bonn is a city. It lies on the Rhine."),
    ]
    with pytest.raises(UserError, match="target mewslix: no example in language ja"):
        load.load_language(MEWSLIX, "ja", found, None)


def test_mewslix_trains_on_pairs(mewslix_root: Path, xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    train, dev = load.load_training(locate.find_training(MEWSLIX, mewslix_root, None, None))
    assert train == dev
    (example,) = train
    assert isinstance(example, Example)
    assert (example.question, example.candidate) == ("Tromsø: It has reached { Tromsø } by now.", "Q26087")
    (piece,) = DUAL.encode(train, xlmr_tokenizer, MEWSLIX, Settings(**MEWSLIX.target))
    assert list(piece.rows[1]) == library_tokenizer(example.sentence)["input_ids"]


def test_mewslix_without_its_text_is_refused(mewslix_root: Path) -> None:
    path = mewslix_root / "mewslix" / "wikinews_mentions-test.jsonl"
    path.write_text(path.read_text().replace("Rom", "Rim", 1))
    found = locate.find_languages(MEWSLIX, mewslix_root, ["de"]).found["de"]
    with pytest.raises(UserError, match=r"wikinews_mentions-test\.jsonl:1: not Mewsli-X's form .*'Rom' is not at"):
        load.load_language(MEWSLIX, "de", found, None)
