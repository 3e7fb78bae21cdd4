"""The model of a stage: XLM-R's encoder and one head per train task; how both are read and handed on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from slurm.base import UserError
from slurm.base.files import copy_file, make_folder, read_json, to_json, write_atomic, write_file
from training.model import heads as head_kinds
from training.model.dropout import use_on_cpu
from training.model.packing import Packed
from training.model.xlmr import Encoder
from training.pretrained import check_folder, weight_files
from training.pretrained.config import encoder_config, handed_on
from training.pretrained.start import TOKENIZER_FILES, WEIGHTS, read_config
from training.spec import Settings
from training.tensors import read_hashed, read_tensors, tensors_hash, write_tensors

_HEAD = "of_"
_ENCODER = "roberta."
_LM_HEAD = "lm_head."  # as XLM-R's published checkpoints call it; the output embeddings are the input's
_LM_HEAD_PARTS = ("bias", "dense.bias", "dense.weight", "layer_norm.bias", "layer_norm.weight")
_LM_HEAD_FILE = "lm_head.safetensors"


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
    """An encoder and heads. With `bf16`, the forward pass runs in bf16 autocast; the weights are fp32 always."""

    def __init__(self, encoder: Encoder, heads: Mapping[str, nn.Module], *, bf16: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        # Behind a prefix: a task may be called what a module has for itself, such as `train`.
        self.heads = nn.ModuleDict({head_module(task): head for task, head in heads.items()})
        self.bf16 = bf16

    def forward(self, batch: Packed, head: str | None = None, layer: int | None = None) -> Tensor:
        """Logits of `head` for the tokens that it reads; else hidden states [tokens, width] of `layer` (None: the last;
        0: embeddings)."""
        # DeepSpeed switches autocast off around its engine's forward, so it is switched on in here.
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=self.bf16):
            hidden = self._hidden(batch, layer)
            if head is None:
                return hidden
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
        return self.encoder.embeddings.word_embeddings.weight  # type: ignore[return-value]

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


def load_encoder(folder: Path, dropout: float | None = None, attention_dropout: float | None = None) -> Encoder:
    """XLM-R from `folder` in fp32, without a pooler. The dropouts replace the config's, in the modules only.

    The config keeps its own values, so that what is saved later carries no setting of this stage.
    """
    check_folder(folder)
    with torch.device("meta"):
        encoder = Encoder(encoder_config(folder))
    encoder.load_state_dict(_encoder_tensors(folder, encoder.state_dict()), assign=True)
    _set_dropout(encoder, dropout, attention_dropout)
    use_on_cpu(encoder)
    return encoder.eval()


def _encoder_tensors(folder: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of these names and shapes from a model folder, in fp32. UserError where one is missing or another's.

    Checkpoints with a head call the encoder "roberta".
    """
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        by_name, _ = read_hashed(path, lambda name: name.removeprefix(_ENCODER) in wanted)
        tensors |= {name.removeprefix(_ENCODER): tensor.float() for name, tensor in by_name.items()}
    missing = sorted(wanted.keys() - tensors.keys())
    if missing:
        raise UserError(f"{folder}: the weights lack {missing[0]} and {len(missing) - 1} more; get them again.")
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            shapes = f"{list(tensors[name].shape)}, by config.json it is {list(tensor.shape)}"
            raise UserError(f"{folder}: the weights' {name} has shape {shapes}; get the model again.")
    return tensors


def _set_dropout(encoder: nn.Module, dropout: float | None, attention_dropout: float | None) -> None:
    of_attention = dropout if attention_dropout is None else attention_dropout
    for name, part in encoder.named_modules():
        probability = of_attention if name.endswith("attention.self.dropout") else dropout
        if isinstance(part, nn.Dropout) and probability is not None:
            part.p = probability


def check_fit(encoder: Encoder, tokenizer: Any, settings: Settings, folder: Path) -> None:
    """Raise a UserError where ids or positions would leave the embeddings."""
    config = encoder.config
    if len(tokenizer) > config.vocab_size:
        raise UserError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model only {config.vocab_size}.")
    longest = config.max_position_embeddings - config.pad_token_id - 1
    if settings.max_length > longest:
        raise UserError(
            f"max_length {settings.max_length} is more than the {longest} tokens that {folder} can read;"
            f" set max_length to {longest} or less."
        )


