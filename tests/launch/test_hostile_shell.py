"""Every command in a shell whose variables would change what Slurm's commands say and what jobs see: a real Slurm."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.demo import data as demo_data
from tests.conftest import DevCluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

STEPSTONE = str(Path(sys.executable).parent / "stepstone")
FILE = """\
name: hostile
store: ./store
model: {model}
recipes: [none]
targets: [xnli]
seeds: [1]
languages: {{xnli: [en]}}
data: {{root: {data}, max_train: 16, max_eval: 4}}
training: {{epochs: 1, global_batch_size: 8, token_budget: 256, max_length: 64, max_query_length: 32, device: cpu,
           zero: 2}}
collect: {{job: false}}
cluster:
  executor: slurm
  cpus-per-task: 1
  time: "00:30:00"
  environment: {{pass: [WANDB_*, MY_TOKEN], set: {{GREETING: "it's $HOME"}}, drop: [LC_*]}}
  setup: ['env > {out}', 'ulimit -a >> {out}']
"""
# Formats, states, clusters, names, users, times: each makes a command say something else, or nothing, where it counts.
HOSTILE = {
    "SQUEUE_FORMAT": "%i", "SQUEUE_FORMAT2": "jobid", "SQUEUE_STATES": "COMPLETED", "SQUEUE_USERS": "nobody",
    "SQUEUE_PARTITION": "preempt", "SQUEUE_NAMES": "other", "SQUEUE_SORT": "-i", "SQUEUE_ACCOUNT": "none",
    "SQUEUE_ALL": "1", "SQUEUE_ARRAY": "1", "SQUEUE_QOS": "none", "SQUEUE_LICENSES": "x",
    "SQUEUE_CLUSTERS": "elsewhere",
    "SACCT_FORMAT": "JobID", "SACCT_FEDERATION": "1", "SACCT_LOCAL": "1", "SACCT_CLUSTERS": "elsewhere",
    "SINFO_FORMAT": "%n", "SINFO_SORT": "-P", "SINFO_PARTITION": "preempt", "SINFO_ALL": "1",
    "SCONTROL_ALL": "1", "SCONTROL_FUTURE": "1", "SCANCEL_NAME": "other", "SCANCEL_STATE": "SUSPENDED",
    "SCANCEL_PARTITION": "preempt", "SCANCEL_INTERACTIVE": "true", "SCANCEL_VERBOSE": "true", "SCANCEL_USER": "nobody",
    "SBATCH_ARRAY_INX": "5-9", "SBATCH_EXPORT": "NONE", "SBATCH_JOB_NAME": "other", "SBATCH_NO_REQUEUE": "1",
    "SBATCH_OPEN_MODE": "truncate", "SBATCH_SIGNAL": "KILL@60", "SBATCH_WAIT": "1", "SBATCH_CLUSTERS": "elsewhere",
    "SBATCH_GET_USER_ENV": "1", "SBATCH_DEPENDENCY": "afterok:1", "SBATCH_PARTITION": "cpu",
    "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "3", "SLURM_NTASKS": "7", "SLURM_NPROCS": "7", "SLURM_NNODES": "2",
    "SLURM_CPU_BIND": "verbose,map_cpu:99", "SLURM_MEM_PER_CPU": "999999", "SLURM_ARRAY_TASK_ID": "8",
    "SLURM_HINT": "nomultithread", "SLURM_LABELIO": "1", "SLURM_EXIT_ERROR": "0", "SLURM_UNBUFFEREDIO": "0",
    "SLURM_STDOUTMODE": "none", "SLURM_PROCID": "3", "SLURM_RESTART_COUNT": "9", "SLURM_ARRAY_JOB_ID": "999",
    "SLURM_OVERLAP": "1", "SLURM_IMMEDIATE": "1", "SRUN_CPUS_PER_TASK": "64", "SLURM_GRES": "gpu:9",
    "RANK": "5", "WORLD_SIZE": "9", "MASTER_ADDR": "nowhere", "LOCAL_RANK": "5",
    "PYTHONHOME": "", "LD_PRELOAD": "", "TMPDIR": "/tmp/gone-since", "LC_TIME": "C", "HF_TOKEN": "hf_0xToken",
    "WANDB_MODE": "offline", "WANDB_API_KEY": "0xKey", "MY_TOKEN": "0xMine", "NCCL_DEBUG": "WARN",
    "https_proxy": "http://me:0xProxy@proxy", "EDITOR": "vi",
}  # fmt: skip


@pytest.fixture
def shell(devcluster: DevCluster, tiny_model: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    demo_data.write(tmp_path / "data")
    text = FILE.format(model=tiny_model, data=tmp_path / "data", out=tmp_path / "seen")
    (tmp_path / "experiment.yaml").write_text(text)
    yield devcluster.environment | HOSTILE | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    subprocess.run(["scancel", "--me"], env=devcluster.environment, check=False)


def test_every_command_of_a_hostile_shell(shell: dict[str, str], tmp_path: Path) -> None:
    def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = [STEPSTONE, command, str(tmp_path / "experiment.yaml"), *arguments]
        limited = ["bash", "-c", 'ulimit -S -t 100000; exec "$@"', "-", *words]  # a login shell's
        done = subprocess.run(
            limited, env=shell, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    script = run("plan", "--script").stdout
    assert "#SBATCH --partition=cpu" in script and "#SBATCH --export=ALL" in script and "MY_TOKEN" in script
    planned = " ".join(run("plan").stdout.split())
    assert "partition: cpu, from SBATCH_PARTITION; the file says nothing of it" in planned
    assert "SBATCH_EXPORT=NONE is not taken" in planned and "EDITOR" not in planned
    assert '"error"' not in run("doctor", "--json").stdout

    shell["SBATCH_ACCOUNT"] = "nobodys"  # so it is asked for
    with pytest.raises(AssertionError, match="Invalid account"):
        run("submit")
    del shell["SBATCH_ACCOUNT"]
    sent = run("submit", "--wait")
    assert "partition: cpu, from SBATCH_PARTITION" in sent.stderr
    (stage,) = [stage for stage in json.loads(run("status", "--json").stdout)["stages"] if stage["kind"] == "train"]
    assert (stage["state"], stage["attempts"]) == ("finished", 1), stage
    run("collect")
    run("cancel", "--yes")
    assert "attempt 1" in run("logs", stage["name"]).stdout
    assert "nothing to retry" in run("retry").stderr

    seen, _, limits = (tmp_path / "seen").read_text().partition("core file size")
    there = dict(line.split("=", 1) for line in seen.splitlines() if "=" in line)
    for name in ("NCCL_DEBUG", "WANDB_MODE", "MY_TOKEN", "https_proxy", "HOME", "PATH", "XDG_CACHE_HOME"):
        assert there[name] == shell[name], name
    assert there["GREETING"] == "it's $HOME" and there["SLURM_JOB_PARTITION"] == "cpu"
    assert there["SLURM_ARRAY_TASK_ID"] == "0" and there["TMPDIR"] == "/tmp"
    absent = {"HF_TOKEN", "WANDB_API_KEY", "EDITOR", "LC_TIME", "LD_PRELOAD", "PYTHONHOME", "RANK", "MASTER_ADDR"}
    absent |= {"MAIL", "SLURM_GET_USER_ENV", "SLURM_CPU_BIND", "SQUEUE_FORMAT", "SBATCH_EXPORT", "SLURM_HINT"}
    assert not absent & there.keys()
    assert "100000" not in limits

    # Of what is secret only names are in the store, and nothing is said aloud.
    kept = b"".join(path.read_bytes() for path in (tmp_path / "store" / "submissions").rglob("*") if path.is_file())
    for secret in ("hf_0xToken", "0xKey", "0xMine", "0xProxy"):
        assert secret.encode() not in kept and secret not in script + planned + sent.stdout + sent.stderr


@pytest.mark.parametrize(
    ("limit", "letter", "words"), [("CPU", "t 2", "CPU time 2 s"), ("AS", "v 900000", "virtual m")]
)
def test_limits_of_the_shell_that_the_file_sends_are_named(
    shell: dict[str, str], tmp_path: Path, limit: str, letter: str, words: str
) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(file.read_text() + f"  sbatch: {{propagate: {limit}}}\n")
    sending = f'ulimit -S -c 0 -{letter}; exec sbatch "$@"'
    wrapper = tmp_path / "bin" / "sbatch"  # the command itself needs more than the limit
    wrapper.parent.mkdir()
    wrapper.write_text(f"#!/bin/bash\nPATH=${{PATH#*:}}\n{sending}\n")
    wrapper.chmod(0o755)
    environment = shell | {"PATH": f"{wrapper.parent}:{shell['PATH']}"}

    def run(command: str, option: str) -> subprocess.CompletedProcess[str]:
        words = [STEPSTONE, command, str(file), option]
        return subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("submit", "--wait").returncode == 1
    status = run("status", "--json")
    failed = [stage for stage in json.loads(status.stdout)["stages"] if stage["state"] == "failed"]
    assert failed and all(stage["cause"] == "ulimit" and words in stage["reason"] for stage in failed), failed
