"""Limits of processes, met by real ones, and the failures that are theirs."""

import json
import resource
import signal
import subprocess
import sys

import pytest

from slurm import causes, rlimits
from slurm.causes import Verdict

MEMORY = "virtual memory 2 GiB (ulimit -v)"
CPU = "CPU time 600 s (ulimit -t)"


def _under(limits: str, program: str) -> subprocess.CompletedProcess[str]:
    """A Python in a shell with these limits."""
    command = f'{limits}; exec "$0" -c "$1"'
    words = ["bash", "-c", command, sys.executable, program]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_a_process_names_the_limits_that_it_met() -> None:
    program = "import json; from slurm import rlimits; print(json.dumps(rlimits.met()))"
    done = _under("ulimit -v 8000000 -t 600 -n 64 -f 1048576", program)
    assert json.loads(done.stdout) == [
        "virtual memory 7.629 GiB (ulimit -v)", "file size 1 GiB (ulimit -f)", CPU, "open files 64 (ulimit -n)",
    ]  # fmt: skip
    assert rlimits.in_log("x\n" + rlimits.log_line(json.loads(done.stdout)) + "\ny") == tuple(json.loads(done.stdout))
    assert rlimits.in_log("virtual memory 2 GiB (ulimit -v)") == ()


@pytest.mark.slow
def test_the_warning_comes_before_the_hard_limit_kills() -> None:
    program = """
import resource, sys
from slurm import rlimits
from slurm.signals import StopFlag
stop = StopFlag()
stop.install()
assert rlimits.met() == ("CPU time 2 s (ulimit -t)",), rlimits.met()
limit = resource.getrlimit(resource.RLIMIT_CPU)
while not stop.is_set():
    pass
print(stop.received, limit)
"""
    done = _under("ulimit -t 2", program)
    assert done.stdout == f"{int(signal.SIGXCPU)} (1, 2)\n", done.stderr


def test_without_a_limit_none_is_set() -> None:
    before = resource.getrlimit(resource.RLIMIT_CPU)
    rlimits.ask_to_be_warned()
    assert resource.getrlimit(resource.RLIMIT_CPU) == before


def test_memory_that_a_limit_refused_is_no_want_of_memory() -> None:
    done = _under("ulimit -v 800000", "x = bytearray(2 << 30)")
    verdict = causes.classify(None, None, done.stderr)
    assert verdict == Verdict("host-oom", "MemoryError")
    assert rlimits.blamed(verdict, ()) == verdict
    assert rlimits.blamed(verdict, (MEMORY,)) == Verdict(
        "ulimit",
        "its limit of virtual memory 2 GiB (ulimit -v) was met (lift it: `ulimit -v unlimited` in `setup:`, or before "
        "`submit`): MemoryError",
    )


@pytest.mark.parametrize(
    ("verdict", "limits", "cause"),
    [
        (Verdict("code", "ImportError: libtorch.so: failed to map segment from shared object"), (MEMORY,), "ulimit"),
        (Verdict("host-oom", "srun: error: node1: task 0: Out Of Memory"), (MEMORY, CPU), "host-oom"),  # the cgroup
        (Verdict("host-oom", "DefaultCPUAllocator: can't allocate memory"), (CPU,), "host-oom"),
        (Verdict("host-oom", "DefaultCPUAllocator: can't allocate memory"), ("data 2 GiB (ulimit -d)",), "ulimit"),
        (Verdict("code", "KeyError: 3"), (MEMORY, CPU), "code"),
        (Verdict("unknown", "it left no result and no word"), (CPU,), "ulimit"),
        (Verdict("unknown", "it left no result and no word"), (MEMORY,), "unknown"),
    ],
)
def test_what_is_blamed_on_a_limit(verdict: Verdict, limits: tuple[str, ...], cause: str) -> None:
    found = rlimits.blamed(verdict, limits)
    assert found.cause == cause and verdict.evidence in found.evidence
    assert (found == verdict) == (cause == verdict.cause)


def test_a_limits_own_words_get_its_size() -> None:
    verdict = Verdict("ulimit", "srun: error: node1: task 0: CPU time limit exceeded")
    assert rlimits.blamed(verdict, (CPU,)).evidence == f"{verdict.evidence}; it had {CPU}"
