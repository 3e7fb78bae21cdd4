"""Why a job's work failed, with the one line that proves it: from Slurm's record, the work's own last words, its log.

Pure: whoever asks has read the log and asked accounting. Slurm's own texts are those of 22.05 (`slurmstepd`, `srun`);
later versions word the out-of-memory line differently, and both are here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

Cause = Literal[
    "host-oom", "cuda-oom", "time", "preempted", "node", "nccl", "disk", "not-finite", "data", "code", "cancelled",
    "parent-missing", "elsewhere", "not-started", "ulimit", "unknown",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = get_args(Cause)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EVIDENCE_LENGTH = 300  # characters of a line that are kept
# By Slurm's own word for how a job ended. FAILED and COMPLETED say nothing of why.
_BY_STATE: dict[str, Cause] = {
    "OUT_OF_MEMORY": "host-oom",
    "TIMEOUT": "time",
    "DEADLINE": "time",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "node",
    "LAUNCH_FAILED": "node",
    "RECONFIG_FAIL": "node",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
}
# The special before the general: a rank that is out of memory takes the others' NCCL with it, and a full disk or a
# failed node shows as a traceback too. Of one kind the first line counts: what follows it is what it led to.
_BY_TEXT: tuple[tuple[Cause, str], ...] = (
    ("preempted", r"CANCELLED AT .* DUE TO (PREEMPTION|JOB REQUEUE)"),
    ("time", r"CANCELLED AT .* DUE TO TIME LIMIT"),
    ("node", r"DUE TO NODE FAILURE|\bNode failure on "),
    ("parent-missing", r"\bparent-missing: "),
    ("elsewhere", r"\brunning elsewhere: |a later attempt has begun"),
    # Of whatever language: what `env` and the shell say of a program that is not there, and Slurm of a log.
    ("not-started", r"^(\S*/)?env: ['‘’\"«„`].*['’\"»“]: |^(\S*/)?env: (/\S+: |can't execute )|"
                    r": line \d+: srun: command not found|error: execve\(\): |"
                    r"Slurmd could not connect IO|Could not open std(out|err|in) file"),
    ("ulimit", r"CPU time limit exceeded|File size limit exceeded|\bErrno (24|27)\]|Too many open files|"
               r"File too large|\bibv_\w+.*Cannot allocate memory|can't start new thread|"
               r"Thread creation failed|pthread_create failed"),
    ("disk", r"No space left on device|Disk quota exceeded|Errno (28|122|5)\b|Input/output error|"
             r"a checkpoint could not be written"),
    ("cuda-oom", r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|OutOfMemoryError|"
                 r"out of memory with token_budget|NCCL WARN .*[Cc]uda failure.* 'out of memory'"),
    ("host-oom", r"oom[-_]kill event|\bOOM Killed\b|\bOut Of Memory\b|MemoryError|"
                 r"DefaultCPUAllocator|Cannot allocate memory|std::bad_alloc|memory allocation of \d+ bytes failed|"
                 r"worker .* killed by signal: Killed|"
                 r"CANCELLED AT .* DUE TO .*MEMORY|Exceeded job memory limit"),
    ("not-finite", r"the (loss|gradient) is not finite|\bnon-finite\b"),
    ("node", r"uncorrectable ECC|double[- ]bit ECC|\bXid \(|fallen off the bus|unspecified launch failure|"
             r"CUDA error: (an illegal instruction|device-side launch|no CUDA-capable device)|CUDA unknown error|"
             r"CUDA driver initialization failed|CUDA-capable device(s|\(s\) is/)? ?are busy|"
             r"No CUDA GPUs are available|Found no NVIDIA driver|this node shows no|"
             r"node shows none|Stale file handle|Transport endpoint is not connected|Socket timed out on send/recv"),
    ("nccl", r"\bNCCL (error|timeout|communicator)|ncclInternalError|ncclSystemError|ncclRemoteError|"
             r"ncclUnhandledCudaError|DistBackendError|Watchdog caught collective|"
             r"cannot reach rank|DistNetworkError|DistStoreError"),
    ("data", r"FileNotFoundError|requests\.exceptions|huggingface_hub\.errors|datasets\.exceptions|"
             r"cannot be had from|but the published data has|tokenizer is missing|"
             r"\bno such (file|model folder|folder)\b|changed since the experiment was planned|"
             r"^(error: )?(\S+: )?(task|target) \S+: |\bdata\.root\b|: this shard of the weights is missing|"
             r"not a whole safetensors file|model\.safetensors|the weights (lack|hold)|get (the model|them) again|"
             r"no labelled training example|no text to train on"),
)  # fmt: skip
# Of ranks that lost each other, but also printed where nothing is wrong: what was raised counts before it.
_LOST_RANK = re.compile(r"NCCL WARN|ProcessGroupNCCL|[Cc]onnection (reset|closed) by peer|Gloo connect")
_PATTERNS = tuple((cause, re.compile(pattern)) for cause, pattern in _BY_TEXT)
_STOPPED = re.compile(r"\bstopped\b.*\bsignal\b")
_NO_LOG_SIGNAL = 53
_NO_LOG = "the job's log could not be created (0:53): its node does not see that folder, or may not write there"
_NO_PROGRAM = {
    126: "the Python in use, or a command of `setup:`, cannot be run there",
    127: "the Python in use, or a command of `setup:`, is not there",
}
_TRACEBACK = "Traceback (most recent call last)"
_RAISED = re.compile(
    r"(?:\[rank\d+\]: ?)?((?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Iteration)\b.*)"
)
_LIMIT_SIGNALS = {24: "CPU time limit exceeded", 25: "File size limit exceeded"}  # SIGXCPU, SIGXFSZ
_KILLED = re.compile(r"\btask \S+: Killed|: line \d+: +\d+ Killed|^Killed$|\bexit code 137\b")


class EndedLike(Protocol):
    """What of a job's record in accounting is looked at."""

    @property
    def state(self) -> str: ...
    @property
    def exit_code(self) -> int: ...
    @property
    def signal(self) -> int: ...


