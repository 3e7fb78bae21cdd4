"""Causes of failure from real words: Slurm 22.05's, torch's, NCCL's, the kernel's and our own."""

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.causes import CAUSES, Verdict, alike, classify, nodes_named, one_line


@dataclass(frozen=True)
class Record:
    state: str
    exit_code: int = 0
    signal: int = 0


STATES = {
    "OUT_OF_MEMORY": "host-oom",
    "OUT_OF_ME+": "host-oom",
    "TIMEOUT": "time",
    "DEADLINE": "time",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "node",
    "CANCELLED by 1001": "cancelled",
    "CANCELLED+": "cancelled",
    "FAILED": "unknown",
    "COMPLETED": "unknown",
    "": "unknown",
}

LOGS = {
    "slurmstepd: error: Detected 1 oom_kill event in StepId=12.0. Some of the step tasks have been OOM Killed.":
        "host-oom",
    "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=12.0.": "host-oom",
    "srun: error: node1: task 0: Out Of Memory": "host-oom",
    "srun: error: node1: task 0: Killed": "host-oom",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory": "host-oom",
    "memory allocation of 4194304 bytes failed": "host-oom",
    "OSError: [Errno 12] Cannot allocate memory": "host-oom",
    "RuntimeError: DataLoader worker (pid 71) is killed by signal: Killed.": "host-oom",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity": "cuda-oom",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": "cuda-oom",
    "error: squad-s1: step 3: out of memory with token_budget 4096; submit again: it goes on with 2048": "cuda-oom",
    "slurmstepd: error: *** STEP 12.0 ON node1 CANCELLED AT 2026-01-02T03:04:05 DUE TO TIME LIMIT ***": "time",
    "slurmstepd: error: *** JOB 12 ON node1 CANCELLED AT 2026-01-02T03:04:05 DUE TO PREEMPTION ***": "preempted",
    "slurmstepd: error: *** JOB 12 ON node1 CANCELLED AT 2026-01-02T03:04:05 DUE TO JOB REQUEUE ***": "preempted",
    "slurmstepd: error: *** JOB 12 ON node1 CANCELLED AT 2026-01-02T03:04:05 DUE TO NODE FAILURE, SEE SLURMCTLD LOG "
    "FOR DETAILS ***": "node",
    "srun: error: Node failure on node2": "node",
    "RuntimeError: CUDA error: uncorrectable ECC error encountered": "node",
    "error: GPUs were asked for, but this node shows none (device: auto); check the partition": "node",
    "[rank1]:[E] [PG 0 Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=3)": "nccl",
    "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1275, unhandled system error": "nccl",
    "RuntimeError: [../gloo/transport/tcp/pair.cc:598] Connection closed by peer [10.0.0.1]:1234": "nccl",
    "error: rank 1 on node2 cannot reach rank 0 at node1:4242 (timed out); are connections between the nodes allowed?":
        "nccl",
    "OSError: [Errno 28] No space left on device: '/store/x'": "disk",
    "OSError: [Errno 122] Disk quota exceeded: '/store/x'": "disk",
    "OSError: [Errno 5] Input/output error": "disk",
    "srun: error: node1: task 0: CPU time limit exceeded": "ulimit",
    "srun: error: node1: task 0: File size limit exceeded": "ulimit",
    "OSError: [Errno 27] File too large": "ulimit",
    "OSError: [Errno 24] Too many open files: '/store/x'": "ulimit",
    "RuntimeError: can't start new thread": "ulimit",
    "node1:71:71 [0] misc/ibvwrap.cc:262 NCCL WARN Call to ibv_reg_mr failed with error Cannot allocate memory":
        "ulimit",
    "error: /store/a: a checkpoint could not be written ([Errno 28] …); free some space, then submit again.": "disk",
    "error: step 7 of task squad: the loss is not finite at examples a, b; look at them": "not-finite",
    "error: squad-s1: task squad: /data/squad.json: no such file. Put one there, or mend splits.yaml.": "data",
    "error: /data/a.tsv: changed since the experiment was planned: plan again, or put the old file back": "data",
    "FileNotFoundError: [Errno 2] No such file or directory: '/data/mnli/train.tsv'": "data",
    "requests.exceptions.ConnectionError: ('Connection aborted.', ConnectionResetError(104, 'reset by peer'))":
        "data",
    "error: model a/b@c0: cannot be had from the Hugging Face Hub (offline); fetch it with `stepstone prepare`": "data",
    "error: mnli: 17 rows, but the published data has 392,702: it is another data set, or not whole.": "data",
    "RuntimeError: No CUDA GPUs are available": "node",
    "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable": "node",
    "error: xnli-s1: parent-missing: squad-s1-ab has no result; `stepstone submit FILE` sends what is missing":
        "parent-missing",
    "error: squad-s1: running elsewhere: /store/stages/squad/attempts/0001": "elsewhere",
    "/usr/bin/env: ‘/home/ada/.venv/bin/python’: No such file or directory": "not-started",
    "env: '/home/ada/.venv/bin/python': Permission denied": "not-started",
    "/usr/bin/env: „/home/ada/.venv/bin/python“: Datei oder Verzeichnis nicht gefunden": "not-started",
    "/var/spool/slurmd/job00007/slurm_script: line 16: srun: command not found": "not-started",
    "slurmstepd: error: execve(): env: No such file or directory": "not-started",
    "srun: error: task 0 launch failed: Slurmd could not connect IO": "not-started",
    "slurmstepd: error: Could not open stdout file /store/logs/0/7_0_0_log.out: No such file or directory":
        "not-started",
    "all went well": "unknown",
    "He was Killed in the third act, and more is said of signal 9": "unknown",
}  # fmt: skip

