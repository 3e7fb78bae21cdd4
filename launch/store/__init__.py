"""All that lies on the shared disk: one module per kind of record, who may write it, and when it counts.

Imports `launch.plan`, `training.spec`, `training.pretrained`, `slurm.local` and `slurm.base`. Begin with `store`, the
layout; `attempts` and its fencing decide whose result stands, `submissions` remember what was sent, `lock` lets one
command send at a time. What is in users' stores is read for ever.
"""

from launch.store.store import Store
from launch.store.submissions import Location, Submission

__all__ = ["Location", "Store", "Submission"]
