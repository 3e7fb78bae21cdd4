"""What /proc says of real processes, and of trees of files as other kernels write them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurm.samples import Probe
from slurm.samples.processes import Tree, job_peak

# It starts one that takes 40 MB and burns CPU, says so, and waits for a line.
_WORK = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import sys, time
block = bytearray(40 << 20)
end = time.process_time() + 0.3
while time.process_time() < end: pass
print("ready", flush=True)
sys.stdin.readline()
'''], stdin=subprocess.PIPE)
sys.stdin.readline()
child.communicate(b"go\\n")
print("waited", flush=True)
sys.stdin.readline()
"""


@contextmanager
def _work() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", _WORK], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.write("\n")


def test_a_process_counts_with_what_it_started_also_when_that_has_ended() -> None:
    with _work() as process:
        assert process.stdin is not None and process.stdout is not None
        both = Tree([process.pid]).look()
        assert both.memory > 40 << 20 and both.cpu >= 0.3
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "waited\n"
        alone = Tree([process.pid]).look()
        assert alone.memory < both.memory - (35 << 20) and alone.cpu >= 0.3


_AS_THE_KERNEL_SAYS = """
import os, resource, sys
from slurm.samples.processes import Tree
tree = Tree([os.getpid()])
before = tree.look()
block = b"x" * (100 << 20)
del block
end = sum(os.times()[:2]) + 0.2
while sum(os.times()[:2]) < end:
    pass
content = os.urandom(1 << 20)
with open(sys.argv[1], "wb") as file:
    file.write(content)
    os.fsync(file.fileno())
after, own = tree.look(), resource.getrusage(resource.RUSAGE_SELF)
assert abs(after.cpu - own.ru_utime - own.ru_stime) < 0.1 and after.cpu - before.cpu > 0.15, (before, after, own)
assert 0 < after.memory < tree.peak() - (80 << 20) < after.memory + (80 << 20), (after, tree.peak())
assert after.written - before.written >= len(content), (before, after)
"""


def test_a_process_is_as_the_kernel_says(tmp_path: Path) -> None:
    """CPU time as getrusage has it, to a tick or two; the peak of what is free again; and bytes that went to a disk.

    In a process of its own: children that others left in this one would count.
    """
    subprocess.run([sys.executable, "-c", _AS_THE_KERNEL_SAYS, str(tmp_path / "file")], check=True)


def test_processes_of_others_and_none_at_all_are_nothing() -> None:
    assert Tree([2**22 + 1]).look().memory == 0
    assert Tree([]).look().cpu == 0 and Tree([]).peak() == 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _process(proc: Path, pid: int, name: str, delay: int, children: str = "") -> None:
    fields = ["S", "1", *["0"] * 8, "0", "100", "20", "3", "4", *["0"] * 6, "50", *["0"] * 17, str(delay), "0"]
    assert len(fields) > 39
    fields[39] = str(delay)
    _write(proc / str(pid) / "stat", f"{pid} ({name}) " + " ".join(fields))
    _write(proc / str(pid) / "io", "rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n")
    _write(proc / str(pid) / "task" / str(pid) / "children", children)


@pytest.mark.parametrize(("counted", "expected"), [("1\n", 2.0), ("0\n", None), (None, 2.0)])
def test_waits_for_disks_where_the_kernel_counts_them(
    tmp_path: Path, counted: str | None, expected: float | None
) -> None:
    """Since 5.14 it does so only when told; a name may hold anything."""
    ticks = os.sysconf("SC_CLK_TCK")
    _process(tmp_path, 10, "a) 1 (b", 2 * ticks, children="11 ")
    _process(tmp_path, 11, "child", 0)
    if counted is not None:
        _write(tmp_path / "sys/kernel/task_delayacct", counted)
    use = Tree([10], tmp_path).look()
    assert use.io_wait == expected
    assert use.cpu == pytest.approx(2 * 127 / ticks) and use.memory == 2 * 50 * os.sysconf("SC_PAGE_SIZE")
    assert (use.read, use.written) == (2 * 4096, 2 * 8192)


@pytest.mark.parametrize(
    ("group", "mount", "file"),
    [
        ("0::/system.slice/slurmstepd.scope/job_77/step_0/user/task_0\n",
         "30 1 0:26 / {top} rw - cgroup2 cgroup2 rw", "system.slice/slurmstepd.scope/job_77/memory.peak"),
        ("4:memory:/slurm/uid_1000/job_77/step_0\n",
         "31 1 0:27 / {top} rw - cgroup cgroup rw,memory", "slurm/uid_1000/job_77/memory.max_usage_in_bytes"),
    ],
)  # fmt: skip
def test_the_peak_of_a_jobs_control_group(tmp_path: Path, group: str, mount: str, file: str) -> None:
    _write(tmp_path / "proc/self/cgroup", group)
    _write(tmp_path / "proc/self/mountinfo", mount.format(top=tmp_path / "top"))
    assert job_peak("77", tmp_path / "proc") is None
    _write(tmp_path / "top" / file, "123456\n")
    assert job_peak("77", tmp_path / "proc") == 123456
    assert job_peak("7", tmp_path / "proc") is None and job_peak(None, tmp_path / "proc") is None


def test_a_probe_counts_from_its_beginning() -> None:
    probe = Probe([os.getpid()], {"CUDA_VISIBLE_DEVICES": ""})
    before = probe.look()
    assert before.cpu < 1 and before.memory > 0 and before.gpus == () and probe.devices == ()
    block = bytearray(256 << 20)  # beside which nothing matters that is freed meanwhile
    after = probe.look_at_processes()
    assert after.memory > before.memory + (32 << 20)
    assert probe.peak() in (0, probe.peak()) and len(block)
