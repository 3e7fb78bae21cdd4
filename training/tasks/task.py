"""What an entry of the catalogue says about a task: data, labels, languages, score, settings. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from training.tasks.languages import fill

Preset = Literal["paper-intermediate", "paper-target", "xtreme"]
PromptLanguage = Literal["english", "target"]
DemonstrationChoice = Literal["balanced", "nearest"]
Calibration = Literal["none", "pmi", "contextual"]
AnswerScore = Literal["mean", "sum"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
Overrides = Mapping[str, Any]  # fields of training.spec.Settings


@dataclass(frozen=True)
class File:
    """A file's path in a data folder: `{lang}` stands for the language's code, `{iso3}` for its ISO 639-3 one.

    `*` and the like in the last parts stand for all files of that form; `role` says which of several files it is.
    """

    path: str
    role: str = ""  # retrieval: "other" or "english"; see the formats


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
    list. In `second` of a multiple choice, `{choice}` is the choice. `separator`: what stands between a word, its other
    columns and its tag, the last one, where a line is a sentence (else a line is a word).
    """

    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    label: tuple[str, ...] = ("label",)
    id: tuple[str, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    header: tuple[str, ...] | None = None
    separator: str = ""


@dataclass(frozen=True)
class Prompting:
    """How a task's examples are put to a language model, whose head for words answers.

    `template_task`: whose templates these are; `templates`: their names; on the first one it is trained.
    `demonstrations`: how many answered training examples of `demonstration_task` come before each that is evaluated.
    """

    template_task: str
    templates: tuple[str, ...]
    language: PromptLanguage = "english"  # of templates and answers
    demonstrations: int = 0
    demonstration_task: str = ""
    demonstration_choice: DemonstrationChoice = "balanced"
    calibration: Calibration = "none"
    answer_score: AnswerScore = "mean"  # of an answer's log-probability: by token, or of all of them


@dataclass(frozen=True)
class Task:
    """One entry. `version` goes up when the same data would make other examples, for it is a part of stage keys."""

    name: str
    format: str  # its name, one of training.formats.NAMES
    metric_family: str  # what eval.metrics.score is asked for
    metric: str  # its primary metric (profile `xtreme`: as published)
    licence: str
    files: Files
    hub: Hub
    version: int = 1
    labels: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)  # what the data says -> the label's name
    unlabelled: tuple[str, ...] = ()  # what the data says where annotators found no label: such rows are left out
    columns: Columns = Columns()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what a field may say: others are refused
    open_labels: bool = False  # the labels are those of the training examples
    sources: tuple[str, ...] = ()  # the tasks that are trained under this one's head, with its labels (ANLI+)
    sizes: Mapping[str, int] = field(default_factory=dict)  # published number of rows by split of the Hub's data set
    parallel: bool = False  # targets: the test says the same in every language, or is of the same images, row by row
    corrected: str = ""  # the primary metric of profile `corrected`, where it is another
    languages: tuple[str, ...] = ()  # targets: the benchmark's
    extra_languages: tuple[str, ...] = ()  # also known, used where named; XTREME-R's, where it adds some
    other_languages: tuple[str, ...] = ()  # in no benchmark, but in the data: used where named
    iso3: Mapping[str, str] = field(default_factory=dict)
    training_path: str | None = None  # targets: which English training they are evaluated after
    intermediate: Overrides = field(default_factory=dict)  # preset paper-intermediate
    target: Overrides = field(default_factory=dict)  # preset paper-target
    xtreme: Overrides | None = None  # preset xtreme; None: XTREME has no recipe for it
    example: Mapping[str, Any] = field(default_factory=dict)  # a row of our own, to show what the model sees
    data_of: str = ""  # the task whose data it has, where it has none of its own: so splits.yaml may say it of that one
    prompting: Prompting | None = None  # mode prompt: else a head of its own is trained
    added: bool = False  # by a user: its definition is a part of stage keys

    @property
    def known_languages(self) -> tuple[str, ...]:
        """All that a file can name."""
        return (*self.languages, *self.extra_languages, *self.other_languages)

    @property
    def trains(self) -> bool:
        """Whether it can be a train stage."""
        return bool(self.files.train or self.sources)

    def test_size(self, language: str) -> int | None:
        """The published number of examples of a target's whole test set in a language; None where it is not known."""
        return self.published_size(self.hub.test, language)

    def published_size(self, splits: Sequence[str], language: str) -> int | None:
        """The published number of examples of the Hub's `splits` in a language; None where it is not known."""
        hub = self.hub
        name = fill(hub.config or "", language, self.iso3).replace("{name}", hub.names.get(language, language))
        config = language if hub.by_id or not name else name
        sizes = [self.sizes.get(f"{config}/{split}", None if hub.by_id else self.sizes.get(split)) for split in splits]
        known_sizes = [size for size in sizes if size is not None]
        return sum(known_sizes) if sizes and len(known_sizes) == len(sizes) else None

    def preset(self, name: Preset) -> Overrides | None:
        """The settings of a preset; None where the task has none of that name."""
        return {"paper-intermediate": self.intermediate, "paper-target": self.target, "xtreme": self.xtreme}[name]
