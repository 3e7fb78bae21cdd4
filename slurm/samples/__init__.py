"""What the processes of a job on one node use, by the kernel's and the driver's own word. No second process is started.

Imports `slurm.granted` and `slurm.base`. Begin with `probe`: one look at processes and devices is a `Sample`.
"""

from slurm.samples.probe import Probe, Sample

__all__ = ["Probe", "Sample"]
