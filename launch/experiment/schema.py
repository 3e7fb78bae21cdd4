"""TODO."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, create_model

from launch.experiment.added_tasks import ColumnsSection, Definition, FilesSection
from launch.experiment.cluster import Cluster
from launch.experiment.failures import Failures, Rule
from launch.experiment.fields import Matching, Name, Number, Section, Text, Whole, YesNo
from launch.experiment.yaml_text import Location
from training.spec import RUNTIME, SETTINGS, Setting
from training.tasks.task import Preset

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


def _value_type(setting: Setting) -> Any:
    """The type that reads a setting's text: the text of the file, converted and within its limits."""
    if setting.type is bool:
        return Annotated[bool, YesNo()]
    if setting.limits is None:
        return Annotated[setting.type, BeforeValidator(_digits_as_numbers(setting.type))]
    if setting.type is int:
        return Annotated[int, Whole(int(setting.limits.least), int(setting.limits.most))]
    return Annotated[float, Number(setting.limits.least, setting.limits.most)]


def _digits_as_numbers(choice: Any) -> Callable[[Any], Any]:
    """Of a choice that has numbers among its words (`zero`): their text as the number."""
    numbers = {str(option): option for option in get_args(choice) if isinstance(option, int)}
    return lambda value: numbers.get(value, value) if isinstance(value, str) else value


_FIELDS: dict[str, Any] = {setting.name: (_value_type(setting) | None, None) for setting in (*SETTINGS, *RUNTIME)}


class Overrides(create_model("_Settings", __base__=Section, **_FIELDS)):  # type: ignore[misc]
    """Settings of `training:` and of one entry of `tasks:`; unset ones stay with the catalogue."""

    def given(self) -> dict[str, Any]:
        """What the file sets."""
        values: dict[str, Any] = self.model_dump(exclude_unset=True)
        return values


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


def known_keys(location: Location) -> list[str]:
    section: Any = FileContent
    if location[:1] == ("failures",):
        section, location = Rule if location[1:] else Failures, ()
    for part in location:
        section = _SECTIONS.get(str(part), section)
    return [field.alias or name for name, field in section.model_fields.items()]
