"""What a stage starts from, and what is left of it to do: read from the store, verified before it is used."""

from dataclasses import dataclass
from pathlib import Path

from launch.job.verdicts import parent_missing
from launch.store import artifacts
from launch.store.artifacts import TrainResult, generation_of
from launch.store.manifests import Manifest, StageEntry
from slurm.base import UserError
from training.model.parent import Parent, read_parent
from training.pretrained import StartModel
from training.pretrained import start as start_model


@dataclass(frozen=True)
class Place:
    """Which encoder it is. `stage`: the folder of the train stage that made it; None: the start model. `attempt`: the
    folder of its attempt, below the stage's."""

    stage: str | None
    attempt: str
    generation: str


@dataclass(frozen=True)
class Origin:
    """What a stage starts from, in memory."""

    place: Place
    parent: Parent


class Inputs:
    """One job's view of the store. Every question reads the disk anew: other jobs write there."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.root = Path(manifest.store)

    def stage_folder(self, folder: str) -> Path:
        return self.root / "stages" / folder

    def is_finished(self, entry: StageEntry) -> bool:
        """An evaluate: every language. A train: its result, and its encoder unless that was dropped.

        UserError where an evaluate's parent has no result.
        """
        if entry.kind == "evaluate":
            return not self.missing_languages(entry, self._generation(entry))
        result = self._result(entry.folder)
        if result is None:
            return False
        return artifacts.encoder_is_whole(self.stage_folder(entry.folder), result) or self._was_dropped(entry, result)

    def missing_languages(self, entry: StageEntry, generation: str) -> list[str]:
        """Those without a result of this encoder's."""
        folder = self.stage_folder(entry.folder)
        languages = entry.evaluate_spec().languages
        return [
            code for code, split in languages.items() if not artifacts.read_language(folder, generation, code, split)
        ]

    def may_start_at(self, entry: StageEntry, place: Place) -> bool:
        """Whether a place is where a stage starts: its parent, or its own start model of several. Reads nothing."""
        if entry.parent is None and place.stage is None:
            return place.generation == generation_of(self._manifest.start_of(entry).identity)
        return place.stage == entry.parent

    def origin(self, entry: StageEntry, in_memory: Origin | None = None) -> Origin:
        """What a stage starts from: `in_memory`, where that is it; else it is read, and every byte verified.

        UserError where it cannot be had. A damaged encoder is put aside, so that the next submission makes it again.
        """
        if entry.parent is None:
            start = self._manifest.start_of(entry)
            place = Place(None, "", generation_of(start.identity))
            if in_memory is not None and in_memory.place == place:
                return in_memory
            return Origin(place, read_parent(_start_folder(start)))
        folder = self.stage_folder(entry.parent)
        result = self._parent_result(entry)
        place = Place(entry.parent, result.attempt, generation_of(result.encoder_hash))
        if in_memory is not None and in_memory.place == place:
            return in_memory
        if not artifacts.encoder_is_whole(folder, result):
            raise parent_missing(entry, "has lost its encoder")
        parent = self._verified(folder, result)
        if parent is None:
            aside = artifacts.put_encoder_aside(folder, result)
            raise parent_missing(entry, f"had a damaged encoder, which is now {aside}")
        return Origin(place, parent)

    def _verified(self, folder: Path, result: TrainResult) -> Parent | None:
        """A stage's encoder as its result describes it; None where anything in it is not."""
        attempt = folder / result.attempt
        try:
            parent = read_parent(attempt / "encoder", attempt / "heads", result.encoder_hash)
        except (UserError, FileNotFoundError):  # torn, or another job has just put it aside
            if artifacts.encoder_verifies(folder, result):
                raise  # whole after all: the file system had trouble for a moment
            return None
        hashes = {f"encoder/{name}": sha256 for name, sha256 in parent.sha256.items()}
        return parent if artifacts.encoder_verifies(folder, result, hashes) else None

    def _result(self, folder: str) -> TrainResult | None:
        return artifacts.read_train_result(self.stage_folder(folder))

    def _parent_result(self, entry: StageEntry) -> TrainResult:
        """UserError where there is none: a dependency on a job that Slurm has forgotten does not hold a stage back."""
        assert entry.parent is not None, entry.folder
        result = self._result(entry.parent)
        if result is None:
            raise parent_missing(entry, "has no result")
        return result

    def _generation(self, entry: StageEntry) -> str:
        """Of the encoder that an evaluate is of. UserError where its parent has no result."""
        if entry.parent is None:
            return generation_of(self._manifest.start_of(entry).identity)
        return generation_of(self._parent_result(entry).encoder_hash)

    def _was_dropped(self, entry: StageEntry, result: TrainResult) -> bool:
        """Whether this job, started again, finds a train whose encoder was dropped after its last evaluate."""
        if not any(entry.folder in folders for folders in self._manifest.drop.values()):
            return False
        generation = generation_of(result.encoder_hash)
        children = [child for child in self._manifest.entries() if child.parent == entry.folder]
        return all(child.kind == "evaluate" and not self.missing_languages(child, generation) for child in children)


def _start_folder(start: StartModel) -> Path:
    if start.folder:
        return Path(start.folder)
    assert start.repo is not None and start.revision is not None, start
    return start_model.start_model_folder(start.repo, start.revision)
