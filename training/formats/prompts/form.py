"""The formats of tasks in mode prompt: examples of a pair or of a choice, each in all templates of the task.

A language model's head says how likely every label's answer is: under masks, or as what comes next. It may have been
trained on the task: on the right answers of its English examples in the first template.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from training.formats import choice, sequence
from training.formats.base import Floats, Format, Piece, pieces_of
from training.formats.prompts import causal, cloze, scoring
from training.formats.prompts.cloze import Asked, Question
from training.formats.prompts.template import ENGLISH, Template
from training.formats.prompts.templates import named
from training.formats.prompts.texts import Labelled
from training.spec import Settings
from training.tasks import Task
from training.tasks.task import Calibration, Prompting

# What stands for an example's texts in prompts that say nothing.
_CONTENTS: dict[Calibration, tuple[str, ...]] = {"none": (), "pmi": ("N/A",), "contextual": ("N/A", "")}
_WORDS_OF_TEMPLATE = 10  # tokens, about
_ANSWER_TOKENS = 1.0  # of a prompt, about


class Prompted(Format[Any]):
    """What both have in common. Users add none by its name: they say `mode: prompt`."""

    plain: ClassVar[Format[Any]]  # how the examples are read
    is_prompted = True
    is_language_model = True
    texts_in_columns = True
    prediction_bytes = 160

    def read(self, path: Path, task: Task, language: str) -> list[Any]:
        return self.plain.read(path, task, language)

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Any:
        return self.plain.from_row(row, task, language, position)

    def encode(self, examples: Sequence[Any], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        return self.encode_after(examples, [()] * len(examples), tokenizer, task, settings)

    def encode_after(
        self,
        examples: Sequence[Labelled],
        demonstrations: Sequence[Sequence[Labelled]],
        tokenizer: Any,
        task: Task,
        settings: Settings,
    ) -> list[Piece]:
        """The pieces of all examples, each behind its own demonstrations: labelled examples, the nearest last.

        A prompt that says nothing and is the same for all of the examples is made once, with the first.
        """
        prompting = _prompting(task)
        templates = [named(prompting.template_task, name) for name in prompting.templates]
        one_for_all = all(before == demonstrations[0] for before in demonstrations) and not _has_choices(examples)
        questions = []
        for place, (example, examples_before) in enumerate(zip(examples, demonstrations, strict=True)):
            language = ENGLISH if prompting.language == "english" else example.language
            contents: list[str | None] = [None]
            if place == 0 or not one_for_all:
                contents += _CONTENTS[prompting.calibration]
            for number, template in enumerate(templates):
                before = tuple(_answered(template, demonstration, language, task) for demonstration in examples_before)
                for content, text in enumerate(contents):
                    prompt = (
                        template.prompt(example, language)
                        if text is None
                        else template.content_free(example, language, text)
                    )
                    is_trained = number == 0 and text is None and bool(example.label)
                    gold = task.labels.index(example.label) if is_trained else None
                    questions.append(Question(place, example.id, prompt, before, number, content, gold))
        make = causal.pieces if tokenizer.is_causal else cloze.encode
        return make(questions, tokenizer, settings.max_length)

    def trains_on(self, piece: Piece) -> bool:
        """Not on other templates, nor on rows that the right answer has too many or too few tokens for."""
        return self.count(piece) > 0

    def decode(
        self,
        examples: Sequence[Any],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[list[str]]:
        """Of each example a label by every template, in their order."""
        prompting = _prompting(task)
        by_example = pieces_of(pieces, len(examples))
        of_templates = []
        for number in range(len(prompting.templates)):
            by_content = [
                _scores(number, content, by_example, pieces, outputs, task)
                for content in range(1 + len(_CONTENTS[prompting.calibration]))
            ]
            best = _calibrated(by_content, prompting.calibration).argmax(axis=1)
            of_templates.append([task.labels[place] for place in best])
        return [list(labels) for labels in zip(*of_templates, strict=True)]

    def gold(self, example: Any, task: Task) -> str:
        return self.plain.gold(example, task)  # type: ignore[no-any-return]

    def labelled(self, example: Any) -> bool:
        return self.plain.labelled(example)

    def lacks(self, task: Task) -> str | None:
        return self.plain.lacks(task)

    def constant_answers(self, golds: Sequence[Any], task: Task) -> list[list[Any]]:
        assert task.prompting is not None
        return [[[label] * len(task.prompting.templates)] * len(golds) for label in dict.fromkeys(golds)]

    def by_accident(self, constant: float, examples: int) -> float:
        return self.plain.by_accident(constant, examples)

    def rows_of_example(self, task: Task) -> int:
        return len(_prompting(task).templates)

    def row_title(self, piece: Piece, row: int, task: Task) -> str:
        asked_answers: Asked = piece.way_back
        labels = ", ".join(task.labels[label] for label in asked_answers.labels)
        return f"template {_prompting(task).templates[asked_answers.template]}, asked for {labels}"

    def predicted_share(self, settings: Settings) -> float:
        return _ANSWER_TOKENS / self.usual_tokens

    def tokens_and_length(self, examples: float, tokens: float, task: Task, settings: Settings) -> tuple[float, float]:
        """Each template repeats the texts, and each demonstration is as long as they are."""
        prompting = _prompting(task)
        length = min(settings.max_length, (tokens + _WORDS_OF_TEMPLATE) * (1 + prompting.demonstrations))
        return examples * len(prompting.templates) * length, length


class PromptedPair(Prompted):
    """A pair and its label, as `sequence` reads them."""

    name = "prompted_pair"
    kind_of_data = "two texts in a prompt, one label by its word"
    plain = sequence.Sequence()
    usual_tokens = sequence.Sequence.usual_tokens + _WORDS_OF_TEMPLATE


class PromptedChoice(Prompted):
    """A text and its choices, as `choice` reads them."""

    name = "prompted_choice"
    kind_of_data = "a text in a prompt that one of several choices ends"
    plain = choice.Choice()
    usual_tokens = sequence.Sequence.usual_tokens + _WORDS_OF_TEMPLATE


def _prompting(task: Task) -> Prompting:
    assert task.prompting is not None, task.name
    return task.prompting


def _has_choices(examples: Sequence[Labelled]) -> bool:
    return any(isinstance(example, choice.Example) for example in examples)


def _answered(template: Template, example: Labelled, language: str, task: Task) -> str:
    return template.prompt(example, language).answered(task.labels.index(example.label))


def _scores(
    template: int,
    content: int,
    by_example: Sequence[Sequence[int]],
    pieces: Sequence[Piece],
    outputs: Sequence[Floats],
    task: Task,
) -> scoring.Scores:
    """[examples, labels], by one template of one content; an example without any has those of the first."""
    answer_score = scoring.averaged if _prompting(task).answer_score == "mean" else scoring.summed
    answers: list[list[Floats]] = []
    for indices in by_example:
        of_labels: dict[int, Floats] = {}
        for index in indices:
            asked_answers: Asked = pieces[index].way_back
            if (asked_answers.template, asked_answers.content) == (template, content):
                ends = np.cumsum([len(tokens) for tokens in asked_answers.tokens])
                of_labels |= zip(asked_answers.labels, np.split(outputs[index], ends[:-1]), strict=True)
        answers.append([of_labels[label] for label in range(len(task.labels))] if of_labels else answers[0])
    return answer_score(answers)


def _calibrated(by_content: Sequence[scoring.Scores], calibration: Calibration) -> scoring.Scores:
    scores, *content_free = by_content
    match calibration:
        case "none":
            return scores
        case "pmi":
            return scoring.pmi(scores, content_free[0])
        case "contextual":
            return scoring.calibrated(scores, np.stack(content_free))
