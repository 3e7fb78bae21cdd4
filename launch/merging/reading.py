"""Reading and verifying results, file by file: by two processes where there are many.

A worker gets paths and gives plain values back; nothing is moved or written here.
"""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import NamedTuple, TypeVar

from launch.store import verification
from launch.store.artifacts import generation_of
from launch.store.verification import Flaw

T = TypeVar("T")
R = TypeVar("R")

_PROCESSES = 2
_WORTH = 2_000  # files: to start processes takes half a second, in which one reads as many
_CHUNK = 20  # stages that a process gets at a time
_CPU = "cpu"


class Training(NamedTuple):
    """What the table takes of a train stage's result."""

    key: str
    generation: str
    score: float  # on English dev, in percent
    at_chance: tuple[str, ...]
    steps: int | None
    seconds: float
    gpus: int  # that it ran on: 0 on CPUs
    attempt: str
    code: str | None


class Evaluation(NamedTuple):
    """What it takes of one language of an evaluate stage."""

    key: str
    generation: str
    language: str
    metrics: tuple[str, ...]
    scores: tuple[float, ...]
    examples: int
    predictions: str  # the name of their file
    attempt: str | None
    code: str
    seconds: float | None
    gpus: int


class Flawed(NamedTuple):
    """A file that does not count."""

    key: str
    language: str  # "" of a training
    path: str
    why: str
    is_damaged: bool


class Request(NamedTuple):
    """A stage to be read: of an evaluate stage one generation, and the record of each of its languages."""

    key: str
    folder: str  # where the files lie
    generation: str
    files: tuple[tuple[str, str], ...]  # language and name; of a training ("", "result.json")


class Answer(NamedTuple):
    """What came of a request."""

    request: Request
    results: list[Evaluation]
    flaws: list[Flawed]


def training(request: Request) -> Training | Flawed:
    """Of one train stage."""
    (_, name), *_ = request.files
    path = Path(request.folder, name)
    result = verification.training(path, request.key)
    if isinstance(result, Flaw):
        return Flawed(request.key, "", str(path), result.why, result.is_damaged)
    gpus = 0 if result.device in ("", _CPU) else result.world_size
    return Training(
        request.key, generation_of(result.encoder_hash), result.dev_score, result.at_chance, result.steps,
        result.seconds, gpus, result.attempt, result.code,
    )  # fmt: skip


def evaluation(request: Request) -> Answer:
    """Of one evaluate stage."""
    answer = Answer(request, [], [])
    for language, name in request.files:
        path = Path(request.folder, name)
        result = verification.language(path, request.key, language)
        if isinstance(result, Flaw):
            answer.flaws.append(Flawed(request.key, language, str(path), result.why, result.is_damaged))
            continue
        gpus = 0 if result.device_name in ("", _CPU) else 1  # each language is one rank's
        metrics, values = tuple(result.scores), tuple(result.scores.values())
        answer.results.append(
            Evaluation(
                request.key, request.generation, language, metrics, values, result.examples, result.predictions,
                result.attempt, result.code, result.seconds, gpus,
            )
        )  # fmt: skip
    return answer


def each(action: Callable[[T], R], requests: Sequence[T], files: int) -> Iterable[R]:
    """What `action` gives for each, in order. `files`: how many that reads in all."""
    processes = min(_PROCESSES, len(os.sched_getaffinity(0)))
    if files < _WORTH or processes < 2:
        return map(action, requests)
    # Not forked: a caller may have threads, such as those of polars, that a fork would leave half-way.
    try:
        with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_end_with_parent) as pool:
            return list(pool.map(action, requests, chunksize=_CHUNK))
    except BrokenProcessPool:  # one was killed: a login node may have a limit of memory
        return map(action, requests)


def _end_with_parent() -> None:
    """Of a worker: where its parent is killed, it would wait for work for ever."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
