"""The experiment file: read strictly, checked whole, before anything else happens.

Every mistake is a UsageError of one line: file, line, what is wrong, what is allowed.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from launch.experiment import recipes, study, wishes, yaml_text
from launch.experiment.added_tasks import to_task
from launch.experiment.cluster import Cluster
from launch.experiment.collect import Collect
from launch.experiment.errors import explain, nearest
from launch.experiment.failures import Failures
from launch.experiment.notify import Notify
from launch.experiment.race import Race
from launch.experiment.recipes import Recipe
from launch.experiment.schema import FileContent, Keep, Overrides
from launch.experiment.study import StudySection
from launch.experiment.wishes import Wish
from launch.experiment.yaml_text import Document, Location
from slurm.base import UsageError, paths
from slurm.resources import Contradiction
from training.pretrained import start
from training.tasks import catalogue
from training.tasks.task import Preset

T = TypeVar("T")


@dataclass(frozen=True)
class Experiment:
    """What one experiment file asks for: names known, recipes expanded, paths absolute."""

    path: Path
    document: Document  # for errors that only the plan finds
    name: str
    store: Path
    # By label, "" of `model:`: a Hub id, with "@revision" where the file gives one, or an absolute folder.
    models: dict[str, str]
    recipes: tuple[Recipe, ...]
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    languages: dict[str, tuple[str, ...] | None]  # per target that the file names; None: all
    default_languages: tuple[str, ...] | None  # of the others, intersected with what each target has; None: all
    data_root: Path | None
    max_train: int | None
    max_eval: int | None
    skip_bad_rows: bool
    revisions: dict[str, str]  # by data set on the Hub: the commit that the file gives
    presets: dict[str, Preset]  # by role
    training: Overrides
    tasks: dict[str, Overrides]  # by task name, or a mixture's canonical text
    cluster: Cluster  # with what the shell's SBATCH_ variables add
    failures: Failures
    keep: Keep
    notify: Notify
    collect: Collect
    study: StudySection
    wishes: tuple[Wish, ...] = ()
    race: Race | None = None  # then `seeds` are all that a pair may get, in their order
    scores_earlier_dev: bool = False  # trainings score English dev of the steps before them too: forgetting
    measures_tasks: bool = False  # trainings from the start model measure their tasks' data: complexity

    @property
    def optional_seeds(self) -> tuple[int, ...]:
        """Those that only some pairs get, if any."""
        return () if self.race is None else self.seeds[self.race.min :]


def load(path: Path, text: str | None = None) -> Experiment:
    """Read and check an experiment file. UsageError, naming file and line, for every mistake in it.

    text: what to read in its place, as the file was once; paths in it are relative to the file's folder all the same.
    """
    document = yaml_text.load(path, text)
    try:
        content = FileContent.model_validate(document.value)
    except ValidationError as error:
        raise UsageError(explain(document, error)) from None
    # From here on: what types alone cannot say. The file's own tasks come first, for all else may name them.
    for name, definition in content.catalogue.items():
        try:
            catalogue.register(to_task(name, definition))
        except UsageError as error:
            raise document.error(("catalogue", name), str(error)) from None
    study.check(document, content.study, _check_intermediate)
    study.add_tasks(document, content.study, content.catalogue.keys())
    _check_offload(document, content)
    _check_resources(document, content.cluster)
    targets = _targets(document, content.targets)
    _check_revisions(document, content.data.revisions)
    cluster, granted_wishes = wishes.grant(content.cluster, os.environ)
    languages = {name: _language_list(value) for name, value in content.languages.items()}
    default_languages = languages.pop("default", None)
    for name in languages:
        if name not in catalogue.targets():
            raise document.error(("languages", name), f"'{name}' is no target{nearest(name, catalogue.targets())}")
    languages = content.study.languages(languages)
    targets = tuple(dict.fromkeys((*targets, *content.study.added_targets())))
    all_recipes = _recipes(document, content)
    race = content.seeds if isinstance(content.seeds, Race) else None
    if race is not None:
        _check_race(document, race, all_recipes)
    return Experiment(
        path=paths.absolute(document.path),
        document=document,
        name=content.name,
        store=_store(document, content.store),
        models=_models(document, content),
        recipes=all_recipes,
        targets=targets,
        seeds=_seeds(document, content.seeds),
        languages=languages,
        default_languages=default_languages,
        data_root=_path(document, ("data", "root"), content.data.root) if content.data.root else None,
        max_train=content.data.max_train,
        max_eval=content.data.max_eval,
        skip_bad_rows=content.data.skip_bad_rows,
        revisions=content.data.revisions,
        presets={"intermediate": content.presets.intermediate, "target": content.presets.target},
        training=content.training,
        tasks=_tasks(document, content.tasks),
        cluster=cluster,
        failures=content.failures,
        keep=content.keep,
        wishes=granted_wishes,
        notify=content.notify,
        collect=content.collect,
        study=content.study,
        race=race,
        scores_earlier_dev=content.study.order is not None,
        measures_tasks=content.study.complexity is not None,
    )


def _seeds(document: Document, seeds: list[int] | Race) -> tuple[int, ...]:
    return tuple(range(1, seeds.max + 1)) if isinstance(seeds, Race) else _without_repeats(document, "seeds", seeds)


def _check_race(document: Document, race: Race, all_recipes: tuple[Recipe, ...]) -> None:
    """What is raced are differences to `none`."""
    if race.max <= race.min:
        raise document.error(("seeds", "max"), f"seeds: max {race.max} is not above min {race.min}; raise it")
    if recipes.NONE not in all_recipes or len(all_recipes) == 1:
        mend = "add it" if recipes.NONE not in all_recipes else "add another recipe"
        raise document.error(("recipes",), f"recipes: {{min, max, until}} of `seeds:` compares with `none`; {mend}")


def _without_repeats(document: Document, key: str, values: Sequence[T]) -> tuple[T, ...]:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise document.error((key, position), f"{key}: {value} stands here twice; keep one")
    return tuple(values)


def _check_offload(document: Document, content: FileContent) -> None:
    """Only a stage of ZeRO has an optimizer apart, which can lie elsewhere. Within one section, and with `training:`;
    what two entries of `tasks:` say together only the plan finds."""
    general = content.training.given()
    sections: dict[Location, Overrides] = {("training",): content.training}
    sections |= {("tasks", name): overrides for name, overrides in content.tasks.items()}
    for location, overrides in sections.items():
        values = general | overrides.given()
        if values.get("offload") and values.get("zero", "auto") in ("none", 0):
            key = "offload" if overrides.given().get("offload") else "zero"
            mend = "set zero: auto, 1, 2 or 3, or offload: false"
            raise document.error((*location, key), f"offload: true does not go with zero: {values['zero']}; {mend}")


def _check_resources(document: Document, cluster: Cluster) -> None:
    """What the flags ask for must be one thing, whichever of them say it."""
    try:
        cluster.asked  # noqa: B018
    except Contradiction as error:
        section: Location = ("cluster", "sbatch") if error.flag in cluster.sbatch else ("cluster",)
        raise document.error((*section, error.flag), f"cluster: {error}") from None
    if cluster.lanes > 1 and cluster.ranks > 1:
        resource_words = f"{cluster.gpus} GPUs" if cluster.gpus > 1 else f"{cluster.ranks} processes"
        mend = "pack is for elements of one process each; ask for one GPU, or remove pack"
        line = f"cluster: pack: {cluster.pack}: an element asks for {resource_words}; {mend}"
        raise document.error(("cluster", "pack"), line)


def _targets(document: Document, names: list[str]) -> tuple[str, ...]:
    targets = _without_repeats(document, "targets", names)
    for position, name in enumerate(targets):
        if name not in catalogue.targets():
            raise document.error(("targets", position), f"'{name}' is no target{nearest(name, catalogue.targets())}")
    return targets


def _check_revisions(document: Document, revisions: Iterable[str]) -> None:
    """A revision under a name that no task has would have no effect."""
    repos = {catalogue.find(name).hub.repo for name in catalogue.names()} - {""}
    for repo in revisions:
        if repo not in repos:
            raise document.error(
                ("data", "revisions", repo), f"'{repo}' is no data set of the catalogue{nearest(repo, sorted(repos))}"
            )


def _recipes(document: Document, content: FileContent) -> tuple[Recipe, ...]:
    """All recipes, each once: two entries may stand for the same one. Then what studies need besides."""
    of_studies = content.study.recipes()
    if content.recipes is None and not of_studies:
        raise UsageError(f"{document.path}: `recipes:` is missing; see the README for an example")
    unique_recipes: dict[Recipe, None] = {}
    for position, text in enumerate(content.recipes or ()):
        try:
            unique_recipes |= dict.fromkeys(recipes.expand(text, _check_intermediate))
        except UsageError as error:
            raise document.error(("recipes", position), str(error)) from None
    return tuple(unique_recipes | dict.fromkeys(of_studies))


def _check_intermediate(name: str) -> None:
    if not catalogue.is_step(name):
        raise UsageError(f"'{name}' is no intermediate task{nearest(name, catalogue.intermediate())}")
    catalogue.find(name)  # of `task@xx` it says what is wrong with it


def _tasks(document: Document, sections: dict[str, Overrides]) -> dict[str, Overrides]:
    by_canonical_name: dict[str, Overrides] = {}
    for name, overrides in sections.items():
        canonical = _canonical_name(document, name)
        if canonical in by_canonical_name:
            raise document.error(("tasks", name), f"'{name}' is '{canonical}', which stands here twice; keep one")
        by_canonical_name[canonical] = overrides
    return by_canonical_name


def _canonical_name(document: Document, name: str) -> str:
    """Of a key of `tasks:`: a task, a target, or a mixture in any spelling."""
    if catalogue.known(name):
        return name
    if "+" in name:
        try:
            (recipe,) = recipes.expand(name, _check_intermediate)
        except (UsageError, ValueError) as error:
            raise document.error(("tasks", name), str(error)) from None
        if len(recipe) == 1:
            return recipes.show(recipe)
    mend = nearest(name, sorted(catalogue.names()))
    raise document.error(("tasks", name), f"'{name}' is no task, target or mixture such as 'a + b'{mend}")


def _path(document: Document, location: Location, text: str) -> Path:
    """A path relative to the file, absolute, its links left in; nothing need be there."""
    if any(mark in text for mark in "%\\"):
        raise document.error(location, f"'{text}': '%' and '\\' have a meaning of their own in Slurm's file names")
    try:
        path = paths.absolute(Path(text).expanduser(), paths.absolute(document.path).parent)
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.lstat()
    except (OSError, RuntimeError) as error:  # a name too long; `~nobody`
        raise document.error(location, f"'{text}': {getattr(error, 'strerror', error)}") from None
    return path


def _store(document: Document, text: str) -> Path:
    path = _path(document, ("store",), text)
    if ":" in str(path):
        raise document.error(("store",), f"'{path}': jobs find their code by PYTHONPATH, where ':' separates folders")
    return path


def _models(document: Document, content: FileContent) -> dict[str, str]:
    """The start models by label; that of `model:` has none."""
    if content.model is not None and "models" in document.value:
        raise document.error(("models",), "`model:` and `models:` do not go together; give `model:` a label here")
    if content.model is not None:
        return {"": _model(document, ("model",), content.model)}
    if not content.models:
        if "models" in document.value:
            raise document.error(("models",), "models: must not be empty; write models: {LABEL: MODEL, LABEL: MODEL}")
        raise UsageError(f"{document.path}: `model:` is missing, or `models:`; see the README for an example")
    return {label: _model(document, ("models", label), text) for label, text in content.models.items()}


def _model(document: Document, location: Location, text: str) -> str:
    """A folder where there is one, else a Hub id: `a/b` can be either."""
    key = ".".join(map(str, location))
    folder = _path(document, location, text) if text.startswith("~") else paths.absolute(document.path).parent / text
    if _is_folder(folder):
        return str(paths.absolute(folder))
    if text.startswith((".", "/", "~")):
        raise document.error(location, f"{key}: there is no folder {folder}")
    if text.partition("@")[0].count("/") != 1:
        raise document.error(
            location, f"{key}: '{text}' is neither a folder nor a Hub id such as FacebookAI/xlm-roberta-large"
        )
    try:
        start.resolve(text)
    except UsageError as error:
        raise document.error(location, f"{key}: {error}") from None
    return text


def _language_list(value: str | list[str]) -> tuple[str, ...] | None:
    return None if value == "all" else tuple(dict.fromkeys(value))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long
        return False
