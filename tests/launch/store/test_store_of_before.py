"""What earlier versions wrote is read for ever: a store of 2026-11-26, made before the packages got rooms.

`store-of-2026-11-26.tar.xz` holds two experiments in one store, a random XLM-R of one layer, generated data, and what
`status`, `collect` and `plan` said at the time: `study.yaml` on local workers, `queue.yaml` on a real Slurm with some
stages cancelled and sent again. Left out are the frozen code, the token cache, logs and the index of what is finished.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.cli.app import app
from launch.store.submissions import locate, read_all


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("before")
    with tarfile.open(Path(__file__).with_name("store-of-2026-11-26.tar.xz")) as archive:
        archive.extractall(root, filter="data")
    return root


def _type(*arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["study", "queue"])
def test_every_stage_is_what_it_was(folder: Path, name: str) -> None:
    expected = json.loads((folder / "expected" / f"{name}-status.json").read_text())
    assert _type("status", str(folder / f"{name}.yaml"))["stages"] == expected["stages"]  # keys, attempts, jobs, scores


@pytest.mark.parametrize("name", ["study", "queue"])
def test_every_score_is_what_it_was(folder: Path, name: str) -> None:
    expected = json.loads((folder / "expected" / f"{name}-rows.json").read_text())
    collected = _type("collect", str(folder / f"{name}.yaml"))
    assert (collected["schema"], collected["set_aside"]) == (3, [])
    scored = [row for row in collected["rows"] if row["state"] == "scored"]
    assert [{column: row[column] for column in expected["rows"][0]} for row in scored] == expected["rows"]
    assert {row["score"] for row in collected["rows"] if row["state"] != "scored"} <= {None}


def test_the_plan_is_what_it_was(folder: Path) -> None:
    expected = json.loads((folder / "expected" / "study-plan.json").read_text())
    found = _type("plan", str(folder / "study.yaml"))
    # Rates differ from machine to machine; what `plan` tells beside was not there before.
    assert {name: found[name] for name in expected if name != "estimate"} == {
        name: value for name, value in expected.items() if name != "estimate"
    }


def test_nothing_is_sent_again(folder: Path) -> None:
    done = CliRunner().invoke(app, ["submit", str(folder / "study.yaml")])
    assert (done.exit_code, done.stderr.strip()) == (0, "nothing to send: every stage is finished, queued or running")


def test_what_was_sent_is_known(folder: Path) -> None:
    submissions = read_all(folder / "store")
    locations = locate(submissions)
    assert [submission.executor for submission in submissions] == ["local", "slurm", "slurm"]
    assert [sorted(submission.cancelled) for submission in submissions] == [[], [(1, 0), (3, 0), (3, 1), (3, 2)], []]
    assert len(locations) == 63 and {location.job for location in locations.values()} == {None, "1", "2", "3", "6", "7"}
