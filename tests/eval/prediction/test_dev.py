"""English dev under all metrics, of every format: from one forward pass, and as worked out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.metrics.calibration import calibration_error
from eval.prediction import dev as english_dev
from eval.prediction.dev import Dev
from eval.prediction.predict import LanguageResult
from tests.training import stage_data
from training import formats
from training.checkpoints.progress import TaskMetrics
from training.data.parts import load_part
from training.formats.base import IGNORED
from training.model import heads
from training.model.encoder import StageModel
from training.model.packing import pack
from training.model.parent import read_parent
from training.pretrained.tokenizer import Tokenizer
from training.spec import Runtime, Settings
from training.tasks import find

pytestmark = pytest.mark.slow
SETTINGS = Settings(max_length=24, max_query_length=8, doc_stride=8)
RUNTIME = Runtime(device="cpu", eval_token_budget=200)
LABELS = {"accuracy", "macro_f1", "micro_f1", "mcc", "calibration_error", "loss"}
NAMES = {
    "mnli": LABELS,
    "panx": LABELS | {"f1", "precision", "recall"},
    "copa": {"accuracy", "calibration_error", "loss"},
    "squad": {"f1", "exact_match", "f1_corrected", "exact_match_corrected", "calibration_error", "loss"},
    "mlm": {"accuracy", "loss"},
    "squad_retrieval": {"mrr@20", "loss"},
}


class Scored:
    """A part's dev under a model with fresh heads, whose weights are larger than usual so that predictions differ."""

    def __init__(self, name: str, folder: Path, model_folder: Path) -> None:
        self.tokenizer, encoder = Tokenizer(model_folder), read_parent(model_folder).encoder()
        self.part = load_part(stage_data.task_data(folder, name), self.tokenizer, SETTINGS)
        task = self.part.task
        outputs = encoder.config.vocab_size if self.part.form.is_language_model else len(task.labels)
        head = heads.fresh(task.format, outputs, encoder.config.hidden_size, 0.1, 1, name)
        for name_of_weights, weights in head.named_parameters():
            weights.data *= 1 if name_of_weights == "scale" else 20
        self.model = StageModel(encoder, {name: head}).train()
        self.name, self.passes = name, 0

    def evaluate(self) -> tuple[LanguageResult, TaskMetrics]:
        examples = english_dev._encoded_dev(self.part, self.tokenizer, SETTINGS)
        self.pieces = examples.pieces
        return english_dev.evaluate(self.model, Dev(self.part.task, self.name, examples), SETTINGS, RUNTIME)

    def logits(self) -> torch.Tensor:
        """Of all pieces at once."""
        packed = pack(self.pieces, heads.reads(self.part.task.format, self.pieces))
        with torch.no_grad():
            return self.model.eval()(packed, self.name)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_data.write(tmp_path_factory.mktemp("data"), dev=21)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_of_a_format_and_no_other(
    name: str, data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = Scored(name, data, tiny_model)
    passes: list[int] = []
    real = english_dev.predict.head_outputs
    monkeypatch.setattr(english_dev.predict, "head_outputs", lambda *told: passes.append(1) or real(*told))
    result, task_metrics = scored.evaluate()
    assert len(passes) == 1 and scored.model.training
    assert (task_metrics.task, task_metrics.head) == (name, name)
    assert task_metrics.metrics.keys() == NAMES[name]
    assert next(iter(task_metrics.metrics)) == find(name).metric  # the primary one first
    assert result.scores.items() <= task_metrics.metrics.items()
    # The loss is training's: the sum of all pieces' terms over their number.
    form, pieces = scored.part.form, scored.pieces
    total = heads.loss(form.name, scored.logits(), pieces, SETTINGS.contrast_size)
    expected = float(total) / sum(form.count(piece) for piece in pieces)
    assert task_metrics.metrics["loss"] == pytest.approx(expected, rel=1e-4)


def test_the_confidence_of_labels_is_their_softmax(data: Path, tiny_model: Path) -> None:
    scored = Scored("panx", data, tiny_model)
    result, task_metrics = scored.evaluate()
    probabilities = torch.softmax(scored.logits().double(), dim=-1)
    words = [tag for row in result.predictions for tag in row["prediction"]]
    golds = [tag for row in result.predictions for tag in row["gold"]]
    labels = [scored.part.task.labels[number] for number in probabilities.argmax(dim=-1).tolist()]
    assert words == labels and len(golds) == len(words)
    right = np.array([gold == word for gold, word in zip(golds, words, strict=True)])
    assert 0 < right.sum() < len(right)
    expected = calibration_error(probabilities.amax(dim=-1).numpy(), right)
    assert task_metrics.metrics["calibration_error"] == pytest.approx(expected, abs=1e-3)


def test_the_confidence_of_an_answer_is_that_of_its_start_and_its_end(data: Path, tiny_model: Path) -> None:
    scored = Scored("squad", data, tiny_model)
    result, _ = scored.evaluate()
    part, pieces = scored.part, scored.pieces
    assert len(pieces) > len(part.dev_examples)  # several windows
    rows = [len(piece.rows[0]) for piece in pieces]
    outputs = [logits.numpy() for logits in torch.split(scored.logits(), rows)]
    confidences = part.form.confidences(part.dev_examples, pieces, outputs, part.task, SETTINGS)
    assert confidences is not None and len(confidences) == len(part.dev_examples)
    for number, (example, confidence) in enumerate(zip(part.dev_examples, confidences, strict=True)):
        of_example = [index for index, piece in enumerate(pieces) if piece.example == number]
        products: list[float] = []
        for index in of_example:
            starts, ends = torch.softmax(torch.from_numpy(outputs[index]).double(), dim=0).T
            products += [float(start * end) for start in starts for end in ends]
        # Among all products of a start and an end in some window is that of the span which was predicted.
        assert min(abs(product / confidence - 1) for product in products) < 1e-4
        assert 0 < confidence < 1 and result.predictions[number]["id"] == example.id


def test_an_answer_that_may_not_be_there_has_no_confidence() -> None:
    form, task = formats.get("span"), find("squad_v2")
    assert form.confidences([], [], [], task, SETTINGS) is None


def test_a_language_models_loss_is_kept_with_its_best_tokens(data: Path, tiny_model: Path) -> None:
    scored = Scored("mlm", data, tiny_model)
    scored.evaluate()
    logits, pieces = scored.logits(), scored.pieces
    outputs: list[Any] = heads.unbatch("mlm", logits, pieces)
    assert [output.shape for output in outputs] == [
        (sum(token != IGNORED for token in piece.target), 2) for piece in pieces
    ]
    joined = np.concatenate(outputs)
    assert joined[:, 0].tolist() == logits.argmax(dim=-1).tolist()
    right = torch.tensor([token for piece in pieces for token in piece.target if token != IGNORED])
    np.testing.assert_allclose(joined[:, 1], torch.nn.functional.cross_entropy(logits, right, reduction="none"), 1e-5)
