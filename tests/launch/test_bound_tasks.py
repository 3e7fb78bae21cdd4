"""On a real Slurm that binds tasks to cores, as most do: what is asked for is what each process gets, or it is said."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm import devcluster as slurm_on_this_machine
from tests.conftest import own_devcluster
from tests.launch.test_slurm import ONE_STAGE, Lab, data

__all__ = ["data"]  # a fixture
pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """A node with two cores, to which tasks are bound, and four fake GPUs."""
    with own_devcluster("bound") as folder:
        options = slurm_on_this_machine.Options(
            folder, nodes=1, cpus_per_node=2, memory_per_node=64000, gpus_per_node=4, bind_tasks=True
        )
        slurm_on_this_machine.up(options)
        environment = os.environ | slurm_on_this_machine.environment(folder)
        yield environment
        subprocess.run(["scancel", "--me"], env=environment, check=False)


@pytest.fixture
def run(environment: dict[str, str], tiny_model: Path, data: Path, tmp_path: Path) -> Callable[..., Lab]:
    def run(cluster: str, variables: str = "") -> Lab:
        text = ONE_STAGE.format(
            model=tiny_model, data=data, epochs=1, partition="gpu", more="", training="", collects=""
        )
        head = text.partition("cluster:")[0].replace("[en, de]", "[en]").replace("48, max_eval: 10", "8, max_eval: 2")
        whose_threads = f"environment: {{drop: [OMP_NUM_THREADS], set: {{{variables}}}}}"
        end = (
            f"cluster: {{executor: slurm, time: '30', {cluster}, {whose_threads}}}\ncollect: {{job: false, every: 0}}\n"
        )
        lab = Lab(tmp_path, f"{head}{end}", environment)
        lab.run("submit", "--wait")
        return lab

    return run


def _had(lab: Lab) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the training's attempt noted, and its result."""
    (stage,) = (stage for stage in lab.json("status")["stages"] if stage["kind"] == "train")
    folder = lab.stage_folder(stage["key"])
    starter = json.loads((folder / "attempts/0001/starter.json").read_text())
    return starter["granted"], json.loads((folder / "result.json").read_text())


def test_a_process_of_two_cores_computes_on_two(run: Callable[..., Lab]) -> None:
    lab = run("cpus-per-task: 2, mem: 1G")
    granted, result = _had(lab)
    assert granted["cores"] == result["cores"] == 2 and granted["short_of"] == []
    assert result["made_by"]["granted"] == granted
    assert "warning" not in lab.why() and "warning" not in lab.run("status", "--stage", "mnli-s1").stdout


def test_a_node_of_which_the_file_says_nothing_is_bound_to_a_core_and_that_is_said(run: Callable[..., Lab]) -> None:
    lab = run("sbatch: {exclusive: true}")
    granted, result = _had(lab)
    assert granted["cores"] == result["cores"] == 1
    line = "2 cores a process in the job, 1 to use; write cluster: {cpus-per-task: 2}"
    assert granted["short_of"] == [line] and f"warning: {line}" in lab.why()


def test_every_gpu_has_its_process_and_every_process_its_core(run: Callable[..., Lab]) -> None:
    lab = run("sbatch: {gres: 'gpu:2', cpus-per-gpu: 1}")
    granted, _ = _had(lab)
    assert (granted["ranks"], granted["cores"], granted["gpus"], granted["short_of"]) == (2, 1, 2, [])


def test_a_site_that_binds_too_narrowly_is_told_with_a_mend_that_helps(run: Callable[..., Lab]) -> None:
    lab = run("cpus-per-task: 2", "SLURM_CPU_BIND: 'map_cpu:0'")
    granted, _ = _had(lab)
    (line,) = granted["short_of"]
    assert line.startswith("2 cores a process asked for, 1 to use;") and f"warning: {line}" in lab.why()
    assert f"warning: {line}" in lab.run("status", "--stage", "mnli-s1").stdout
    mend = line.partition("write cluster: ")[2]
    assert mend == "{environment: {set: {SLURM_CPU_BIND: none}}}"
    lab.file.write_text(lab.file.read_text().replace("'map_cpu:0'", "none").replace("seeds: [1]", "seeds: [2]"))
    lab.run("submit", "--wait")
    assert _had(lab)[0]["cores"] == 2
