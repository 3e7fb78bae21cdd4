"""What a template says of an example: its texts, prepared as the template's source prepares them."""

import re
import string
from collections.abc import Callable
from dataclasses import dataclass, replace

from slurm.base import UserError
from training.formats import choice, sequence, span

_COPA = re.compile(r"(?P<premise>.*) What was the (?P<relation>cause|effect)\?", re.DOTALL)  # as the catalogue asks


@dataclass(frozen=True)
class Texts:
    """`choices`: where every example has answers of its own. `relation`: cause or effect, of COPA."""

    first: str
    second: str = ""
    choices: tuple[str, ...] = ()
    relation: str = ""

    def without_content(self, content: str) -> "Texts":
        """`content` (such as N/A) for the texts that are asked about; the choices stay what can be answered."""
        return replace(self, first=content, second=content)


Labelled = sequence.Example | choice.Example
Example = Labelled | span.Example
Prepare = Callable[[Example], Texts]


def pair(example: Example) -> Texts:
    """Two texts as they are."""
    assert isinstance(example, sequence.Example), example
    return Texts(example.first, example.second)


def unpunctuated_pair(example: Example) -> Texts:
    """Without the ASCII punctuation at their ends, as Zhao & Schütze's code has them; a text of nothing else stays."""
    texts = pair(example)
    first, second = (text.rstrip(string.punctuation) or text for text in (texts.first, texts.second))
    return Texts(first, second)


def paraphrase_pair(example: Example) -> Texts:
    """PAWS-X as lm-evaluation-harness reads it: tokenised text joined again, the first without `.`, `,` or `;` at its
    end, the second beginning in lower case; Japanese, Korean and Chinese as they are."""
    texts = pair(example)
    if example.language in ("ja", "ko", "zh"):
        return texts
    first, second = (_detokenised(text).strip() for text in (texts.first, texts.second))
    return Texts(first[:-1] if first.endswith((".", ",", ";")) else first, _lower_first(second))


def copa(example: Example) -> Texts:
    """COPA as lm-evaluation-harness reads it: the premise without its last character, choices in lower case at first.

    UserError where the premise does not end as the catalogue's question does.
    """
    assert isinstance(example, choice.Example), example
    match = _COPA.fullmatch(example.first)
    if match is None:
        raise UserError(
            f"example {example.id}: ends in no `What was the cause?` or `effect?`; this template is for copa and xcopa."
        )
    choices = tuple(_lower_first(text) for text in example.seconds)
    return Texts(match["premise"].strip()[:-1], choices=choices, relation=match["relation"])


def choices(example: Example) -> Texts:
    """A text and the choices as they are."""
    assert isinstance(example, choice.Example), example
    return Texts(example.first, choices=example.seconds)


def unpunctuated_copa(example: Example) -> Texts:
    """The same, the choices without the punctuation at their ends (Schick & Schütze)."""
    texts = copa(example)
    return replace(texts, choices=tuple(text.rstrip(string.punctuation) or text for text in texts.choices))


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _detokenised(text: str) -> str:
    for apart, together in ((" n't", "n't"), (" )", ")"), ("( ", "("), ('" ', '"'), (' "', '"')):
        text = text.replace(apart, together)
    return re.sub(r" (['.,])", r"\1", text)
