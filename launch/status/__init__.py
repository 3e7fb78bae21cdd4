"""Where every stage stands and why, from disk, queue and accounting; what the failure policy says about it.

Imports `launch.store` and `launch.results`; asks Slurm, changes nothing but its own caches. Begin with `observation`,
one look at an experiment; `history` tells how attempts ended, `policy` what is done about it, `finished` remembers what
never changes.
"""

from launch.status.observation import Observation, StageState, State

__all__ = ["Observation", "StageState", "State"]
