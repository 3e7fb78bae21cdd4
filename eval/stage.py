"""One evaluate stage: a trained encoder (and head) on a target, language by language."""

from pathlib import Path

import torch

from eval import predict, retrieval
from eval.predict import LanguageResult
from training import catalogue
from training.model import check_fit, load_tokenizer, load_trained
from training.sources import load_language
from training.spec import EvaluateSpec, Runtime


class EvaluateStage:
    """A model loaded once for all languages of a target. `heads` is None for retrieval, which has no head."""

    def __init__(
        self, spec: EvaluateSpec, runtime: Runtime, encoder: Path, heads: Path | None, device: torch.device
    ) -> None:
        self.spec = spec
        self.runtime = runtime
        self.task = catalogue.find(spec.target)
        self.tokenizer = load_tokenizer(encoder)
        wanted = (spec.head,) if spec.head else ()
        self.model = load_trained(encoder, heads if spec.head else None, wanted, spec.settings, device)
        check_fit(self.model.encoder, self.tokenizer, spec.settings, encoder)

    def language(self, code: str) -> LanguageResult:
        """Predictions and scores (in percent) of one language. UserError where its data does not load."""
        examples = load_language(self.task, code, self.spec.languages[code], self.spec.max_eval)
        if self.spec.head is None:
            return retrieval.evaluate_language(
                self.model, self.task, code, examples, self.tokenizer, self.spec.settings, self.runtime
            )
        return predict.evaluate_language(
            self.model, self.task, self.spec.head, code, examples, self.tokenizer, self.spec.settings, self.runtime
        )
