"""The same arrays without Slurm: K worker processes in sessions of their own, each claiming the next ready element.

A folder holds one run: `plan.json` (the command, which elements wait for which), `claims/<n>.json` (who runs it),
`ends/<n>.json` (its exit code), `cancels/<n>.json` (it is to be ended), `claims/last.json` (what follows all of them
was begun). A claim is a file linked into place, so that workers can share a folder. Runs may share places too: an
element runs only while its worker holds a lock on one of the places, of which there are as many as workers; where
elements have GPUs, a lock on each of them.

Where a run names a module to fork, its workers import that, and what it needs, once, and each element is a fork.
"""

import fcntl
import importlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from slurm import forks
from slurm.base import UsageError
from slurm.base.files import make_folder, read_json, to_json, write_atomic, write_once
from slurm.base.processes import is_alive, start_time

_POLL_SECONDS = 0.3
_WATCH_SECONDS = 0.05  # between two looks at an element's own processes, and whether it is cancelled
_START_SECONDS = 60  # for starting all workers
_BLOCKED = 75  # exit code of an element that never ran, since one it waits for failed
_CANCELLED = 143  # exit code of an element that was cancelled before it ran
_GRACE_SECONDS = 30  # between asking a cancelled element's processes to end and ending them


@dataclass(frozen=True)
class LocalRun:
    """What the workers of one folder share. Element n runs `command` with its own array index and job name."""

    command: tuple[str, ...]
    elements: tuple[dict[str, str], ...]  # the environment that tells each element which one it is
    after: tuple[tuple[int, ...], ...]  # earlier elements that must have ended well first
    tasks: int = 1  # processes per element
    gpus: int = 0  # per element; the n-th place has the n-th group
    places: str = ""  # folder of locks, of this and other runs; empty: each worker has its own place
    width: int = 1  # how many places there are
    # A module: `prepare(elements)` imports, once in a worker, what elements (their environments) use, and starts no
    # thread; `main()`, in a fork, does what `command` would. Empty: elements are new processes.
    fork: str = ""
    last: tuple[str, ...] = ()  # a command that one worker runs when all elements have ended, however they did


class _Process(Protocol):
    def poll(self) -> int | None: ...
    def wait(self) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


_Start = Callable[[Mapping[str, str], BinaryIO, "_Place"], _Process]  # environment, log


def check_gpus(workers: int, gpus: int) -> None:
    """UsageError where CUDA_VISIBLE_DEVICES names too few GPUs for so many workers with so many each."""
    visible = _visible()
    if visible is not None and len(visible) < workers * gpus:
        raise UsageError(
            f"cluster: workers: {workers} with gpus-per-node: {gpus} need {workers * gpus} GPUs, and"
            f" CUDA_VISIBLE_DEVICES={','.join(visible)} shows {len(visible)}; set fewer workers"
        )


def _visible() -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES names; None where it is not set."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if devices is None else [device for device in devices.split(",") if device]


def start(folder: Path, run: LocalRun, workers: int, environment: Mapping[str, str]) -> list[int]:
    """Write the run down and start its workers, detached from the terminal. Returns their process ids.

    environment: all that the workers and their elements get, but for what tells each element which one it is.
    """
    for part in (folder / "claims", folder / "ends", folder / "logs", Path(run.places or folder)):
        make_folder(part)
    write_atomic(folder / "plan.json", to_json(asdict(run)))
    processes = []
    for worker in range(min(workers, len(run.elements))):
        with _log(folder / "logs" / f"worker-{worker}.log") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-u", "-m", "slurm.local", str(folder), str(worker)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, umask=0o077,
                    env=dict(environment),
                )
            )  # fmt: skip
    ids = [process.pid for process in processes]
    write_atomic(
        folder / "workers.json", to_json({"host": socket.gethostname(), "workers": [_identity(i) for i in ids]})
    )
    return ids


