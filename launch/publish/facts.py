"""What there is to say of a published training: its path, its settings, its data, its scores, what made it.

Nothing here tells of the machine: no folder, no user, no host. A data file is named by its content.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import TypeAdapter

from eval.tables.baseline import split
from launch.plan import Plan, Stage, TargetDefinition, keys
from launch.results import scores
from launch.store import Store, records
from slurm.base.files import read_sealed
from training import formats
from training.spec import DataFile, HubPart, Split, TaskData
from training.tasks import Task, catalogue

NOT_STATED = "not stated"  # what the catalogue says of the licence of data of a user's own


@dataclass(frozen=True)
class DataUse:
    """One task's data in one use. `hub`: the data set on the Hub that it was read from; `published`: that of the same
    name, where it was read from local files, of which nobody has checked that they are the same."""

    task: str
    use: str  # train, dev, test
    source: str
    revision: str  # a commit; of files their SHA-256, of several that of all of theirs
    identities: tuple[str, ...]  # of every part, as stage keys have them
    licence: str
    hub: str | None
    published: str | None
    is_of_the_user: bool


@dataclass(frozen=True)
class Step:
    """One training on the path, the last of which made the encoder."""

    task: str
    key: str
    seed: int
    settings: Mapping[str, Any]  # that are part of its key
    data: tuple[DataUse, ...]
    dev_score: float | None  # English, in percent; None: its result is gone
    optimizer_steps: int | None
    diverged: bool


@dataclass(frozen=True)
class LanguageScore:
    language: str
    scores: Mapping[str, float]  # by metric, in percent
    examples: int
    revision: str | None  # of the data set on the Hub; None: local files
    split: str


@dataclass(frozen=True)
class TargetScores:
    """What was evaluated from the encoder of one target."""

    target: str
    format: str
    metric: str  # the primary one, as published
    key: str
    head: str | None
    data: DataUse
    languages: tuple[LanguageScore, ...]
    missing: tuple[str, ...]  # languages that are asked for and not evaluated (yet)


@dataclass(frozen=True)
class Making:
    """What a training's record says of how it was made; what older records lack is left out."""

    code: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    device_name: str | None = None
    world_size: int = 1
    precision: str = ""
    attention: str = ""
    matmul: str | None = None
    zero: Any = None
    epochs: int | None = None
    selected_epoch: int | None = None
    seconds: float = 0.0
    examples: int | None = None
    tokens: int = 0


@dataclass(frozen=True)
class Facts:
    """All of it. `start`: a Hub id, or None for a folder of the user's; `recipes`: those whose path it stands on."""

    name: str
    key: str
    start: str | None
    start_identity: str
    recipes: tuple[str, ...]
    steps: tuple[Step, ...]
    targets: tuple[TargetScores, ...]
    making: Making
    encoder_hash: str
    stepstone: str
    heads: tuple[str, ...]
    seeds: tuple[int, ...]  # of the experiment

    @property
    def path(self) -> str:
        return " > ".join(step.task for step in self.steps)

    @property
    def data(self) -> tuple[DataUse, ...]:
        """Of all steps and targets, each once."""
        every = [use for step in self.steps for use in step.data] + [target.data for target in self.targets]
        return tuple(dict.fromkeys(every))


_MAKING = TypeAdapter(Making)


def gather(plan: Plan, store: Store, stage: Stage) -> Facts:
    """What there is to say of a finished train stage."""
    result, start = store.train_result(stage), plan.start_of(stage)
    assert result is not None, stage
    path = store.stage_folder(stage.folder) / "result.json"
    record = read_sealed(path)
    evaluates = [plan.stages[key] for key in plan.children[stage.key] if plan.stages[key].kind == "evaluate"]
    heads = sorted(name for name in result.files if name.startswith("heads/") and name.endswith(".json"))
    return Facts(
        name=stage.name,
        key=stage.key,
        start=start.repo and f"{start.repo}@{start.revision}",
        start_identity=start.identity,
        recipes=tuple(dict.fromkeys(split(recipe)[1] for recipe, _ in plan.users[stage.key])),
        steps=tuple(_step(plan, store, training) for training in _path(plan, stage)),
        targets=tuple(_target(plan, store, evaluate) for evaluate in evaluates),
        making=records.convert(path, record, _MAKING) if record else Making(),
        encoder_hash=result.encoder_hash,
        stepstone=_version(),
        heads=tuple(name.removeprefix("heads/").removesuffix(".json") for name in heads),
        seeds=plan.experiment.seeds,
    )


