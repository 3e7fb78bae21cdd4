"""Scores out of the store: as rows, as a table, as files in XTREME's layout.

Imports `launch.store` and `eval.tables`. Begin with `scores`, which is all that `launch.status` needs of this room.
"""
