"""Tasks of a user's own: in the experiment file, strictly read."""

import json
import re
from collections.abc import Iterator

import pytest

from launch.experiment import added_tasks, yaml_text
from launch.experiment.added_tasks import Definition, to_task
from slurm.base import UsageError
from tests.launch.workspace import Workspace
from tests.paths import ROOT
from training.data import load
from training.tasks import catalogue

DOCUMENT = ROOT / "docs" / "adding-a-task.md"


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalogue, "_REGISTERED", {})
    yield


def test_the_documents_example_plans(workspace: Workspace) -> None:
    (text,) = re.findall("```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    path = workspace.write(text)
    example = yaml_text.load(path).value
    data = workspace.root / "data"
    for name in ("nli/train.tsv", "nli/dev.tsv"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text("A kite.\tA boat.\tneutral\n")
    (data / "ner").mkdir()
    for code in ("en", "de"):
        (data / f"ner/{code}.tsv").write_text("".join(f"Anna{n}\tB-PER\nruft\tO\n\n" for n in range(8)))
    plan = workspace.plan(**{key: example[key] for key in ("catalogue", "recipes", "targets")})
    assert {"my_nli-s1", "my_nli.my_ner-s1", "my_ner-s1", "my_ner-s1--my_ner"} <= {s.name for s in plan.stages.values()}
    assert set(plan.targets["my_ner"].languages) == {"en", "de"}


@pytest.mark.parametrize("name", list(catalogue.TASKS))
def test_a_task_survives_json(name: str) -> None:
    text = json.dumps(added_tasks.to_record(catalogue.find(name)))
    assert json.dumps(added_tasks.to_record(added_tasks.from_record(json.loads(text)))) == text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("mnli", {"like": "squad"}, "is taken"),
        ("mine", {}, "give `like: TASK` or `format:`"),
        ("mine", {"like": "mnil"}, "did you mean mnli"),
        ("mine", {"format": "tagging", "files": {"train": ["a.tsv"]}}, "no English dev"),
        ("mine", {"like": "mnli", "metric": "ner"}, "metric ner cannot score format sequence; allowed: accuracy"),
        ("mine", {"format": "sequence", "files": {"train": ["a.tsv"], "dev": ["b.tsv"]}}, "needs `labels:"),
        ("mine", {"like": "xnli", "training_path": "qqp"}, "format and labels must be the same"),
        ("mine", {"format": "span", "languages": ["de"], "files": {"test": ["a.json"]}}, "a target has `languages`"),
        ("mine", {"like": "tatoeba", "files": {"test": ["a.de", "a.en"]}}, "test takes {other: FILE, english: FILE}"),
        (
            "mine",
            {"like": "bucc", "files": {"test": {"source": "{lang}.tsv"}}},
            "test takes {source: FILE, target: FILE, gold: FILE} or {source: FILE, target: FILE}",
        ),
        (
            "mine",
            {"like": "mewslix", "files": {"test": {"a": "b.jsonl"}}},
            "takes [FILE] or {mentions: FILE, entities: FILE}",
        ),
        ("mine", {"like": "xnli", "files": {"test": {"german": "de.tsv"}}}, "test takes [FILE]"),
        ("mine", {"like": "tatoeba", "training_path": "mnli"}, "format retrieval has no head to train"),
        ("mine", {"like": "xnli", "training_path": "none"}, "format sequence needs a trained head"),
        (
            "mine",
            {"format": "parallel", "languages": ["de"], "files": {"test": {"german": "a.de"}}},
            "test takes [FILE] or {other: FILE, english: FILE}",
        ),
        ("mine", {"format": "parallel", "files": {"test": ["{lang}.tmx"]}}, "a target has `languages`"),
    ],
)
def test_a_definition_that_does_not_hold_together_is_one_line(name: str, content: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        to_task(name, Definition.model_validate(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("like", "split", "paths"),
    [
        ("tatoeba", "test", {"other": "health/{lang}.txt", "english": "health/{lang}.en"}),
        ("bucc", "test", {"source": "health/{lang}.tsv", "target": "health/en.tsv", "gold": "health/{lang}.gold"}),
        ("bucc", "test", {"source": "health/{lang}.tsv", "target": "health/en.tsv"}),
    ],
)
def test_files_with_roles_are_a_target_of_ones_own(
    workspace: Workspace, like: str, split: str, paths: dict[str, str]
) -> None:
    data = workspace.root / "data"
    (data / "health").mkdir()
    lines = {"other": "Eins.\n", "english": "One.\n", "source": "a\tEins.\n", "target": "b\tOne.\n", "gold": "a\tb\n"}
    for role, path in paths.items():
        (data / path.replace("{lang}", "de")).write_text(lines[role])
    entry = {"like": like, "languages": ["de"], "files": {split: paths}}
    plan = workspace.plan(catalogue={"health": entry}, targets=["health"], recipes=["none", "squad"])
    definition = plan.targets["health"]
    examples = load.load_language(definition.task, "de", definition.languages["de"], None)
    assert {(e.english, e.other) if like == "tatoeba" else e.text for e in examples} == (  # type: ignore[attr-defined]
        {("One.", "Eins.")} if like == "tatoeba" else {"Eins.", "One."}
    )
    assert {stage.name for stage in plan.stages.values() if stage.kind == "evaluate"} == {
        "start--health", "squad-s1--health", "squad-s2--health",
    }  # fmt: skip


def test_parallel_text_is_a_target_without_training() -> None:
    definition = {"format": "parallel", "languages": ["de"], "files": {"test": ["news/{lang}.tmx"]}}
    task = to_task("news", Definition.model_validate(definition))
    assert (task.training_path, task.metric, dict(task.target)) == ("none", "accuracy", {"max_length": 512})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"lik": "mnli"}, "unknown key 'lik' in `catalogue.mine:`; did you mean 'like'?"),
        ({"like": "mnli", "files": {"trian": ["a"]}}, "did you mean 'train'?"),
        ({"like": "mnli", "files": {"train": ["../a"], "dev": ["b"]}}, "without '..'"),
        ({"like": "tatoeba", "files": {"test": {"other": "../a", "english": "b"}}}, "without '..'"),
        ({"like": "tatoeba", "files": {"test": {"other": ["a"], "english": "b"}}}, "other: expected a path inside"),
        ({"like": "tatoeba", "files": {"test": {"Other": "a", "english": "b"}}}, "is not a role such as english"),
    ],
)
def test_a_mistake_in_the_file_names_its_line(workspace: Workspace, content: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        workspace.plan(catalogue={"mine": content})
    assert re.match(r".*experiment\.yaml:\d+: ", str(caught.value))