def _version() -> str:
    try:
        return version("stepstone")
    except PackageNotFoundError:  # run from a checkout: the code's hash tells which
        return ""


def _path(plan: Plan, stage: Stage) -> list[Stage]:
    return [*reversed([*scores.trainings_under(plan, stage)]), stage]


def _step(plan: Plan, store: Store, stage: Stage) -> Step:
    definition = plan.steps[stage.definition]
    result = store.train_result(stage)
    assert stage.seed is not None, stage
    return Step(
        task=stage.task,
        key=stage.key,
        seed=stage.seed,
        settings=keys.step_settings(definition.parts, definition.settings),
        data=tuple(use for part in definition.parts for use in _training_data(part)),
        dev_score=None if result is None else result.dev_score,
        optimizer_steps=None if result is None else result.steps,
        diverged=bool(scores.at_chance(plan, store, stage)),
    )


def _training_data(part: TaskData) -> list[DataUse]:
    task = catalogue.find(part.task)
    uses = [_data(task, "train", [part.train])]
    return uses + ([_data(task, "dev", [part.dev])] if part.dev else [])


def _target(plan: Plan, store: Store, stage: Stage) -> TargetScores:
    definition = plan.by_digest[stage.definition]
    results = store.language_results(plan, stage)
    return TargetScores(
        target=definition.task.name,
        format=definition.task.format,
        metric=definition.task.metric,
        key=stage.key,
        head=definition.head,
        data=_data(definition.task, "test", definition.languages.values()),
        languages=tuple(
            LanguageScore(code, dict(result.scores), result.examples, *_split(definition, code))
            for code, result in results.items()
        ),
        missing=tuple(code for code in definition.languages if code not in results),
    )


def _split(definition: TargetDefinition, language: str) -> tuple[str | None, str]:
    parts = [part for part in definition.languages[language] if isinstance(part, HubPart)]
    return (parts[0].revision, parts[0].split) if parts else (None, "test")


def _data(task: Task, use: str, splits: Iterable[Split]) -> DataUse:
    parts = list(dict.fromkeys(part for split in splits for part in split))
    hub_parts = [part for part in parts if isinstance(part, HubPart)]
    files = [part for part in parts if isinstance(part, DataFile)]
    revisions = [f"commit {commit}" for commit in dict.fromkeys(part.revision for part in hub_parts)]
    return DataUse(
        task=task.name,
        use=use,
        source=_source(hub_parts, len(files)),
        revision=", ".join(revisions + ([f"SHA-256 {_digest(files)}"] if files else [])),
        identities=tuple(keys.data_identity(tuple(parts))),
        licence=task.licence,
        hub=hub_parts[0].repo if hub_parts else None,
        published=task.hub.repo or None if files and not task.added else None,
        is_of_the_user=task.added,
    )


def _source(hub_parts: list[HubPart], files: int) -> str:
    texts = []
    if hub_parts:
        configs = dict.fromkeys(part.config for part in hub_parts if part.config)
        config_text = f" ({', '.join(configs)})" if len(configs) == 1 else f" ({len(configs)} parts)" if configs else ""
        texts.append(f"{hub_parts[0].repo}{config_text} on the Hub")
    if files:
        texts.append(f"{files} local file{'s' if files > 1 else ''}")
    return " and ".join(texts)


def _digest(files: list[DataFile]) -> str:
    if len(files) == 1:
        return files[0].sha256
    return hashlib.sha256("\n".join(sorted(file.sha256 for file in files)).encode()).hexdigest()


def kind_of_task(form: str) -> str:
    """A format as the Hub calls such tasks."""
    return {
        "sequence": "text-classification",
        "choice": "multiple-choice",
        "span": "question-answering",
        "tagging": "token-classification",
        "mlm": "fill-mask",
        "prompted_pair": "fill-mask",
        "prompted_choice": "fill-mask",
    }.get(form, "sentence-similarity" if form in formats.NAMES else form)
