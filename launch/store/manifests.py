"""What the job of each element of an array is told: submissions/<time>-<id>/manifest-<n>.json. Drafted by
`launch.draft.manifests`, read by `launch.job`."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from launch.store import records
from slurm.base import UserError
from slurm.base.files import to_json, write_atomic
from slurm.resources import Asked
from training import spec
from training.pretrained.start import StartModel
from training.spec import EvaluateSpec, Runtime, TrainSpec

Json = dict[str, Any]  # a record whose dataclass another room owns, as it lies on the disk


@dataclass(frozen=True)
class EarlierStep:
    """A step that was trained before, on the path to a train stage, and whose English dev is scored once more."""

    folder: str  # of its train stage
    heads: tuple[str, ...]  # those of its heads that no later step trains anew
    spec: Json

    def train_spec(self) -> TrainSpec:
        return spec.train_spec(self.spec)


@dataclass(frozen=True)
class StageEntry:
    """One stage of an element. Folders are names below the store's `stages/`."""

    key: str
    folder: str
    kind: Literal["train", "evaluate"]
    spec: Json  # read where it is needed: a job does a few of its array's thousands of stages
    runtime: Json
    parent: str | None = None  # the folder of the train stage that it starts from; None: the start model
    model: str = ""  # label of the start model that its path begins with; "" of `model:`
    earlier: tuple[EarlierStep, ...] = ()  # the latest first
    measures: bool = False  # whether it measures its tasks' data before it trains

    def train_spec(self) -> TrainSpec:
        return spec.train_spec(self.spec)

    def evaluate_spec(self) -> EvaluateSpec:
        return spec.evaluate_spec(self.spec)

    def read_runtime(self) -> Runtime:
        return spec.runtime(self.runtime)


@dataclass(frozen=True)
class Manifest:
    """What an array's jobs are told."""

    store: str  # its folder
    start: StartModel  # of several the first: jobs of before there were labels ask for it, though not for what it is
    elements: dict[int, tuple[StageEntry, ...]]  # by array index: the stages, in order
    drop: dict[int, tuple[str, ...]]  # the folders whose encoder goes once the element's evaluates are finished
    experiment: str = ""
    asked: Asked | None = None  # what each of its elements asks for; None: it was drafted before that was told
    share_group: str | None = None
    packages: dict[str, str] = field(default_factory=dict)  # versions that its jobs should find; empty: any
    tasks: tuple[Json, ...] = ()  # that the experiment file adds
    failures: Json = field(default_factory=dict)  # the file's policy
    starts: dict[str, StartModel] = field(default_factory=dict)  # by label; of `model:` empty
    # Of elements whose stages run in several processes side by side: how many of them, in order, each has.
    lanes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    schema: Literal[1] = 1

    def start_of(self, entry: StageEntry) -> StartModel:
        """The model that a stage's path begins with."""
        return self.starts[entry.model] if entry.model else self.start

    def of_lane(self, index: int, lane: int, cores: int) -> "Manifest":
        """What one process of an element is told whose stages run side by side: of that element its own stages, and the
        cores that are its share."""
        sizes = self.lanes[index]
        begin = sum(sizes[:lane])
        entries = self.elements[index][begin : begin + sizes[lane]]
        elements = self.elements | {index: entries}
        return replace(self, elements=elements, asked=replace(self.asked or Asked(), cores=cores))

    def entries(self) -> Iterator[StageEntry]:
        """Of all elements."""
        for entries in self.elements.values():
            yield from entries


_MANIFEST = TypeAdapter(Manifest)


def read(path: Path) -> Manifest:
    """UserError where there is none, or one of another version."""
    manifest = records.read(path, _MANIFEST)
    if manifest is None:
        raise UserError(f"{path}: there is no such manifest; `stepstone submit` writes them, and starts jobs")
    return manifest


def write(path: Path, manifest: Manifest) -> None:
    """Durably, before anything is sent."""
    write_atomic(path, to_json(to_record(manifest)))


def to_record(manifest: Manifest) -> Json:
    """As JSON values."""
    record = vars(manifest) | {
        "start": asdict(manifest.start),
        "starts": {label: asdict(start) for label, start in manifest.starts.items()},
        "elements": {
            str(index): [_entry_record(entry) for entry in entries] for index, entries in manifest.elements.items()
        },
        "drop": {str(index): list(folders) for index, folders in manifest.drop.items()},
        "tasks": list(manifest.tasks),
        "asked": asdict(manifest.asked) if manifest.asked else None,
        "lanes": {str(index): list(sizes) for index, sizes in manifest.lanes.items()},
    }  # fmt: skip
    return {name: value for name, value in record.items() if value or name != "lanes"}


def _entry_record(entry: StageEntry) -> Json:
    """Without what few stages have, where this one has not: so it was before there was any."""
    record = vars(entry) | {"earlier": [vars(step) | {"heads": list(step.heads)} for step in entry.earlier]}
    return {name: value for name, value in record.items() if value or name not in ("earlier", "measures")}
