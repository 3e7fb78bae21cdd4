"""What a stage is told: the data, the settings that change numbers, and how it runs. JSON in and out, no torch.

`launch` makes these and hashes them into stage keys; `training` and `eval` carry them out.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pydantic import TypeAdapter

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]
Sampling = Literal["proportional", "uniform", "temperature", "capped"]
Pooling = Literal["mean", "mean_without_specials", "cls"]
Zero = Literal["auto", "none", 0, 1, 2, 3]
Matmul = Literal["auto", "mkl", "onednn"]


@dataclass(frozen=True)
class Settings:
    """What changes numbers. Every field is part of the keys of the stages whose format uses it.

    Lengths are in tokens, specials included; `warmup_ratio` is a share of all optimizer steps.
    """

    learning_rate: float = 1e-5
    epochs: int = 3
    global_batch_size: int = 32  # examples per optimizer step, over all ranks and micro-batches
    max_length: int = 256
    doc_stride: int = 128  # span: tokens from the start of one window of a context to the next
    max_query_length: int = 64  # span
    n_best: int = 20  # span, decoding
    max_answer_length: int = 30  # span, decoding
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1
    warmup_steps: int | None = None  # instead of the ratio
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    dropout: float | None = None  # None: what the model's own config says
    attention_dropout: float | None = None  # of attention's weights; None: as `dropout`
    decay_unseen: bool = True  # whether weight decay reaches the embeddings of tokens that training never sees
    precision: Precision = "auto"  # auto: bf16 on a GPU, fp32 on a CPU
    # Mixtures: a step is of one task, drawn by its number of examples n (proportional), evenly (uniform), by
    # n ** (1 / temperature), or by min(n, examples_cap) (capped).
    sampling: Sampling = "proportional"
    temperature: float = 2.0
    examples_cap: int = 16384
    mask_probability: float = 0.15  # mlm
    language_exponent: float = 0.3  # mlm: an example is of a language drawn by its number of examples ** this
    null_threshold: float = 0.0  # squad_v2: no answer where its score is higher than the best answer's by more
    contrast_size: int = 4  # dual_encoder: questions whose answers are each other's negatives
    layer: int | None = None  # retrieval: 0 = embeddings; None: round(14 / 24 * number of layers)
    pooling: Pooling = "mean"  # retrieval: of a sentence's tokens


@dataclass(frozen=True)
class Runtime:
    """How a stage runs where it runs: no part of any key, recorded in the result."""

    zero: Zero = "auto"  # auto: by memory and world size; none: torch's own DDP, without DeepSpeed
    offload: bool = False  # the optimizer's state in the host's memory; needs ZeRO 1 to 3
    device: Device = "auto"
    token_budget: int | None = None  # tokens per forward pass in training; None: by memory
    eval_token_budget: int | None = None
    compact_vocabulary: bool = True  # train only the word embeddings that the stage's data uses
    matmul: Matmul = "auto"  # the CPU's library for matrix products; auto: the faster exact one
    compile: bool = False  # torch.compile the encoder's layers
    checkpoint_minutes: float = 10.0


@dataclass(frozen=True)
class DataFile:
    """One local file, identified by what is in it."""

    path: str
    sha256: str  # of the decompressed content
    role: str = ""  # retrieval: "other" or "english"; see the formats


@dataclass(frozen=True)
class HubPart:
    """One split of a data set on the Hugging Face Hub, identified by its pinned revision."""

    repo: str
    revision: str
    config: str | None
    split: str


Split = tuple[DataFile | HubPart, ...]


@dataclass(frozen=True)
class TaskData:
    """A task and where its English training data lies.

    `hold_out`: the share of `train` that serves as dev, whole groups at a time. `head`: the task whose head it trains,
    where that is another (ANLI+ trains SNLI, MNLI and ANLI under one).
    """

    task: str
    train: Split
    dev: Split
    hold_out: float | None = None
    max_train: int | None = None
    max_eval: int | None = None
    head: str = ""
    skip_bad_rows: bool = False

    @property
    def head_name(self) -> str:
        return self.head or self.task


@dataclass(frozen=True)
class TrainSpec:
    """One train stage: a step (one task, or several: a mixture) on a parent's encoder."""

    parts: tuple[TaskData, ...]
    settings: Settings
    seed: int


@dataclass(frozen=True)
class EvaluateSpec:
    """One evaluate stage: a target in some languages, which its key leaves out: every result names its own data."""

    target: str
    head: str | None  # the train task whose head is used; None for retrieval
    languages: dict[str, Split]
    settings: Settings
    max_eval: int | None = None
    skip_bad_rows: bool = False


_ADAPTERS: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (TrainSpec, EvaluateSpec, Runtime)}


def to_record(spec: TrainSpec | EvaluateSpec | Runtime) -> dict[str, Any]:
    """`spec` as plain JSON values."""
    return asdict(spec)


def train_spec(record: dict[str, Any]) -> TrainSpec:
    """The inverse of `to_record`."""
    return _ADAPTERS[TrainSpec].validate_python(record)  # type: ignore[no-any-return]


def evaluate_spec(record: dict[str, Any]) -> EvaluateSpec:
    """The inverse of `to_record`."""
    return _ADAPTERS[EvaluateSpec].validate_python(record)  # type: ignore[no-any-return]


def runtime(record: dict[str, Any]) -> Runtime:
    """The inverse of `to_record`."""
    return _ADAPTERS[Runtime].validate_python(record)  # type: ignore[no-any-return]


SETTING_NAMES = tuple(field.name for field in fields(Settings))
RUNTIME_NAMES = tuple(field.name for field in fields(Runtime))
