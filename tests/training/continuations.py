"""A task whose examples are texts that end in the answer, for causal language models; also as a rank of its training:
`python -m tests.training.continuations JSON`, as `tests.training.stage_process`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.training import stage_process
from training import formats
from training.formats import sequence
from training.formats.base import IGNORED, Piece
from training.formats.batch import token_ids
from training.model import heads
from training.spec import Settings
from training.tasks import Task, catalogue, find

TASK = "continued_nli"


class Continuations(sequence.Sequence):
    """The label's own word behind both texts, of which it is the loss."""

    name = "continuations"
    is_language_model = True
    is_prompted = True

    def encode(self, examples: Sequence[Any], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        prefixes = token_ids(tokenizer, [f"{example.first} {example.second} This is" for example in examples])
        answers = token_ids(tokenizer, [f" {example.label}" for example in examples])
        return [
            Piece(number, ((*prefix, *answer),), (*[IGNORED] * len(prefix), *answer))
            for number, (prefix, answer) in enumerate(zip(prefixes, answers, strict=True))
        ]


def register() -> None:
    """Make the format and its task known in this process."""
    formats._FORMATS[Continuations.name] = Continuations()
    heads._HEADS[Continuations.name] = heads.MaskedTokensHead()
    catalogue.register(replace(find("mnli"), name=TASK, format=Continuations.name))


if __name__ == "__main__":
    register()
    stage_process.main(json.loads(sys.argv[1]))
