"""Folders that nodes see by the same name and elsewhere, with names as people give them, on a real Slurm."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launch.demo import data as demo_data
from slurm.devcluster.config import ClusterLayout
from slurm.devcluster.processes import first_child
from tests.conftest import DevCluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

STEPSTONE = str(Path(sys.executable).parent / "stepstone")
NODES = ("node1", "node2")
PROJECT = "mes études (Zoë)"
TEXT = """\
name: named
store: "./le magasin d'été"
model: {model}
recipes: [none]
targets: [xnli]
seeds: [1]
languages: {{xnli: [en]}}
data: {{root: {data}, max_train: 8, max_eval: 4}}
training: {{epochs: 1, global_batch_size: 4, token_budget: 256, max_length: 64, max_query_length: 32, device: cpu}}
cluster: {{executor: slurm, partition: gpu, cpus-per-task: 1, time: "00:30:00"}}
"""


@pytest.fixture
def home(devcluster: DevCluster, tmp_path: Path) -> Iterator[Path]:
    """A home behind a link, as the login node and the nodes name it. Each of them sees what it leads to elsewhere."""
    for name in ("login-disk", "node-disk", "login-names", "node-names", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "login-names" / "home").symlink_to(tmp_path / "login-disk")
    (tmp_path / "node-names" / "home").symlink_to(tmp_path / "node-disk")
    with (
        _bound(devcluster, tmp_path / "login-disk", tmp_path / "node-disk"),
        _bound(devcluster, tmp_path / "node-names", tmp_path / "login-names"),
        _bound(devcluster, tmp_path / "empty", tmp_path / "login-disk"),
    ):
        yield tmp_path / "login-names" / "home"


@contextmanager
def _bound(devcluster: DevCluster, source: Path, target: Path) -> Iterator[None]:
    """On the nodes, and only there, one folder lies over another."""
    _on_nodes(devcluster, "mount", "--bind", str(source), str(target))
    try:
        yield
    finally:
        _on_nodes(devcluster, "umount", "--lazy", str(target))


def _on_nodes(devcluster: DevCluster, *command: str) -> None:
    daemons = ClusterLayout(devcluster.folder).daemons
    for node in NODES:
        outer = daemons.find(node)
        first = first_child(outer.pid) if outer else None
        assert first is not None, node
        subprocess.run(["nsenter", f"--target={first}", "--mount", "--pid", *command], check=True)


@pytest.fixture
def stepstone(
    devcluster: DevCluster, home: Path, tiny_model: Path, tmp_path: Path
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """The commands of a person who stands in a folder of that home."""
    project = home / PROJECT
    project.mkdir()
    demo_data.write(tmp_path / "data")
    (project / "experiment.yaml").write_text(TEXT.format(model=tiny_model, data=tmp_path / "data"))
    environment = devcluster.environment | {"HOME": str(home), "PWD": str(project), "OMP_NUM_THREADS": "1"}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [STEPSTONE, arguments[0], "experiment.yaml", *arguments[1:]]
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    yield run
    subprocess.run(["scancel", "--me"], env=devcluster.environment, check=False)


def test_a_home_behind_a_link_that_leads_elsewhere_on_the_nodes(
    stepstone: Callable[..., subprocess.CompletedProcess[str]], home: Path
) -> None:
    assert str(home / PROJECT) != os.path.realpath(home / PROJECT)
    stepstone("submit", "--wait")
    status = json.loads(stepstone("status", "--json").stdout)
    assert {stage["state"] for stage in status["stages"]} == {"finished"}
    said = stepstone("logs", status["stages"][0]["name"]).stdout
    assert "chdir" not in said
    told = json.loads(stepstone("doctor", "--nodes", "--json").stdout)["lines"]
    taken = {line["what"]: line for line in told if line["what"] in ("commands", "changes")}
    assert taken.keys() == {"commands", "changes"} and {line["level"] for line in taken.values()} == {"ok"}
    assert "scontrol update, scancel" in taken["commands"]["found"]
    seen = {line["what"].partition(" on ")[0]: line for line in told if " on node" in line["what"]}
    assert seen.keys() == {"store", "Python", "packages", "clock", "home", "limits"}
    assert {line["level"] for line in seen.values()} == {"ok"}


def test_a_store_by_a_name_that_nodes_do_not_know(
    stepstone: Callable[..., subprocess.CompletedProcess[str]], home: Path
) -> None:
    file = home / PROJECT / "experiment.yaml"
    real_name = Path(os.path.realpath(home / PROJECT))
    file.write_text(file.read_text().replace('"./le magasin d\'été"', f'"{real_name}/store"'))
    stepstone("submit", "--wait", check=False)
    patience = time.monotonic() + 300
    while True:  # a job that ends at once may leave the queue before accounting has it
        (train, _) = json.loads(stepstone("status", "--json").stdout)["stages"]
        if train["state"] != "unknown" or time.monotonic() > patience:
            break
        time.sleep(5)
    assert (train["state"], train["cause"]) == ("failed", "not-started")
    assert "log could not be created (0:53)" in train["reason"]
    said = stepstone("logs", train["name"], check=False).stderr
    assert "left no log" in said and "nothing yet" not in said
    told = json.loads(stepstone("doctor", "--nodes", "--json", check=False).stdout)["lines"]
    (line,) = [line for line in told if "did not come to look" in line["found"]]
    assert line["level"] == "error" and "log could not be created (0:53)" in line["found"]
    assert "as nodes see them" in line["fix"] and not list(real_name.glob(".stepstone-doctor*"))
    again = stepstone("submit", check=False)
    assert "stepstone doctor FILE --nodes" in again.stderr and "sent 2 stages" not in again.stderr
