"""Where every stage stands and why, from disk, queue and accounting; what the failure policy says about it.

Imports `launch.executors` and `launch.results`; asks Slurm, changes nothing but its own caches. Begin with `rules`, the
pure list by which a stage's state is told; `evidence` gathers what they go by, `observation` is one look at a whole
experiment. `history` tells how attempts ended, `policy` what is done about it, `finished` remembers what never changes.
"""

from launch.status.observation import Observation
from launch.status.rules import StageState, State

__all__ = ["Observation", "StageState", "State"]
