"""The tasks by name: which there are, which can be run. Their entries are in `tasks/`.

To add a task of an existing format, add an entry there.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from slurm.errors import UsageError
from training.task import Task as Task
from training.tasks import ENTRIES

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in ENTRIES})
INTERMEDIATE = (
    "anli",
    "mnli",
    "qqp",
    "squad",
    "squad_v2",
    "hellaswag",
    "ccg",
    "cosmos_qa",
    "commonsense_qa",
    "siqa",
    "copa",
    "mlm",
)
TARGETS = (
    "xnli",
    "pawsx",
    "udpos",
    "panx",
    "xquad",
    "mlqa",
    "tydiqa",
    "bucc",
    "tatoeba",
    "xcopa",
    "lareqa",
    "mewslix",
)
_TRAINING_PATHS_ONLY = ("squad_retrieval",)
NAMES = (*INTERMEDIATE, *TARGETS, *_TRAINING_PATHS_ONLY)  # all that are known, also those that cannot run yet


def nearest(word: str, known: tuple[str, ...]) -> str:
    """`did you mean X?`, or what there is."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}."


def find(name: str) -> Task:
    """The task of this name. UsageError where there is none, or where it cannot be run yet."""
    if name in TASKS:
        return TASKS[name]
    if name in NAMES:
        raise UsageError(f"task {name}: known but not implemented yet; leave it out. Ready: {', '.join(TASKS)}.")
    raise UsageError(f"task {name}: unknown; {nearest(name, NAMES)}")
