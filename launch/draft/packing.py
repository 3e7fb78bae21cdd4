"""Whether elements fit side by side (`cluster: {pack: N}`): the memory foreseen for them against what they share."""

from dataclasses import dataclass

from launch.draft.drafting import Draft
from launch.draft.elements import Element
from launch.estimate import rates
from launch.estimate.memory import Need, Needs
from launch.experiment import Cluster
from training.shape import gigabytes

_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class _Fit:
    """The fullest element of a draft, by one kind of memory."""

    lanes: int
    lane_bytes: int  # of its largest lane
    stage: str  # the name of the stage that needs them
    shared_bytes: int
    kind: str  # "memory" or "GPU memory"

    @property
    def most(self) -> int:
        """How many such lanes fit."""
        return self.shared_bytes // self.lane_bytes

    @property
    def line(self) -> str:
        foreseen_words = f"{self.lanes} x {gigabytes(self.lane_bytes)} of {self.kind} foreseen ({self.stage})"
        return f"{foreseen_words}, {gigabytes(self.shared_bytes)} there"


def check(draft: Draft) -> None:
    """UsageError where elements that share a node or a GPU would want more memory than it has."""
    for fit in _fits(draft):
        if fit.most < fit.lanes:
            mend = f"pack: {fit.most} fits" if fit.most else "not even one fits"
            more = "or ask for more (mem)" if fit.kind == "memory" else "or ask for a larger GPU"
            experiment = draft.plan.experiment
            raise experiment.document.error(
                ("cluster", "pack"), f"cluster: pack: {experiment.cluster.pack}: {fit.line}; {mend}, {more}"
            )


def lines(draft: Draft) -> list[tuple[str, str]]:
    """What `plan` prints."""
    count = draft.plan.experiment.cluster.lanes
    if count == 1:
        return []
    fits = [f"{fit.line}{'' if fit.most >= fit.lanes else ': TOO MUCH, submit refuses'}" for fit in _fits(draft)]
    return [("pack", "; ".join([f"up to {count} elements side by side", *fits]))]


def _fits(draft: Draft) -> list[_Fit]:
    """Of the memory that is known: the host's, the GPU's."""
    cluster = draft.plan.experiment.cluster
    shared_elements = [e for array in draft.arrays for e in array.elements.values() if e.lanes]
    if not shared_elements:
        return []
    needs = Needs(draft.plan)
    host, gpu = _host_memory(draft, cluster), rates.gpu_memory(cluster)
    fits = []
    for shared_bytes, kind in ((host, "memory"), (gpu, "GPU memory")):
        rows = [row for element in shared_elements if (row := _largest(draft, needs, element, kind)) is not None]
        if shared_bytes is not None and rows:
            lanes, lane_bytes, stage = max(rows, key=lambda row: row[0] * row[1])
            fits.append(_Fit(lanes, lane_bytes, stage, shared_bytes, kind))
    return fits


def _largest(draft: Draft, needs: Needs, element: Element, kind: str) -> tuple[int, int, str] | None:
    """(lanes, bytes, stage) of the neediest stage of an element; None where nothing is foreseen."""
    stages = [draft.plan.stages[key] for key in element.stages]
    amounts = [(_of(need, kind), stage.name) for stage in stages if (need := needs.of_stage(stage)) is not None]
    lane_bytes, name = max(amounts, default=(0, ""))
    factor = element.changes.mem_factor if element.changes and kind == "memory" else 1.0
    return (len(element.lanes), int(lane_bytes / factor), name) if lane_bytes else None


def _of(need: Need, kind: str) -> int:
    return need.host if kind == "memory" else need.gpu


def _host_memory(draft: Draft, cluster: Cluster) -> int | None:
    """Bytes: as asked for, else of the smallest of the partitions' largest nodes."""
    if cluster.asked.memory is not None:
        return int(cluster.asked.memory * _MEGABYTE)
    limits = draft.bounds.limits
    memory = [limits.memory.get(name) for name in limits.partitions(cluster.partition)] if limits else []
    amounts = [amount for amount in memory if amount is not None]
    return min(amounts) * _MEGABYTE if amounts else None
