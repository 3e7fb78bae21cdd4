"""The samples that a stage's process takes of itself: what they say, how many stay, and that they never hurt it."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.job import sampling
from launch.job.clock import Clock
from launch.job.sampling import Node, Sampler
from launch.store import attempts, times, usage
from launch.store.attempts import Attempt, Starter
from launch.store.manifests import StageEntry
from launch.store.usage import GpuUse, Usage
from slurm.samples import Probe, Sample
from slurm.samples.devices import Device

NODE = Node((os.getpid(),), usage.FILE)
ENTRY = StageEntry("k", "squad", "train", {}, {})


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return attempts.begin(tmp_path / "stages" / "squad", Starter.this_process(), lambda job: None)


def _wait(for_what: Any) -> None:
    until = time.monotonic() + 60
    while not for_what() and time.monotonic() < until:
        time.sleep(0.001)
    assert for_what()


def test_the_shortest_stage_has_a_summary(attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FIRST_SECONDS", 600.0)
    with Clock(tmp_path / "manifest-0.json", NODE).stage(ENTRY, attempt, notes=True):
        block = bytearray(64 << 20)
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
    noted = usage.of_attempt(attempt)
    assert noted is not None and noted.samples == 1 and noted.cpu >= 0.08 and noted.memory > len(block)
    assert noted.seconds > 0 and noted.cores > 0 and noted.gpus == () and noted.data_wait is None
    assert times.of_attempt(attempt) is not None  # in the same line
    assert noted.line().startswith("used: ") and not (attempt.folder / usage.FILE).exists()


def test_samples_are_lines_that_can_be_read_while_it_runs(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(sampling, "SECONDS", 0.001)
    with Sampler(attempt, NODE) as sampler:
        _wait(lambda: len(usage.samples_of(attempt)) > 3)
        live = usage.of_attempt(attempt)
        assert live is not None and live.samples > 3 and live.memory > 0
    assert sampler.usage is not None and sampler.usage.samples > 3
    with (attempt.folder / usage.FILE).open("a") as file:
        file.write('{"time": 1, "cp')  # torn
    assert len(usage.samples_of(attempt)) == sampler.usage.samples - 1  # its last look is no line


def test_a_long_stage_keeps_a_hundred_samples_of_all_of_it(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(sampling, "SECONDS", 0.0)
    monkeypatch.setattr(sampling, "_MOST", 16)
    numbers = iter(range(10**9))
    monkeypatch.setattr(Probe, "look", lambda self: Sample(float(next(numbers)), 0.0, 1))
    with Sampler(attempt, NODE):
        _wait(lambda: next(numbers) > 500)
    kept = usage.samples_of(attempt)
    assert 8 <= len(kept) <= 16 and kept[-1].time > 400


@pytest.mark.parametrize("name", ["look", "look_at_processes", "peak", "__init__"])
def test_whatever_fails_in_them_the_stage_goes_on(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("NVML: GPU is lost")

    monkeypatch.setattr(sampling, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(Probe, name, fail)
    caught: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)
    clock = Clock(tmp_path / "manifest-0.json", NODE)
    with clock.stage(ENTRY, attempt, notes=True):
        time.sleep(0.05)
    assert times.of_attempt(attempt) is not None and not caught
    assert (usage.of_attempt(attempt) is None) == (name == "__init__")  # else from what there is
    with pytest.raises(KeyError), clock.stage(ENTRY, attempt, notes=True):
        raise KeyError  # its own errors come out


def test_a_folder_that_cannot_be_written_hurts_nobody(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FIRST_SECONDS", 0.0)
    (attempt.folder / usage.FILE).mkdir()
    with Sampler(attempt, NODE) as sampler:
        time.sleep(0.05)
    assert sampler.usage is not None and usage.samples_of(attempt) == []


def test_nobody_waits_for_a_driver_that_hangs(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(sampling, "_PATIENCE", 0.01)
    asked, answer = threading.Event(), threading.Event()

    def hang(self: Probe) -> Sample:
        asked.set()
        answer.wait(60)
        raise RuntimeError

    monkeypatch.setattr(Probe, "look", hang)
    with Sampler(attempt, NODE) as sampler:
        assert asked.wait(60)
    assert sampler.usage is not None and sampler.usage.samples == 1 and not answer.is_set()
    answer.set()


# --- their sum


def _sample(number: int, **more: Any) -> Sample:
    return replace(Sample(100.0 + 15 * number, 10.0 * number, 1000 + number, 10 * number, 20 * number), **more)


def test_a_summary_has_peaks_and_means() -> None:
    samples = [
        _sample(0, gpus=(50.0, None), gpu_memory=(5, 6)),
        _sample(1, gpus=(100.0, None), gpu_memory=(9, 4)),
        _sample(2),  # a last look, without devices
    ]
    assert usage.summary(samples) == Usage(
        30.0, 20.0, 1002, 1001, None, 20, 40, gpus=(GpuUse(75.0, 100.0, 9), GpuUse(None, None, 6)), samples=3
    )
    assert usage.summary([]) is None


def test_gpus_have_names_in_the_end(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(Probe, "look", lambda self: _sample(1, gpus=(80.0,), gpu_memory=(9,)))
    monkeypatch.setattr(Probe, "devices", (Device("NVIDIA A100", 10),))
    with Sampler(attempt, NODE) as sampler:
        _wait(lambda: usage.samples_of(attempt))
    assert sampler.usage is not None and sampler.usage.gpus == (GpuUse(80.0, 80.0, 9, 10, "NVIDIA A100"),)
    assert sampler.usage.busy == 80.0


def test_further_nodes_are_added(attempt: Attempt) -> None:
    """Memory is the fullest node's, for `mem` is a node's."""
    first = Usage(30.0, 20.0, 1002, 1001, 7, 20, 40, 1.0, 0.5, (GpuUse(50.0),), 3, nodes=2)
    times.note(attempt, times.StageTimes(), usage=usage.record(first))
    lines = (_sample(n, memory=5000, gpus=(90.0,), gpu_memory=(3,)) for n in range(3))
    (attempt.folder / "usage-4.jsonl").write_text("".join(map(usage.to_line, lines)))
    both = usage.of_attempt(attempt)
    assert both == replace(first, cpu=40.0, memory=5000, usual_memory=5000, read=40, written=80,
                           gpus=(GpuUse(50.0), GpuUse(90.0, 90.0, 3)))  # fmt: skip
    assert both is not None and both.busy == 70.0


def test_further_nodes_of_an_attempt_that_was_killed(attempt: Attempt) -> None:
    """It noted nowhere how many there were; of the first one may have no samples."""
    lines = "".join(usage.to_line(_sample(n, memory=5000)) for n in range(3))
    (attempt.folder / "usage-4.jsonl").write_text(lines)
    only = usage.of_attempt(attempt)
    (attempt.folder / "usage.jsonl").write_text(lines.replace("5000", "2000"))
    both = usage.of_attempt(attempt)
    assert only is not None and both is not None
    assert (both.nodes, both.memory, both.cpu) == (2, 5000, 2 * only.cpu) and (only.nodes, only.memory) == (1, 5000)


def test_waiting_for_data_is_weighed_by_time(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert usage.data_wait(log) is None
    log.write_text('{"step": 0}\n{"interval": [1, 2], "seconds": 30.0, "data_wait": 0.1}\n'
                   '{"interval": [3, 4], "seconds": 10.0, "data_wait": 0.5}\n{"interval"')  # fmt: skip
    assert usage.data_wait(log) == 0.2
