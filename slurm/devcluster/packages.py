"""The distribution packages that a real Slurm on one machine is made of: which are missing, and how to install them."""

import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slurm.base import UserError

PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurmdbd",
    "slurm-wlm-mysql-plugin",
    "munge",
    "mariadb-server-core",
    "mariadb-client-core",
)
_POLICY = Path("/usr/sbin/policy-rc.d")
_GUARD = "#!/bin/sh\n# stepstone devcluster: packages are being installed, no service may start\nexit 101\n"
_LISTS = Path("/var/lib/apt/lists")
_LOCK = Path("/run/stepstone-devcluster.lock")


def check_root() -> None:
    """Refuse anybody but root."""
    if os.geteuid() != 0:
        raise UserError(
            "devcluster needs root, its nodes are namespaces: type it with `sudo`, or use `executor: local`."
        )


def check_machine() -> None:
    """Refuse where a cluster of namespaces and distribution packages cannot work."""
    check_root()
    if not Path("/etc/debian_version").exists():
        raise UserError("devcluster knows Debian and Ubuntu, and this machine is neither: use `executor: local`.")
    namespaces = ["unshare", "--uts", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "true"]
    trial = subprocess.run(namespaces, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if trial.returncode != 0:
        raise UserError(
            f"devcluster: this root may not make namespaces ({trial.stderr.strip()}): "
            "start the container with --privileged, or use `executor: local`."
        )


def missing_packages(names: Sequence[str] = PACKAGES) -> list[str]:
    """Those that are not installed."""
    output = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    ).stdout
    installed_names = {line.split()[0] for line in output.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed_names]


def ensure_packages(names: Sequence[str] = PACKAGES, *, install: bool, log: Path) -> None:
    """Do nothing where all packages are there; else install exactly the missing ones, or say how to."""
    missing = missing_packages(names)
    if missing and not install:
        raise UserError(
            f"missing packages: {' '.join(missing)}. "
            "Type `stepstone devcluster up --install` to install them with apt-get."
        )
    if missing:
        with alone_on_this_machine(), _no_service_starts():
            if missing := missing_packages(names):  # another one may just have installed them
                _install(missing, log)


@contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """One at a time of those who install packages or look for free ports, whatever their folders."""
    with _LOCK.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep the packages' own services from starting; a guard that is there already is the machine owner's."""
    if not _POLICY.exists():
        _POLICY.write_text(_GUARD, encoding="utf-8")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        # also one that a killed `up` left behind
        if _POLICY.read_text(encoding="utf-8", errors="replace") == _GUARD:
            _POLICY.unlink()


def _install(packages: list[str], log: Path) -> None:
    install = ["install", "--yes", "--no-install-recommends", *packages]
    lists_are_there = any(_LISTS.glob("*_Packages*"))
    if lists_are_there and _apt_get(install, log):
        return
    # no lists, or lists so old that the versions they name are gone
    if not (_apt_get(["update"], log) and _apt_get(install, log)):
        raise UserError(f"apt-get could not install {' '.join(packages)}: {_complaint(log)} (all of it: {log})")


def _apt_get(arguments: list[str], log: Path) -> bool:
    with log.open("ab") as file:
        process = subprocess.run(
            ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        )
    return process.returncode == 0


def _complaint(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("E: ")]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("E: ")
