"""What an entry of the catalogue says about a task: data, labels, languages, score, settings. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FormatName = Literal["sequence", "span", "tagging", "choice", "retrieval"]
Overrides = Mapping[str, Any]  # fields of training.spec.Settings


@dataclass(frozen=True)
class File:
    """A file's path in a data folder: `{lang}` stands for the language's code, `{iso3}` for its ISO 639-3 one."""

    path: str
    role: str = ""  # retrieval: "other" or "english"


@dataclass(frozen=True)
class Files:
    """Which files of a data folder serve as what; `hold_out`: the share of `train` that serves as dev."""

    train: tuple[File, ...] = ()
    dev: tuple[File, ...] = ()
    test: tuple[File, ...] = ()
    hold_out: float | None = None


@dataclass(frozen=True)
class Hub:
    """A data set on the Hugging Face Hub, at one commit. Without a known `revision` it is never loaded.

    `names` maps a language's code to `{name}` in `config`, or to what its ids begin with (`by_id`: all languages lie in
    one config). `languages`: those it has, where they are not the task's.
    """

    repo: str
    revision: str | None
    config: str | None = None
    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    hold_out: float | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    by_id: bool = False
    languages: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Columns:
    """Where a table's texts are. Templates and names are alternatives: the first whose fields the row has.

    `header` names the columns of a TSV without a header line. `choices`: the fields of the choices, or one field with a
    list. In `second` of a multiple choice, `{choice}` is the choice.
    """

    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    label: tuple[str, ...] = ("label",)
    id: tuple[str, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    header: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Task:
    """One entry. `version` goes up when the same data would make other examples, for it is a part of stage keys."""

    name: str
    format: FormatName
    metric_family: str  # what eval.metrics.score is asked for
    metric: str  # its primary metric
    licence: str
    files: Files
    hub: Hub
    version: int = 1
    labels: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)  # what the data says -> the label's name
    unlabelled: tuple[str, ...] = ()  # what the data says where annotators found no label: such rows are left out
    columns: Columns = Columns()
    languages: tuple[str, ...] = ()  # targets: the benchmark's
    extra_languages: tuple[str, ...] = ()  # also known, used where named
    iso3: Mapping[str, str] = field(default_factory=dict)
    training_path: str | None = None  # targets: which English training they are evaluated after
    intermediate: Overrides = field(default_factory=dict)  # preset paper-intermediate
    target: Overrides = field(default_factory=dict)  # preset paper-target

    @property
    def trains(self) -> bool:
        """Whether it can be a train stage."""
        return bool(self.files.train)
