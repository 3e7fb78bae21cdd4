"""The command `figures`: what it writes and where, of a part of an experiment too, and what it refuses."""

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from launch.cli.app import app
from slurm.base import UserError
from tests.launch.report.test_report import _plan, _publish
from tests.launch.workspace import Workspace

pytestmark = pytest.mark.usefixtures("in_its_folder")


def _figures(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["figures", "experiment.yaml", *arguments], catch_exceptions=False)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_figures_are_written_beside_the_table(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan)
    folder = plan.experiment.store / "results" / "small" / "figures"
    assert f"written: {folder}: matrix, languages-xnli, family-xnli" in _figures().output.replace("\n", " ")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert {"matrix.pdf", "script-xnli.pdf", "transfer.pdf", "curves-loss.pdf", "captions.txt"} <= _names(folder)
    assert "matrix: mean over languages, in percent" in (folder / "captions.txt").read_text()
    _figures()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_some_figures_elsewhere_in_other_formats(workspace: Workspace, tmp_path: Path) -> None:
    _publish(_plan(workspace))
    _figures("--out", str(tmp_path / "new" / "figs"), "--format", "svg,png", "--only", "matrix, curves", "--width", "4")
    names = {f"{name}.{form}" for name in ("matrix", "curves-loss", "curves-dev") for form in ("svg", "png")}
    assert _names(tmp_path / "new" / "figs") == names | {"captions.txt"}


def test_of_nothing_there_is_a_matrix_that_says_so(workspace: Workspace, tmp_path: Path) -> None:
    _plan(workspace)
    output = _figures("--out", str(tmp_path / "figs")).output.replace("\n", " ")
    assert "nothing to show yet: family-xnli, script-xnli, size-xnli, transfer, curves-loss, curves-dev, cost" in output
    assert _names(tmp_path / "figs") == {"matrix.pdf", "languages-xnli.pdf", "captions.txt"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--width", "wide"), "--width wide: it is column, text or inches"),
        (("--format", "eps"), "--format eps: eps is none of pdf, svg, png"),
        (("--only", "matrx"), "--only matrx: did you mean matrix?"),
        (("--only", "family-panx"), "--only family-panx: did you mean family-xnli?"),
        (("--out", "experiment.yaml"), "--out experiment.yaml: is no folder"),
        (("--out", "experiment.yaml/figs"), "cannot make this folder: Not a directory. Choose another `--out`."),
    ],
)
def test_wrong_inputs(workspace: Workspace, arguments: tuple[str, str], message: str) -> None:
    _publish(_plan(workspace))
    with pytest.raises(UserError) as error:
        _figures(*arguments)
    assert message in str(error.value)
