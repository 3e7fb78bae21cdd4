"""The store: one folder on the shared file system that holds an experiment's work, and is the truth about it.

    stages/<name>-<key>/   identity.json  result.json  attempts/NNNN/  languages/<generation>/
    submissions/<time>-<id>/   code/<hash>/   results/<experiment>/   index/<experiment>.json
    index/jobs/<experiment>.json: what accounting says of jobs
    cache/tokens/<key>/   cache/contributions/: what examples contribute to scores
    rehearsal/<experiment>/: a store in itself   workers/: locks of local workers
    processors/: what was decided for each model of processor
    mirrors/<program>/: what `stepstone mirror` wrote, of which nothing here knows

A generation is one trained encoder, by its hash: results of two trainings of one stage never mix.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from launch.plan import Plan, Stage
from launch.store.artifacts import (
    LanguageScores,
    TrainResult,
    encoder_is_whole,
    generation_of,
    read_languages,
    read_train_result,
)
from slurm.base import look
from slurm.base.files import make_folder, read_json, to_json, write_atomic
from training.spec import Split


def token_folder(root: Path) -> Path:
    """Where a store keeps what its stages have tokenised."""
    return root / "cache" / "tokens"


def contributions_folder(root: Path) -> Path:
    """Where a store keeps what examples contribute to scores: a file per evaluate stage, its name begins with the
    stage's key."""
    return root / "cache" / "contributions"


def processors_folder(root: Path) -> Path:
    """Where a store keeps what was decided for each model of processor."""
    return root / "processors"


def rehearsal_folder(root: Path, experiment: str) -> Path:
    """The store of an experiment's rehearsals, in its own."""
    return root / "rehearsal" / experiment


class Known(NamedTuple):
    """What launch.status.finished remembers of a stage. In its file, and for speed in memory too, a plain list."""

    time: int  # of the folder that holds its result, in ns
    generation: str  # of the encoder that a train stage made, or that an evaluate stage is of
    languages: str  # evaluate: which languages' data
    score: float | None
    at_chance: list[str]
    seconds: float  # that all attempts at it held their processors
    spent: dict[str, float]  # the same by what became of them (launch.status.spent)


class TrainFacts(NamedTuple):
    """Of a training's result, what says whether it diverged and which code made it."""

    at_chance: Sequence[str]  # heads that did no better than a constant answer
    steps: int | None
    code: str | None


class Store:
    """Reads and writes of one store folder; what it has read it remembers, so make one per command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index: Mapping[str, Known] = {}  # what launch.status.finished remembers, by stage key
        # What launch.merging has read, by stage key; `stand_ins` by language too: the metrics of those that have
        # none, as there is no gold, or some that stand in for the target's own. `languages_read`: of a race alone.
        self.trained: Mapping[str, TrainFacts] | None = None
        self.stand_ins: Mapping[str, Mapping[str, Sequence[str]]] | None = None
        self.languages_read: Mapping[str, Set[str]] | None = None
        self._results: dict[str, TrainResult | None] = {}
        self._language_results: dict[str, tuple[Mapping[str, Split], dict[str, LanguageScores]]] = {}

    def stage_folder(self, folder: str) -> Path:
        return self.root / "stages" / folder

    @cached_property
    def _existing(self) -> set[str]:
        """Names of the stage folders: one listing, however many stages a plan has."""
        try:
            return set(look.names(self.root / "stages"))
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def exists(self, stage: Stage) -> bool:
        """Whether anything was ever sent or done for a stage."""
        return stage.folder in self._existing

    def known(self, stage: Stage) -> Known | None:
        """What is remembered of a stage that is finished."""
        values = self.index.get(stage.key)
        return None if values is None else Known(*values)

    def parents_of(self, keys: Collection[str]) -> set[str]:
        """What stages start from, by their identities: also stages of which no plan is at hand."""
        names = (name for name in self._existing if name.rpartition("-")[2] in keys)
        identities = (read_json(self.stage_folder(name) / "identity.json") for name in names)
        return {str(identity.get("parent")) for identity in identities if identity is not None}

    @cached_property
    def _by_key(self) -> dict[str, str]:
        return {name.rpartition("-")[2]: name for name in self._existing}

    def folders_of(self, keys: Iterable[str]) -> dict[str, str]:
        """The folders of stages that were ever sent, by key: also of those of which no plan is at hand."""
        return {key: self._by_key[key] for key in keys if key in self._by_key}

    def has_result(self, folder: str) -> bool:
        """Whether a train stage's result is there, of which no plan is at hand."""
        return look.exists(self.stage_folder(folder) / "result.json")

    def train_result(self, stage: Stage) -> TrainResult | None:
        """The published, verified result of a train stage."""
        if stage.key not in self._results:
            result = read_train_result(self.stage_folder(stage.folder)) if self.exists(stage) else None
            self._results[stage.key] = result if result is not None and result.key == stage.key else None
        return self._results[stage.key]

    def train_facts(self, stage: Stage) -> TrainFacts | None:
        """Of a train stage's published result."""
        if self.trained is not None:
            return self.trained.get(stage.key)
        result = self.train_result(stage)
        return None if result is None else TrainFacts(result.at_chance, result.steps, result.code)

    def has_encoder(self, stage: Stage) -> bool:
        """Whether a finished train stage's encoder is still there, with all its files."""
        result = self.train_result(stage)
        return result is not None and encoder_is_whole(self.stage_folder(stage.folder), result)

    def language_results(self, plan: Plan, stage: Stage) -> dict[str, LanguageScores]:
        """The verified results of an evaluate stage, by language: of the languages asked for, of one generation."""
        languages = plan.by_digest[stage.definition].languages
        asked_for, results = self._language_results.get(stage.key, (None, {}))
        if asked_for is not languages:
            results = self.look_at_languages(plan, stage)
            self._language_results[stage.key] = languages, results
        return results

    def look_at_languages(self, plan: Plan, stage: Stage) -> dict[str, LanguageScores]:
        """The same without remembering it, for whoever goes through very many stages once."""
        if not self.exists(stage):
            return {}
        languages = plan.by_digest[stage.definition].languages
        fullest: dict[str, LanguageScores] = {}
        for generation in self._generations(plan, stage):
            results = read_languages(self.stage_folder(stage.folder), generation, languages)
            fullest = results if len(results) > len(fullest) else fullest
        return fullest

    def _generations(self, plan: Plan, stage: Stage) -> list[str]:
        """The one that counts; any, where the parent's own result is lost and so cannot say."""
        if stage.parent is None:
            return [generation_of(plan.start_of(stage).identity)]
        result = self.train_result(plan.stages[stage.parent])
        if result is not None:
            return [generation_of(result.encoder_hash)]
        try:
            return look.names(self.stage_folder(stage.folder) / "languages")
        except FileNotFoundError:
            return []

    def is_finished(self, plan: Plan, stage: Stage, results: Mapping[str, LanguageScores] | None = None) -> bool:
        """`train`: published and verified. `evaluate`: the same for every language asked for. `results`: as
        `language_results` gives them, where they are at hand."""
        if stage.kind == "train":
            return self.train_result(stage) is not None
        results = self.language_results(plan, stage) if results is None else results
        return len(results) == len(plan.by_digest[stage.definition].languages)

    def write_identity(self, stage: Stage, content: dict[str, Any]) -> None:
        """Say in the stage's folder what the stage means."""
        folder = make_folder(self.stage_folder(stage.folder))
        if not look.exists(folder / "identity.json"):
            write_atomic(folder / "identity.json", to_json(content))
