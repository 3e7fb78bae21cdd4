"""A real Slurm on one machine, in seconds: for tests, for trying things, for what no stub can show.

Imports `slurm.base` alone. Begin with `cluster`, whose `up(Options(…))` brings it to what is asked; `config` writes
slurm.conf, `daemons` starts what it names, `packages` installs them, `processes` knows which are ours.
"""

from slurm.devcluster.cluster import default_folder, down, environment, status, up
from slurm.devcluster.config import Options

__all__ = ["Options", "default_folder", "down", "environment", "status", "up"]
