"""The `cluster:` section: sbatch's own flag names, typed and checked before any of them reaches a script."""

import re
import shutil
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from launch.experiment.environment import Environment
from launch.experiment.fields import Matching, Name, Number, Section, Text, Whole
from launch.text import some
from slurm import resources
from slurm.resources import Asked
from training.spec import Says

# What Stepstone itself sets in every script; a second setting of these would break arrays, adoption or logs.
_OURS = (
    "array", "chdir", "clusters", "dependency", "error", "export", "export-file", "hold", "job-name",
    "kill-on-invalid-dep", "no-requeue", "open-mode", "output", "parsable", "signal", "test-only", "wait", "wrap",
)  # fmt: skip
_WORD = Annotated[
    str,
    Matching(r"[A-Za-z0-9_.,:@+/\[\]=*&|!()-]+", "a value that sbatch takes (letters, digits and _.,:@+/[]=*&|!()-)"),
]
TIME = Annotated[
    str,
    Matching(
        r"[0-9]+(:[0-5]?[0-9]){0,2}|[0-9]+-[0-9]+(:[0-5]?[0-9]){0,2}",
        "a time limit: minutes, HH:MM:SS or D-HH:MM:SS, such as 12:00:00",
    ),
]
MEMORY = Annotated[str, Matching(r"[0-9]+[KMGT]?", "an amount of memory such as 32G")]
_GPU = r"([A-Za-z0-9][A-Za-z0-9_.+-]*:)?[0-9]{1,3}"
_GPUS = Annotated[str, Matching(rf"{_GPU}(,{_GPU})*", "a number of GPUs such as 4, or a100:4")]
# What sbatch takes and a job would not get as it is meant, and what says the same.
_INSTEAD = {
    "ntasks-per-gpu": "one process runs on each GPU by itself; remove it",
    "tres-per-task": "write cpus-per-task directly under `cluster:`, and sbatch: {gpus-per-task: 1}",
}
# Flags that people write directly under `cluster:`.
UNDER_SBATCH = (
    "comment", "cpus-per-gpu", "exclusive", "gpu-bind", "gpus", "gpus-per-socket", "gpus-per-task", "gres", "hint",
    "licenses", "mail-type", "mail-user", "ntasks", "ntasks-per-gpu", "reservation", "threads-per-core",
    "tres-per-task", "wckey",
)  # fmt: skip
# What means something to local workers too, or to no executor; all other keys are Slurm's alone.
_ANYWHERE = frozenset(
    ("executor", "workers", "bundle", "gpu_hours", "share_group", "environment", "gpus_per_node", "ntasks_per_node")
)
ExecutorName = Literal["slurm", "local"]


@dataclass(frozen=True)
class Choice:
    """What runs the jobs, and why where the file leaves it open; empty where it says."""

    name: ExecutorName
    why: str = ""


