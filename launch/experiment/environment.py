"""`cluster: {environment: …}`: what of the submitting shell's environment goes with jobs beside what always does."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from launch.experiment.fields import Matching, Section, Text
from slurm.environment import belongs_to_jobs, is_secret
from training.spec import Says

# What every job's first lines set: its own code, and that it runs without a network (launch.draft.request).
OURS = ("PYTHONSAFEPATH", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
# Of what is said to srun by variables, what belongs to the job itself.
_SET_IN_JOBS = re.compile(r"SLURM_(ARRAY_|JOB|RESTART|PROCID|LOCALID|NODEID|NTASKS|NNODES|NPROCS|STEP|TASK|CLUSTER).*")

_PATTERN = Annotated[str, Matching(r"[A-Za-z0-9_%*]+", "a variable's name, in which * stands for anything")]


def _asked_for(value: Any) -> Any:
    if isinstance(value, str) and "*" not in value and value != "PYTHONPATH" and _is_jobs_own(value):
        raise ValueError(f"'{value}' is set in every job by Slurm or by Stepstone; remove it")
    return value


def _set_by_file(name: Any) -> Any:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"'{name}' is not a variable's name")
    if name == "PYTHONPATH":
        raise ValueError("'PYTHONPATH' is where jobs find their code; `pass: [PYTHONPATH]` adds your shell's after it")
    if _is_jobs_own(name):
        raise ValueError(f"'{name}' is set in every job by Slurm or by Stepstone; remove it")
    if is_secret(name):
        raise ValueError(f"'{name}' looks like a secret, which no file should hold; export it in your shell and write "
                         f"`pass: [{name}]`")  # fmt: skip
    return name


def _is_jobs_own(name: str) -> bool:
    if name.startswith("SLURM_"):  # srun is told much by variables, such as SLURM_CPU_BIND
        return _SET_IN_JOBS.fullmatch(name) is not None
    return name in OURS or belongs_to_jobs(name)


class Environment(Section):
    """What jobs see beside the kinds of variables that always go with them (`slurm.environment`)."""

    asked_for: Annotated[
        list[Annotated[_PATTERN, BeforeValidator(_asked_for)]],
        Says("variables of your shell that go with jobs too; a secret by its whole name", "[WANDB_*, WANDB_API_KEY]"),
    ] = Field([], alias="pass")
    set: Annotated[
        dict[Annotated[str, BeforeValidator(_set_by_file)], Text],
        Says("variables that jobs get, with their values; before the lines of `setup`", "{NCCL_DEBUG: INFO}"),
    ] = {}
    drop: Annotated[list[_PATTERN], Says("variables of your shell that stay behind", "[LD_LIBRARY_PATH]")] = []
