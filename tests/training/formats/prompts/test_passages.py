"""Templates of questions about a passage."""

import pytest

from training.formats.answers import Answer
from training.formats.prompts.passages import PASSAGE_TEMPLATES
from training.formats.prompts.template import Prompt, Template
from training.formats.span import Example
from training.tasks import find

EXAMPLE = Example(
    id="1",
    language="de",
    group="",
    question="Who {saw} it?",
    context="Nobody saw it.",
    answers=(Answer("Nobody", 0), Answer("nobody at all", 0)),
)


@pytest.mark.parametrize("template", PASSAGE_TEMPLATES, ids=lambda template: template.task)
def test_every_wording_has_the_texts_and_the_first_answer(template: Template) -> None:
    assert set(template.wordings) in ({"en"}, set(find(template.task).languages))
    for language in template.wordings:
        prompt = template.prompt(EXAMPLE, language)
        assert (prompt.answers, prompt.after) == (("Nobody",), "")
        lines = prompt.before.split("\n\n")
        assert [line.split(": ", 1)[1] for line in lines] == [EXAMPLE.context, EXAMPLE.question, ""]


def test_as_the_harness_words_it() -> None:
    xquad = PASSAGE_TEMPLATES[0]
    assert xquad.prompt(EXAMPLE, "de") == Prompt(
        "Kontext: Nobody saw it.\n\nFrage: Who {saw} it?\n\nAntwort: ", ("Nobody",), ""
    )
