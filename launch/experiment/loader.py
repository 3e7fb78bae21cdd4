"""The experiment file: read strictly, checked whole, before anything else happens.

Every mistake is a UsageError of one line: file, line, what is wrong, what is allowed.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from launch.experiment import recipes, yaml_text
from launch.experiment.added_tasks import to_task
from launch.experiment.cluster import Cluster
from launch.experiment.errors import explain, nearest
from launch.experiment.failures import Failures
from launch.experiment.recipes import Recipe
from launch.experiment.schema import FileContent, Keep
from launch.experiment.yaml_text import Document, Location
from slurm.base import UsageError
from training.pretrained import start
from training.tasks import catalogue
from training.tasks.task import Preset


@dataclass(frozen=True)
class Experiment:
    """What one experiment file asks for: names known, recipes expanded, paths absolute."""

    path: Path
    document: Document  # for errors that only the plan finds
    name: str
    store: Path
    model: str  # Hub id, with "@revision" where the file gives one, or an absolute folder
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
    training: dict[str, Any]
    tasks: dict[str, dict[str, Any]]  # by task name, or a mixture's canonical text
    cluster: Cluster
    failures: Failures
    keep: Keep


def load(path: Path) -> Experiment:
    """Read and check an experiment file. UsageError, naming file and line, for every mistake in it."""
    document = yaml_text.load(path)
    try:
        content = FileContent.model_validate(document.value)
    except ValidationError as error:
        raise UsageError(explain(document, error)) from None
    return _Checker(document, content).experiment()


class _Checker:
    """What types alone cannot say: names of tasks, recipes, languages, paths."""

    def __init__(self, document: Document, content: FileContent) -> None:
        self.document = document
        self.content = content

    def experiment(self) -> Experiment:
        content = self.content
        self._register_added()
        self._offload()
        targets = self._targets()
        named = dict(content.languages)
        default = named.pop("default", "all")
        self._revisions()
        self._known(("languages",), named, catalogue.targets(), "target")
        return Experiment(
            path=self.document.path.absolute(),
            document=self.document,
            name=content.name,
            store=self._folder("store", content.store),
            model=self._model(),
            recipes=self._all_recipes(),
            targets=targets,
            seeds=self._unique("seeds", content.seeds),
            languages={name: _language_list(value) for name, value in named.items()},
            default_languages=_language_list(default),
            data_root=self._folder(("data", "root"), content.data.root) if content.data.root else None,
            max_train=content.data.max_train,
            max_eval=content.data.max_eval,
            skip_bad_rows=content.data.skip_bad_rows,
            revisions=content.data.revisions,
            presets={"intermediate": content.presets.intermediate, "target": content.presets.target},
            training=content.training.given(),
            tasks=self._tasks(),
            cluster=content.cluster,
            failures=content.failures,
            keep=content.keep,
        )

    def _wrong(self, location: Location, message: str) -> UsageError:
        return UsageError(f"{self.document.where(location)}: {message}")

    def _unique(self, key: str, values: Iterable[Any]) -> tuple[Any, ...]:
        seen: list[Any] = []
        for position, value in enumerate(values):
            if value in seen:
                raise self._wrong((key, position), f"{key}: {value} stands here twice; keep one")
            seen.append(value)
        return tuple(seen)

    def _known(self, location: Location, given: Iterable[str], known: Iterable[str], what: str) -> None:
        for name in given:
            if name not in set(known):
                raise self._wrong((*location, name), f"'{name}' is no {what}{nearest(name, known)}")

    def _revisions(self) -> None:
        known = {catalogue.find(name).hub.repo for name in catalogue.names()} - {""}
        for repo in self.content.data.revisions:
            if repo not in known:
                location = ("data", "revisions", repo)
                raise self._wrong(location, f"'{repo}' is no data set of the catalogue{nearest(repo, sorted(known))}")

    def _offload(self) -> None:
        """Only a stage of ZeRO has an optimizer apart, which can lie elsewhere."""
        general = self.content.training.given()
        sections: dict[Location, dict[str, Any]] = {("training",): general}
        sections |= {("tasks", name): overrides.given() for name, overrides in self.content.tasks.items()}
        for location, own in sections.items():
            told = general | own
            if told.get("offload") and told.get("zero", "auto") in ("none", 0):
                key = "offload" if own.get("offload") else "zero"
                mend = "set zero: auto, 1, 2 or 3, or offload: false"
                raise self._wrong((*location, key), f"offload: true does not go with zero: {told['zero']}; {mend}")

    def _register_added(self) -> None:
        """Make the file's own tasks known to this process."""
        for name, definition in self.content.catalogue.items():
            try:
                catalogue.register(to_task(name, definition))
            except UsageError as error:
                raise self._wrong(("catalogue", name), str(error)) from None

    def _targets(self) -> tuple[str, ...]:
        targets = self._unique("targets", self.content.targets)
        for position, name in enumerate(targets):
            if name not in catalogue.targets():
                raise self._wrong(("targets", position), f"'{name}' is no target{nearest(name, catalogue.targets())}")
        return targets

    def _all_recipes(self) -> tuple[Recipe, ...]:
        found: dict[Recipe, None] = {}
        for position, text in enumerate(self.content.recipes):
            try:
                found |= dict.fromkeys(recipes.expand(text, _check_intermediate))
            except UsageError as error:
                raise self._wrong(("recipes", position), str(error)) from None
        return tuple(found)

    def _tasks(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name, overrides in self.content.tasks.items():
            canonical = self._settings_name(name)
            if canonical in found:
                raise self._wrong(("tasks", name), f"'{name}' is '{canonical}', which stands here twice; keep one")
            found[canonical] = overrides.given()
        return found

    def _settings_name(self, name: str) -> str:
        """A key of `tasks:`: a task, a target, or a mixture in any spelling."""
        if catalogue.known(name):
            return name
        if "+" in name:
            try:
                (recipe,) = recipes.expand(name, _check_intermediate)
            except (UsageError, ValueError) as error:
                raise self._wrong(("tasks", name), str(error)) from None
            if len(recipe) == 1:
                return recipes.show(recipe)
        known = sorted(catalogue.names())
        raise self._wrong(
            ("tasks", name), f"'{name}' is no task, target or mixture such as 'a + b'{nearest(name, known)}"
        )

    def _folder(self, key: str | Location, text: str) -> Path:
        location = (key,) if isinstance(key, str) else key
        if any(mark in text for mark in "%\\"):
            raise self._wrong(location, f"'{text}': '%' and '\\' have a meaning of their own in Slurm's file names")
        try:
            found = Path(Path(self.document.path).absolute().parent, Path(text).expanduser()).resolve()
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                found.lstat()
        except (OSError, RuntimeError) as error:  # a name too long; `~nobody`
            raise self._wrong(location, f"'{text}': {getattr(error, 'strerror', error)}") from None
        if location == ("store",) and ":" in str(found):
            raise self._wrong(location, f"'{found}': jobs find their code by PYTHONPATH, where ':' separates folders")
        return found

    def _model(self) -> str:
        text = self.content.model
        folder = (
            self._folder("model", text) if text.startswith("~") else Path(self.document.path).absolute().parent / text
        )
        if _is_folder(folder) or text.startswith((".", "/", "~")):
            if not _is_folder(folder):
                raise self._wrong(("model",), f"model: there is no folder {folder}")
            return str(folder.resolve())
        identifier = text.partition("@")[0]
        if identifier.count("/") != 1:
            raise self._wrong(
                ("model",), f"model: '{text}' is neither a folder nor a Hub id such as FacebookAI/xlm-roberta-large"
            )
        try:
            start.resolve(text)
        except UsageError as error:
            raise self._wrong(("model",), str(error)) from None
        return text


def _check_intermediate(name: str) -> None:
    if not catalogue.is_step(name):
        raise UsageError(f"'{name}' is no intermediate task{nearest(name, catalogue.intermediate())}")
    catalogue.find(name)


def _language_list(value: str | list[str]) -> tuple[str, ...] | None:
    return None if value == "all" else tuple(dict.fromkeys(value))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long
        return False
