"""Which of a shell's variables go with a job."""

import pytest

from slurm import environment
from tests.paths import ROOT

SHELL = {
    "PATH": "/bin", "HOME": "/home/a", "LC_TIME": "de_DE", "MODULEPATH": "/mods", "BASH_FUNC_module%%": "() { :; }",
    "NCCL_DEBUG": "INFO", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "https_proxy": "http://u:p@proxy",
    "HF_HOME": "/cache", "SLURM_CONF": "/etc/slurm.conf", "SLURM_CLUSTERS": "north", "OMP_NUM_THREADS": "4",
}  # fmt: skip
# What breaks a job, changes its numbers, or is nobody's business there.
STAYS = {
    "HF_TOKEN": "t", "NCCL_API_KEY": "k", "WANDB_API_KEY": "w", "MY_PASSWORD": "p", "SSH_AUTH_SOCK": "/tmp/ssh",
    "CUDA_VISIBLE_DEVICES": "7", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "NVIDIA_TF32_OVERRIDE": "1",
    "LD_PRELOAD": "/l.so", "PYTHONHOME": "/p", "PYTHONPATH": "/code", "TMPDIR": "/tmp/gone", "EDITOR": "vi",
    "SLURM_JOB_ID": "1", "SLURM_CPU_BIND": "none", "SBATCH_ACCOUNT": "nlp", "SQUEUE_FORMAT": "%i", "RANK": "3",
    "WORLD_SIZE": "8", "MASTER_ADDR": "node7", "STEPSTONE_INDEX": "5", "SLURMD_NODENAME": "node1", "NCCL_\n": "odd",
}  # fmt: skip


def test_what_jobs_need_goes_and_the_rest_stays() -> None:
    goes = environment.of_job(SHELL | STAYS)
    assert dict(goes.variables) == SHELL
    assert goes.stays == tuple(sorted(STAYS))


def test_the_page_names_every_kind() -> None:
    rows = [line for line in (ROOT / "docs" / "launching.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    for kind in environment.KINDS:
        (row,) = [row for row in rows if row.endswith(f"| {kind.why} |")]
        # Not the insides of the modules' function, nor what is said with "also in capitals".
        names = [name for name in kind.names if not name.startswith(("_", "BASH_FUNC")) and not name.endswith("_PROXY")]
        assert [name for name in (*names, "_LMFILES_") if name in kind.names and name not in row] == []


def test_what_is_asked_for_goes_too_but_a_secret_by_its_whole_name_only() -> None:
    shell = {"WANDB_MODE": "offline", "WANDB_API_KEY": "k", "LD_PRELOAD": "/l.so", "HF_TOKEN": "t"}
    assert environment.of_job(shell, ["WANDB_*", "HF_*"]).names == ("WANDB_MODE",)
    assert environment.of_job(shell, ["WANDB_API_KEY", "LD_PRELOAD", "A"]).names == ("LD_PRELOAD", "WANDB_API_KEY")
    assert environment.of_job(shell, ["WANDB_API_KEY", "A", "B_*"]).missing == ("A",)
    assert environment.of_job(shell, ["*"]).names == ("LD_PRELOAD", "WANDB_MODE")


def test_what_is_dropped_stays_whatever_its_kind() -> None:
    goes = environment.of_job({"PATH": "/bin", "LD_LIBRARY_PATH": "/lib", "NCCL_DEBUG": "INFO"}, (), ["LD_*", "NCCL_*"])
    assert (goes.names, goes.stays) == (("PATH",), ("LD_LIBRARY_PATH", "NCCL_DEBUG"))
    assert environment.of_job({"PATH": "/bin", "HOME": "/"}, (), ["*"]).names == ("PATH",)  # sbatch is found by it


def test_nothing_that_belongs_to_another_job_can_be_asked_for() -> None:
    shell = {"SLURM_JOB_ID": "1", "SBATCH_QOS": "x", "RANK": "0", "PYTHONSAFEPATH": ""}
    assert environment.of_job(shell, ["*", *shell]).names == ()


def test_values_are_in_no_representation() -> None:
    assert "hunter2" not in repr(environment.of_job({"https_proxy": "http://me:hunter2@proxy"}))


@pytest.mark.parametrize("name", ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASS", "GH_PAT", "APIKEY"])
def test_names_of_secrets(name: str) -> None:
    assert environment.is_secret(name) and environment.is_secret(name.lower())


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "KEYBOARD", "PATH", "MONKEY", "COMPASS", "AUTHOR"])
def test_names_that_only_look_like_one(name: str) -> None:
    assert not environment.is_secret(name)
