"""The keys of the experiment file: their types, limits, defaults, and what docs/experiment-file.md says of each."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, create_model

from launch.experiment.added_tasks import ColumnsSection, Definition, FilesSection
from launch.experiment.cluster import Cluster
from launch.experiment.collect import Collect
from launch.experiment.environment import Environment
from launch.experiment.failures import Failures, Rule
from launch.experiment.fields import Matching, Name, Number, Section, Text, Whole, YesNo
from launch.experiment.notify import Notify
from launch.experiment.prompting import PromptSection
from launch.experiment.race import Race
from launch.experiment.study import StudySection, designs
from launch.experiment.yaml_text import Location
from training.spec import RUNTIME, SETTINGS, Says, Setting
from training.tasks.task import Preset

Keep = Literal["intermediate", "all"]


def _seeds(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f"`seeds` is a list: write `seeds: [{value}]`, or `[1, 2, 3]` for three seeds")
    return value


def _kind_of_seeds(value: Any) -> str:
    return "function-race" if isinstance(value, dict) else "list[int]"


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

    root: Annotated[
        Text | None,
        Says(
            "folder of local files, each with the path of [tasks.md](tasks.md); what is not there comes from the Hub",
            "./data",
            in_key="what its files hold: train",
        ),
    ] = None
    max_train: Annotated[
        Annotated[int, Whole(1, 10**9)] | None,
        Says("of every training set the first so many examples: for trials", "1000", in_key="train"),
    ] = None
    max_eval: Annotated[
        Annotated[int, Whole(1, 10**9)] | None,
        Says("of every dev and test set the first so many examples: for trials", "100", in_key="train, evaluate"),
    ] = None
    skip_bad_rows: Annotated[
        Annotated[bool, YesNo()], Says("leave malformed rows out instead of stopping at them", "true")
    ] = False
    revisions: Annotated[
        dict[str, _Commit],
        Says(
            "the commit of a data set on the Hub, where the catalogue pins none or another one is wanted",
            "{Samsoup/cosmos_qa: <commit>}",
            in_key="train",
        ),
    ] = {}


class Presets(Section):
    """Whose default settings: of recipes' steps, and of target training."""

    intermediate: Annotated[Preset, Says("of the steps of recipes", "xtreme", in_key="its settings")] = (
        "paper-intermediate"
    )
    target: Annotated[Preset, Says("of the training of targets", "xtreme", in_key="its settings")] = "paper-target"


class FileContent(Section):
    """The file as it is written."""

    name: Annotated[Name, Says("the experiment's name, in its jobs and results", "crossing")]
    store: Annotated[
        Text, Says("folder on the shared file system that keeps every result; relative to this file", "./store")
    ]
    model: Annotated[
        Text | None,
        Says(
            "the model to begin with: a Hub id (`@commit` where none is pinned), or a folder relative to this file;"
            " required, or `models`",
            "FacebookAI/xlm-roberta-large",
            in_key="train, evaluate",
        ),
    ] = None
    models: Annotated[
        dict[Name, Text],
        Says(
            "instead of `model`: several models by a label of your own; every recipe begins with each of them",
            "{large: FacebookAI/xlm-roberta-large, small: ./model}",
            in_key="train, evaluate: each its own",
        ),
    ] = {}
    recipes: Annotated[
        Annotated[list[Text], BeforeValidator(_recipes), Field(min_length=1)] | None,
        Says(
            "the intermediate trainings to compare; required, but where `study` names tasks: its recipes are added",
            "[none, squad > mnli]",
            in_key="train: each step its own",
        ),
    ] = None
    targets: Annotated[
        Annotated[list[Text], Field(min_length=1)],
        Says(
            "what every recipe is evaluated on, after its English training",
            "[xnli, panx]",
            in_key="train, evaluate: each its own",
        ),
    ]
    seeds: Annotated[
        Annotated[
            Annotated[list[Annotated[int, Whole(0, 2**31 - 1)]], Field(min_length=1), Tag("list[int]")]
            | Annotated[Race, Tag("function-race")],
            Discriminator(_kind_of_seeds),
            BeforeValidator(_seeds),
        ],
        Says(
            "every path is trained once with each of them; or as many as it takes: [racing](racing.md)",
            "[1, 2, 3]",
            in_key="train",
        ),
    ]
    study: Annotated[
        StudySection,
        Says("questions to ask of all results, and the recipes that they need", "{order: {tasks: [mnli, squad]}}"),
    ] = StudySection()
    languages: Annotated[
        dict[str, Annotated[Literal["all"] | list[_Language], BeforeValidator(_languages)]],
        Says(
            "by target, or under `default` for the others: which languages it is evaluated in",
            "{xnli: [en, de], default: all}",
        ),
    ] = {}
    data: Annotated[
        Data, Says("where the data is, and how much of it is used", "{root: ./data}", in_key="as below")
    ] = Data()
    presets: Annotated[Presets, Says("whose default settings hold", "{target: xtreme}", in_key="as below")] = Presets()
    catalogue: Annotated[
        dict[Name, Definition],
        Says(
            "tasks of your own, by name",
            "{my_nli: {like: mnli, files: {train: [a.tsv], hold_out: 0.1}}}",
            in_key="as below",
        ),
    ] = {}
    training: Annotated[Overrides, Says("settings of all stages", "{learning_rate: 3e-5}", in_key="as below")] = (
        Overrides()
    )
    tasks: Annotated[
        dict[str, Overrides], Says("settings of one task, target or mixture", "{squad: {epochs: 2}}", in_key="as below")
    ] = {}
    cluster: Annotated[
        Cluster, Says("where stages run, and what jobs ask for", "{partition: gpu, gpus-per-node: 1}")
    ] = Cluster()
    failures: Annotated[Failures, Says("what is done about failures, by their cause", "{time: {retry: 5}}")] = (
        Failures()
    )
    notify: Annotated[Notify, Says("who is told when it is over", "{mail: true}")] = Notify()
    collect: Annotated[Collect, Says("how the table is made without `stepstone collect`", "{partition: cpu}")] = (
        Collect()
    )
    keep: Annotated[Keep, Says("which encoders stay after their evaluations: those of recipes, or all", "all")] = (
        "intermediate"
    )


_SECTIONS: dict[str, Any] = {
    "seeds": Race,
    "data": Data,
    "presets": Presets,
    "catalogue": Definition,
    "files": FilesSection,
    "columns": ColumnsSection,
    "prompt": PromptSection,
    "training": Overrides,
    "cluster": Cluster,
    "environment": Environment,
    "notify": Notify,
    "collect": Collect,
    "tasks": Overrides,
}


def known_keys(location: Location) -> list[str]:
    section: Any = FileContent
    if location[:1] == ("failures",):
        section, location = Rule if location[1:] else Failures, ()
    if location[:1] == ("study",):
        section, location = designs()[str(location[1])] if location[1:] else StudySection, ()
    for part in location:
        section = _SECTIONS.get(str(part), section)
    return [field.alias or name for name, field in section.model_fields.items()]
