"""The ground that all four packages stand on: the error for people, files written whole or not at all, processes.

Imports nothing of ours. Begin with `files`: every promise that the store makes rests on its `write_atomic`,
`write_once` and `seal`. `UserError` is what ends a command with one line; anything else is a fault of ours.
"""

from slurm.base.errors import UsageError, UserError

__all__ = ["UsageError", "UserError"]
