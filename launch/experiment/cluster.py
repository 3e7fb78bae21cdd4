"""The `cluster:` section: sbatch's own flag names, typed and checked before any of them reaches a script."""

import re
import shutil
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from launch.experiment.environment import Environment
from launch.experiment.fields import Matching, Name, Number, Section, Text, Whole
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
_TIME = Annotated[
    str,
    Matching(
        r"[0-9]+(:[0-5]?[0-9]){0,2}|[0-9]+-[0-9]+(:[0-5]?[0-9]){0,2}",
        "a time limit: minutes, HH:MM:SS or D-HH:MM:SS, such as 12:00:00",
    ),
]
_MEMORY = Annotated[str, Matching(r"[0-9]+[KMGT]?", "an amount of memory such as 32G")]


def _pass_through(flag: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", flag):
        raise ValueError(f"'{flag}' is not the long name of an sbatch flag, such as comment or licenses")
    if any(name.startswith(flag) for name in _OURS):  # sbatch takes the beginning of a flag's name for the flag
        mend = ", and see `environment:`" if flag.startswith("export") else ""
        raise ValueError(f"'{flag}' is set by Stepstone itself; remove it from `sbatch:`{mend}")
    key = next((name for name in Cluster.flags() if name.startswith(flag) and flag != "gpus"), None)  # a flag, too
    if key:
        raise ValueError(f"'{key}' belongs beside `sbatch:`, directly under `cluster:`")
    return flag


def _gpu_count(text: str) -> int:
    """Of `2`, `a100:2`, `a100` or `a100:1,v100:2`; 0 of nothing."""
    ends = [part.rpartition(":")[2] for part in text.split(",") if part]
    return sum(int(end) if end.isdecimal() else 1 for end in ends)


class Cluster(Section):
    """Where and how stages run. Field names with dashes are sbatch's long flags."""

    executor: Annotated[
        Literal["slurm", "local"] | None,
        Says("what runs jobs; not given: slurm where sbatch is found, else local", "local"),
    ] = None
    workers: Annotated[Annotated[int, Whole(1, 256)], Says("local: elements that run at the same time", "2")] = 1
    throttle: Annotated[
        Annotated[int, Whole(1, 1_000_000)] | None, Says("slurm: running elements of all arrays together", "8")
    ] = None
    bundle: Annotated[
        _TIME | None, Says("short elements share an array index, up to this long by their estimate", "30:00")
    ] = None
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
    time: Annotated[_TIME | None, Says("the time limit of an element", "12:00:00")] = None
    nodes: Annotated[Annotated[int, Whole(1, 10_000)], Says("nodes of an element", "2")] = 1
    ntasks_per_node: Annotated[
        Annotated[int, Whole(1, 1024)] | None,
        Says("processes of an element on a node; not given: one a GPU, one without GPUs", "4"),
    ] = Field(None, alias="ntasks-per-node")
    cpus_per_task: Annotated[Annotated[int, Whole(1, 4096)] | None, Says("sbatch's flag", "8")] = Field(
        None, alias="cpus-per-task"
    )
    gpus_per_node: Annotated[Annotated[int, Whole(0, 64)] | None, Says("sbatch's flag; 0: none", "4")] = Field(
        None, alias="gpus-per-node"
    )
    mem: Annotated[_MEMORY | None, Says("memory of a node", "64G")] = None
    mem_per_cpu: Annotated[_MEMORY | None, Says("memory of a CPU", "4G")] = Field(None, alias="mem-per-cpu")
    mem_per_gpu: Annotated[_MEMORY | None, Says("memory that goes with a GPU", "64G")] = Field(
        None, alias="mem-per-gpu"
    )
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
        no_flags = ("executor", "workers", "throttle", "setup", "environment", "bundle", "share_group", "gpu_hours")
        return tuple(
            field.alias or name for name, field in cls.model_fields.items() if name not in (*no_flags, "sbatch")
        )

    @property
    def tasks_per_node(self) -> int:
        """One process per GPU; one without."""
        return self.ntasks_per_node or self.gpus_per_node or 1

    @property
    def ranks(self) -> int:
        """Processes that train one stage together."""
        return self.tasks_per_node * (self.nodes if self.chosen_executor == "slurm" else 1)

    @property
    def gpus_asked_for(self) -> bool:
        """Whether jobs get GPUs."""
        return self.gpus > 0

    @property
    def gpus(self) -> int:
        """GPUs of one element, by whichever flag they are asked for; per socket: of one a node."""
        nodes = self.nodes if self.chosen_executor == "slurm" else 1
        gres = [item.removeprefix("gpu").removeprefix(":") for item in self.sbatch.get("gres", "").split(",")
                if item.partition(":")[0] == "gpu"]  # fmt: skip
        counts = (
            (self.gpus_per_node or 0) * nodes,
            _gpu_count(self.sbatch.get("gpus", "")),
            _gpu_count(self.sbatch.get("gpus-per-task", "")) * self.tasks_per_node * nodes,
            _gpu_count(self.sbatch.get("gpus-per-socket", "")) * nodes,
            sum(_gpu_count(item or "1") for item in gres) * nodes,
        )
        return max(counts)

    @property
    def chosen_executor(self) -> Literal["slurm", "local"]:
        """Slurm where sbatch is found, else local workers, unless the file says."""
        return self.executor or ("slurm" if shutil.which("sbatch") else "local")

    def sbatch_flags(self) -> dict[str, Any]:
        """Every flag that the file sets, by its long name."""
        flags: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            flag = field.alias or name
            value = getattr(self, name)
            if flag in self.flags() and value is not None:
                flags[flag] = value
        if not self.gpus_per_node:
            flags.pop("gpus-per-node", None)
        more_flags = {flag: True if value == "true" else value for flag, value in self.sbatch.items()}
        return flags | {"ntasks-per-node": self.tasks_per_node} | more_flags
