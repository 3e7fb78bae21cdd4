"""How complex the tasks of a train stage are, told by the model that it starts from: `docs/studies.md` says what each
measure is. At most 4,096 labels of train and 1,024 of dev, drawn by the stage's seed."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.measures import LABELS, measure, problems
from eval.measures import texts as words
from eval.measures.measure import Measures
from eval.prediction import measured_formats
from eval.prediction.forward import FloatArray, by_length, token_budget
from eval.prediction.measured_formats import MeasuredFormat, Sample, States
from eval.prediction.retrieval import pooled
from training import formats
from training.data.load import load_training
from training.data.parts import with_labels
from training.data.tokens import tokenizer_of
from training.formats.base import Example, Piece
from training.formats.batch import token_ids
from training.model.packing import Packed
from training.model.parent import Parent
from training.seeds import permutation, sub_seed
from training.spec import Runtime, TaskData, TrainSpec
from training.tasks import find


class Measuring:
    """The tasks of a train stage. `parent`: the start model; its tensors move to `device`. `between` is called before
    every batch and every step of a fit: what it raises ends one measure, InterruptedError all of them. `warn` is told
    of each that could not be had, and why."""

    def __init__(
        self,
        spec: TrainSpec,
        runtime: Runtime,
        parent: Parent,
        device: torch.device,
        between: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = print,
    ) -> None:
        self.spec, self.runtime, self.between, self.warn = spec, runtime, between, warn
        self.tokenizer = tokenizer_of(parent.folder, parent.tokenizer_hash)
        self.model = parent.model((), spec.settings, device)

    def tasks(self) -> Iterator[tuple[str, Measures]]:
        """Each task of the step, and what is known of it; one that trains several sources is one."""
        parts: dict[str, list[TaskData]] = defaultdict(list)
        for part in self.spec.parts:
            parts[part.head_name].append(part)
        for name, of_task in parts.items():
            yield name, self._measures(name, of_task)

    def _measures(self, name: str, parts: Sequence[TaskData]) -> Measures:
        loaded_parts = [load_training(part) for part in parts]
        train = [example for examples, _ in loaded_parts for example in examples]
        dev = [example for _, examples in loaded_parts for example in examples]
        task = with_labels(find(name), train)
        form, measures = measured_formats.get(task.format), {"examples": float(len(train))}
        if form is None:
            return measures
        samples = []
        for split, examples in (("train", train), ("dev", dev)):
            seed = sub_seed(self.spec.seed, "measures", name, split)
            sample = first_labels(form, [examples[at] for at in permutation(seed, len(examples))], LABELS[split])
            pieces = formats.get(task.format).encode(sample, self.tokenizer, task, self.spec.settings)
            samples.append(Sample(task, sample, pieces))
        ways: dict[str, Callable[[], Measures]] = {
            "its texts": lambda: self._of_texts(form, samples[0]),
            "its labels": lambda: _of_labels(form, *samples),
            "a bag of words": lambda: self._of_words(form, *samples),
            "a probe": lambda: self._of_probe(form, *samples),
        }
        for what, work in ways.items():
            try:
                measures |= work()
            except InterruptedError:
                raise
            except Exception as error:  # whatever it is: a training goes without
                reason = " ".join(str(error).split())[:200]
                self.warn(f"task {name}: {what} could not be measured ({type(error).__name__}: {reason})")
        return measures

    def _of_texts(self, form: MeasuredFormat, train: Sample) -> Measures:
        texts = [form.texts(example) for example in train.examples]
        lengths = iter(map(len, token_ids(self.tokenizer, [text for of_example in texts for text in of_example])))
        return measure.of_texts(texts, [sum(next(lengths) for _ in of_example) for of_example in texts])

    def _of_words(self, form: MeasuredFormat, train: Sample, dev: Sample) -> Measures:
        train_bags, dev_bags = form.bags(train), form.bags(dev)
        if not train_bags or not dev_bags:
            return {}
        columns = words.columns_of(train_bags)
        train_problem = form.of_words(train, words.counts(train_bags, columns))
        dev_problem = form.of_words(dev, words.counts(dev_bags, columns))
        return measure.of_words(_cut(train_problem, "train"), _cut(dev_problem, "dev"), self.between)

    def _of_probe(self, form: MeasuredFormat, train: Sample, dev: Sample) -> Measures:
        train_pieces, dev_pieces = form.probed_pieces(train), form.probed_pieces(dev)
        if form.states is None or not train_pieces or not dev_pieces:
            return {}
        name = train.task.format
        features = problems.standardised(
            self._states(name, form.states, train_pieces), self._states(name, form.states, dev_pieces)
        )
        pairs = zip(
            form.of_states(train, train_pieces, features[0]), form.of_states(dev, dev_pieces, features[1]), strict=True
        )
        return measure.of_probe([(_cut(ours, "train"), _cut(theirs, "dev")) for ours, theirs in pairs], self.between)

    def _states(self, form: str, states: States, pieces: Sequence[Piece]) -> FloatArray:
        """Of the last layer: (states, width), in the pieces' order. Of a row the mean over its tokens, `<s>` and `</s>`
        included, of length 1."""

        def forward(batch: Packed) -> Tensor:
            hidden: Tensor = self.model(batch)
            if states == "rows":
                return pooled(hidden, batch.layout, "mean")
            return (hidden if batch.reads is None else hidden.index_select(0, batch.reads)).float()

        def read(vectors: Tensor, batch: Sequence[Piece]) -> list[FloatArray]:
            ends = np.cumsum([_state_count(states, piece) for piece in batch])
            return np.split(vectors.cpu().numpy(), ends[:-1])

        budget = token_budget(self.model, self.runtime)
        return np.concatenate(by_length(self.model, form, pieces, budget, forward, read, self.between))


def _of_labels(form: MeasuredFormat, train: Sample, dev: Sample) -> Measures:
    train_labels, dev_labels = form.labels(train), form.labels(dev)
    if train_labels is None or dev_labels is None:
        return {}
    classes = len(train.task.labels)
    return measure.of_labels(train_labels[: LABELS["train"]], dev_labels[: LABELS["dev"]], classes)


def _state_count(states: States, piece: Piece) -> int:
    if states == "rows":
        return len(piece.rows)
    return len(piece.way_back if states == "words" else piece.rows[0])


def first_labels(form: MeasuredFormat, examples: Sequence[Example], most: int) -> list[Any]:
    """As many of the examples as have so many labels; the last one may have more."""
    sample: list[Any] = []
    labels = 0
    for example in examples:
        if labels >= most:
            break
        sample.append(example)
        labels += form.label_count(example)
    return sample


def _cut(problem: problems.Problem, split: str) -> problems.Problem:
    return problem.part(0, min(len(problem), LABELS[split]))