def _pass_through(flag: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", flag):
        raise ValueError(f"'{flag}' is not the long name of an sbatch flag, such as comment or licenses")
    if any(name.startswith(flag) for name in _OURS):  # sbatch takes the beginning of a flag's name for the flag
        mend = ", and see `environment:`" if flag.startswith("export") else ""
        raise ValueError(f"'{flag}' is set by Stepstone itself; remove it from `sbatch:`{mend}")
    if flag in _INSTEAD:
        raise ValueError(f"'{flag}': {_INSTEAD[flag]}")
    is_whole = flag in ("gpus", "ntasks")  # a flag, too
    key = next((name for name in Cluster.flags() if name.startswith(flag) and not is_whole), None)
    if key:
        raise ValueError(f"'{key}' belongs beside `sbatch:`, directly under `cluster:`")
    return flag


class Cluster(Section):
    """Where and how stages run. Field names with dashes are sbatch's long flags."""

    executor: Annotated[
        ExecutorName | None,
        Says(
            "what runs jobs; not given: slurm where sbatch is found or a key is Slurm's alone, such as `partition`;"
            " else local",
            "local",
        ),
    ] = None
    workers: Annotated[Annotated[int, Whole(1, 256)], Says("local: elements that run at the same time", "2")] = 1
    throttle: Annotated[
        Annotated[int, Whole(1, 1_000_000)] | None, Says("slurm: running elements of all arrays together", "8")
    ] = None
    bundle: Annotated[
        TIME | None, Says("short elements share an array index, up to this long by their estimate", "30:00")
    ] = None
    pack: Annotated[
        Annotated[int, Whole(1, 64)],
        Says("slurm: so many elements share an array index side by side, each in a process of its own", "4"),
    ] = 1
    gpu_hours: Annotated[
        Annotated[float, Number(0, 1e9)] | None,
        Says("the experiment's budget: what would go beyond it is not sent", "500"),
    ] = Field(None, alias="gpu-hours")
    share_group: Annotated[Name | None, Says("a Unix group that may read the store", "nlp")] = Field(
        None, alias="share-group"
    )
    setup: Annotated[
        list[Text],
        Says("shell lines before the job: code by design, shown by `stepstone plan --script`", "[module load cuda]"),
    ] = []
    environment: Annotated[
        Environment, Says("what jobs see of your shell's environment, and beside it", "{set: {NCCL_DEBUG: INFO}}")
    ] = Environment()
    partition: Annotated[_WORD | None, Says("sbatch's flag", "gpu")] = None
    account: Annotated[_WORD | None, Says("sbatch's flag", "nlp")] = None
    qos: Annotated[_WORD | None, Says("sbatch's flag", "long")] = None
    time: Annotated[TIME | None, Says("the time limit of an element", "12:00:00")] = None
    nodes: Annotated[Annotated[int, Whole(1, 10_000)], Says("nodes of an element", "2")] = 1
    ntasks_per_node: Annotated[
        Annotated[int, Whole(1, 1024)] | None,
        Says("processes of an element on a node; not given: one a GPU, one without GPUs", "4"),
    ] = Field(None, alias="ntasks-per-node")
    cpus_per_task: Annotated[
        Annotated[int, Whole(1, 4096)] | None, Says("cores of a process; its threads are as many", "8")
    ] = Field(None, alias="cpus-per-task")
    gpus_per_node: Annotated[
        _GPUS | None, Says("GPUs of a node, of a type if need be, each with its process; 0: none", "a100:4")
    ] = Field(None, alias="gpus-per-node")
    mem: Annotated[MEMORY | None, Says("memory of a node", "64G")] = None
    mem_per_cpu: Annotated[MEMORY | None, Says("memory of a CPU", "4G")] = Field(None, alias="mem-per-cpu")
    mem_per_gpu: Annotated[MEMORY | None, Says("memory that goes with a GPU", "64G")] = Field(None, alias="mem-per-gpu")
    constraint: Annotated[_WORD | None, Says("sbatch's flag", "a100")] = None
    exclude: Annotated[_WORD | None, Says("sbatch's flag: nodes", "node07")] = None
    nodelist: Annotated[_WORD | None, Says("sbatch's flag: nodes", "node[01-04]")] = None
    sbatch: Annotated[
        dict[Annotated[str, AfterValidator(_pass_through)], Text],
        Says("other long flags of sbatch, as they are; `true` for those without a value", "{comment: mine}"),
    ] = {}

    @classmethod
    def flags(cls) -> tuple[str, ...]:
        """The sbatch flags that have a key of their own."""
        no_flags = (
            "executor", "workers", "throttle", "setup", "environment", "bundle", "pack", "share_group", "gpu_hours",
        )  # fmt: skip
        return tuple(
            field.alias or name for name, field in cls.model_fields.items() if name not in (*no_flags, "sbatch")
        )

    @property
    def asked(self) -> Asked:
        """What an element asks for, by whichever flags. ValueError (`resources.Contradiction`) where they differ."""
        request = resources.asked(self._flags_of_file())
        # Local workers share one machine, each as many of its cores as there are for it.
        return request if self.chosen_executor == "slurm" else replace(request, nodes=1, cores=None, memory=None)

    @property
    def tasks_per_node(self) -> int:
        """One process per GPU; one without."""
        return self.asked.tasks

    @property
    def ranks(self) -> int:
        """Processes that train one stage together."""
        return self.asked.ranks

    @property
    def lanes(self) -> int:
        """Elements that share an array index, each in a process of its own; local workers have `workers` for that."""
        return self.pack if self.pack > 1 and self.chosen_executor == "slurm" else 1

    @property
    def gpus_asked_for(self) -> bool:
        """Whether jobs get GPUs."""
        return self.asked.gpus > 0

    @property
    def gpus(self) -> int:
        """GPUs of one element, by whichever flag they are asked for."""
        request = self.asked
        return request.gpus * request.nodes

    @property
    def only_slurms(self) -> list[str]:
        """Keys of the file that mean something to Slurm alone: with one of them nothing runs elsewhere unless told."""
        names = [name for name in type(self).model_fields if name in self.model_fields_set - _ANYWHERE]
        set_names = [name for name in names if getattr(self, name) not in (None, [], {})]
        return [type(self).model_fields[name].alias or name for name in set_names]

    @property
    def choice(self) -> Choice:
        """The file's executor; else Slurm where a key is its alone or sbatch is found, else local workers."""
        if self.executor:
            return Choice(self.executor)
        if self.only_slurms:
            return Choice("slurm", f"only Slurm has {some(self.only_slurms)}")
        sbatch = shutil.which("sbatch")
        if sbatch:
            return Choice("slurm", f"sbatch is on PATH ({sbatch})")
        return Choice("local", "sbatch is not on PATH, and the file has no key that is Slurm's alone")

    @property
    def chosen_executor(self) -> ExecutorName:
        return self.choice.name

    def sbatch_flags(self) -> dict[str, Any]:
        """Every flag that the file sets, by its long name, and what it leaves to be worked out."""
        flags, request = self._flags_of_file(), self.asked
        if request.gpus == 0:
            flags.pop("gpus-per-node", None)
        if flags.pop("cpus-per-gpu", None):  # as many a process: `srun` is told so too, and takes only one of the two
            flags["cpus-per-task"] = request.cores
        if "gpus-per-task" in flags:  # which newer versions take only beside the number of all tasks
            flags["ntasks"] = request.ranks
        return flags | {"ntasks-per-node": request.tasks}

    def _flags_of_file(self) -> dict[str, Any]:
        flags: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            flag = field.alias or name
            value = getattr(self, name)
            if flag in self.flags() and value is not None:
                flags[flag] = value
        return flags | {flag: True if value == "true" else value for flag, value in self.sbatch.items()}
