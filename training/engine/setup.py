"""What a train stage starts from: its data, its order of steps, and the parent's encoder with a head per task."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from slurm.base import UserError
from slurm.base.files import to_json
from training import formats
from training.data.parts import Part, load_part
from training.data.sampling import mix_of
from training.data.tokens import tokenizer_of
from training.engine.batches import Order
from training.model import heads
from training.model.causal import CausalModel
from training.model.encoder import (
    HeadKind,
    StageModel,
    check_fit,
    head_dropout,
)
from training.model.parent import Parent
from training.model.vocabulary import CompactEmbedding, used_ids
from training.model.xlmr import Encoder, Intermediate, Residual
from training.pretrained.config import ModelConfig
from training.pretrained.tokenizer import Tokenizer
from training.seeds import sub_seed
from training.spec import TrainSpec, to_record
from training.stopwatch import phase

# Settings that training does not read, and that checkpoints made before there were any do not know.
_EVALUATION_ONLY = ("candidate_text",)


@dataclass
class StageModelParts:
    """The pieces of a train stage, before anything is trained."""

    spec: TrainSpec
    parent: Parent
    tokenizer: Tokenizer
    encoder: Encoder | CausalModel
    parts: list[Part]
    kinds: list[HeadKind]  # one per head

    @cached_property
    def identity(self) -> str:
        """What a checkpoint belongs to: the stage's meaning, not where its files lie."""
        record = _without_paths(to_record(self.spec))
        for name in _EVALUATION_ONLY:
            del record["settings"][name]
        meaning = {"spec": record, "parent": self.parent.encoder_hash}
        return hashlib.sha256(to_json(meaning)).hexdigest()

    @cached_property
    def order(self) -> Order:
        settings = self.spec.settings
        return Order(
            [len(part.ids) for part in self.parts],
            batch=settings.global_batch_size,
            epochs=settings.epochs,
            mix=mix_of(settings),
            seed=self.spec.seed,
            heads=[part.head.name for part in self.parts],
            languages={number: part.languages for number, part in enumerate(self.parts) if part.languages},
        )

    @property
    def needs_all_words(self) -> bool:
        """Whether a head compares with the whole vocabulary."""
        return any(formats.get(kind.format).is_language_model for kind in self.kinds)

    def used_ids(self) -> NDArray[np.int64]:
        """The tokens that occur in train or English dev, and the special ones, sorted."""
        values = (values_of_piece for part in self.parts for values_of_piece in part.token_values())
        return used_ids(values, self.tokenizer.all_special_ids, self.encoder.config.vocab_size)

    def model(self, ids: NDArray[np.int64] | None, *, bf16: bool) -> tuple[StageModel, Tensor]:
        """The model with fresh heads, and the parent's word embeddings [vocabulary, width]. `ids`: the compact
        vocabulary; None: all rows are trained."""
        table = self.encoder.word_embeddings
        if ids is not None:
            assert isinstance(self.encoder, Encoder), "a causal model trains all words"
            self.encoder.embeddings.word_embeddings = CompactEmbedding(table, ids)  # type: ignore[assignment]
        return StageModel(self.encoder, self._fresh_heads(), bf16=bf16), table.weight.detach()

    def _fresh_heads(self) -> dict[str, nn.Module]:
        if isinstance(self.encoder, CausalModel):
            return {kind.task: heads.NextWordHead() for kind in self.kinds}
        dropout = head_dropout(self.encoder, self.spec.settings.dropout)
        seed = self.spec.seed
        fresh_heads = {
            kind.task: heads.fresh(kind.format, kind.outputs, kind.width, dropout, seed, kind.task)
            for kind in self.kinds
        }
        for head in fresh_heads.values():
            # A language model's head goes on with the parent's values, where it has any.
            if isinstance(head, heads.LanguageModelHead) and self.parent.lm_head:
                head.load_state_dict(self.parent.lm_head)
        return fresh_heads


@phase("load")
def read(spec: TrainSpec, parent: Parent) -> StageModelParts:
    """Read the data for a training that takes the parent's encoder. UserError where they do not fit."""
    settings = spec.settings
    tokenizer = tokenizer_of(parent.folder, parent.tokenizer_hash)
    parts = [load_part(data, tokenizer, settings) for data in spec.parts]
    check_fit(parent.config, tokenizer, settings, parent.folder)
    if parent.is_causal:
        _check_heads(parts, parent.folder)
    kinds = list({part.head.name: _head_kind(part, parent.config) for part in parts}.values())
    encoder = parent.take_encoder(settings.dropout, settings.attention_dropout)
    return StageModelParts(spec, parent, tokenizer, encoder, parts, kinds)


def _check_heads(parts: Sequence[Part], folder: Path) -> None:
    for part in parts:
        if not part.form.is_prompted:
            raise UserError(
                f"task {part.task.name}: {folder} is a causal language model, which is trained on prompts only; say"
                " `{like: " + part.task.name + ", mode: prompt}`, or choose an XLM-R as `model:`."
            )


def compile_layers(encoder: Encoder | CausalModel) -> None:
    """torch.compile what stands around attention: its own inputs differ too much from batch to batch. Of a causal
    language model nothing."""
    for part in encoder.modules():
        if isinstance(part, Residual | Intermediate):
            part.compile(dynamic=True)


def dropout_seed(seed: int, step: int, micro: int) -> int:
    """What dropout is drawn from in one forward pass."""
    return sub_seed(seed, "dropout", step, micro)


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _head_kind(part: Part, config: ModelConfig) -> HeadKind:
    head = part.head
    outputs = config.vocab_size if formats.get(head.format).is_language_model else len(head.labels)
    return HeadKind(head.name, head.format, head.labels, config.hidden_size, outputs)


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(inner) for key, inner in value.items() if key != "path"}
    if isinstance(value, list | tuple):
        return [_without_paths(inner) for inner in value]
    return value
