"""One side of `make bench-launch` in a process of its own: send N trivial elements, wait for them, merge a table.

    python -m tests.benchmarks.launch_sides ours|submitit|single FOLDER COUNT PARALLEL

Trivial: an element writes its own number and the time. Ours is the layer of arrays (slurm/), not `launch.job`, which
would import torch in each element; its result is written as all results are (write_once, sealed).
Prints one line of JSON: seconds to submit, seconds from the last element's end to the merged table, peak memory.
"""

import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm.base.files import read_sealed

Rows = list[tuple[int, float]]  # element, when it ended
_POLL_SECONDS = 0.5
_GROWTH, _LONGEST = 1.15, 60.0  # of the pauses between two questions to Slurm, as `submit --wait` asks
_ELEMENT = """\
import os, sys, time
from pathlib import Path
from slurm.base.files import seal, write_once
n = int(os.environ["SLURM_ARRAY_TASK_ID"])
write_once(Path(sys.argv[1]) / f"{n}.json", seal({"element": n, "time": time.time()}))
"""
_SINGLE = "import json, sys, time; open(sys.argv[1], 'w').write(json.dumps({'element': 0, 'time': time.time()}))"


def main() -> None:
    """Run the side that the command line names."""
    side, folder, count, parallel = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    folder.mkdir(parents=True)
    sides: dict[str, Callable[[Path, int, int], tuple[float, Rows, float]]]
    sides = {"ours": _ours, "submitit": _submitit, "single": _single}
    submitted, rows, merged = sides[side](folder, count, parallel)
    assert len(rows) == count and len({element for element, _ in rows}) == count, f"{len(rows)} of {count} results"
    last = max(ended for _, ended in rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"submit": submitted, "after_last": merged - last, "peak_mb": peak}))


def _ours(folder: Path, count: int, parallel: int) -> tuple[float, Rows, float]:
    from slurm import arrays, limits, snapshot
    from slurm.arrays import ArrayRequest

    results = folder / "results"
    results.mkdir()
    begun = time.monotonic()
    assert limits.discover(None, None, None).array_size >= count, "results are named by index: one array"
    command = (sys.executable, "-c", _ELEMENT, str(results))
    request = ArrayRequest(
        "bench.0", command, tuple(range(count)), folder / "logs", {"time": "10"}, throttle=parallel,
        environment={"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    arrays.send(request)
    submitted = time.monotonic() - begun
    pause, next_question = 2.0, time.monotonic() + 2.0
    while len(os.listdir(results)) < count:  # the results' own folder first: that costs Slurm nothing
        time.sleep(_POLL_SECONDS)
        if time.monotonic() > next_question:
            assert snapshot.look(0.0).entries is not None
            pause = min(pause * _GROWTH, _LONGEST)
            next_question = time.monotonic() + pause
    records = [read_sealed(results / f"{n}.json") for n in range(count)]
    rows = [(record["element"], record["time"]) for record in records if record]
    return submitted, rows, time.time()


def trivial(number: int) -> tuple[int, float]:
    """submitit's element."""
    return number, time.time()


def _submitit(folder: Path, count: int, parallel: int) -> tuple[float, Rows, float]:
    import submitit

    executor = submitit.AutoExecutor(folder)
    executor.update_parameters(timeout_min=10, slurm_array_parallelism=parallel, slurm_additional_parameters={})
    begun = time.monotonic()
    jobs = executor.map_array(trivial, range(count))
    submitted = time.monotonic() - begun
    rows: Rows = [job.result() for job in jobs]
    return submitted, rows, time.time()


def _single(folder: Path, count: int, parallel: int) -> tuple[float, Rows, float]:
    begun = time.monotonic()
    for number in range(count):
        command = shlex.join(["srun", sys.executable, "-c", _SINGLE, str(folder / f"{number}.json")])
        flags = ["--parsable", "--time=10", f"--output={folder}/{number}.log", f"--job-name=bench-{number % parallel}"]
        # Without arrays, only a chain per name keeps no more than so many running.
        subprocess.run(
            ["sbatch", *flags, "--dependency=singleton", f"--wrap={command}"], check=True, stdout=subprocess.DEVNULL
        )
    submitted = time.monotonic() - begun
    paths = [folder / f"{number}.json" for number in range(count)]
    while not all(path.exists() and path.stat().st_size for path in paths):
        time.sleep(_POLL_SECONDS)
    records: list[dict[str, Any]] = [json.loads(path.read_bytes()) for path in paths]
    return submitted, [(n, record["time"]) for n, record in enumerate(records)], time.time()


if __name__ == "__main__":
    main()
