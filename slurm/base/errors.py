"""The one exception that is meant for the person at the terminal, and what to do about a file system's refusals."""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_PATIENCE_SECONDS = 600.0
_FULL = "make room (`stepstone gc FILE` names what is not needed), then type the command again: nothing is lost"
_TROUBLE = "the file system has trouble; type the command again, nothing is lost"
_CLOSED = "its owner can let a group read (`cluster: {share-group: NAME}`); nobody else writes there"
_REFUSALS = (
    (_FULL, (errno.ENOSPC, errno.EDQUOT)),
    (_CLOSED, (errno.EACCES, errno.EPERM)),
    ("it is mounted read-only here; type the command where it can be written", (errno.EROFS,)),
    (
        _TROUBLE,
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN, errno.EHOSTDOWN, errno.EREMOTEIO),
    ),
)
_ADVICE = {code: words for words, codes in _REFUSALS for code in codes}


def advice(error: OSError) -> str | None:
    """What to do about what a file system refused; None for anything that is not foreseen."""
    return _ADVICE.get(error.errno or 0)


def one_line(error: OSError) -> str | None:
    """The same with the file and what was refused."""
    what_to_do = advice(error)
    where = f"{error.filename}: " if error.filename else ""
    return what_to_do and f"{where}{error.strerror}; {what_to_do}"


@dataclass
class Patience:
    """Waits for the trouble of a file system to pass, for who looks again and again: told once each time it comes."""

    report: Callable[[str], None]
    _since: float | None = field(default=None, init=False)

    @contextmanager
    def look(self) -> Iterator[None]:
        """Around one look. What is no trouble that passes, or has lasted for ten minutes, is raised."""
        try:
            yield
            self._since = None
        except OSError as error:
            line = one_line(error)
            if line is None or (self._since and time.time() - self._since > _PATIENCE_SECONDS):
                raise
            if self._since is None:
                self.report(line)
                self._since = time.time()


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