def _log(path: Path) -> BinaryIO:
    """A private file to append to."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _identity(pid: int) -> dict[str, Any]:
    return {"pid": pid, "start": start_time(pid)}


def element_state(folder: Path, element: int) -> str:
    """`queued`, `running`, `ended N` (exit code) or `gone` (its workers are)."""
    end = read_json(folder / "ends" / f"{element}.json")
    if end is not None:
        return f"ended {end['exit']}"
    claim = read_json(folder / "claims" / f"{element}.json")
    if claim is not None:
        if _lives(claim):
            return "running"
        end = read_json(folder / "ends" / f"{element}.json")  # it may have ended after the first look
        return f"ended {end['exit']}" if end is not None else "gone"
    workers = read_json(folder / "workers.json")
    if workers is None:
        return "gone"
    return "queued" if any(_lives(w | {"host": workers["host"]}) for w in workers["workers"]) else "gone"


def _lives(process: dict[str, Any]) -> bool:
    # Another host's processes cannot be looked at; a local run belongs to one host.
    return process["host"] != socket.gethostname() or is_alive(process["pid"], process["start"])


def cancel(folder: Path, elements: Iterable[int]) -> None:
    """End elements: those that wait never run; the workers end those that run, with some seconds to save."""
    make_folder(folder / "cancels")
    for element in elements:
        write_once(folder / "cancels" / f"{element}.json", to_json({}))
        if element_state(folder, element) == "queued" and _claim(folder, element):
            write_atomic(folder / "ends" / f"{element}.json", to_json({"exit": _CANCELLED}))


def work(folder: Path, worker: int) -> None:
    """Run elements until none is left: a worker's life."""
    record = json.loads((folder / "plan.json").read_bytes())
    run = LocalRun(
        tuple(record["command"]), tuple(record["elements"]), tuple(map(tuple, record["after"])),
        record["tasks"], record["gpus"], record["places"], record["width"], record.get("fork", ""),
        tuple(record.get("last", ())),
    )  # fmt: skip
    begin = None if run.fork else _command(run)
    _wait_for_all_workers(folder)
    while "queued" in (states := _states(folder, run)):
        ready = next((n for n, state in enumerate(states) if state == "queued" and _may_run(run, states, n)), None)
        if ready is None and "running" not in states:
            break  # what is left waits for elements that are gone
        if ready is None and begin is not None:
            time.sleep(_POLL_SECONDS)
            continue
        with _place(run, worker) as place:
            if place is None:
                time.sleep(_POLL_SECONDS)
            elif begin is None:
                begin = _forking(run)  # in a place, for it takes a core for seconds; nothing need be ready yet
            elif ready is not None and _claim(folder, ready):
                code = _run(folder, run, ready, place, begin)
                write_atomic(folder / "ends" / f"{ready}.json", to_json({"exit": code}))
    if run.last and "running" not in states and write_once(folder / "claims" / "last.json", to_json({})):
        _run_last(folder, run)


def _run_last(folder: Path, run: LocalRun) -> None:
    """What is wrong with it is no failure of any element, and stands in its log."""
    with _log(folder / "logs" / "last.log") as log:
        subprocess.run(run.last, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)


@dataclass(frozen=True)
class _Place:
    number: int
    locks: tuple[int, ...] = ()  # open files; an element's processes have them too, and outlive a killed worker


@contextmanager
def _place(run: LocalRun, worker: int) -> Iterator[_Place | None]:
    """A place that nobody is at, by preference the worker's own; None: all are taken."""
    if not run.places:
        yield _Place(worker)
        return
    with ExitStack() as stack:
        for number in sorted(range(run.width), key=lambda number: number != worker):
            with ExitStack() as open_locks:
                files = [open_locks.enter_context(_log(path)) for path in _locks(run, number)]
                if all([_lock(file) for file in files]):
                    stack.push(open_locks.pop_all())
                    yield _Place(number, tuple(file.fileno() for file in files))
                    return
        yield None


def _locks(run: LocalRun, number: int) -> list[Path]:
    names = [f"gpu-{re.sub(r'[^A-Za-z0-9-]', '_', device)}" for device in _devices(run, number)] or [f"place-{number}"]
    return [Path(run.places) / f"{socket.gethostname()}-{name}.lock" for name in names]