@dataclass(frozen=True)
class Verdict:
    """A cause, and the line that shows it."""

    cause: Cause
    evidence: str


def classify(ending: EndedLike | None, message: str | None, log_tail: str) -> Verdict:
    """The cause of a failure. `ending`: how accounting says the job ended; `message`: what the work itself said last;
    `log_tail`: the end of what this start of it printed."""
    message = message if message and one_line(message) else None
    by_state = _of_state(ending)
    if message is None and ending is not None and _has_no_log(ending):
        log_line = _first("not-started", log_tail.splitlines())
        return Verdict("not-started", f"{_NO_LOG}: {log_line}" if log_line else _NO_LOG)
    if by_state and by_state.cause != "cancelled" and (message is None or _STOPPED.search(message)):
        # Slurm knows best who ended what did not end by itself; for people, the log's line says more than the state.
        log_line = _first(by_state.cause, log_tail.splitlines())
        return Verdict(by_state.cause, f"{by_state.evidence}: {log_line}" if log_line else by_state.evidence)
    if message is not None and not _STOPPED.search(message):
        plain_verdict = Verdict("code" if _RAISED.match(message) else "unknown", one_line(message))
        return _of_lines([message]) or _of_lost_rank([message]) or plain_verdict
    return (
        (by_state if by_state and by_state.cause == "cancelled" else None)
        or _of_lines(log_tail.splitlines())
        or _of_traceback(log_tail)
        or _of_lost_rank(log_tail.splitlines())
        or _of_signal(ending)
        or _of_kill(ending, log_tail)
        or _of_no_program(ending, log_tail)
        or Verdict("unknown", _last_words(ending, message, log_tail))
    )


