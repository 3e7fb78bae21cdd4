"""An experiment's report: gathers from plan and store the records that `eval.report` draws, and writes the page.

Imports `launch.usage` and what lies below it, and changes nothing but the report's own file. Begin with `write`, which
the command and whoever rewrites a report while jobs run both call; `gather.content` makes the records, from which
figures are drawn too.
"""

from launch.report.gather import content
from launch.report.writing import write

__all__ = ["content", "write"]