def _lock(file: BinaryIO) -> bool:
    """Whether it is ours now. A file system without locks has places for all."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        print(f"warning: {file.name}: cannot be locked ({error.strerror}): other submissions' workers are not seen")
    return True


def _wait_for_all_workers(folder: Path) -> None:
    """Until the starter has said who works here. Where it died before that, the run counts as never started."""
    patience = time.monotonic() + _START_SECONDS
    while not (folder / "workers.json").exists() and time.monotonic() < patience:
        time.sleep(_POLL_SECONDS / 10)


def _states(folder: Path, run: LocalRun) -> list[str]:
    """Every element's state; what waits for a failed one ends here without having run."""
    states: list[str] = []
    for n, after in enumerate(run.after):
        state = element_state(folder, n)
        if state == "queued" and any(states[earlier] not in ("queued", "running", "ended 0") for earlier in after):
            write_once(folder / "ends" / f"{n}.json", to_json({"exit": _BLOCKED}))
            state = f"ended {_BLOCKED}"
        states.append(state)
    return states


def _claim(folder: Path, element: int) -> bool:
    me = _identity(os.getpid()) | {"host": socket.gethostname()}
    return write_once(folder / "claims" / f"{element}.json", to_json(me))


def _may_run(run: LocalRun, states: Sequence[str], element: int) -> bool:
    return all(states[n] == "ended 0" for n in run.after[element])


def _command(run: LocalRun) -> _Start:
    """Elements as new processes."""

    def begin(environment: Mapping[str, str], log: BinaryIO, place: _Place) -> _Process:
        return subprocess.Popen(
            list(run.command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=place.locks
        )

    return begin


def _forking(run: LocalRun) -> _Start:
    """Elements as forks, once this worker has its imports done; as new processes, which say what is wrong, where it
    cannot import or be forked."""
    try:
        module = importlib.import_module(run.fork)
        module.prepare(run.elements)
    except Exception:
        traceback.print_exc()
        return _command(run)
    if not forks.make_clean():
        print(f"not forked from: {forks.threads()} threads, or a GPU's driver, in this process", flush=True)
        return _command(run)
    print(f"elements are forks of process {os.getpid()}, which has one thread and no GPU", flush=True)
    return lambda environment, log, place: forks.fork(module.main, log.fileno(), environment)


def _run(folder: Path, run: LocalRun, element: int, place: _Place, begin: _Start) -> int:
    """Run one element's processes. The first exit code that is not 0, if any; then the others are ended too."""
    processes: list[_Process] = []
    for rank in range(run.tasks):
        with _log(folder / "logs" / f"{element}_{rank}_log.out") as log:
            environment = os.environ | run.elements[element]
            environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            environment |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(run.tasks))  # so they meet on loopback
            if run.gpus:
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(_devices(run, place.number))
            processes.append(begin(environment, log, place))
    while True:
        codes = [process.poll() for process in processes]
        first_failure = next((code for code in codes if code), None)
        if first_failure is not None:
            for process in processes:
                process.kill()  # the other ranks would wait for it in vain
                process.wait()
            return first_failure
        if all(code == 0 for code in codes):
            return 0
        if (folder / "cancels" / f"{element}.json").exists():
            return _end(processes)
        time.sleep(_WATCH_SECONDS)


def _end(processes: Sequence[_Process]) -> int:
    """Ask a cancelled element's processes to stop, then stop them. The first exit code that is not 0, if any."""
    for process in processes:
        process.terminate()
    patience = time.monotonic() + _GRACE_SECONDS
    while any(process.poll() is None for process in processes) and time.monotonic() < patience:
        time.sleep(_POLL_SECONDS)
    for process in processes:
        process.kill()
    codes = [process.wait() for process in processes]
    return next((code for code in codes if code), 0)


def _devices(run: LocalRun, place: int) -> list[str]:
    visible = _visible()
    devices = [str(n) for n in range((place + 1) * run.gpus)] if visible is None else visible
    return devices[place * run.gpus : (place + 1) * run.gpus]


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