def alike(evidence: str) -> str:
    """Evidence without what differs between equal failures: paths, addresses, numbers."""
    text = re.sub(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b", "#", evidence)
    text = re.sub(r"(?<![\w#])[~.]{0,2}/[^\s:'\",;)]+", "/…", text)
    return " ".join(re.sub(r"\d+(\.\d+)?", "#", text).split())


def nodes_named(evidence: str) -> tuple[str, ...]:
    """The nodes that a line of Slurm's blames."""
    match = re.search(r"Node failure on (\S+)|(?:JOB|STEP) \S+ ON (\S+) CANCELLED .* DUE TO NODE FAILURE", evidence)
    return (next(filter(None, match.groups())).rstrip(".,;"),) if match else ()


def _of_state(ending: EndedLike | None) -> Verdict | None:
    if ending is None:
        return None
    word = ending.state.split()[0].rstrip("+") if ending.state.strip() else ""
    cause = next((cause for state, cause in _BY_STATE.items() if word and _is_state(word, state)), None)
    return Verdict(cause, f"Slurm says {one_line(ending.state)}") if cause else None


def _is_state(word: str, state: str) -> bool:
    """Also where a column was too narrow for the word: `OUT_OF_ME`."""
    return word == state or (len(word) >= 7 and state.startswith(word))


def _of_lines(lines: list[str]) -> Verdict | None:
    for cause, pattern in _PATTERNS:
        line = next((line for line in lines if pattern.search(line)), None)
        if line is not None:
            return Verdict(cause, one_line(line))
    return None


def _first(cause: Cause, lines: Iterable[str]) -> str | None:
    patterns = [pattern for of, pattern in _PATTERNS if of == cause]
    return next((one_line(line) for line in lines if any(pattern.search(line) for pattern in patterns)), None)


def _of_traceback(log_tail: str) -> Verdict | None:
    """What was raised first: the line that ends the first traceback. What is raised while it is handled comes after."""
    _, heading, traceback = log_tail.partition(_TRACEBACK)
    if not heading:
        return None
    exception_line = next((match[1] for line in traceback.splitlines() if (match := _RAISED.match(line))), None)
    return _of_lost_rank([exception_line or ""]) or Verdict(
        "code", one_line(exception_line or "a traceback that was cut off")
    )


def _has_no_log(ending: EndedLike) -> bool:
    """slurmstepd ends what it has no log for as if by this signal, which Linux does not use."""
    return ending.signal == _NO_LOG_SIGNAL and ending.exit_code == 0


def _of_no_program(ending: EndedLike | None, log_tail: str) -> Verdict | None:
    """By the exit code of env(1) and of shells, where they have not said which program."""
    if ending is None or ending.exit_code not in _NO_PROGRAM:
        return None
    lines = [line for line in log_tail.splitlines() if line.strip()]
    words = f"exit code {ending.exit_code}: {_NO_PROGRAM[ending.exit_code]}"
    return Verdict("not-started", f"{words}: {one_line(lines[-1])}" if lines else words)


def _of_lost_rank(lines: Iterable[str]) -> Verdict | None:
    line = next((line for line in lines if _LOST_RANK.search(line)), None)
    return Verdict("nccl", one_line(line)) if line is not None else None


def _of_signal(ending: EndedLike | None) -> Verdict | None:
    """Signals that only a limit of the process sends."""
    number = 0 if ending is None else ending.signal or ending.exit_code - 128
    return (
        Verdict("ulimit", f"ended by signal {number}: {_LIMIT_SIGNALS[number]}") if number in _LIMIT_SIGNALS else None
    )


def _of_kill(ending: EndedLike | None, log_tail: str) -> Verdict | None:
    """SIGKILL that nobody explains is most often the kernel's, for want of memory."""
    line = next((line for line in log_tail.splitlines() if _KILLED.search(line)), None)
    if line is not None:
        return Verdict("host-oom", one_line(line))
    if ending is not None and (ending.signal == 9 or ending.exit_code == 137):
        return Verdict("host-oom", "ended by signal 9 (killed), as the kernel does where memory runs out")
    return None


def _last_words(ending: EndedLike | None, message: str | None, log_tail: str) -> str:
    """For people, where nothing fits: the last line that calls itself an error."""
    lines = [line for line in log_tail.splitlines() if line.strip()]
    error_line = (
        next((line for line in reversed(lines) if re.match(r"(srun: |slurmstepd: )?error: ", line)), None) or message
    )
    state = f"job ended ({one_line(ending.state)} {ending.exit_code}:{ending.signal})" if ending else ""
    return (
        ": ".join(filter(None, (state, one_line(error_line) if error_line else ""))) or "it left no result and no word"
    )


def one_line(line: str) -> str:
    """What a job printed as it may be shown: white space and what a terminal would obey made single spaces."""
    text = " ".join(_CONTROL.sub(" ", line).split()).removeprefix("error: ")
    return text if len(text) <= _EVIDENCE_LENGTH else text[: _EVIDENCE_LENGTH - 1] + "…"
