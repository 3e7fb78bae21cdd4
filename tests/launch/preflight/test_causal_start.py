"""What may be asked of a causal language model, as a plan says it before anything is sent."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.estimate import shapes
from launch.preflight import checks
from slurm.base import UserError
from tests.causal_folders import write_causal
from tests.launch.workspace import Workspace, make
from training.pretrained.start import StartModel
from training.tasks import catalogue

pytestmark = pytest.mark.slow
CATALOGUE = {
    "asked": {"like": "xnli", "mode": "prompt"},
    "mnli_prompt": {"like": "mnli", "mode": "prompt"},
}


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalogue, "_REGISTERED", {})
    yield


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make(tmp_path)
    write_causal(tmp_path / "xglm", "xglm")
    return workspace


def test_prompts_alone_are_trained_and_asked(workspace: Workspace) -> None:
    told = {"model": "./xglm", "catalogue": CATALOGUE}
    plan = workspace.plan(**told, recipes=["none", "mnli_prompt"], targets=["asked"])
    checks.check_settings(plan)
    for recipes, targets, named in ((["squad"], ["asked"], "squad"), (["none"], ["asked", "tatoeba"], "tatoeba")):
        with pytest.raises(UserError, match=rf"task {named}: .* in prompts only: .*like: {named}, mode") as error:
            checks.check_settings(workspace.plan(**told, recipes=recipes, targets=targets))
        assert not re.search("\n", str(error.value))


def test_answers_are_written_by_causal_models_alone(workspace: Workspace) -> None:
    told = {"catalogue": {"written": {"like": "xquad", "mode": "prompt"}}, "targets": ["written"], "recipes": ["none"]}
    checks.check_settings(workspace.plan(**told, model="./xglm"))
    with pytest.raises(UserError, match=r"^target written: its answers are written, which takes a causal") as error:
        checks.check_settings(workspace.plan(**told))
    assert "\n" not in str(error.value)


def test_its_shape_is_known(workspace: Workspace) -> None:
    sizes = shapes.model_sizes(StartModel("x", folder=str(workspace.root / "xglm")))
    assert sizes is not None and (sizes.layers, sizes.width, sizes.vocabulary, sizes.positions) == (2, 16, 320, 0)
