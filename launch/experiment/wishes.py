"""What the shell's SBATCH_ variables ask of sbatch. They hold where the file says nothing, as sbatch users expect; but
the file goes before them, and they stand in the script, where everybody sees them.

Inside an allocation they may be that job's own, meant for its size and its place; who pays is who paid before.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from launch.experiment.cluster import Cluster
from slurm.base import UsageError
from slurm.resources import Contradiction

_PAYS = {"SBATCH_ACCOUNT": "account", "SBATCH_WCKEY": "wckey"}
_ASKS = {
    "SBATCH_PARTITION": "partition", "SBATCH_QOS": "qos", "SBATCH_RESERVATION": "reservation",
    "SBATCH_CONSTRAINT": "constraint", "SBATCH_TIMELIMIT": "time", "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_MEM_PER_CPU": "mem-per-cpu", "SBATCH_MEM_PER_GPU": "mem-per-gpu", "SBATCH_GPUS_PER_NODE": "gpus-per-node",
    "SBATCH_GPUS": "gpus", "SBATCH_GPUS_PER_TASK": "gpus-per-task", "SBATCH_GRES": "gres",
    "SBATCH_CPUS_PER_GPU": "cpus-per-gpu", "SBATCH_GPU_BIND": "gpu-bind", "SBATCH_GPU_FREQ": "gpu-freq",
    "SBATCH_HINT": "hint", "SBATCH_DISTRIBUTION": "distribution", "SBATCH_NETWORK": "network",
    "SBATCH_CORE_SPEC": "core-spec", "SBATCH_THREAD_SPEC": "thread-spec",
    "SBATCH_THREADS_PER_CORE": "threads-per-core", "SBATCH_ACCTG_FREQ": "acctg-freq", "SBATCH_PROFILE": "profile",
    "SBATCH_DELAY_BOOT": "delay-boot",
}  # fmt: skip
_MEMORY = re.compile(r"([0-9]+)([KMGTkmgt])[Bb]?")
_ENDLESS = ("UNLIMITED", "INFINITE", "-1")
# Of each of these one is enough: two of them ask for the same in two ways.
_ONE_OF = (
    ("mem", "mem-per-cpu", "mem-per-gpu"),
    ("gpus-per-node", "gpus", "gpus-per-task", "gpus-per-socket", "gres"),
    ("core-spec", "thread-spec"),
)


@dataclass(frozen=True)
class Wish:
    """An SBATCH_ variable of the shell, and what becomes of it."""

    variable: str
    value: str
    flag: str | None  # of sbatch; None: of something that Stepstone sets itself, or does not know
    why_not: str = ""  # empty: it is taken
    mend: str = ""  # what to do where it is not taken
    is_refused: bool = False  # sbatch would not take it either: nothing is sent

    @property
    def words(self) -> str:
        """For people."""
        if not self.why_not:
            return f"{self.flag}: {self.value}, from {self.variable}; the file says nothing of it"
        if self.is_refused:
            return f"{self.variable}: {self.why_not}"  # which has the value, if it can be shown
        return f"{self.variable}={self.value} is not taken: {self.why_not}"


def grant(cluster: Cluster, shell: Mapping[str, str]) -> tuple[Cluster, tuple[Wish, ...]]:
    """The section with what the shell's variables add to it, and what was made of each.

    Nothing for local workers. What sbatch would not take either is refused: that stops who sends, and nobody else.
    """
    wishes: list[Wish] = []
    if cluster.chosen_executor == "slurm":
        for variable, value in sorted(shell.items()):
            if variable.startswith("SBATCH_") and value.strip() and not variable.startswith(_SET_IN_JOBS):
                wish = _wish(cluster, variable, value, is_inside="SLURM_JOB_ID" in shell)
                if wish is not None and not wish.why_not:
                    cluster, wish = _with(cluster, wish)
                if wish is not None:
                    wishes.append(wish)
    return cluster, tuple(wishes)


def refuse_what_sbatch_would(wishes: Sequence[Wish]) -> None:
    """UsageError for the first that sbatch would not take. Before anything is sent."""
    for wish in wishes:
        if wish.is_refused:
            raise UsageError(f"{wish.words}; {wish.mend}")


def _in_our_form(flag: str, value: str) -> str:
    """sbatch takes `64g` and `64GB` too."""
    match = _MEMORY.fullmatch(value) if flag.startswith("mem") else None
    return f"{match[1]}{match[2].upper()}" if match else value


_SET_IN_JOBS = ("SBATCH_CPU_BIND", "SBATCH_MEM_BIND")  # by Slurm itself


def _wish(cluster: Cluster, variable: str, value: str, *, is_inside: bool) -> Wish | None:
    """None: the file says the very same."""
    flag = _PAYS.get(variable) or _ASKS.get(variable)
    if flag is None:
        mend = (
            "set SLURM_CLUSTERS, which all of Slurm's commands go by" if variable == "SBATCH_CLUSTERS" else "unset it"
        )
        return Wish(variable, value, None, "Stepstone sets that itself, or does not know it", mend)
    value = _in_our_form(flag, value)
    in_file = _said(cluster, flag)
    if in_file is not None:
        why = f"`{in_file[0]}: {in_file[1]}` stands in the file, or was taken before it"
        return None if in_file == (flag, value) else Wish(variable, value, flag, why, "unset it, or change the file")
    if is_inside and variable not in _PAYS:
        return Wish(variable, value, flag, "it may be this very job's", f"if it is meant, write {_key(flag, value)}")
    if flag == "time" and value.upper() in _ENDLESS:
        return Wish(variable, value, flag, "what has no end cannot be planned", "write cluster: {time: 12:00:00}")
    return Wish(variable, value, flag)


def _said(cluster: Cluster, flag: str) -> tuple[str, str] | None:
    """What the file says of a flag, or of one that stands for the same."""
    alternatives = next((group for group in _ONE_OF if flag in group), (flag,))
    flags = dict(_flags(cluster))
    return next(((name, str(flags[name])) for name in (flag, *alternatives) if name in flags), None)


def _flags(cluster: Cluster) -> Iterator[tuple[str, Any]]:
    for name, field in type(cluster).model_fields.items():
        value = getattr(cluster, name)
        if value is not None and (field.alias or name) in Cluster.flags():
            yield field.alias or name, value
    yield from cluster.sbatch.items()


def _key(flag: str, value: str) -> str:
    return f"cluster: {{{flag}: {value}}}" if flag in Cluster.flags() else f"cluster: {{sbatch: {{{flag}: {value}}}}}"


def _with(cluster: Cluster, wish: Wish) -> tuple[Cluster, Wish]:
    """The section with one wish, checked as if the file said it; without it where it is refused."""
    assert wish.flag is not None
    content = {wish.flag: wish.value} if wish.flag in Cluster.flags() else {"sbatch": {wish.flag: wish.value}}
    try:
        section = Cluster.model_validate(content)
    except ValidationError as error:
        return cluster, _refused(wish, error.errors()[0]["msg"].removeprefix("Value error, "))
    name = next(iter(section.model_fields_set))
    value = cluster.sbatch | section.sbatch if name == "sbatch" else getattr(section, name)
    with_wish = cluster.model_copy(update={name: value})
    if name not in cluster.model_fields_set:
        with_wish.model_fields_set.discard(name)  # the file does not say it
    try:
        with_wish.asked  # noqa: B018
    except Contradiction as error:
        return cluster, _refused(wish, str(error))
    return with_wish, wish


def _refused(wish: Wish, reason: str) -> Wish:
    assert wish.flag is not None
    return replace(wish, why_not=reason, mend=f"unset it, or write {_key(wish.flag, '…')}", is_refused=True)
