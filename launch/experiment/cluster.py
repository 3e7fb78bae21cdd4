"""The `cluster:` section: sbatch's own flag names, typed and checked before any of them reaches a script."""

import re
import shutil
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from launch.experiment.fields import Matching, Name, Number, Section, Text, Whole

# What Stepstone itself sets in every script; a second setting of these would break arrays, adoption or logs.
_OURS = (
    "array", "chdir", "clusters", "dependency", "error", "export", "hold", "job-name", "kill-on-invalid-dep",
    "no-requeue", "open-mode", "output", "parsable", "signal", "test-only", "wait", "wrap",
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
        raise ValueError(f"'{flag}' is set by Stepstone itself; remove it from `sbatch:`")
    own = next((name for name in Cluster.flags() if name.startswith(flag) and flag != "gpus"), None)  # a flag, too
    if own:
        raise ValueError(f"'{own}' belongs beside `sbatch:`, directly under `cluster:`")
    return flag


def _gpu_count(text: str) -> int:
    """Of `2`, `a100:2`, `a100` or `a100:1,v100:2`; 0 of nothing."""
    ends = [part.rpartition(":")[2] for part in text.split(",") if part]
    return sum(int(end) if end.isdecimal() else 1 for end in ends)


class Cluster(Section):
    """Where and how stages run. Field names with dashes are sbatch's long flags."""

    executor: Literal["slurm", "local"] | None = None  # None: slurm where sbatch is found, else local
    workers: Annotated[int, Whole(1, 256)] = 1  # local: elements that run at the same time
    throttle: Annotated[int, Whole(1, 1_000_000)] | None = None  # slurm: running elements of all arrays together
    bundle: _TIME | None = None  # short elements share an array index, up to this long by their estimate
    gpu_hours: Annotated[float, Number(0, 1e9)] | None = Field(None, alias="gpu-hours")  # the experiment's budget
    share_group: Name | None = Field(None, alias="share-group")  # a Unix group that may read the store
    setup: list[Text] = []  # shell lines before the job, such as `module load cuda`: code by design, shown by --script
    partition: _WORD | None = None
    account: _WORD | None = None
    qos: _WORD | None = None
    time: _TIME | None = None
    nodes: Annotated[int, Whole(1, 10_000)] = 1
    ntasks_per_node: Annotated[int, Whole(1, 1024)] | None = Field(None, alias="ntasks-per-node")
    cpus_per_task: Annotated[int, Whole(1, 4096)] | None = Field(None, alias="cpus-per-task")
    gpus_per_node: Annotated[int, Whole(0, 64)] | None = Field(None, alias="gpus-per-node")
    mem: _MEMORY | None = None
    mem_per_cpu: _MEMORY | None = Field(None, alias="mem-per-cpu")
    mem_per_gpu: _MEMORY | None = Field(None, alias="mem-per-gpu")
    constraint: _WORD | None = None
    exclude: _WORD | None = None
    nodelist: _WORD | None = None
    sbatch: dict[Annotated[str, AfterValidator(_pass_through)], Text] = {}

    @classmethod
    def flags(cls) -> tuple[str, ...]:
        """The sbatch flags that have a key of their own."""
        own = ("executor", "workers", "throttle", "setup", "bundle", "share_group", "gpu_hours", "sbatch")
        return tuple(field.alias or name for name, field in cls.model_fields.items() if name not in own)

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
        own: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            flag = field.alias or name
            value = getattr(self, name)
            if flag in self.flags() and value is not None:
                own[flag] = value
        if not self.gpus_per_node:
            own.pop("gpus-per-node", None)
        others = {flag: True if value == "true" else value for flag, value in self.sbatch.items()}
        return own | {"ntasks-per-node": self.tasks_per_node} | others
