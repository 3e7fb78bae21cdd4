"""What the scripted scheduler is about: its limits, arrays, elements, and what an element's work is given."""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class Limits:
    """The cluster. Limits of submission count what the user has pending or running."""

    array_size: int = 1001
    jobs: int = 10_000
    submit: int | None = None  # of the user's association with each account; a QOS's own takes its place
    qos_submit: dict[str, int] = field(default_factory=dict)  # by QOS
    partition_qos: dict[str, str] = field(default_factory=dict)
    slots: int = 8  # elements that run at the same time
    nodes: int = 2
    requeue_wait: float = 121.0
    step_seconds: float = 10.0  # what one `yield` of an element takes
    partitions: dict[str, float | None] = field(default_factory=lambda: {"debug": None, "gpu": 86400.0})
    accounts: tuple[str, ...] = ("root",)
    qos: tuple[str, ...] = ("normal",)
    may_requeue: bool = True  # JobRequeue, and scontrol on the nodes
    preempt: Literal["REQUEUE", "CANCEL"] = "REQUEUE"

    @property
    def node_names(self) -> list[str]:
        return [f"node{number + 1}" for number in range(self.nodes)]


@dataclass(eq=False)
class Array:
    """One sbatch. `index` of its elements is None for a job that is no array."""

    id: int
    flags: dict[str, str]
    script: str
    throttle: int | None
    submitted: float
    user: str
    elements: list["Element"] = field(default_factory=list)
    running: int = 0
    late: bool = False  # taken in while slurmctld was stopped
    account: str = ""
    qos: str = ""
    partitions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.flags.get("job-name", "sbatch")


@dataclass(eq=False)
class Element:
    """One element, and the job that it is in Slurm's eyes; `own_id` is its own number."""

    array: Array
    index: int | None
    own_id: int
    eligible: float  # not before
    submitted: float
    parents: list[tuple["Element", bool]] = field(default_factory=list)  # True: only a success will do
    state: str = "PENDING"
    shown: str | None = None  # what squeue says instead, such as COMPLETING
    reason: str = "None"
    expected: float | None = None  # when it starts, as squeue --start foretells
    started: float | None = None
    ended: float | None = None
    restarts: int = 0
    node: str = ""
    exit_code: int = 0
    signal: int = 0
    max_rss: int = 1 << 20  # bytes
    cancelled_by: int | None = None
    held: bool = False
    signalled: bool = False
    requeue_asked: bool = False
    work: "Generator[None, None, int] | None" = None
    next_step: float = 0.0

    @property
    def id(self) -> str:
        return str(self.array.id) if self.index is None else f"{self.array.id}_{self.index}"

    @property
    def live(self) -> bool:
        return self.ended is None

    @property
    def state_in_accounting(self) -> str:
        return self.state if self.cancelled_by is None else f"{self.state} by {self.cancelled_by}"


@dataclass(frozen=True)
class Run:
    """What an element's work is given."""

    element: Element

    @property
    def manifest(self) -> Path:
        """The last word of the script's command that names a JSON file."""
        return Path([word for word in self.element.array.script.split() if word.strip("'\"").endswith(".json")][-1])

    @property
    def index(self) -> int:
        assert self.element.index is not None
        return self.element.index

    @property
    def attempt(self) -> int:
        """How often Slurm started it before."""
        return self.element.restarts

    @property
    def signalled(self) -> bool:
        """Whether the signal before the time limit has come."""
        return self.element.signalled

    @property
    def environment(self) -> dict[str, str]:
        element = self.element
        found = {"SLURM_JOB_ID": str(element.own_id), "SLURM_JOB_NAME": element.array.name}
        found |= {"SLURM_RESTART_COUNT": str(element.restarts)} if element.restarts else {}
        found |= {"SLURM_JOB_NODELIST": element.node, "SLURMD_NODENAME": element.node}
        if element.index is not None:
            found |= {"SLURM_ARRAY_JOB_ID": str(element.array.id), "SLURM_ARRAY_TASK_ID": str(element.index)}
        return found
