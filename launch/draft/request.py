"""An array of a draft as sbatch is asked for it: its name, its dependency, its flags, what its jobs see.

`plan --script` shows the very text that `submit` sends, but for the ids that only sending gives.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launch.draft import elements, environment, flags
from launch.draft import shares as throttle_shares
from launch.draft.drafting import Draft
from launch.draft.elements import Array, Dependency
from launch.experiment import Cluster
from launch.plan import Plan
from launch.status.policy import Changes
from slurm import arrays
from slurm.arrays import ArrayRequest
from slurm.base import paths

# --- as Slurm is asked


def array_name(plan: Plan, identifier: str, number: int) -> str:
    """The job name by which an array is found again: `<experiment>-<id8>.<array>`."""
    return f"{plan.experiment.name}-{identifier}.{number}"


def dependency_text(array: Array, job_of: Callable[[int], str], turn: str | None = None) -> str | None:
    """sbatch's `--dependency`. `job_of` gives the id of an array of this submission; turn: the job to be over first."""
    conditions = [f"afterany:{turn}"] if turn else []
    if array.dependency is not None:
        conditions.insert(0, _after_parents(array.dependency, job_of))
    return ",".join(conditions) or None


def _after_parents(dependency: Dependency, job_of: Callable[[int], str]) -> str:
    job = job_of(dependency.array) if dependency.array is not None else dependency.job
    return f"afterok:{job}_{dependency.index}" if dependency.type == "afterok" else f"aftercorr:{job}"


def changes_of(array: Array) -> Changes | None:
    """What is different from the file's resources, in all elements of an array."""
    return next(iter(array.elements.values())).changes


def request(
    draft: Draft, number: int, submission: Path, name: str, code: Path, dependency: str | None, share: int | None
) -> ArrayRequest:
    """The array as Slurm is asked for it; also what `plan --script` shows. `share`: of the throttle."""
    array = draft.arrays[number]
    like_all = of_cluster(
        draft.plan.experiment.cluster,
        name,
        job_command("launch.job", str(submission / f"manifest-{number}.json")),
        submission / "logs" / str(number),
        code,
    )
    return replace(
        like_all,
        indices=tuple(array.elements),
        flags=flags.flags(draft.plan.experiment.cluster, changes_of(array), draft.bounds.limits),
        throttle=share,
        dependency=dependency,
    )


def has_last_job(plan: Plan) -> bool:
    """Whether a job waits for all that is sent, to collect or to have Slurm write a mail."""
    return bool(plan.experiment.collect.job or plan.experiment.notify.mail)


def last_job(plan: Plan, name: str, submission: Path, code: Path, jobs: Sequence[str]) -> ArrayRequest:
    """The job that collects when these jobs have ended, however they did, and whose end Slurm writes a mail of: each
    where the file asks for it."""
    cluster, collects = plan.experiment.cluster, bool(plan.experiment.collect.job)
    passing = environment.passing(cluster)
    return ArrayRequest(
        name=name,
        command=job_command("launch.collecting", "slurm", str(submission / "collect.json")) if collects else ("true",),
        indices=(0,),
        logs=submission / "logs" / "0",
        flags=_flags_of_last_job(plan),
        dependency=f"afterany:{':'.join(jobs)}" if jobs else None,
        setup=(f"umask {_umask(cluster):03o}", *cluster.setup) if collects else (),
        environment=environment.set_in_jobs(cluster, code) if collects else {},
        passed=passing.variables,
        umask=_umask(cluster),
    )


def _flags_of_last_job(plan: Plan) -> dict[str, Any]:
    """One core for minutes, and of the file no more than who pays, and where."""
    cluster, notify, collect = plan.experiment.cluster, plan.experiment.notify, plan.experiment.collect
    flags_of_file = cluster.sbatch_flags()
    job_flags: dict[str, Any] = {
        name: flags_of_file[name] for name in ("account", "qos", "partition") if name in flags_of_file
    }
    job_flags |= {"ntasks": 1, "time": "1"}
    if partition := collect.partition or notify.partition:
        job_flags["partition"] = partition
    if collect.job:
        job_flags["time"] = collect.time or min("30", cluster.time or "30", key=elements.seconds)
        keeps_account_of_memory = any(name in flags_of_file for name in flags.MEMORY_FLAGS)  # as not every site does
        if collect.mem or keeps_account_of_memory:
            job_flags["mem"] = collect.mem or "2G"
    if notify.mail:
        job_flags["mail-type"] = "END,FAIL"
    if isinstance(notify.mail, str):
        job_flags["mail-user"] = notify.mail
    return job_flags


def of_cluster(cluster: Cluster, name: str, command: tuple[str, ...], logs: Path, code: Path) -> ArrayRequest:
    """What all arrays of an experiment file have in common; by itself one element of what the file asks for."""
    passing = environment.passing(cluster)
    return ArrayRequest(
        name=name,
        command=command,
        indices=(0,),
        logs=logs,
        flags=flags.flags(cluster, None, None),
        # Once more in the job's first line: a site may set another one for its jobs.
        setup=(f"umask {_umask(cluster):03o}", *cluster.setup),
        environment=environment.set_in_jobs(cluster, code),
        passed=passing.variables,
        remarks=environment.remarks(passing),
        umask=_umask(cluster),
    )


def job_command(module: str, *arguments: str) -> tuple[str, ...]:
    """What runs a module of ours in a job, with the Python in use by the name that its user has for it."""
    python = paths.named(Path(sys.executable))
    return "env", "--ignore-signal=USR2", str(python), "-P", "-u", "-m", module, *arguments


def _umask(cluster: Cluster) -> int:
    """Logs and files of a job are closed to others, or open to one group for reading."""
    return 0o027 if cluster.share_group else 0o077


def scripts(draft: Draft) -> list[str]:
    """The sbatch text of every array, exact but for the ids that only submission gives. UsageError where none would be
    sent, for what the shell asks."""
    environment.check_wishes(draft.plan.experiment)
    root = draft.plan.experiment.store
    shares = throttle_shares.shares(
        [len(array.elements) for array in draft.arrays], draft.plan.experiment.cluster.throttle
    )
    texts = []
    ids = [f"JOBID_OF_ARRAY_{number}" for number in range(len(draft.arrays))]
    for number, array in enumerate(draft.arrays):
        turn = throttle_shares.turn(number, ids, draft.plan.experiment.cluster.throttle)
        dependency = dependency_text(array, ids.__getitem__, turn)
        name = array_name(draft.plan, "SUBMISSION", number)
        folder = root / "submissions" / "SUBMISSION"
        array_request = request(draft, number, folder, name, root / "code" / "CODE", dependency, shares[number])
        texts.append(arrays.script(array_request))
    if texts and has_last_job(draft.plan):
        folder = root / "submissions" / "LAST_SUBMISSION"
        name = array_name(draft.plan, "LAST_SUBMISSION", 0)
        texts.append(arrays.script(last_job(draft.plan, name, folder, root / "code" / "CODE", ids)))
    return texts
