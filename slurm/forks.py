"""Processes that begin as forks of this one, which has their imports done: in milliseconds instead of seconds.

Only a process with one thread and no GPU may be forked: a thread's locks, and a driver's state, do not come along. So
`is_clean` looks first, at what the system says of this process.
"""

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

_PATIENCE = 20.0  # seconds that threads of a library's import have to end
_POLL_SECONDS = 0.05
_DRIVERS = ("/dev/nvidia-uvm", "/dev/kfd")  # open where CUDA or ROCm has begun in a process


class Fork:
    """A child, with what workers need of `subprocess.Popen`. Exit codes are its: a signal's number, negative."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, signal_number: int) -> None:
        if self.poll() is None:  # else its number may be another's; while it is not waited for, it stays its own
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)


def make_clean() -> bool:
    """Ready to be forked from, after all imports: whether this process has one thread and no GPU."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who hands on SIG_IGN takes away how children ended
    gc.collect()
    # OpenBLAS, numpy's, has threads from its import on; its own handler ends them in a fork, until they are needed.
    fork(lambda: None, 1, os.environ).wait()
    patience = time.monotonic() + _PATIENCE
    while threads() > 1 and time.monotonic() < patience:
        time.sleep(_POLL_SECONDS)
        gc.collect()
    gc.freeze()  # no collection in a child writes to the pages that it shares with this process
    return is_clean()


def is_clean() -> bool:
    """Whether this process has one thread, and no GPU driver open."""
    return threads() == 1 and not any(target.startswith(_DRIVERS) for target in _open_files())


def threads() -> int:
    """Of this process, as the system counts them."""
    return len(os.listdir("/proc/self/task"))


def _open_files() -> list[str]:
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that listed them
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return targets


def fork(main: Callable[[], None], log: int, environment: Mapping[str, str]) -> Fork:
    """A child that calls `main`, prints to the open file `log`, and has this environment. How it ends touches nobody.

    As in an ordinary process, an exception is a traceback and exit code 1, `sys.exit` what it says.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(main, log, dict(environment))
    return Fork(pid)


def _live(main: Callable[[], None], log: int, environment: dict[str, str]) -> NoReturn:
    """The child's life. It never returns into its parent's code."""
    code = 1
    try:
        for stream in (1, 2):
            if log != stream:
                os.dup2(log, stream)
        os.environ.clear()
        os.environ.update(environment)
        main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
        if code == 1 and isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
