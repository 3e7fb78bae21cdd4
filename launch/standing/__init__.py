"""How an experiment stands, as typed frozen records: what `status` prints, `watch` draws and the bars of `--wait` show.

Imports `launch.status`, `launch.estimate` and `launch.draft`; reads heartbeats of what runs, and writes nothing. Begin
with `records`: a cell of the matrix recipe x target, a shared training, and the `Overview` of both. `overview.take`
makes one from a plan, its store and an observation, `progress` tells how far what runs is, `places` which place in the
queue a job has, `so_far` the few numbers that bars need.
"""

from launch.standing.overview import take
from launch.standing.records import Cell, Overview, SharedTraining

__all__ = ["Cell", "Overview", "SharedTraining", "take"]
