"""One job array: its sbatch script and its sending, both by submitit, which sends and does not remember.

`_submit_command` and `_make_submission_file_text` are private to submitit: the version is pinned and a contract test
(tests/slurm/test_arrays.py) holds them to what is used here.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError
from submitit.slurm.slurm import SlurmExecutor

from slurm.errors import UserError
from slurm.files import make_folder

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What a job may see of the submitting shell: tokens and other secrets stay behind.
EXPORTED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
    "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "XDG_CACHE_HOME",
    "CUDA_HOME", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "OMP_NUM_THREADS", "SLURM_CONF",
)  # fmt: skip


@dataclass(frozen=True)
class ArrayRequest:
    """One array to send. `command` runs in every element; which one it is, it learns from SLURM_ARRAY_TASK_ID."""

    name: str
    command: tuple[str, ...]
    indices: tuple[int, ...]
    logs: Path
    flags: dict[str, Any] = field(default_factory=dict)  # sbatch's long flags
    throttle: int | None = None  # elements that run at the same time
    dependency: str | None = None
    setup: tuple[str, ...] = ()  # shell lines, as they are
    environment: dict[str, str] = field(default_factory=dict)  # set in every element
    signal_seconds: int = 120  # USR2 so long before the time limit


def index_list(indices: Iterable[int]) -> str:
    """Slurm's notation of a set of indices: `0-3,7`."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


class ArrayExecutor(SlurmExecutor):  # type: ignore[misc]  # submitit has no type information for us
    """submitit's executor, given one command for all elements instead of one pickle each."""

    def __init__(self, request: ArrayRequest) -> None:
        super().__init__(folder=request.logs)
        self.parameters = {
            "job_name": request.name,
            "time": None,  # else submitit asks for five minutes; the partition's own default is better
            "wckey": None,  # submitit's own default is a name that accounting may refuse
            "map_count": len(request.indices),  # makes submitit name the logs by array id and index
            "signal_delay_s": request.signal_seconds,
            "setup": [*_exports(request.environment), *request.setup],
            # One rank that dies would leave the others waiting until the time limit.
            "srun_args": ["--export=ALL", "--kill-on-bad-exit=1"],
            "additional_parameters": _flags(request),
        }

    @classmethod
    def affinity(cls) -> int:
        """Scripts can be shown where there is no Slurm."""
        return 1

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        # Sent from inside a job, that job's own settings would leak into the new one.
        leaked = [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF"]
        return ["env", *(f"--unset={name}" for name in leaked), "sbatch", str(submission_file_path)]


def script(request: ArrayRequest) -> str:
    """The text that `sbatch` is given."""
    text: str = ArrayExecutor(request)._make_submission_file_text(_command(request), "")
    return text


def send(request: ArrayRequest) -> str:
    """Send the array and return its job id. UserError with sbatch's own words where it refuses."""
    make_folder(request.logs)
    if shutil.which("sbatch") is None:
        raise UserError("there is no sbatch here; run on a login node, or set `cluster: {executor: local}`")
    try:
        job = ArrayExecutor(request)._submit_command(_command(request))
    except FailedJobError as error:
        raise UserError(f"sbatch refused: {_refusal(str(error))}") from None
    return str(job.job_id)


def _command(request: ArrayRequest) -> str:
    return shlex.join(request.command)


def _flags(request: ArrayRequest) -> dict[str, Any]:
    flags = {name.replace("_", "-"): value for name, value in request.flags.items()}
    flags["array"] = index_list(request.indices) + (f"%{request.throttle}" if request.throttle else "")
    flags["export"] = ",".join(name for name in EXPORTED if name in os.environ) or "NONE"
    flags["kill-on-invalid-dep"] = "yes"
    flags["requeue"] = True
    if request.dependency:
        flags["dependency"] = request.dependency
    for name, value in flags.items():
        # A newline would end the comment line of the script and run what follows it.
        assert not _CONTROL.search(f"{name}{value}"), f"control character in sbatch flag {name}={value!r}"
    return flags


def _exports(environment: dict[str, str]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]


def _refusal(output: str) -> str:
    """sbatch's words without submitit's: the lines that sbatch marks as errors, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines if "error:" in line]
    return "; ".join(dict.fromkeys(marked)) if marked else lines[-1]
