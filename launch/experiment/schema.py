"""TODO."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from launch.experiment.added_tasks import ColumnsSection, Definition, FilesSection
from launch.experiment.cluster import Cluster
from launch.experiment.failures import Failures, Rule
from launch.experiment.fields import Matching, Name, Number, Section, Text, Whole, YesNo
from launch.experiment.yaml_text import Location
from training.spec import Device, Matmul, Pooling, Precision, Sampling, Zero
from training.tasks.task import Preset

Keep = Literal["intermediate", "all"]


def _seeds(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f"`seeds` is a list: write `seeds: [{value}]`, or `[1, 2, 3]` for three seeds")
    return value


def _recipes(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f"`recipes` is a list: write `recipes: [{value}]`")
    return value


def _languages(value: Any) -> Any:
    if isinstance(value, str) and value != "all":
        raise ValueError(f"expected `all` or a list: write `[{value}]`")
    return value


_CODE = r"[a-z]{2,3}"
_Language = Annotated[
    str, Matching(rf"{_CODE}(-{_CODE})?", "a language code such as de, or a pair such as mlqa's de-en")
]
_Commit = Annotated[str, Matching(r"[0-9a-f]{40}", "a commit (40 hex digits); branches and tags can move")]
_Zero = Annotated[Zero, BeforeValidator(lambda value: int(value) if value in list("0123") else value)]


class Overrides(Section):
    """Settings of `training:` and of one entry of `tasks:`; unset ones stay with the catalogue."""

    learning_rate: Annotated[float, Number(0, 1)] | None = None
    epochs: Annotated[int, Whole(1, 10_000)] | None = None
    global_batch_size: Annotated[int, Whole(1, 1_000_000)] | None = None
    max_length: Annotated[int, Whole(8, 512)] | None = None
    doc_stride: Annotated[int, Whole(1, 500)] | None = None
    max_query_length: Annotated[int, Whole(1, 500)] | None = None
    n_best: Annotated[int, Whole(1, 1000)] | None = None
    max_answer_length: Annotated[int, Whole(1, 500)] | None = None
    weight_decay: Annotated[float, Number(0, 1)] | None = None
    warmup_ratio: Annotated[float, Number(0, 1)] | None = None
    warmup_steps: Annotated[int, Whole(0, 10**9)] | None = None
    adam_epsilon: Annotated[float, Number(1e-12, 1)] | None = None
    max_grad_norm: Annotated[float, Number(0, 1e6)] | None = None
    dropout: Annotated[float, Number(0, 0.99)] | None = None
    attention_dropout: Annotated[float, Number(0, 0.99)] | None = None
    decay_unseen: Annotated[bool, YesNo()] | None = None
    precision: Precision | None = None
    sampling: Sampling | None = None
    temperature: Annotated[float, Number(1, 1000)] | None = None
    examples_cap: Annotated[int, Whole(1, 10**9)] | None = None
    mask_probability: Annotated[float, Number(0.01, 0.99)] | None = None
    language_exponent: Annotated[float, Number(0, 1)] | None = None
    null_threshold: Annotated[float, Number(-1000, 1000)] | None = None
    contrast_size: Annotated[int, Whole(2, 10_000)] | None = None
    layer: Annotated[int, Whole(0, 100)] | None = None
    pooling: Pooling | None = None
    zero: _Zero | None = None
    device: Device | None = None
    token_budget: Annotated[int, Whole(8, 10**7)] | None = None
    eval_token_budget: Annotated[int, Whole(8, 10**7)] | None = None
    offload: Annotated[bool, YesNo()] | None = None
    compact_vocabulary: Annotated[bool, YesNo()] | None = None
    matmul: Matmul | None = None
    compile: Annotated[bool, YesNo()] | None = None
    checkpoint_minutes: Annotated[float, Number(0, 100_000)] | None = None

    def given(self) -> dict[str, Any]:
        """What the file sets."""
        return self.model_dump(exclude_unset=True)


class Data(Section):
    """Where the data is, and how much of it is used in a trial."""

    root: Text | None = None
    max_train: Annotated[int, Whole(1, 10**9)] | None = None
    max_eval: Annotated[int, Whole(1, 10**9)] | None = None
    skip_bad_rows: Annotated[bool, YesNo()] = False
    revisions: dict[str, _Commit] = {}


class Presets(Section):
    """Whose default settings: of recipes' steps, and of target training."""

    intermediate: Preset = "paper-intermediate"
    target: Preset = "paper-target"


class FileContent(Section):
    """The file as it is written."""

    name: Name
    store: Text
    model: Text
    recipes: Annotated[list[Text], BeforeValidator(_recipes), Field(min_length=1)]
    targets: Annotated[list[Text], Field(min_length=1)]
    seeds: Annotated[list[Annotated[int, Whole(0, 2**31 - 1)]], BeforeValidator(_seeds), Field(min_length=1)]
    languages: dict[str, Annotated[Literal["all"] | list[_Language], BeforeValidator(_languages)]] = {}
    data: Data = Data()
    presets: Presets = Presets()
    catalogue: dict[Name, Definition] = {}
    training: Overrides = Overrides()
    tasks: dict[str, Overrides] = {}
    cluster: Cluster = Cluster()
    failures: Failures = Failures()
    keep: Keep = "intermediate"


_SECTIONS: dict[str, Any] = {
    "data": Data,
    "presets": Presets,
    "catalogue": Definition,
    "files": FilesSection,
    "columns": ColumnsSection,
    "training": Overrides,
    "cluster": Cluster,
    "tasks": Overrides,
}


def known_keys(location: Location) -> list[str]:
    section: Any = FileContent
    if location[:1] == ("failures",):
        section, location = Rule if location[1:] else Failures, ()
    for part in location:
        section = _SECTIONS.get(str(part), section)
    return [field.alias or name for name, field in section.model_fields.items()]