def head_dropout(encoder: Encoder, dropout: float | None) -> float:
    """The dropout of the heads: the setting, else the config's classifier_dropout, else its hidden_dropout_prob."""
    config = encoder.config
    candidates = (dropout, config.classifier_dropout, config.hidden_dropout_prob)
    return float(next(value for value in candidates if value is not None))


def encoder_state(encoder: nn.Module) -> dict[str, Tensor]:
    """The encoder's tensors by their names in a model folder."""
    return dict(encoder.state_dict())


def encoder_hash(source: Path | Mapping[str, Tensor]) -> str:
    """The hash of an encoder, in memory or as `save_encoder` wrote it."""
    return tensors_hash(read_tensors(source / WEIGHTS) if isinstance(source, Path) else source)


def save_encoder(state: Mapping[str, Tensor], parent: Path, folder: Path) -> None:
    """Write an encoder as an ordinary model folder: safetensors, and the parent's config and tokenizer.

    `AutoModel.from_pretrained` and `AutoTokenizer.from_pretrained` load it.
    """
    make_folder(folder)
    write_file(folder / "config.json", handed_on(read_config(parent)))
    for name in TOKENIZER_FILES:
        if (parent / name).is_file():
            copy_file(parent / name, folder / name)
    write_tensors(folder / WEIGHTS, state)


def lm_head_of(folder: Path) -> dict[str, Tensor]:
    """The language model's head that comes with a model: a stage's encoder brings it along, a published checkpoint has
    it among its weights. Empty where there is none."""
    if (folder / _LM_HEAD_FILE).is_file():
        return read_tensors(folder / _LM_HEAD_FILE)
    parts: dict[str, Tensor] = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name.startswith(_LM_HEAD)]  # noqa: SIM118 - not a mapping
            parts |= {name.removeprefix(_LM_HEAD): tensors.get_tensor(name).float() for name in names}
    return {name: parts[name].contiguous() for name in _LM_HEAD_PARTS} if parts.keys() >= set(_LM_HEAD_PARTS) else {}


def save_lm_head(state: Mapping[str, Tensor], folder: Path) -> None:
    """Keep it beside an encoder, so that a later step goes on with it."""
    if state:
        write_tensors(folder / _LM_HEAD_FILE, state)


def save_head(state: Mapping[str, Tensor], kind: HeadKind, folder: Path) -> None:
    """Write one head beside its description: `<task>.safetensors`, `<task>.json`."""
    make_folder(folder)
    write_tensors(folder / f"{kind.task}.safetensors", state)
    write_atomic(folder / f"{kind.task}.json", to_json(asdict(kind)))


def load_head(folder: Path, task: str) -> tuple[HeadKind, nn.Module]:
    """The head that `save_head` wrote."""
    try:
        record = read_json(folder / f"{task}.json")
        if record is None:
            raise UserError(f"{folder}: holds no head for {task!r}; train that step again.")
        kind = HeadKind(**record | {"labels": tuple(record["labels"])})
        head = head_kinds.build(kind.format, kind.outputs, kind.width, dropout=0.0)
        head.load_state_dict(read_tensors(folder / f"{task}.safetensors"))
    except (OSError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: the head for {task!r} does not load ({reason}); train again.") from error
    return kind, head


def use_bf16(settings: Settings, device: torch.device) -> bool:
    """Whether the forward pass runs in bf16: as the setting says; auto: on a GPU that has it (from Ampere on)."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def load_trained(
    encoder: Path, heads: Path | None, tasks: Sequence[str], settings: Settings, device: torch.device
) -> StageModel:
    """A model to evaluate: an encoder folder and the heads of `tasks` from a heads folder (retrieval: none)."""
    assert heads is not None or not tasks, tasks
    heads_by_task = {task: load_head(heads, task)[1] for task in tasks} if heads else {}
    model = StageModel(load_encoder(encoder), heads_by_task, bf16=use_bf16(settings, device))
    return model.to(device).eval()
