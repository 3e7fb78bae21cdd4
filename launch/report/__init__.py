"""An experiment's report: gathers from plan and store the records that `eval.report` draws.

Imports `launch.usage` and what lies below it, and changes nothing but the report's own file.
"""
