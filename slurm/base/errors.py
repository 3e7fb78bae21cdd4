"""The one exception that is meant for the person at the terminal."""


class UserError(Exception):
    """What is wrong, where, what is allowed and what to type: printed as it is, without a traceback.

    `exit_code` follows click: 2 where the command or a file the user wrote is wrong, 1 where carrying it out failed.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(UserError):
    """The command line or the experiment file is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=2)
