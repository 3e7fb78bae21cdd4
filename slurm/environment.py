"""Which of a shell's variables go with a job: the rule that docs/launching.md tells and `plan --script` shows.

What goes is of a few kinds, each with its reason; everything else stays where it is, unless it is asked for by name.
Secrets are never part of a kind, Slurm's own token (SLURM_JWT) apart, without which its commands refuse to answer: a
name that looks like one's goes only where it is asked for whole. Values travel in sbatch's own environment, not in the
script; only names are ever shown.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Kind:
    """Variables that go with a job, `*` standing for anything, and why."""

    why: str
    names: tuple[str, ...]


_CLUSTER = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
KINDS = (
    Kind("who you are", ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ")),
    Kind(
        "programs and libraries as you have them",
        (
            *("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_EXE"),
            *("PYTHONNOUSERSITE", "PYTHONUSERBASE"),
        ),
    ),
    Kind(
        "`module` in `setup:` works",
        (
            "MODULE*", "LMOD_*", "__LMOD_*", "_ModuleTable*", "__MODULES_*", "LOADEDMODULES", "_LMFILES_", "BASH_ENV",
            "BASH_FUNC_module%%", "BASH_FUNC__module_raw%%", "BASH_FUNC_ml%%",
        ),
    ),
    Kind(
        "the way out of the node",
        (
            *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
            *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
            *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "KRB5CCNAME"),
        ),
    ),
    Kind(
        "GPUs, and how processes talk",
        ("CUDA_*", "NCCL_*", "GLOO_*", "UCX_*", "FI_*", "TORCH_*", "PYTORCH_*", "TRITON_*"),
    ),
    Kind("threads", ("OMP_*", "KMP_*", "MKL_NUM_THREADS", "MKL_DYNAMIC", "OPENBLAS_NUM_THREADS")),
    Kind("models and caches", ("HF_*", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")),
    Kind("which cluster", _CLUSTER),
)  # fmt: skip
# Of those kinds, but not meant: the login node's devices; what makes other numbers without being in any key.
_STAYS = ("CUDA_VISIBLE_DEVICES", "CUDA_MPS_*", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
_ORDINARY = re.compile(r"[A-Za-z0-9_%]+")
_SECRET = re.compile(
    r"(^|_)(TOKENS?|SECRETS?|PASS|PASSWD|PASSWORD|PASSPHRASE|CREDENTIALS?|AUTH|COOKIE|PAT|API_?KEY|KEY)(_|$)|APIKEY",
    re.IGNORECASE,
)
# What Slurm's commands read, and what Slurm sets in a job: in another job it would say what is not so.
_OF_SLURM = re.compile(
    r"(SLURMD?|SPANK|PMIX?|SBATCH|SALLOC|SRUN|SQUEUE|SACCT|SACCTMGR|SCANCEL|SINFO|SCONTROL|SPRIO|SSTAT|SSHARE)_.*"
)
# How the ranks of a job find each other, and which code they run: a job has its own.
_OF_JOB = re.compile(
    r"RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|MASTER_(ADDR|PORT)|STEPSTONE_.*|PYTHONPATH|PYTHONSAFEPATH|SUBMITIT_.*"
)


def is_secret(name: str) -> bool:
    """Whether a variable is called as tokens and passwords are."""
    return _SECRET.search(name) is not None


def is_slurms(name: str) -> bool:
    """Whether a variable is one of Slurm's own, those that say which cluster is meant apart."""
    return name not in _CLUSTER and _OF_SLURM.fullmatch(name) is not None


def belongs_to_jobs(name: str) -> bool:
    """Whether a variable is set in every job, by Slurm or for its code: another one's must not go there."""
    return is_slurms(name) or _OF_JOB.fullmatch(name) is not None


@dataclass(frozen=True)
class Passing:
    """What goes with a job, and the names of what does not."""

    variables: Mapping[str, str] = field(repr=False)  # values may be secret
    stays: tuple[str, ...]  # names, in order
    missing: tuple[str, ...] = ()  # asked for by a whole name, but not set

    @property
    def names(self) -> tuple[str, ...]:
        """Of what goes, in order."""
        return tuple(sorted(self.variables))


def of_job(shell: Mapping[str, str], asked_for: Sequence[str] = (), left_out: Sequence[str] = ()) -> Passing:
    """What of a shell's environment goes with its jobs: what is of a kind that does, and what is asked for.

    asked_for, left_out: names, in which `*` stands for anything. A secret is asked for by its whole name only.
    """
    variables = {name: value for name, value in without(shell, left_out).items() if _goes(name, asked_for)}
    whole_names = (name for name in asked_for if "*" not in name)
    return Passing(
        variables,
        tuple(sorted(name for name in shell if name not in variables)),
        tuple(name for name in whole_names if name not in shell),
    )


def without_slurms(shell: Mapping[str, str]) -> dict[str, str]:
    """A shell's environment without what Slurm set in the job that it may be in, or its commands are told by."""
    return {name: value for name, value in shell.items() if not is_slurms(name)}


def without(shell: Mapping[str, str], left_out: Sequence[str]) -> dict[str, str]:
    """A shell's environment without what names like these stand for; PATH, by which programs are started, stays."""
    return {name: value for name, value in shell.items() if name == "PATH" or not _fits(name, left_out)}


def _goes(name: str, asked_for: Sequence[str]) -> bool:
    if belongs_to_jobs(name) or not _ORDINARY.fullmatch(name):
        return False
    if is_secret(name):
        return name in asked_for
    by_kind = any(_fits(name, kind.names) for kind in KINDS) and not _fits(name, _STAYS)
    return by_kind or _fits(name, asked_for)


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
