"""What is measured: four tasks of ../shared/data, the same encoded examples for both sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.paths import SHARED_DATA
from training import formats
from training.data import load as data_load
from training.data import locate
from training.data.parts import Part, load_part
from training.data.tokens import encode
from training.formats.base import Piece
from training.spec import Settings, TaskData
from training.tasks import Task, find


@dataclass(frozen=True)
class Case:
    """A train task and the target and language that it is evaluated on.

    `pad_to`: what transformers' run script of this kind pads every row to when nothing else is asked for: run_xnli.py
    (run_glue.py) 128, run_qa.py 384; run_swag.py and run_ner.py pad to the longest row of a batch (None).
    """

    name: str
    train: str
    target: str
    language: str
    max_length: int
    pad_to: int | None
    max_eval: int  # examples

    @property
    def settings(self) -> Settings:
        """Batches of 32, one pass; the learning rate changes no speed."""
        return Settings(
            learning_rate=1e-5, epochs=1, global_batch_size=32, max_length=self.max_length, precision="fp32"
        )


CASES = {
    case.name: case
    for case in (
        Case("xnli", "mnli", "xnli", "de", 128, 128, 256),
        Case("hellaswag", "hellaswag", "hellaswag", "en", 128, None, 48),
        Case("tydiqa", "tydiqa", "tydiqa", "ko", 384, 384, 48),
        Case("panx", "panx", "panx", "de", 128, None, 384),
    )
}


@dataclass(frozen=True)
class Data:
    """A case's examples as both sides get them."""

    train_data: TaskData
    train: Part
    target: Task
    test: Sequence[Piece]


def load(case: Case, tokenizer: Any) -> Data:
    """Read and encode. The hidden dev examples of a task without a target of its own serve as its test."""
    settings = case.settings
    train_data = locate.find_training(find(case.train), SHARED_DATA, None, case.max_eval)
    target = find(case.target)
    if target.languages:
        split = locate.find_languages(target, SHARED_DATA, [case.language]).found[case.language]
        examples = data_load.load_language(target, case.language, split, case.max_eval)
    else:
        _, examples = data_load.load_training(train_data)
    form = formats.get(target.format)
    pieces = encode(form, examples, tokenizer, target, settings)
    return Data(train_data, load_part(train_data, tokenizer, settings), target, pieces)
