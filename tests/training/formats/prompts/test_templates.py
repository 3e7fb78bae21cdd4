"""Templates: every one in every language, what their sources make of an example, and prompts that say nothing."""

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base import UserError
from training import formats
from training.formats import choice, sequence
from training.formats.prompts.template import Prompt, Template
from training.formats.prompts.templates import TEMPLATES, of_task
from training.formats.prompts.texts import Example, copa
from training.tasks import find

NLI = sequence.Example(
    id="1", language="en", group="", first="Two children fly a kite.", second="Nobody is out.", label="contradiction"
)
PARAPHRASE = replace(NLI, first="He did n't say ( it ) .", second="He said nothing", label="paraphrase")
COPA = choice.Example(
    id="1",
    language="en",
    group="",
    first="The glass fell off the table. What was the effect?",
    seconds=("It broke.", "It rang the bell."),
    label="choice1",
)
TRAINED_ON = ("hellaswag", "cosmos_qa", "commonsense_qa", "siqa", "qqp")  # English tasks with one template each
EXAMPLES = {"xnli": NLI, "pawsx": PARAPHRASE, "xcopa": COPA} | {
    name: formats.get(find(name).format).from_row(find(name).example, find(name), "en") for name in TRAINED_ON
}


def template_named(task: str, name: str) -> Template:
    (template,) = (template for template in of_task(task) if template.name == name)
    return template


def test_every_target_has_several_and_names_are_unique() -> None:
    assert {template.task for template in TEMPLATES} == set(EXAMPLES)
    assert all(len(of_task(task)) == 1 for task in TRAINED_ON)
    assert all(len(of_task(task)) >= 2 for task in ("xnli", "pawsx", "xcopa")) and of_task("squad") == ()
    assert len({(template.task, template.name) for template in TEMPLATES}) == len(TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: f"{template.task}-{template.name}")
def test_every_wording_fits_its_task(template: Template) -> None:
    """An answer for every label, all different; the pattern has the example's texts and one place for the answer."""
    task, example = find(template.task), EXAMPLES[template.task]
    assert "en" in template.wordings and set(template.wordings) <= {"en", *task.known_languages}
    texts = template.prepare(example)
    for language, wording in template.wordings.items():
        prompt = template.prompt(example, language)
        assert wording.pattern.count("{answer}") == 1
        assert len(set(prompt.answers)) == len(task.labels) and all(prompt.answers)
        whole = prompt.answered(0)
        assert all(text in whole for text in (texts.first, texts.second)) and "{" not in whole
        nothing = template.content_free(example, language, "")
        assert nothing.answers == prompt.answers and texts.first not in nothing.before


def test_the_languages_of_the_sources() -> None:
    """XNLI in all of its languages by both sources, PAWS-X and XCOPA by the harness; else English is said."""
    assert set(template_named("xnli", "question").wordings) == set(find("xnli").languages)
    assert set(template_named("xnli", "right").wordings) == set(find("xnli").languages)
    assert set(template_named("pawsx", "right").wordings) == set(find("pawsx").languages)
    assert set(template_named("xcopa", "connector").wordings) == {"en", *find("xcopa").languages}
    yes = template_named("xnli", "question-yes")
    assert yes.prompt(NLI, "de") == yes.prompt(NLI, "en")


def test_as_their_sources_have_them() -> None:
    """Worked out by hand from the sources' code."""
    assert template_named("xnli", "question").prompt(NLI, "de") == Prompt(
        "Two children fly a kite . Frage: Nobody is out ? Antworten: ", ("Ja", "vielleicht", "Nein"), " ."
    )
    right = template_named("xnli", "right").prompt(NLI, "en")
    assert right.before.rstrip() + right.continuations[1] == "Two children fly a kite., right? Also, Nobody is out."
    assert template_named("pawsx", "right").prompt(PARAPHRASE, "fr").answered(1) == (
        "He didn't say (it), n'est-ce pas? Oui, he said nothing"
    )
    as_it_is = template_named("pawsx", "right").prompt(replace(PARAPHRASE, language="ja"), "ja")
    assert as_it_is.before == "He did n't say ( it ) ., ですね? "
    connector = template_named("xcopa", "connector")
    assert connector.prompt(COPA, "id").answered(1) == "The glass fell off the table maka it rang the bell."
    cause = replace(COPA, first=COPA.first.replace("effect", "cause"))
    assert connector.prompt(cause, "en").continuations == (" it broke.", " it rang the bell.")
    assert template_named("xcopa", "choices").prompt(COPA, "et") == Prompt(
        '"it broke" or "it rang the bell"? The glass fell off the table, so ', ("it broke", "it rang the bell"), "."
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_stays_text(first: str, second: str) -> None:
    """Braces and the like in a text are no fields, and a text of punctuation alone does not vanish."""
    example = replace(NLI, first=first, second=second)
    prompt = template_named("xnli", "question").prompt(example, "en")
    shown = first.rstrip(string.punctuation) or first
    assert prompt.before.startswith(f"{shown} . Question: ") and prompt.after == " ."
    assert template_named("xnli", "right").prompt(example, "en").before == f"{first}, right? "


def test_the_catalogues_own_rows() -> None:
    """COPA's question is read back from the text that the catalogue makes, in any language."""
    for task, connector in ((find("copa"), "therefore"), (find("xcopa"), "quindi")):
        example = formats.get("choice").from_row(task.example, task, "it")
        language = "en" if task.name == "copa" else "it"
        prompt = template_named("xcopa", "connector").prompt(example, language)
        assert prompt.before == f"The glass fell off the table {connector} "


def test_another_choice_task_is_one_line() -> None:
    other: Example = replace(COPA, first="Robin carried the shopping. How would you describe Robin?")
    with pytest.raises(UserError, match=r"^example 1: ends in no `What was the cause\?`.*copa and xcopa\.$"):
        copa(other)
