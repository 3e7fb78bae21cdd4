"""Made-up data: lengths as in real tasks, ids at random. Seeded; the same for all sides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training import formats
from training.data.parts import Part
from training.formats.base import IGNORED, Piece
from training.tasks import find

SPECIALS = 5  # ids 0 to 4
_USED_SHARE = 0.12  # of the vocabulary that an English training set uses: about 30,000 of 250,002


@dataclass(frozen=True)
class Form:
    """Lengths of a task's rows in tokens, drawn from a log-normal distribution of this mean and 95th percentile and cut
    at `longest`. `pad_to`: what transformers' run script of this kind pads to when nothing else is asked for."""

    name: str
    task: str  # whose format and labels it has
    mean: float
    p95: float
    longest: int
    pad_to: int | None


FORMS = {
    form.name: form
    for form in (
        Form("mnli", "mnli", 46, 74, 128, 128),
        Form("hellaswag", "hellaswag", 88, 131, 256, None),
        Form("squad", "squad", 216, 388, 384, 384),
        Form("ner", "panx", 17, 36, 128, None),
    )
}


def lengths(form: Form, count: int, seed: int = 1) -> list[int]:
    """Row lengths, at least 5."""
    spread = math.log(form.p95 / form.mean)
    sigma = 1.645 - math.sqrt(1.645**2 - 2 * spread)
    drawn = np.random.default_rng(seed).lognormal(math.log(form.mean) - sigma**2 / 2, sigma, count)
    return [int(length) for length in np.clip(np.rint(drawn), 5, form.longest)]


def pieces(form: Form, tokens: int, vocabulary: int, seed: int = 1) -> list[Piece]:
    """Examples of about so many tokens together: ids of the share of a vocabulary that one task uses."""
    task, random = find(form.task), np.random.default_rng(seed)
    rows = len(task.labels) if task.format == "choice" else 1
    drawn = lengths(form, max(2, round(tokens / form.mean / rows)) * rows, seed)
    used = SPECIALS + np.arange(max(1, round(_USED_SHARE * vocabulary))) * max(1, round(1 / _USED_SHARE))
    used = used[used < vocabulary]
    made = []
    for index in range(len(drawn) // rows):
        own = tuple(
            (0, *map(int, random.choice(used, length - 2)), 2) for length in drawn[index * rows : (index + 1) * rows]
        )
        words = tuple(range(1, len(own[0]) - 1, 2))  # the first subwords, of words of two
        target = _target(task.format, len(task.labels), len(own[0]), words, random)
        made.append(Piece(index, own, target, words if task.format == "tagging" else None))
    return made


def _target(form: str, labels: int, length: int, words: Sequence[int], random: np.random.Generator) -> tuple[int, ...]:
    if form == "span":
        start = int(random.integers(1, length - 1))
        return start, min(start + 2, length - 2)
    if form == "tagging":
        return tuple(int(random.integers(labels)) if place in words else IGNORED for place in range(length))
    return (int(random.integers(labels)),)


def part(form: Form, made: Sequence[Piece]) -> Part:
    """The pieces as a part of a stage, an example each."""
    task = find(form.task)
    ids = tuple(str(number) for number in range(len(made)))
    own = tuple((number,) for number in range(len(made)))
    return Part(task, task, formats.get(task.format), ids, made, own, dev=(), dev_examples=())
