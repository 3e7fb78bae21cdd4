"""The format of questions in mode prompt whose answer a causal language model writes: XQuAD, MLQA, TyDiQA.

Evaluated only. What is written is scored as a span is, against the same answers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slurm.base import UserError
from training.formats import span
from training.formats.base import Floats, Format, Piece
from training.formats.prompts import causal
from training.formats.prompts.cloze import Question
from training.formats.prompts.template import ENGLISH
from training.formats.prompts.templates import named
from training.spec import Settings
from training.tasks import Task

_SPAN = span.Span()


class PromptedSpan(Format[span.Example]):
    name = "prompted_span"
    kind_of_data = "a text and a question in a prompt, the answer is written"
    is_prompted = True
    is_language_model = True
    generates = True
    usual_tokens = _SPAN.usual_tokens
    prediction_bytes = _SPAN.prediction_bytes
    key_settings = ("max_answer_length",)
    encode_settings = ("max_length", "max_answer_length")

    def read(self, path: Path, task: Task, language: str) -> list[span.Example]:
        return _SPAN.read(path, task, language)

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> span.Example | None:
        return _SPAN.from_row(row, task, language, position)

    def encode(self, examples: Sequence[span.Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        """A piece for each example: all that stands before its answer, with room behind it; of what is longer the end.

        UserError where the model is none that writes.
        """
        if not tokenizer.is_causal:
            raise UserError(
                f"task {task.name}: its answers are written, which takes a causal language model as `model:`; take"
                " mode finetune with this one."
            )
        prompting = task.prompting
        assert prompting is not None, task.name
        template = named(prompting.template_task, prompting.templates[0])
        questions = []
        for place, example in enumerate(examples):
            language = ENGLISH if prompting.language == "english" else example.language
            questions.append(Question(place, example.id, template.prompt(example, language)))
        answer_tokens = settings.max_answer_length
        rows = causal.contexts(questions, tokenizer, settings.max_length, answer_tokens).prefixes
        return [Piece(place, (row[answer_tokens - settings.max_length :],), ()) for place, row in enumerate(rows)]

    def decode(
        self,
        examples: Sequence[span.Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[Any]:
        raise AssertionError("eval.prediction has the model write")

    def gold(self, example: span.Example, task: Task) -> Any:
        return _SPAN.gold(example, task)

    def labelled(self, example: span.Example) -> bool:
        return _SPAN.labelled(example)
