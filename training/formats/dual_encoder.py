"""Which sentence answers a question? Question and candidate are read apart and compared by a dot product.

A question is `<s> question </s>`, a candidate `<s> sentence </s></s> context </s>` with the context cut at its end (so
XTREME-R trains for LAReQA: Roy et al. 2020, Ruder et al. 2021), or `<s> sentence </s>` where it has no context. Where
`candidate_text` is joined, a target's candidate is `<s> sentencecontext </s>`, cut at its end: so XTREME-R's code
evaluates LAReQA, although it trains on pairs.

Files, told apart by role and name: SQuAD's JSON (training); XQuAD-R's, role "questions", and "pool:xx" for the
sentences of language xx; Mewsli-X's JSON lines, without a role (training pairs), "mentions" and "entities".
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from slurm.base import UserError
from training.formats import mewslix, xquad_r
from training.formats.base import Floats, Format, Piece
from training.formats.batch import token_ids
from training.formats.dual_example import Example
from training.formats.english import sentence_spans
from training.formats.lengths import FileCounts, questions_with_contexts
from training.formats.neighbours import Search, neighbours
from training.formats.report import current
from training.formats.squad_json import Question, question_of, read_questions
from training.spec import DataFile, Settings
from training.tasks import Task
from training.tasks.task import File, Files

RANKED = 20  # how many candidates a prediction names: the metrics look no further
_SPECIALS = 4  # of a candidate's row: <s>, </s></s>, </s>


class DualEncoder(Format[Example]):
    """One piece per example; its rows: the question, then the candidate (those of the two that it has)."""

    name = "dual_encoder"
    kind_of_data = "which of many texts belongs to a question"
    compares_examples = True
    usual_tokens = 190
    prediction_bytes = 150
    encode_settings = ("max_length", "doc_stride", "max_query_length", "candidate_text")
    key_settings = ("max_query_length", "contrast_size", "candidate_text")

    def roles(self, split: str) -> tuple[tuple[str, ...], ...]:
        return ((), ("mentions", "entities")) if split == "test" else ((),)

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        if path.name.removesuffix(".gz").endswith(".jsonl"):
            return mewslix.read_pairs(path, language)
        questions = read_questions(path)
        answered_questions = [question for question in questions if _answered(question)]
        current().left_out += len(questions) - len(answered_questions)
        return [_of_squad(question, language) for question in answered_questions]

    def read_split(self, files: Sequence[DataFile], task: Task, language: str) -> list[Example]:
        """Training examples; of a target the questions of `language` first, then the candidates of all."""
        roles = {file.role.partition(":")[0] for file in files}
        if "questions" in roles:
            return xquad_r.read(files, language)
        if "mentions" in roles:
            return mewslix.read_target(files, language)
        return super().read_split(files, task, language)

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        if "contextual_mention" in row:
            return mewslix.pair_of(row, language)
        question = question_of(row)
        return _of_squad(question, language) if _answered(question) else None

    def rows(self, examples: Sequence[Example]) -> int:
        """A candidate alone is no row: a target's are the questions."""
        return sum(bool(example.question) for example in examples)

    def first(self, examples: Sequence[Example], limit: int | None) -> list[Example]:
        """The first `limit` questions; of a target also the candidates of the paragraphs that these come from."""
        if limit is None:
            return list(examples)
        questions = [example for example in examples if example.question][:limit]
        groups = {example.group for example in questions}
        return [*questions, *(e for e in examples if not e.question and e.group in groups)]

    def check(self, task: Task, settings: Settings) -> None:
        for name in ("max_length", "max_query_length"):
            if getattr(settings, name) < _SPECIALS + 4:
                raise UserError(f"task {task.name}: {name} {getattr(settings, name)}: make it {_SPECIALS + 4} or more.")

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        self.check(task, settings)
        examples = [_as_read(example, settings) for example in examples]
        ids = _token_ids(tokenizer, examples)
        start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
        pieces = []
        for index, example in enumerate(examples):
            rows = []
            if example.question:
                rows.append((start, *ids[example.question][: settings.max_query_length - 2], end))
            if example.candidate:
                rows.append(_candidate_row(ids[example.sentence], ids[example.context], settings, start, end))
            pieces.append(Piece(index, tuple(rows), ()))
        return pieces

    def count(self, piece: Piece) -> int:
        return 1

    def decode(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[list[str]]:
        """English dev: every question's best candidates among those of all examples. `outputs`: [2, width] each."""
        candidates: dict[str, Floats] = {}
        for example, output in zip(examples, outputs, strict=True):
            candidates.setdefault(example.candidate, output[1])
        return rank(np.stack([output[0] for output in outputs]), np.stack([*candidates.values()]), [*candidates])

    def gold(self, example: Example, task: Task) -> str | list[str]:
        return example.right[0] if task.metric_family == "mrr20" else list(example.right)

    def labelled(self, example: Example) -> bool:
        return bool(example.right)

    def reading_note(self, task: Task, settings: Settings) -> str:
        """Mewsli-X's candidates have no context."""
        if task.metric_family != "map20":
            return ""
        if settings.candidate_text == "joined":
            return "candidates are read as XTREME-R's code reads them, sentence and context as one text"
        return "candidates are read as pairs of sentence and context; as published: candidate_text: joined"

    def target_files(
        self, task: Task, files: Files, language: str, is_there: Callable[[File, str], bool], named_in: Path
    ) -> list[tuple[File, str]]:
        """One test file (LAReQA): a language's own for its questions, and those of all languages for the candidates."""
        if len(files.test) != 1 or not is_there(files.test[0], language):
            return super().target_files(task, files, language, is_there, named_in)
        (file,) = files.test
        pool = [code for code in task.languages if is_there(file, code)]
        return [(replace(file, role="questions"), language), *((replace(file, role=f"pool:{c}"), c) for c in pool)]

    def evaluated_lists(self, examples: Sequence[Example]) -> list[list[Example]]:
        return [[e for e in examples if e.question], [e for e in examples if not e.question]]

    def rows_of_example(self, task: Task) -> int:
        return 2

    def examples_together(self, settings: Settings) -> int:
        return settings.contrast_size

    def row_title(self, piece: Piece, row: int, task: Task) -> str:
        return ("question", "candidate")[row]

    def answer_shown(self, example: Example, gold: Any, tokenizer: Any) -> list[str]:
        return ["the candidate is right; those of other questions are wrong"]

    def text_of_file(self, counts: FileCounts, task: Task) -> tuple[float, float]:
        return questions_with_contexts(counts)


def rank(questions: Floats, candidates: Floats, ids: Sequence[str], search: Search = neighbours) -> list[list[str]]:
    """The ids of the best candidates of each question, best first, of equal ones the first.

    questions [n, width], candidates [m, width], ids: the candidates'.
    """
    _, places = search(questions, candidates, RANKED)
    return [[ids[place] for place in row] for row in places]


def _as_read(example: Example, settings: Settings) -> Example:
    """The example with the texts that are tokenised: of a target's candidate sentence and context may be one."""
    if example.question or settings.candidate_text == "pair" or not example.context:
        return example
    # As published: nothing between the two, line breaks gone, the ends stripped.
    return replace(example, sentence=(example.sentence + example.context).replace("\n", "").strip(), context="")


def _token_ids(tokenizer: Any, examples: Sequence[Example]) -> dict[str, list[int]]:
    """The tokens of every text among the examples, each tokenised once, without specials."""
    texts = list(dict.fromkeys(text for e in examples for text in (e.question, e.sentence, e.context)))
    return dict(zip(texts, token_ids(tokenizer, texts), strict=True))


def _candidate_row(
    sentence: Sequence[int], context: Sequence[int], settings: Settings, start: int, end: int
) -> tuple[int, ...]:
    room = settings.max_length - _SPECIALS - len(sentence)
    if room <= 0 or not context:
        return (start, *sentence[: settings.max_length - 2], end)
    return (start, *sentence, end, end, *context[:room], end)


def _answered(question: Question) -> bool:
    """Whether there is something to ask, and an answer."""
    return bool(question.question.strip()) and any(answer.text.strip() for answer in question.answers)


def _of_squad(question: Question, language: str) -> Example:
    """The question with the sentence in which its first answer begins."""
    spans = _spans(question.context)
    answer = next(answer for answer in question.answers if answer.text.strip())
    number = max(bisect_right(spans, answer.start, key=lambda span: span[0]) - 1, 0)
    start, end = spans[number]
    name = f"{hashlib.sha256(question.context.encode()).hexdigest()[:16]}.{number}"
    return Example(
        id=question.id,
        language=language,
        group=question.context,
        question=question.question.strip(),
        sentence=question.context[start:end],
        context=question.context,
        candidate=name,
        right=(name,),
    )


@lru_cache(maxsize=1024)  # the questions of a paragraph follow each other
def _spans(context: str) -> tuple[tuple[int, int], ...]:
    return tuple(sentence_spans(context))