# Printed where nothing is wrong, too: what was raised afterwards counts.
HARMLESS = (
    "n1:1:1 [0] misc/cudawrap.cc:182 NCCL WARN Cuda failure 'initialization error'",
    "[rank0]:[W ProcessGroupNCCL.cpp:1250] Warning: WARNING: process group has NOT been destroyed before we",
)

TRACEBACK = """\
Traceback (most recent call last):
  File "/store/code/ab/launch/element.py", line 3, in run
    raise ValueError("bad label 7")
ValueError: bad label 7
srun: error: node1: task 0: Exited with exit code 1
"""


@pytest.mark.parametrize(("state", "cause"), STATES.items())
def test_by_slurms_state(state: str, cause: str) -> None:
    assert classify(Record(state), None, "").cause == cause


@pytest.mark.parametrize(("line", "cause"), LOGS.items())
def test_by_a_line_of_the_log(line: str, cause: str) -> None:
    verdict = classify(
        Record("FAILED", 1), None, f"epoch 1\n{line}\nsrun: error: node1: task 0: Exited with exit code 1"
    )
    assert verdict.cause == cause
    if cause != "unknown":
        assert verdict.evidence == " ".join(line.split()).removeprefix("error: ")[:300]


def test_a_traceback_is_the_codes_and_its_last_line_the_evidence() -> None:
    assert classify(Record("FAILED", 1), None, TRACEBACK) == classify(None, "ValueError: bad label 7", "")
    verdict = classify(None, None, TRACEBACK)
    assert (verdict.cause, verdict.evidence) == ("code", "ValueError: bad label 7")
    assert classify(None, None, "Traceback (most recent call last):\n  File").cause == "code"


def test_the_root_before_what_it_led_to() -> None:
    """A rank out of memory leaves the others in NCCL, and all of it is tracebacks."""
    log = "NCCL WARN peer gone\n" + TRACEBACK + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB\n"
    assert classify(Record("FAILED", 1), None, log).cause == "cuda-oom"
    log = "[rank1]: DistBackendError: NCCL error\nsrun: error: Node failure on node2\n"
    assert classify(None, None, log).cause == "node"


def test_slurm_knows_who_ended_what_did_not_end_by_itself() -> None:
    stopped = "stopped by a signal from Slurm or a person; resumes from its checkpoint"
    assert classify(Record("PREEMPTED"), stopped, "").cause == "preempted"
    assert classify(Record("CANCELLED by 0"), stopped, "").cause == "cancelled"
    assert classify(Record("TIMEOUT"), None, TRACEBACK).cause == "time"
    # What the work said of itself is nearer: its job may have lived on, and ended in another way later.
    assert classify(Record("TIMEOUT"), "ValueError: bad label", "").cause == "code"
    line = "slurmstepd: error: Detected 1 oom_kill event in StepId=12.0. Some of the step tasks have been OOM Killed."
    assert line in classify(Record("OUT_OF_MEMORY", 0, 125), None, line).evidence


