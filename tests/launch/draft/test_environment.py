"""What jobs get of the submitting shell, as scripts, plans and local workers have it."""

import os
from pathlib import Path
from typing import Any

import pytest

from launch import experiment
from launch.draft import environment
from launch.experiment import Cluster
from slurm.base import UsageError
from tests.launch.workspace import Workspace

CODE = Path("/store/code/abc")


def _shell(patch: pytest.MonkeyPatch, **variables: str) -> None:
    """The shell that a command is typed in."""
    patch.setattr(os, "environ", {"PATH": "/bin", "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"], **variables})


def cluster(executor: str = "slurm", **section: Any) -> Cluster:
    return Cluster.model_validate({"executor": executor} | section)


def asked(**section: Any) -> Cluster:
    return cluster(environment=section)


def test_the_file_sets_adds_and_takes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    _shell(monkeypatch, HOME="/h", NCCL_DEBUG="WARN", WANDB_MODE="offline", WANDB_API_KEY="k")
    section = asked(**{"pass": ["WANDB_*"], "set": {"NCCL_DEBUG": "INFO", "A": "$x 'y'"}, "drop": ["HOME"]})
    passing = environment.passing(section)
    assert passing.names == ("NCCL_DEBUG", "PATH", "WANDB_MODE", "XDG_CACHE_HOME")
    assert environment.set_in_jobs(section, CODE) == {
        "NCCL_DEBUG": "INFO", "A": "$x 'y'", "PYTHONPATH": str(CODE), **environment.ENVIRONMENT,
    }  # fmt: skip
    assert environment.remarks(passing) == (
        "with the job goes of your shell: NCCL_DEBUG PATH WANDB_MODE XDG_CACHE_HOME",
        "what stays behind: HOME WANDB_API_KEY",
    )


def test_pythonpath_is_never_before_the_jobs_code(monkeypatch: pytest.MonkeyPatch) -> None:
    _shell(monkeypatch, PYTHONPATH="/opt/torch")
    assert environment.set_in_jobs(cluster(), CODE)["PYTHONPATH"] == str(CODE)
    assert "PYTHONPATH" in environment.passing(cluster()).stays
    section = asked(**{"pass": ["PYTHONPATH"]})
    assert environment.set_in_jobs(section, CODE)["PYTHONPATH"] == f"{CODE}:/opt/torch"
    assert "PYTHONPATH" not in {*environment.passing(section).stays, *environment.passing(section).names}


def test_odd_names_are_in_no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    _shell(monkeypatch, **{"HF_\nrm -rf": "x"})
    assert environment.remarks(environment.passing(cluster()))[-1] == "what stays behind: nothing"


def test_workers_have_the_shells_but_for_the_job_that_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    # In another job's shell: its array index would be taken for the element's, its id for that of an attempt's job.
    slurms = {"SLURM_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "5", "SBATCH_QOS": "x"}
    _shell(monkeypatch, EDITOR="vi", HF_TOKEN="t", LD_PRELOAD="/x", **slurms)
    section = cluster("local", environment={"drop": ["LD_PRELOAD"], "set": {"A": "b"}})
    shell = environment.of_workers(section, CODE)
    assert shell.keys() - environment.ENVIRONMENT.keys() == {
        *("PATH", "XDG_CACHE_HOME", "EDITOR", "HF_TOKEN", "A", "PYTHONPATH"),
    }


def test_what_people_are_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _shell(monkeypatch, OMP_NUM_THREADS="1", SBATCH_ACCOUNT="nlp", HF_TOKEN="t")
    section = {"executor": "slurm", "cpus-per-task": "8", "environment": {"pass": ["MY_*", "MY_PATH"]}}
    loaded = experiment.load(workspace.file(cluster=section))
    assert [notice.line for notice in environment.notices(loaded)] == [
        "account: nlp, from SBATCH_ACCOUNT; the file says nothing of it",
        "`environment: {pass: …}`: MY_PATH not set in this shell; export it, or remove it",
        "jobs compute with OMP_NUM_THREADS=1, as your shell does, and have 8 cores a process; not so with "
        "cluster: {environment: {drop: [OMP_NUM_THREADS]}}",
    ]
    assert environment.summary(loaded.cluster).startswith("3 variables of your shell go with jobs, 2 stay, HF_TOKEN am")
    local = experiment.load(workspace.file(cluster={"executor": "local", "environment": {"set": {"A": "b"}}}))
    assert environment.notices(local) == []


def test_the_environment_is_in_no_key(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = workspace.plan(cluster={"executor": "slurm"}).stages.keys()
    for name in ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "NCCL_DEBUG", "TORCH_LOGS"):
        monkeypatch.setenv(name, "x")
    section = {"executor": "slurm", "environment": {"set": {"A": "b"}, "pass": ["C"], "drop": ["D"]}}
    assert workspace.plan(cluster=section).stages.keys() == before


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"set": {"WANDB_API_KEY": "k"}}, r"'WANDB_API_KEY' looks like a secret.*`pass: \[WANDB_API_KEY\]`"),
        ({"set": {"PYTHONPATH": "/x"}}, r"`pass: \[PYTHONPATH\]` adds your shell's after it"),
        ({"set": {"SLURM_ARRAY_TASK_ID": "1"}}, r"'SLURM_ARRAY_TASK_ID' is set in every job"),
        ({"set": {"a b": "1"}}, r"'a b' is not a variable's name"),
        ({"pass": ["SLURM_JOB_ID"]}, r"'SLURM_JOB_ID' is set in every job"),
        ({"pass": ["a;b"]}, r"'a;b' is not a variable's name, in which \* stands for anything"),
        ({"pass": "NCCL_DEBUG"}, r"expected a list: write \[NCCL_DEBUG\]"),
        ({"sets": {}}, r"unknown key 'sets' in `cluster.environment:`; did you mean 'set'\?"),
    ],
)
def test_mistakes_in_the_section(workspace: Workspace, section: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=rf"experiment\.yaml:\d+: .*{words}"):
        experiment.load(workspace.file(cluster={"executor": "slurm", "environment": section}))


def test_what_srun_reads_may_be_set(workspace: Workspace) -> None:
    section = {"executor": "slurm", "environment": {"set": {"SLURM_CPU_BIND": "none", "TOKENIZERS_PARALLELISM": "no"}}}
    loaded = experiment.load(workspace.file(cluster=section))
    assert loaded.cluster.environment.set["SLURM_CPU_BIND"] == "none"
