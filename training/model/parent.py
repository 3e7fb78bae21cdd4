"""What a stage starts from, held in memory: a model folder's content, read once, or what this process has just trained.

Both are the same bit for bit: what was trained is what its folder holds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from slurm.base import UserError
from training.model import causal
from training.model import projection as projections
from training.model.causal import CausalModel
from training.model.dropout import use_on_cpu
from training.model.encoder import (
    LM_HEAD_FILE,
    PROJECTION_FILE,
    HeadKind,
    StageModel,
    head_of,
    load_head,
    use_bf16,
)
from training.model.xlmr import Encoder
from training.pretrained import check_folder, tokenizer_hash, weight_files
from training.pretrained.altclip import PROJECTION
from training.pretrained.causal import CausalConfig
from training.pretrained.config import ModelConfig, model_config
from training.pretrained.start import name_in_encoder
from training.spec import Settings
from training.tensors import PassingHash, read_hashed, read_passing, tensors_hash

LANGUAGE_MODEL = "mlm"  # the task whose head comes with a model
_LM_HEAD = "lm_head."  # as XLM-R's published checkpoints call it; the output embeddings are the input's
_LM_HEAD_PARTS = ("bias", "dense.bias", "dense.weight", "layer_norm.bias", "layer_norm.weight")
_BESIDE_ENCODER = frozenset((*PROJECTION, *(_LM_HEAD + part for part in _LM_HEAD_PARTS)))


@dataclass(frozen=True)
class TrainedHead:
    """One head, as `training.model.encoder.save_head` wrote it."""

    kind: HeadKind
    state: dict[str, Tensor]


@dataclass
class Parent:
    """A model, for the stages under it: an encoder, or a causal language model, which is called one too.

    `folder` is the encoder's: its config and its tokenizer are read there.

    `tensors`: the encoder's by their names in a model folder, fp32; empty once a training has taken them. They are in
    one place: on the CPU, until a stage evaluates them on a GPU.
    `lm_head`: the language model's head that comes with it; empty: it has none. `projection`: AltCLIP's, likewise.
    `heads`: those trained in this process; the others lie in `heads_folder`. `sha256`: see `read_parent`.
    """

    folder: Path
    config: ModelConfig
    tensors: dict[str, Tensor]
    tokenizer_hash: str  # as `training.pretrained.start.tokenizer_hash` has it
    lm_head: Mapping[str, Tensor] = field(default_factory=dict)
    heads_folder: Path | None = None
    heads: Mapping[str, TrainedHead] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    known_hash: str | None = None  # the encoder's, where it was worked out before
    projection: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def encoder_hash(self) -> str:
        """See `training.tensors.tensors_hash`."""
        if self.known_hash is None:
            self.known_hash = tensors_hash(self.tensors)
        return self.known_hash

    def move(self, device: torch.device) -> None:
        """Have the tensors on a device, and nowhere else: a second copy would be memory that nobody reads."""
        for name in self.tensors:
            self.tensors[name] = self.tensors[name].to(device)

    @property
    def is_causal(self) -> bool:
        return isinstance(self.config, CausalConfig)

    def encoder(self, dropout: float | None = None, attention_dropout: float | None = None) -> Encoder | CausalModel:
        """The encoder on these very tensors, in evaluation. The dropouts replace the config's, in the modules only:
        what is saved later carries no setting of this stage."""
        assert self.tensors, "a training has taken them"
        if isinstance(self.config, CausalConfig):
            return CausalModel(self.config, self.tensors, dropout, attention_dropout).eval()
        with torch.device("meta"):
            encoder = Encoder(self.config)
        encoder.load_state_dict(self.tensors, assign=True)
        _set_dropout(encoder, dropout, attention_dropout)
        use_on_cpu(encoder)
        return encoder.eval()

    def take_encoder(
        self, dropout: float | None = None, attention_dropout: float | None = None
    ) -> Encoder | CausalModel:
        """The same on the CPU for a training, which changes the tensors: nobody else can have them then."""
        self.move(torch.device("cpu"))
        encoder = self.encoder(dropout, attention_dropout)
        self.known_hash = self.encoder_hash  # which nobody could work out any more
        self.tensors = {}
        return encoder

    def head(self, task: str) -> nn.Module:
        """The trained head of a task. UserError where there is none."""
        if task in self.heads:
            return head_of(self.heads[task].kind, self.heads[task].state)
        assert self.heads_folder is not None, task
        return load_head(self.heads_folder, task)[1]

    def model(self, tasks: Sequence[str], settings: Settings, device: torch.device) -> StageModel:
        """A model to evaluate, with the heads of `tasks` (retrieval: none). The tensors move to its device."""
        self.move(device)
        heads = {task: self.head(task) for task in tasks}
        return StageModel(self.encoder(), heads, bf16=use_bf16(settings, device)).to(device).eval()

    def language_model(self, settings: Settings, device: torch.device) -> StageModel:
        """A model to evaluate whose one head, `LANGUAGE_MODEL`, is the language model's that came with it, of a causal
        model its own last layer. UserError where none did. The tensors move to its device."""
        if not self.is_causal and not self.lm_head:
            raise UserError(
                f"{self.folder}: has no masked language model's head (lm_head.*), which prompts need; take a model that"
                " has one, or train `mlm` first."
            )
        self.move(device)
        kind = HeadKind(LANGUAGE_MODEL, "mlm", (), self.config.hidden_size, self.config.vocab_size)
        head = head_of(kind, self.lm_head)
        model = StageModel(self.encoder(), {LANGUAGE_MODEL: head}, bf16=use_bf16(settings, device))
        return model.to(device).eval()


def read_parent(folder: Path, heads: Path | None = None, known_hash: str | None = None) -> Parent:
    """Read a model folder: what is needed of its weights, once. `heads`: the folder of the heads trained with it.

    `known_hash`: the encoder's, where whoever wrote the folder has said it: then the files are hashed on the way, every
    byte of them (`sha256`, by their names in the folder), else the encoder is. UserError where something is missing,
    torn or of another shape than the config's.
    """
    check_folder(folder)
    config = model_config(folder)
    if isinstance(config, CausalConfig):
        return _read_causal(folder, config, heads, known_hash)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Encoder(config).state_dict().items()}
    tensors: dict[str, Tensor] = {}
    lm_head: dict[str, Tensor] = {}
    projection: dict[str, Tensor] = {}
    sha256: dict[str, str] = {}

    def is_needed(name: str) -> bool:
        return name_in_encoder(name) in shapes or name in _BESIDE_ENCODER

    def name_in_hash(name: str) -> str | None:
        own_name = name_in_encoder(name)
        return own_name if own_name in shapes else None

    passing = PassingHash(name_in_hash)

    def read(path: Path, is_needed: Callable[[str], bool]) -> dict[str, Tensor]:
        if known_hash is None:
            return read_passing(path, is_needed, passing)
        by_name, sha256[path.name] = read_hashed(path, is_needed)
        return by_name

    for path in weight_files(folder):
        by_name = read(path, is_needed)
        for name, tensor in by_name.items():
            if name_in_encoder(name) in shapes:
                tensors[name_in_encoder(name)] = tensor.float()
            elif name.startswith(_LM_HEAD):
                lm_head[name.removeprefix(_LM_HEAD)] = tensor.float()
            else:
                projection[name] = tensor
    if (folder / LM_HEAD_FILE).is_file():  # a stage's encoder brings it along
        lm_head = read(folder / LM_HEAD_FILE, lambda name: True)
    if (folder / PROJECTION_FILE).is_file():
        projection = read(folder / PROJECTION_FILE, lambda name: True)
    _check_tensors(folder, tensors, shapes)
    whole_lm_head = {name: lm_head[name] for name in _LM_HEAD_PARTS} if lm_head.keys() >= {*_LM_HEAD_PARTS} else {}
    encoder_hash = passing.value if known_hash is None else known_hash
    return Parent(
        folder,
        config,
        tensors,
        tokenizer_hash(folder),
        whole_lm_head,
        heads,
        {},
        sha256,
        encoder_hash,
        projections.checked(folder, projection, config.hidden_size),
    )


def _read_causal(folder: Path, config: CausalConfig, heads: Path | None, known_hash: str | None) -> Parent:
    shapes, prefix = causal.parameter_shapes(config), causal.base_prefix(config)
    tensors: dict[str, Tensor] = {}
    sha256: dict[str, str] = {}

    def name_in_model(name: str) -> str:
        return name if name in shapes or prefix + name not in shapes else prefix + name

    for path in weight_files(folder):
        by_name, sha256[path.name] = read_hashed(path, lambda name: name_in_model(name) in shapes)
        tensors |= {name_in_model(name): tensor.float() for name, tensor in by_name.items()}
    _check_tensors(folder, tensors, shapes)
    return Parent(
        folder, config, tensors, tokenizer_hash(folder), heads_folder=heads, sha256=sha256, known_hash=known_hash
    )


def _check_tensors(folder: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    missing = sorted(shapes.keys() - tensors.keys())
    if missing:
        raise UserError(f"{folder}: the weights lack {missing[0]} and {len(missing) - 1} more; get them again.")
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            difference = f"{list(tensors[name].shape)}, by config.json it is {list(shape)}"
            raise UserError(f"{folder}: the weights' {name} has shape {difference}; get the model again.")


def _set_dropout(encoder: nn.Module, dropout: float | None, attention_dropout: float | None) -> None:
    of_attention = dropout if attention_dropout is None else attention_dropout
    for name, part in encoder.named_modules():
        probability = of_attention if name.endswith("attention.self.dropout") else dropout
        if isinstance(part, nn.Dropout) and probability is not None:
            part.p = probability
