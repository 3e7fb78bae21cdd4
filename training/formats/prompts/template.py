"""A template, and an example in it: the text before the answer, the answers of all labels, the text after."""

from collections.abc import Mapping
from dataclasses import dataclass

from training.formats.prompts.texts import Example, Prepare, Texts

ENGLISH = "en"
_ANSWER = "{answer}"


@dataclass(frozen=True)
class Wording:
    """A template in one language.

    `pattern`: the prompt, with `{answer}` once, and `{first}`, `{second}`, `{choice1}`, `{choice2}`, `{connector}`.
    `answers`: the verbaliser, a word or several for every label in the task's order; empty: the example's own choices.
    `connectors`: of COPA, where the choice is a cause and where it is an effect.
    """

    pattern: str
    answers: tuple[str, ...] = ()
    connectors: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Prompt:
    """An example in a template. `answers`: of every label, in the task's order."""

    before: str
    answers: tuple[str, ...]
    after: str

    def answered(self, label: int) -> str:
        """The whole text with a label's answer: a demonstration."""
        return f"{self.before}{self.answers[label]}{self.after}"

    @property
    def continuations(self) -> tuple[str, ...]:
        """What a causal model continues `before` with, label by label; the space that ends `before` is theirs."""
        space = self.before[len(self.before.rstrip(" ")) :]
        return tuple(f"{space}{answer}{self.after}" for answer in self.answers)


@dataclass(frozen=True)
class Template:
    """`task`: the target that it is for; its demonstrations may come from another task with the same labels (MNLI).

    `source`: where pattern and words were published. `wordings` by language, English always.
    """

    name: str
    task: str
    source: str
    prepare: Prepare
    wordings: Mapping[str, Wording]

    def wording(self, language: str) -> Wording:
        """That of a language; English where no source has one."""
        return self.wordings.get(language, self.wordings[ENGLISH])

    def prompt(self, example: Example, language: str) -> Prompt:
        """An example of any language in a prompt worded in `language`. UserError: see `texts`."""
        return self._filled(self.prepare(example), language)

    def content_free(self, example: Example, language: str, content: str = "N/A") -> Prompt:
        """The same prompt that says nothing, with the same answers: what answers are worth by themselves is measured on
        it (Zhao et al. 2021, arXiv 2102.09690: N/A, the empty text, a mask)."""
        return self._filled(self.prepare(example).without_content(content), language, content)

    def _filled(self, texts: Texts, language: str, content: str | None = None) -> Prompt:
        wording = self.wording(language)
        fields = {"first": texts.first, "second": texts.second}
        if texts.relation:
            fields["connector"] = wording.connectors[texts.relation == "effect"]
        for number, text in enumerate(texts.choices, start=1):
            fields[f"choice{number}"] = text if content is None else content
        before, after = wording.pattern.split(_ANSWER)
        return Prompt(before.format_map(fields), wording.answers or texts.choices, after.format_map(fields))
