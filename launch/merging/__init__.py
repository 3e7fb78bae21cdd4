"""What jobs left in the store, verified and merged into `results.parquet`: all that shows scores begins here.

Begin with `collect`. `scan` lists the files of results, `memory` knows what was read of them before, `reading`
verifies the rest, `stages` says which that is and sets aside what is damaged, `merge` makes the table. Imports polars,
which jobs do without.
"""

from launch.merging.collect import Collected, collect
from launch.merging.stages import SetAside

__all__ = ["Collected", "SetAside", "collect"]
