"""The experiment file, read strictly, into an `Experiment`: every mistake is one line with file, line and mend.

Imports the catalogue, `formats`, `spec` and `pretrained` of `training`, `eval.metrics` for their names, `slurm.causes`,
`slurm.resources`, `slurm.environment` and `slurm.base`; knows no disk but the file, no Slurm, no plan. Begin with
`schema`, the keys that a file may have; `loader` checks what types cannot say, `recipes` is the grammar, `errors` words
the mistakes, `wishes` adds what the shell's SBATCH_ variables ask.
"""

from launch.experiment.cluster import Cluster
from launch.experiment.collect import Collect
from launch.experiment.failures import Failures
from launch.experiment.loader import Experiment, load
from launch.experiment.notify import Notify
from launch.experiment.race import Race
from launch.experiment.schema import Overrides

__all__ = ["Cluster", "Collect", "Experiment", "Failures", "Notify", "Overrides", "Race", "load"]
