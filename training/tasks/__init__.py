"""The tasks: what a task is, and the catalogue of all that are known.

Imports nothing of `training` but what stands beside the rooms. Begin with `task`, the record that an entry is;
`entries` gathers the files `choice`, `sequence`, `span`, …, one per kind of data, where a task is added; `catalogue`
finds a task by its name, also those that users add. No torch.
"""

from training.tasks.catalogue import find
from training.tasks.task import Task

__all__ = ["Task", "find"]
