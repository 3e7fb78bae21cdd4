"""The experiment file: read strictly, checked whole, before anything else happens.

Every mistake is a UsageError of one line: file, line, what is wrong, what is allowed.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from launch import recipes, start_model, yaml_text
from launch.added_tasks import ColumnsSection, Definition, FilesSection, to_task
from launch.cluster import Cluster
from launch.fields import Matching, Name, Number, Section, Text, Whole, YesNo
from launch.policies import Failures, Rule
from launch.recipes import Recipe
from launch.yaml_text import Document, Location
from slurm.base import UsageError
from training import catalogue
from training.spec import Device, Matmul, Pooling, Precision, Sampling, Zero
from training.task import Preset

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
            start_model.resolve(text)
        except UsageError as error:
            raise self._wrong(("model",), str(error)) from None
        return text


def _check_intermediate(name: str) -> None:
    if not catalogue.is_step(name):
        raise UsageError(f"'{name}' is no intermediate task{nearest(name, catalogue.intermediate())}")
    catalogue.find(name)


def _language_list(value: str | list[str]) -> tuple[str, ...] | None:
    return None if value == "all" else tuple(dict.fromkeys(value))


# What Hugging Face's Trainer and DeepSpeed call what is called otherwise here.
_ELSEWHERE = {
    "micro_batch_size": "token_budget", "per_device_train_batch_size": "token_budget",
    "train_micro_batch_size_per_gpu": "token_budget", "gradient_accumulation_steps": "token_budget",
    "per_device_eval_batch_size": "eval_token_budget", "eval_batch_size": "eval_token_budget",
    "train_batch_size": "global_batch_size",
    "num_train_epochs": "epochs", "max_seq_length": "max_length", "lr": "learning_rate",
}  # fmt: skip


def nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    elsewhere = _ELSEWHERE.get(name)
    near = [elsewhere] if elsewhere in names else get_close_matches(name, names, n=1, cutoff=0.5)
    listed = ", ".join(names) if len(names) <= 30 else ""
    return (f"; did you mean '{near[0]}'?" if near else "") + (f" (known: {listed})" if listed else "")


def explain(document: Document, error: ValidationError) -> str:
    """The first of pydantic's errors, as a line that says what to type."""
    first = min(
        error.errors(),
        key=lambda entry: _urgency(document, entry["type"], _clean(document, entry["loc"])),
    )
    location = _clean(document, first["loc"])
    shown = ".".join(str(part) for part in location if isinstance(part, str))
    if first["type"] == "missing":
        return f"{document.path}: `{shown}:` is missing; see the README for an example"
    where = document.where(location)
    if first["type"] == "extra_forbidden":
        parent = ".".join(str(part) for part in location[:-1] if isinstance(part, str))
        place = f" in `{parent}:`" if parent else ""
        return f"{where}: unknown key '{location[-1]}'{place}{nearest(str(location[-1]), known_keys(location[:-1]))}"
    return f"{where}: {shown}: {_reason(first)}"


def _urgency(document: Document, kind: str, location: Location) -> tuple[bool, int, int]:
    """Unknown keys first, then from top to bottom; of a value that may be one or a list, what is wrong in the list."""
    return kind != "extra_forbidden", document.lines.get(location, 0), -len(location)


def _clean(document: Document, location: Location) -> Location:
    """pydantic's location without the names of union members."""
    kept: Location = ()
    for part in location:
        kept = (
            (*kept, part)
            if (*kept, part) in document.lines
            or (part == location[-1] and not str(part).startswith(("[key]", "list[", "literal[", "function-")))
            else kept
        )
    return kept


def _reason(entry: Any) -> str:
    value, context = entry["input"], entry.get("ctx", {})
    match entry["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"'{value}' is not one of {context['expected'].replace(' or ', ', ')}"
        case "greater_than_equal":
            return f"{value} is too small; the least is {context['ge']}"
        case "less_than_equal":
            return f"{value} is too large; the most is {context['le']}"
        case "list_type":
            return f"expected a list: write [{value}]" if isinstance(value, str) else "expected a list"
        case "dict_type" | "model_type":
            return "expected `key: value` lines"
        case "too_short":
            return "must not be empty"
        case _:
            return str(entry["msg"])


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


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long
        return False


def known_keys(location: Location) -> list[str]:
    section: Any = FileContent
    if location[:1] == ("failures",):
        section, location = Rule if location[1:] else Failures, ()
    for part in location:
        section = _SECTIONS.get(str(part), section)
    return [field.alias or name for name, field in section.model_fields.items()]