def test_killed_without_a_word_is_taken_for_memory() -> None:
    assert classify(Record("FAILED", 137), None, "").cause == "host-oom"
    assert classify(Record("FAILED", 0, 9), None, "").cause == "host-oom"
    assert classify(Record("CANCELLED by 1", 0, 9), None, "").cause == "cancelled"


def test_a_job_without_a_log_or_an_interpreter_is_named_for_what_it_is() -> None:
    for state in ("FAILED", "CANCELLED", "COMPLETED"):  # by srun's step the last one
        verdict = classify(Record(state, 0, 53), None, "")
        assert verdict.cause == "not-started" and "log could not be created (0:53)" in verdict.evidence
    line = "srun: error: task 0 launch failed: Slurmd could not connect IO"
    assert classify(Record("COMPLETED", 0, 53), None, f"{line}\n").evidence.endswith(line)
    exited = "srun: error: node1: task 0: Exited with exit code 127"
    missing = "/usr/bin/env: ‘/nowhere/python’: No such file or directory"
    assert classify(Record("FAILED", 127), None, f"{missing}\n{exited}\n") == Verdict("not-started", missing)
    for code in (126, 127):
        verdict = classify(Record("FAILED", code), None, f"{exited}\n")
        assert verdict.cause == "not-started" and verdict.evidence.endswith(exited)
    # What says more itself has started.
    assert classify(Record("FAILED", 127), None, TRACEBACK).cause == "code"
    assert classify(Record("FAILED", 0, 53), "ValueError: bad label", "").cause == "code"


def test_unknown_keeps_the_last_words() -> None:
    verdict = classify(Record("FAILED", 3), None, "error: first\nerror: something odd\n")
    assert (verdict.cause, verdict.evidence) == ("unknown", "job ended (FAILED 3:0): something odd")
    assert classify(None, None, "").evidence == "it left no result and no word"


def test_equal_failures_have_equal_evidence() -> None:
    assert alike("ValueError: row 7 of /a/b-1/c.tsv at 0x7f00") == alike("ValueError: row 81 of /d.tsv at 0x12")
    assert alike("ValueError: 1.5 is bad") == alike("ValueError: 22 is bad")
    assert alike("KeyError: 'label'") != alike("KeyError: 'text'")


def test_the_node_that_slurm_names() -> None:
    assert nodes_named("srun: error: Node failure on node2") == ("node2",)
    assert nodes_named("*** JOB 12 ON gpu-3 CANCELLED AT 2026 DUE TO NODE FAILURE, SEE …") == ("gpu-3",)
    assert nodes_named("all well") == ()


@given(
    st.none()
    | st.builds(Record, st.text(max_size=20) | st.sampled_from([*STATES]), st.integers(0, 255), st.integers(0, 64)),
    st.none() | st.text(max_size=200),
    st.text(max_size=400) | st.lists(st.sampled_from([*LOGS, TRACEBACK])).map("\n".join),
)
def test_any_input_has_a_verdict_of_one_short_line(ended: Record | None, message: str | None, log: str) -> None:
    verdict = classify(ended, message, log)
    assert verdict.cause in CAUSES
    assert verdict.evidence and len(verdict.evidence) <= 700 and not re.search(r"[\x00-\x1f]", verdict.evidence)
    assert alike(alike(verdict.evidence)) == alike(verdict.evidence)


@pytest.mark.parametrize("warning", HARMLESS)
def test_a_warning_of_nccl_is_no_cause_where_something_was_raised(warning: str) -> None:
    raised = "Traceback (most recent call last):\n  File \"a.py\", line 3\nKeyError: 'label'\n"
    assert classify(None, None, f"{warning}\n{raised}").cause == "code"
    assert classify(None, None, f"{warning}\n").cause == "nccl"


def test_of_a_crash_without_a_known_word_srun_says_most() -> None:
    verdict = classify(Record("FAILED", 1), None, "srun: error: node1: task 0: Segmentation fault (core dumped)\n")
    assert verdict.cause == "unknown" and verdict.evidence.endswith("Segmentation fault (core dumped)")


def test_what_a_terminal_would_obey_is_left_out() -> None:
    """An error may quote the data, and whoever made them."""
    assert one_line("a\x1b]0;owned\x07\x1b[2Jb\tc\x9b1m") == "a ]0;owned [2Jb c 1m"
    assert "\x1b" not in classify(None, "ValueError: row 7: \x1b[31m", "").evidence
