"""The model of a stage: an encoder (or a causal language model) and one head per train task; how both are handed on."""

import hashlib
import json
from collections.abc import Mapping, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slurm.base import UserError
from slurm.base.files import make_folder, read_json, to_json, write_file
from training.model import heads as head_kinds
from training.model.causal import CausalModel
from training.model.packing import Packed
from training.model.xlmr import Encoder
from training.pretrained.config import ModelConfig
from training.pretrained.start import WEIGHTS
from training.spec import Settings
from training.tensors import read_tensors, write_tensors

_HEAD = "of_"
LM_HEAD_FILE = "lm_head.safetensors"  # in the folder of a stage's encoder
PROJECTION_FILE = "text_projection.safetensors"  # there too; see `training.model.projection`


@dataclass(frozen=True)
class HeadKind:
    """What a head was trained for: enough to build it again and to know what its outputs mean.

    `outputs`: one per label; mlm: the size of the vocabulary.
    """

    task: str
    format: str
    labels: tuple[str, ...]
    width: int
    outputs: int


class StageModel(nn.Module):
    """An encoder and heads. With `bf16`, the forward pass runs in bf16 autocast; the weights are fp32 always.

    A causal language model takes the encoder's place, under heads without weights.
    """

    def __init__(self, encoder: Encoder | CausalModel, heads: Mapping[str, nn.Module], *, bf16: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        # Behind a prefix: a task may be called what a module has for itself, such as `train`.
        self.heads = nn.ModuleDict({head_module(task): head for task, head in heads.items()})
        self.bf16 = bf16

    def forward(self, batch: Packed, head: str | None = None, layer: int | None = None) -> Tensor:
        """Logits of `head` for the tokens that it reads; else hidden states [tokens, width] of `layer` (None: the last;
        0: embeddings). What a causal model says of a token is what it expects there: no row's first one is read."""
        # DeepSpeed switches autocast off around its engine's forward, so it is switched on in here.
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=self.bf16):
            hidden = self._hidden(batch, layer)
            if head is None:
                return hidden
            if isinstance(self.encoder, CausalModel):
                assert batch.reads is not None and isinstance(self.heads[head_module(head)], head_kinds.NextWordHead)
                return self.encoder.next_words(hidden.index_select(0, batch.reads - 1))
            logits = self._logits(head, hidden if batch.reads is None else hidden.index_select(0, batch.reads))
            return logits + self._nothing(head, hidden) if self.training else logits

    def every_layer(self, batch: Packed) -> tuple[Tensor, ...]:
        """The hidden states [tokens, width] of all layers, embeddings first."""
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=self.bf16):
            layers = self.encoder(batch.ids, batch.positions, batch.layout, every_layer=True)
        return tuple(states[0, : len(states[0]) - batch.filler] for states in layers)

    def _hidden(self, batch: Packed, layer: int | None) -> Tensor:
        (hidden,) = self.encoder(batch.ids, batch.positions, batch.layout, depth=layer)
        return hidden[0, : hidden.shape[1] - batch.filler]  # type: ignore[no-any-return]

    def _logits(self, head: str, hidden: Tensor) -> Tensor:
        module = self.heads[head_module(head)]
        if isinstance(module, head_kinds.LanguageModelHead):
            return module(hidden, self.word_embeddings)  # type: ignore[no-any-return]
        return module(hidden)  # type: ignore[no-any-return]

    @property
    def head_names(self) -> tuple[str, ...]:
        """The tasks whose heads the model has."""
        return tuple(module.removeprefix(_HEAD) for module in self.heads)

    @property
    def word_embeddings(self) -> nn.Parameter:
        """The encoder's, which a language model's head shares."""
        return self.encoder.word_embeddings.weight  # type: ignore[return-value]

    def _nothing(self, head: str, hidden: Tensor) -> Tensor:
        """Zero, through the other heads: every parameter gets a gradient in every step of a mixture.

        Else ZeRO stages would differ: a flat partition updates a head without a gradient, plain Adam leaves it out.
        """
        total = hidden.new_zeros((), dtype=torch.float32)
        for name in self.head_names:
            if name != head:
                total = total + 0.0 * self._logits(name, hidden[:1]).float().sum()
        return total

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def head_module(task: str) -> str:
    """What a task's head is called among a model's modules."""
    return _HEAD + task


