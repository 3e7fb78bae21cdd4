"""Ranking answers, and evaluate stages of every kind of retrieval, on real data with a tiny model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval import metrics
from eval.prediction.answers import Answers
from eval.prediction.stage import EvaluateStage
from slurm.base import UserError
from tests.eval.one_language import evaluate_language
from training import formats
from training.data import load, locate
from training.formats.dual_example import Example
from training.model import encoder, heads
from training.model.packing import pack
from training.model.parent import read_parent
from training.pretrained import load_tokenizer
from training.spec import EvaluateSpec, Runtime, Settings
from training.tasks import find

CPU = torch.device("cpu")
LAREQA, SQUAD = find("lareqa"), find("squad_retrieval")
HOW = Settings(max_length=64, max_query_length=32)


@pytest.fixture(scope="module")
def head_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh head of squad_retrieval for the tiny model."""
    folder = tmp_path_factory.mktemp("heads")
    head = heads.fresh("dual_encoder", 0, 32, 0.0, 1, SQUAD.name)
    encoder.save_head(head.state_dict(), encoder.HeadKind(SQUAD.name, "dual_encoder", (), 32, 0), folder)
    return folder


class Counting(Answers):
    """Counts what is embedded."""

    embedded: int = 0

    def _embed(self, examples: Sequence[Example]) -> Any:
        self.embedded += len(examples)
        return super()._embed(examples)


@pytest.mark.slow
def test_answers_are_ranked_by_the_heads_dot_product(shared_data: Path, tiny_model: Path, head_folder: Path) -> None:
    loaded, tokenizer = (
        read_parent(tiny_model, head_folder).model((SQUAD.name,), HOW, CPU),
        load_tokenizer(tiny_model),
    )
    splits = locate.find_languages(LAREQA, shared_data, ["de", "zh"]).found
    by_language = {code: load.load_language(LAREQA, code, split, 2) for code, split in splits.items()}
    answers = Counting(loaded, LAREQA, SQUAD.name, tokenizer, HOW, Runtime(eval_token_budget=400))
    found = {code: answers.language(code, examples) for code, examples in by_language.items()}
    pool = [example for example in by_language["de"] if not example.question]
    assert answers.embedded == len(pool) + 2 + 2, "the pool is embedded once"
    form = formats.get("dual_encoder")

    def vector(example: Any) -> np.ndarray[Any, Any]:
        (piece,) = form.encode([example], tokenizer, LAREQA, HOW)
        with torch.no_grad():
            made: torch.Tensor = loaded(pack([piece], [0]), SQUAD.name)[0]
        return made.numpy()

    candidates = np.stack([vector(candidate) for candidate in pool])
    for code, result in found.items():
        questions = [example for example in by_language[code] if example.question]
        assert [record["id"] for record in result.predictions] == [question.id for question in questions]
        for question, record in zip(questions, result.predictions, strict=True):
            scores = {c.candidate: s for c, s in zip(pool, candidates @ vector(question), strict=True)}
            assert len(record["prediction"]) == 20 and record["gold"] == list(question.right)
            mine = [scores[name] for name in record["prediction"]]
            np.testing.assert_allclose(mine, sorted(scores.values(), reverse=True)[:20], rtol=1e-3)
        golds, predictions = ([record[key] for record in result.predictions] for key in ("gold", "prediction"))
        assert result.scores == metrics.score("map20", golds, predictions, code)
    with pytest.raises(UserError, match=r"target lareqa: de has 0 questions and \d+ candidates"):
        answers.language("de", pool)


@pytest.mark.slow
def test_english_dev_is_scored_by_reciprocal_rank(shared_data: Path, tiny_model: Path, head_folder: Path) -> None:
    loaded = read_parent(tiny_model, head_folder).model((SQUAD.name,), HOW, CPU)
    _, dev = load.load_training(locate.find_training(SQUAD, shared_data, 1, 12))
    tokenizer = load_tokenizer(tiny_model)
    found = evaluate_language(loaded, SQUAD, SQUAD.name, "en", dev, tokenizer, HOW, Runtime())
    assert set(found.scores) == {"mrr@20"}
    names = {example.candidate for example in dev if isinstance(example, Example)}
    assert all(set(record["prediction"]) == names for record in found.predictions)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "head", "language", "metric", "records"),
    [
        ("lareqa", "squad_retrieval", "hi", "map@20", 5),
        ("bucc", None, "zh", "f1_dev", None),
        ("tatoeba", None, "sw", "accuracy", 5),
    ],
)
def test_a_stage_evaluates_each_kind(
    target: str,
    head: str | None,
    language: str,
    metric: str,
    records: int | None,
    shared_data: Path,
    tiny_model: Path,
    head_folder: Path,
) -> None:
    task = find(target)
    split = locate.find_languages(task, shared_data, [language]).found[language]
    spec = EvaluateSpec(target, head, {language: split}, HOW, max_eval=5)
    ((code, found),) = EvaluateStage(spec, Runtime(), read_parent(tiny_model, head_folder), CPU).languages([language])
    assert code == language
    assert metric in found.scores and all(0 <= score <= 100 for score in found.scores.values())
    assert records is None or len(found.predictions) == records
