"""Forks children that end in every way there is, and says what became of them: run by test_forks.py in a process of its
own, as only one without threads may be forked."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm import forks

_SAYS = (
    "import os, json, resource; print(json.dumps([dict(os.environ), os.getcwd(), os.umask(0o077), "
    "resource.getrlimit(resource.RLIMIT_NOFILE), os.getsid(0), os.getpgid(0)]))"
)


def _ends() -> dict[str, Callable[[], Any]]:
    return {
        "returns": lambda: None,
        "exits": lambda: sys.exit(3),
        "exits with words": lambda: sys.exit("error: these"),
        "raises": lambda: 1 / 0,
        "leaves": lambda: os._exit(75),
        "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "aborts": os.abort,
        "reads nowhere": lambda: ctypes.string_at(0),
        "is terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    }


def main(folder: Path) -> None:
    """Print the exit codes and logs as JSON."""
    os.chdir(folder)
    os.umask(0o027)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
    told: dict[str, Any] = {"clean": forks.make_clean(), "threads": forks.threads()}

    def child(name: str, body: Callable[[], Any], environment: dict[str, str]) -> tuple[int, str]:
        with (folder / name).open("ab") as log:
            code = forks.fork(body, log.fileno(), environment).wait()
        return code, (folder / name).read_text(encoding="utf-8")

    told["ends"] = {name: child(name, body, dict(os.environ)) for name, body in _ends().items()}
    environment = {"PATH": os.environ["PATH"], "A": "1", "CUDA_VISIBLE_DEVICES": "3"}
    told["forked"] = child("forked", lambda: exec(_SAYS), environment)
    told["new"] = subprocess.run([sys.executable, "-c", _SAYS], env=environment, capture_output=True, text=True).stdout
    # What a library in C sees.
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    told["c"] = child("c", lambda: print(libc.getenv(b"A"), libc.getenv(b"HOME")), environment)
    with (folder / "asleep").open("ab") as log:
        asleep = forks.fork(signal.pause, log.fileno(), {})
        told["runs"] = asleep.poll()
        asleep.terminate()
        told["ended"] = asleep.wait(), asleep.poll()
        asleep.kill()  # it is over: nobody is hit
    end = threading.Event()
    threading.Thread(target=end.wait).start()
    told["with a thread"] = forks.is_clean()
    end.set()
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
