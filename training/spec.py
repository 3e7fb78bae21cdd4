"""What a stage is told: the data, the settings that change numbers, and how it runs. JSON in and out, no torch.

`launch` makes these and hashes them into stage keys; `training` and `eval` carry them out. A setting is declared here
and nowhere else: the keys of the experiment file, their limits and their page in the docs, and what a stage's key
takes are derived from these fields.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

StageKind = Literal["train", "evaluate"]
Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]
Sampling = Literal["proportional", "uniform", "temperature", "capped"]
CandidateText = Literal["pair", "joined"]
Pooling = Literal["mean", "mean_without_specials", "cls"]
Zero = Literal["auto", "none", 0, 1, 2, 3]
Matmul = Literal["auto", "mkl", "onednn"]


@dataclass(frozen=True)
class Bounds:
    """The least and the most that an experiment file may say, both included."""

    least: float
    most: float


@dataclass(frozen=True)
class Says:
    """For people: what a key of the experiment file does, and how one would write it."""

    text: str
    example: str = ""
    in_key: str = ""  # of what is no setting: whose stages' keys take it, in words


@dataclass(frozen=True)
class InKey:
    """Whose keys take a setting. Every condition given must hold; without one they always do."""

    kinds: tuple[StageKind, ...]
    by_format: bool = False  # where the format of a task of the stage names it in its `key_settings`
    mixture: bool = False  # where a step trains several heads
    where: tuple[str, str] | None = None  # where another setting has this value
    changed: bool = False  # where it is not the default: what came later leaves the keys of earlier stages alone
    instead_of: str = ""  # the setting that it then takes the place of


TRAIN = InKey(("train",))
BOTH = InKey(("train", "evaluate"))
BOTH_BY_FORMAT = InKey(("train", "evaluate"), by_format=True)


@dataclass(frozen=True)
class Settings:
    """What changes numbers: every field says whose keys take it.

    Lengths are in tokens, specials included. The defaults hold where neither the catalogue's preset nor the file says.
    """

    learning_rate: Annotated[float, Bounds(0, 1), TRAIN, Says("the highest learning rate", "3e-5")] = 1e-5
    epochs: Annotated[int, Bounds(1, 10_000), TRAIN, Says("passes over the training data", "2")] = 3
    global_batch_size: Annotated[
        int,
        Bounds(1, 1_000_000),
        TRAIN,
        Says("examples per optimizer step, over all ranks and micro-batches", "16"),
    ] = 32
    max_length: Annotated[
        int, Bounds(8, 512), BOTH, Says("tokens that the model sees at once, specials included", "384")
    ] = 256
    doc_stride: Annotated[
        int,
        Bounds(1, 500),
        BOTH_BY_FORMAT,
        Says("tokens from the start of one window of a context to the start of the next", "100"),
    ] = 128
    max_query_length: Annotated[
        int, Bounds(1, 500), BOTH_BY_FORMAT, Says("tokens of a question; longer ones are cut", "32")
    ] = 64
    n_best: Annotated[
        int, Bounds(1, 1000), BOTH_BY_FORMAT, Says("starts and ends that are tried for an answer", "10")
    ] = 20
    max_answer_length: Annotated[int, Bounds(1, 500), BOTH_BY_FORMAT, Says("tokens of the longest answer", "50")] = 30
    weight_decay: Annotated[float, Bounds(0, 1), TRAIN, Says("AdamW's weight decay", "0.0")] = 0.01
    warmup_ratio: Annotated[
        float, Bounds(0, 1), TRAIN, Says("the share of all optimizer steps in which the learning rate rises", "0.06")
    ] = 0.1
    warmup_steps: Annotated[
        int | None,
        Bounds(0, 10**9),
        InKey(("train",), changed=True, instead_of="warmup_ratio"),
        Says("optimizer steps in which the learning rate rises, instead of `warmup_ratio`", "500"),
    ] = None
    adam_epsilon: Annotated[float, Bounds(1e-12, 1), TRAIN, Says("AdamW's epsilon", "1e-6")] = 1e-8
    max_grad_norm: Annotated[
        float, Bounds(0, 1e6), TRAIN, Says("gradients with a larger norm are scaled down to it", "5")
    ] = 1.0
    dropout: Annotated[
        float | None, Bounds(0, 0.99), TRAIN, Says("dropout; not given: what the model's own config says", "0.0")
    ] = None
    attention_dropout: Annotated[
        float | None,
        Bounds(0, 0.99),
        InKey(("train",), changed=True),
        Says("dropout of attention's weights; not given: as `dropout`", "0.0"),
    ] = None
    decay_unseen: Annotated[
        bool,
        InKey(("train",), changed=True),
        Says("whether weight decay reaches the embeddings of tokens that training never sees", "false"),
    ] = True
    precision: Annotated[Precision, BOTH, Says("`auto`: bf16 on a GPU, fp32 on a CPU", "fp32")] = "auto"
    sampling: Annotated[
        Sampling,
        InKey(("train",), mixture=True),
        Says(
            "mixtures: the task of a step is drawn by its number of examples n (`proportional`), evenly (`uniform`), "
            "by n ** (1 / `temperature`), or by min(n, `examples_cap`) (`capped`)",
            "uniform",
        ),
    ] = "proportional"
    temperature: Annotated[
        float,
        Bounds(1, 1000),
        InKey(("train",), mixture=True, where=("sampling", "temperature")),
        Says("of `sampling: temperature`: 1 is proportional, the higher the more even", "5"),
    ] = 2.0
    examples_cap: Annotated[
        int,
        Bounds(1, 10**9),
        InKey(("train",), mixture=True, where=("sampling", "capped")),
        Says("of `sampling: capped`: what a task counts for at most", "65536"),
    ] = 16384
    mask_probability: Annotated[
        float, Bounds(0.01, 0.99), BOTH_BY_FORMAT, Says("the share of tokens that are to be guessed", "0.3")
    ] = 0.15
    language_exponent: Annotated[
        float,
        Bounds(0, 1),
        BOTH_BY_FORMAT,
        Says("an example is of a language drawn by its number of examples ** this", "0.5"),
    ] = 0.3
    null_threshold: Annotated[
        float,
        Bounds(-1000, 1000),
        BOTH_BY_FORMAT,
        Says("squad_v2: no answer where its score is higher than the best answer's by more than this", "1.5"),
    ] = 0.0
    contrast_size: Annotated[
        int,
        Bounds(2, 10_000),
        InKey(("train",), by_format=True),
        Says("questions whose answers are each other's negatives", "8"),
    ] = 4
    layer: Annotated[
        int | None,
        Bounds(0, 100),
        InKey(("evaluate",), by_format=True),
        Says("the layer that is compared, 0: the embeddings; not given: round(14 / 24 * number of layers)", "7"),
    ] = None
    pooling: Annotated[
        Pooling,
        InKey(("evaluate",), by_format=True, changed=True),
        Says("of which of a sentence's tokens its vector is made", "cls"),
    ] = "mean"
    candidate_text: Annotated[
        CandidateText,
        InKey(("evaluate",), by_format=True, changed=True),
        Says(
            "how a target's candidate with a context is read: `pair`: as in training, sentence and context apart;"
            " `joined`: as XTREME-R's code evaluates LAReQA, one text without anything between",
            "joined",
        ),
    ] = "pair"


@dataclass(frozen=True)
class Runtime:
    """How a stage runs where it runs: no part of any key, recorded in the result."""

    zero: Annotated[
        Zero, Says("the ZeRO stage; `auto`: by memory and world size; `none`: torch's own DDP, without DeepSpeed", "3")
    ] = "auto"
    device: Annotated[Device, Says("where it computes; `auto`: on the GPU where there is one", "cpu")] = "auto"
    token_budget: Annotated[
        int | None, Bounds(8, 10**7), Says("tokens per forward pass in training; not given: by memory", "16384")
    ] = None
    eval_token_budget: Annotated[
        int | None, Bounds(8, 10**7), Says("the same in evaluation; not given: by memory", "32768")
    ] = None
    offload: Annotated[bool, Says("the optimizer's state lies in the host's memory; needs ZeRO 1 to 3", "true")] = False
    compact_vocabulary: Annotated[bool, Says("train only the word embeddings that the stage's data uses", "false")] = (
        True
    )
    matmul: Annotated[Matmul, Says("the CPU's library for matrix products; `auto`: the faster exact one", "mkl")] = (
        "auto"
    )
    compile: Annotated[bool, Says("torch.compile the encoder's layers", "true")] = False
    checkpoint_minutes: Annotated[float, Bounds(0, 100_000), Says("minutes between two checkpoints", "30")] = 10.0
    dev_points: Annotated[
        int,
        Bounds(1, 100),
        Says("how often English dev is scored in each epoch, evenly; the ends of epochs select, as ever", "4"),
    ] = 1


@dataclass(frozen=True)
class Setting:
    """A field of Settings or Runtime as it is declared."""

    name: str
    type: Any  # of a value that is given: bool, int, float or a Literal
    default: Any
    limits: Bounds | None
    in_key: InKey | None  # None: it is part of no key
    says: Says


def _declared(owner: type[Settings] | type[Runtime]) -> Iterator[Setting]:
    hints = get_type_hints(owner, include_extras=True)
    for field in fields(owner):
        kind, *notes = get_args(hints[field.name])
        if get_origin(kind) is not Literal:
            kind = next((option for option in get_args(kind) if option is not type(None)), kind)
        note = {type(note): note for note in notes}
        yield Setting(field.name, kind, field.default, note.get(Bounds), note.get(InKey), note[Says])


SETTINGS = tuple(_declared(Settings))
RUNTIME = tuple(_declared(Runtime))
SETTING_NAMES = tuple(setting.name for setting in SETTINGS)
RUNTIME_NAMES = tuple(setting.name for setting in RUNTIME)


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
    """One evaluate stage: a target in some languages, which its key leaves out: every result names its own data.

    `demonstrations`: where the examples are from that prompts show, `seed` of what chance chooses them by.
    """

    target: str
    head: str | None  # the train task whose head is used; None: of retrieval, and of prompts
    languages: dict[str, Split]
    settings: Settings
    max_eval: int | None = None
    skip_bad_rows: bool = False
    demonstrations: TaskData | None = None
    seed: int | None = None


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