def check_fit(config: ModelConfig, tokenizer: Sized, settings: Settings, folder: Path) -> None:
    """Raise a UserError where ids or positions would leave the embeddings."""
    if len(tokenizer) > config.vocab_size:
        raise UserError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model only {config.vocab_size}.")
    if config.longest is not None and settings.max_length > config.longest:
        raise UserError(
            f"max_length {settings.max_length} is more than the {config.longest} tokens that {folder} can read;"
            f" set max_length to {config.longest} or less."
        )


def head_dropout(encoder: Encoder, dropout: float | None) -> float:
    """The dropout of the heads: the setting, else the config's classifier_dropout, else its hidden_dropout_prob."""
    config = encoder.config
    candidates = (dropout, config.classifier_dropout, config.hidden_dropout_prob)
    return float(next(value for value in candidates if value is not None))


FilesWritten = dict[str, dict[str, Any]]  # size and SHA-256 by name


def save_encoder(
    state: Mapping[str, Tensor],
    lm_head: Mapping[str, Tensor],
    config: str,
    tokenizer: Mapping[str, bytes],
    folder: Path,
    projection: Mapping[str, Tensor] | None = None,
) -> FilesWritten:
    """Write an encoder as an ordinary model folder: safetensors, config and tokenizer.

    `AutoModel.from_pretrained` and `AutoTokenizer.from_pretrained` load it. Kept beside it for what comes after:
    `lm_head`, a language model's head, and `projection`, an AltCLIP's; both may be empty. Every file is hashed as it
    is written.
    """
    make_folder(folder)
    texts = {"config.json": config.encode(), **tokenizer}
    files = {name: _written(folder / name, content) for name, content in texts.items()}
    files[WEIGHTS] = write_tensors(folder / WEIGHTS, state)
    if lm_head:
        files[LM_HEAD_FILE] = write_tensors(folder / LM_HEAD_FILE, lm_head)
    if projection:
        files[PROJECTION_FILE] = write_tensors(folder / PROJECTION_FILE, projection)
    return files


def save_head(state: Mapping[str, Tensor], kind: HeadKind, folder: Path) -> FilesWritten:
    """Write one head beside its description: `<task>.safetensors`, `<task>.json`."""
    make_folder(folder)
    weights, description = f"{kind.task}.safetensors", f"{kind.task}.json"
    return {
        weights: write_tensors(folder / weights, state),
        description: _written(folder / description, to_json(asdict(kind))),
    }


def _written(path: Path, content: bytes) -> dict[str, Any]:
    write_file(path, content)
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def load_head(folder: Path, task: str) -> tuple[HeadKind, nn.Module]:
    """The head that `save_head` wrote."""
    try:
        record = read_json(folder / f"{task}.json")
        if record is None:
            raise UserError(f"{folder}: holds no head for {task!r}; train that step again.")
        kind = HeadKind(**record | {"labels": tuple(record["labels"])})
        head = head_of(kind, read_tensors(folder / f"{task}.safetensors"))
    except (OSError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: the head for {task!r} does not load ({reason}); train again.") from error
    return kind, head


def head_of(kind: HeadKind, state: Mapping[str, Tensor]) -> nn.Module:
    """A trained head; one without weights is a causal language model's."""
    if not state:
        return head_kinds.NextWordHead()
    head = head_kinds.build(kind.format, kind.outputs, kind.width, dropout=0.0)
    head.load_state_dict(state)
    return head


def use_bf16(settings: Settings, device: torch.device) -> bool:
    """Whether the forward pass runs in bf16: as the setting says; auto: on a GPU that has it (from Ampere on)."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
