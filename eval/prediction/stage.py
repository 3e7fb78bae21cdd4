"""One evaluate stage: a trained encoder (and head) on a target. Languages that share a head are predicted together."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from eval.prediction import mining, predict, retrieval
from eval.prediction.answers import Answers
from eval.prediction.demonstrations import Demonstrations
from eval.prediction.forward import token_budget
from eval.prediction.image_text import ImageText
from eval.prediction.predict import Encoded, LanguageResult
from slurm.base import UserError
from training import formats
from training.data.load import load_language
from training.data.tokens import tokenizer_of
from training.model.encoder import check_fit
from training.model.parent import LANGUAGE_MODEL, Parent
from training.spec import EvaluateSpec, Runtime
from training.stopwatch import phase
from training.tasks import catalogue

if TYPE_CHECKING:
    from eval.prediction.alignment import Alignment

_HEADLESS = {"retrieval": retrieval.evaluate_language, "mining": mining.evaluate_language}
_BATCHES = 32  # languages are joined until they fill so many: the rest of the last batch weighs little then


class EvaluateStage:
    """A model for all languages of a target."""

    def __init__(self, spec: EvaluateSpec, runtime: Runtime, parent: Parent, device: torch.device) -> None:
        self.spec = spec
        self.runtime = runtime
        self.task = catalogue.find(spec.target)
        self.tokenizer = tokenizer_of(parent.folder, parent.tokenizer_hash)
        self.form = formats.get(self.task.format)
        self.head = LANGUAGE_MODEL if self.form.is_prompted else spec.head
        if self.form.is_prompted:
            self.model = parent.language_model(spec.settings, device)
        else:
            self.model = parent.model((spec.head,) if spec.head else (), spec.settings, device)
        check_fit(parent.config, self.tokenizer, spec.settings, parent.folder)
        self.demonstrations = (
            Demonstrations(self.model, self.task, self.tokenizer, spec, runtime) if spec.demonstrations else None
        )
        if not self.form.has_head:
            retrieval.chosen_layer(self.model, spec.settings)
        self.keeper = self._keeper(parent)

    def _keeper(self, parent: Parent) -> "Answers | Alignment | ImageText | None":
        """What keeps vectors from one language to the next, where there is reason to."""
        settings, runtime = self.spec.settings, self.runtime
        if self.form.name == "parallel":
            from eval.prediction.alignment import Alignment  # brings scipy, which other jobs do without

            return Alignment(self.model, self.task, self.tokenizer, settings, runtime)
        if self.form.needs_projection:
            return ImageText(self.model, parent, self.task, self.tokenizer, settings, runtime)
        if self.form.has_head and self.form.compares_examples:
            assert self.spec.head is not None, self.spec.target
            return Answers(self.model, self.task, self.spec.head, self.tokenizer, settings, runtime)
        return None

    def languages(
        self, codes: Sequence[str], between: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, LanguageResult]]:
        """Predictions and scores (in percent) of each language, as soon as there are some.

        `between` is called now and then, never while results wait to be taken; what it raises ends the work. UserError
        where a language's data is not usable, after all others.
        """
        errors: list[UserError] = []
        one_by_one = self.form.compares_examples or self.form.generates
        evaluate = self._one_by_one if one_by_one else self._together
        yield from evaluate(codes, between, errors)
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise UserError(f"{errors[0]}{more}")

    def _one_by_one(
        self, codes: Sequence[str], between: Callable[[], None], errors: list[UserError]
    ) -> Iterator[tuple[str, LanguageResult]]:
        for code in codes:
            between()
            started_at = time.monotonic()
            try:
                result = self._language(code, between)
            except UserError as error:
                errors.append(_named(code, error))
                continue
            yield code, replace(result, seconds=time.monotonic() - started_at)

    def _language(self, code: str, between: Callable[[], None]) -> LanguageResult:
        examples = self._examples(code)
        if self.keeper is not None:
            return self.keeper.language(code, examples)
        told = self.model, self.task, code, examples, self.tokenizer, self.spec.settings, self.runtime
        if self.form.generates:
            from eval.prediction import written  # brings transformers

            return written.evaluate_language(*told, between)
        return _HEADLESS[self.form.name](*told)

    def _together(
        self, codes: Sequence[str], between: Callable[[], None], errors: list[UserError]
    ) -> Iterator[tuple[str, LanguageResult]]:
        assert self.head is not None, self.spec.target
        head, settings = self.head, self.spec.settings
        for group in self._groups(codes, between, errors):
            results = predict.evaluate_languages(self.model, self.task, head, group, settings, self.runtime, between)
            yield from zip((language.language for language in group), results, strict=True)

    def _groups(
        self, codes: Sequence[str], between: Callable[[], None], errors: list[UserError]
    ) -> Iterator[list[Encoded]]:
        """The languages that are usable, as many at a time as make some dozen full batches."""
        enough = _BATCHES * token_budget(self.model, self.runtime)
        group: list[Encoded] = []
        for code in codes:
            between()
            try:
                group.append(self._encoded(code))
            except UserError as error:
                errors.append(_named(code, error))
            if sum(language.tokens for language in group) >= enough:
                yield group
                group = []
        if group:
            yield group

    def _encoded(self, code: str) -> Encoded:
        started_at = time.monotonic()
        examples, settings = self._examples(code), self.spec.settings
        if self.demonstrations:
            of_language = predict.encoded_as(code, examples, self.demonstrations.pieces(examples))
        else:
            of_language = predict.encoded(self.task, code, examples, self.tokenizer, settings)
        return replace(of_language, seconds=time.monotonic() - started_at)

    @phase("tokenise")
    def _examples(self, code: str) -> Sequence[Any]:
        spec, split = self.spec, self.spec.languages[code]
        return load_language(self.task, code, split, spec.max_eval, skip_bad_rows=spec.skip_bad_rows)


def _named(code: str, error: UserError) -> UserError:
    return UserError(f"language {code}: {error}")
