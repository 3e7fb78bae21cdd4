"""Where every number of a report comes from: stages, data, code, packages, devices."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from eval.report.content import DataSource, Environment, Provenance
from eval.tables.baseline import with_label
from launch.plan import Plan, Stage, StepDefinition
from launch.plan.keys import data_identity
from launch.results.scores import trainings_under
from launch.store import Store
from launch.store.artifacts import LanguageScores, TrainResult
from training.pretrained import StartModel
from training.spec import Settings, Split

_HASH = 16  # letters of a file's hash that are shown
Counts = tuple[tuple[str, int], ...]


def provenance(plan: Plan, store: Store) -> tuple[Provenance, ...]:
    """Of every run that has a score."""
    rows: dict[tuple[str, str, int | None], Provenance] = {}
    for (recipe, target, _), key in plan.paths.items():
        stage = plan.stages[key]
        run = (recipe, target, stage.seed)
        if run not in rows and (results := store.language_results(plan, stage)):
            rows[run] = _of_run(plan, store, run, stage, results)
    return tuple(rows.values())


def _of_run(
    plan: Plan,
    store: Store,
    run: tuple[str, str, int | None],
    stage: Stage,
    results: Mapping[str, LanguageScores],
) -> Provenance:
    trainings = [*trainings_under(plan, stage)][::-1]
    train_codes = [result.code for training in trainings if (result := store.train_result(training))]
    codes = dict.fromkeys(code for code in [*(result.code for result in results.values()), *train_codes] if code)
    return Provenance(
        *run,
        stage.key,
        stage.name,
        tuple(training.key for training in trainings),
        next(iter(results.values())).generation,
        tuple(codes),
        len(results),
        sum(result.examples for result in results.values()),
    )


def data(plan: Plan, store: Store) -> tuple[DataSource, ...]:
    """Every list of examples that the plan reads: of trainings, then of targets, language by language."""
    examples = _examples(plan, store)
    sources: dict[DataSource, None] = {}
    for step in plan.steps.values():
        for part in step.parts:
            held_out = f"{part.hold_out:.0%} of train" if part.hold_out else ""
            for use, identity in (("train", _identity(part.train)), ("dev", _identity(part.dev) or held_out)):
                sources[DataSource(part.task, use, "en", identity, None)] = None
    for name, target in plan.targets.items():
        for code, split in target.languages.items():
            sources[DataSource(name, "test", code, _identity(split), examples.get((name, code)))] = None
    return tuple(sources)


def _identity(split: Split) -> str:
    return ", ".join(_short(part) for part in data_identity(split))


def _short(identity: str) -> str:
    """A file by the beginning of its hash; a part of the Hub as it is."""
    if identity.startswith("hub:"):
        return identity.removeprefix("hub:")
    role, _, digest = identity.rpartition(":")
    return f"{role + ' ' if role else ''}sha256 {digest[:_HASH]}"


def _examples(plan: Plan, store: Store) -> dict[tuple[str, str], int]:
    """By (target, language): how many examples were scored."""
    counts: dict[tuple[str, str], int] = {}
    for (_, target, _), key in plan.paths.items():
        for code, result in store.language_results(plan, plan.stages[key]).items():
            counts[target, code] = max(result.examples, counts.get((target, code), 0))
    return counts


def environment(plan: Plan, store: Store) -> Environment:
    """What made the results there are."""
    language_results = [
        result
        for key in dict.fromkeys(plan.paths.values())
        for result in store.language_results(plan, plan.stages[key]).values()
    ]
    train_stages = (stage for stage in plan.stages.values() if stage.kind == "train")
    trainings = [result for stage in train_stages if (result := store.train_result(stage))]
    results: list[LanguageScores | TrainResult] = [*language_results, *trainings]
    return Environment(
        "; ".join(with_label(label, _model(start)) for label, start in plan.starts.items()),
        _counts(result.code or "not noted" for result in results),
        _versions(results),
        _counts(result.device_name or "not noted" for result in results),
        _counts(result.precision for result in trainings),
        tuple((step.task, _settings(step)) for step in plan.steps.values()),
    )


def _model(start: StartModel) -> str:
    """Of a folder its name alone: a report travels."""
    if start.folder is None:
        return f"{start.repo}@{start.revision}"
    return f"{Path(start.folder).name} ({start.identity.rpartition(':')[2][:_HASH]})"


def _versions(results: Iterable[LanguageScores | TrainResult]) -> tuple[tuple[str, Counts], ...]:
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        for package, version in result.versions.items():
            versions[package][version] += 1
    return tuple((package, tuple(counts.most_common())) for package, counts in sorted(versions.items()))


def _counts(values: Iterable[str]) -> Counts:
    return tuple(Counter(values).most_common())


def _settings(step: StepDefinition) -> str:
    """What a step is trained with."""
    return ", ".join(_changed(step.settings)) or "as by default"


def _changed(settings: Settings) -> Iterator[str]:
    default = Settings()
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value != getattr(default, field.name):
            yield f"{field.name} {value}"
