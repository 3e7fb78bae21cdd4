"""Local workers, real ones, on trivial commands: order, failures, ranks, and workers that die."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from slurm import local
from slurm.base import UsageError
from slurm.base.processes import is_alive, start_time
from slurm.local import LocalRun, cancel, check_gpus, element_state, start
from tests.paths import ROOT

# Element $E runs the line of Python in $DO; both are its environment, as a manifest and an index are in earnest.
COMMAND = (sys.executable, "-S", "-c", "import os, sys, time; from pathlib import Path; exec(os.environ['DO'])")
FORKED = "tests.slurm.forked_line"  # does the same in a fork
NOTE = "Path('notes/' + os.environ['E']).touch()"
SLEEP = "time.sleep(60)"


@pytest.fixture(params=["", pytest.param(FORKED, marks=pytest.mark.slow)], ids=["new", "forked"])
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Starts a run in tmp_path/run, of new processes or of forks; whatever still runs at the end is ended."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    started: list[int] = []

    def begin(
        *does: str, after: dict[int, tuple[int, ...]] | None = None, workers: int = 1, name: str = "run", **more: Any
    ) -> Path:
        run = LocalRun(
            COMMAND,
            tuple({"DO": do, "E": str(n)} for n, do in enumerate(does)),
            tuple((after or {}).get(n, ()) for n in range(len(does))),
            fork=request.param,
            **more,
        )
        folder = tmp_path / name
        started.extend(start(folder, run, workers, os.environ | {"PYTHONPATH": str(ROOT)}))
        return folder

    yield begin
    for pid in started:
        if is_alive(pid, None):
            os.killpg(pid, signal.SIGKILL)


def _until(condition: Callable[[], bool], seconds: float = 40) -> None:
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, "it does not happen"
        time.sleep(0.02)


def _states(folder: Path) -> list[str]:
    elements = json.loads((folder / "plan.json").read_bytes())["elements"]
    return [element_state(folder, n) for n in range(len(elements))]


def _wait(folder: Path) -> list[str]:
    """The states when nothing is queued or running."""
    _until(lambda: not {"queued", "running"} & set(_states(folder)))
    return _states(folder)


def _time(folder: Path, element: int) -> int:
    return (folder.parent / "notes" / str(element)).stat().st_mtime_ns


def test_elements_run_after_those_they_wait_for(begin: Any) -> None:
    folder = begin(NOTE, NOTE, NOTE, NOTE, after={1: (0,), 2: (1,), 3: (0, 2)}, workers=2)
    assert _wait(folder) == ["ended 0"] * 4
    assert _time(folder, 0) < _time(folder, 1) < _time(folder, 2) < _time(folder, 3)


def test_a_failure_blocks_those_that_wait_for_it_and_no_other(begin: Any) -> None:
    folder = begin("sys.exit(3)", NOTE, NOTE, NOTE, after={1: (0,), 2: (1,)})
    assert _wait(folder) == ["ended 3", "ended 75", "ended 75", "ended 0"]
    assert os.listdir(folder.parent / "notes") == ["3"]


@pytest.mark.slow
def test_every_element_runs_once_whoever_claims_it(begin: Any) -> None:
    once = "Path('notes/' + os.environ['E']).mkdir()"  # fails the second time
    folder = begin(*[once] * 8, workers=2)
    assert _wait(folder) == ["ended 0"] * 8
    claims = [json.loads((folder / "claims" / f"{n}.json").read_bytes())["pid"] for n in range(8)]
    workers = [worker["pid"] for worker in json.loads((folder / "workers.json").read_bytes())["workers"]]
    assert set(claims) <= set(workers) and len(workers) == 2


def test_two_workers_share(begin: Any) -> None:
    """Each element ends only when the other one runs too."""
    meet = f"{NOTE}\nwhile len(os.listdir('notes')) < 2: time.sleep(0.01)"
    assert _wait(begin(meet, meet, workers=2)) == ["ended 0"] * 2


HELD = f"{NOTE}\nwhile not os.path.exists('end'): time.sleep(0.01)"


@pytest.mark.slow
def test_runs_share_places(begin: Any, tmp_path: Path) -> None:
    """Of two places a second run takes the free one; a third waits, and its worker ends where it is cancelled."""
    shared = {"places": str(tmp_path / "places"), "width": 2}
    first, second = begin(HELD, **shared), begin(HELD, name="second", **shared)
    _until(lambda: _states(first) + _states(second) == ["running"] * 2)
    third, fourth = begin(NOTE, name="third", **shared), begin(NOTE, name="fourth", **shared)
    time.sleep(1)  # they would have begun by now
    assert _states(third) + _states(fourth) == ["queued"] * 2
    cancel(fourth, [0])
    _until(lambda: not any(is_alive(w["pid"], w["start"]) for w in _workers(fourth)))
    (tmp_path / "end").touch()
    assert _wait(first) == _wait(second) == _wait(third) == ["ended 0"]
    assert _wait(fourth) == ["ended 143"]


def test_places_are_gpus_where_elements_have_some(begin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with both GPUs, then two with one each: never two elements at a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    places = str(tmp_path / "places")
    both = begin(HELD, gpus=2, places=places)
    _until(lambda: _states(both) == ["running"])
    show = "print(os.environ['CUDA_VISIBLE_DEVICES'])"
    each = begin(show, show, name="each", workers=2, gpus=1, places=places, width=2)
    time.sleep(1)
    assert _states(each) == ["queued"] * 2
    (tmp_path / "end").touch()
    assert _wait(both) == ["ended 0"] and _wait(each) == ["ended 0"] * 2


def test_a_killed_workers_place_is_taken_while_its_element_lives(begin: Any, tmp_path: Path) -> None:
    places = str(tmp_path / "places")
    first = begin(HELD, places=places)
    _until(lambda: _states(first) == ["running"] and (tmp_path / "notes" / "0").exists())
    os.kill(_workers(first)[0]["pid"], signal.SIGKILL)
    second = begin(NOTE, name="second", places=places)
    time.sleep(1)
    assert _states(second) == ["queued"]
    (tmp_path / "end").touch()
    assert _wait(second) == ["ended 0"]


def test_without_locks_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that is mounted without them."""
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOSYS, "Function not implemented")))
    run = LocalRun(("true",), ({},), ((),), places=str(tmp_path))
    with local._place(run, 0) as one, local._place(run, 0) as other:
        assert one is not None and other is not None


def _workers(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "workers.json").read_bytes())["workers"]
    return found


def test_workers_need_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    check_gpus(2, 1)
    check_gpus(8, 0)
    with pytest.raises(UsageError, match=r"workers: 4 with gpus-per-node: 1 need 4 GPUs, and .*=0,1 shows 2"):
        check_gpus(4, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match="shows 0"):
        check_gpus(1, 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    check_gpus(4, 1)  # nobody says what is here


def test_no_more_workers_than_elements(begin: Any) -> None:
    folder = begin(NOTE, workers=5)
    assert len(json.loads((folder / "workers.json").read_bytes())["workers"]) == 1
    _wait(folder)


def test_ranks_learn_who_they_are(begin: Any) -> None:
    folder = begin("print(*(os.environ[n] for n in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE')))", tasks=2)
    assert _wait(folder) == ["ended 0"]
    assert [(folder / "logs" / f"0_{rank}_log.out").read_text() for rank in (0, 1)] == ["0 0 2 2\n", "1 1 2 2\n"]


def test_a_rank_that_fails_ends_the_others(begin: Any) -> None:
    lone = f"{SLEEP} if os.environ['RANK'] == '0' else sys.exit(4)"
    assert _wait(begin(lone, tasks=2)) == ["ended 4"]  # which waits less long than that rank would sleep


def test_the_worker_sees_its_own_gpus(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    meet = f"{NOTE}; print(os.environ['CUDA_VISIBLE_DEVICES'])\nwhile len(os.listdir('notes')) < 2: time.sleep(0.01)"
    folder = begin(meet, meet, workers=2, gpus=2)
    _wait(folder)
    assert sorted((folder / "logs" / f"{n}_0_log.out").read_text() for n in (0, 1)) == ["4,5\n", "6,7\n"]


def test_workers_live_in_sessions_of_their_own(begin: Any) -> None:
    """Closing the terminal, or Ctrl-C in it, does not reach them."""
    folder = begin(SLEEP)
    _until(lambda: _states(folder) == ["running"])
    ((worker,),) = [json.loads((folder / "workers.json").read_bytes())["workers"]]
    assert os.getsid(worker["pid"]) == worker["pid"] != os.getsid(0)


def test_a_worker_that_dies_leaves_its_element_gone(begin: Any) -> None:
    folder = begin(SLEEP, NOTE, NOTE, after={1: (0,)})
    _until(lambda: _states(folder)[0] == "running")
    ((worker,),) = [json.loads((folder / "workers.json").read_bytes())["workers"]]
    os.killpg(worker["pid"], signal.SIGKILL)
    assert _wait(folder) == ["gone", "gone", "gone"]
    assert os.listdir(folder.parent / "notes") == []


@pytest.mark.slow
def test_a_second_worker_goes_on_where_one_died(begin: Any) -> None:
    folder = begin(SLEEP, f"time.sleep(1.5)\n{NOTE}", NOTE, NOTE, after={2: (0,), 3: (1,)}, workers=2)
    _until(lambda: _states(folder)[:2] == ["running", "running"])
    claimed = json.loads((folder / "claims" / "0.json").read_bytes())["pid"]
    os.killpg(claimed, signal.SIGKILL)
    assert _wait(folder) == ["gone", "ended 0", "ended 75", "ended 0"]


@pytest.mark.slow
def test_a_worker_waits_until_all_of_them_are_known(tmp_path: Path) -> None:
    """The first is at work before the starter has started the last and written down who they are."""
    for name in ("claims", "ends", "logs"):
        (tmp_path / name).mkdir()
    run = LocalRun((sys.executable, "-S", "-c", ""), ({},), ((),))
    (tmp_path / "plan.json").write_text(json.dumps(asdict(run)))
    worker = subprocess.Popen([sys.executable, "-m", "slurm.local", str(tmp_path), "0"], cwd=ROOT)
    time.sleep(1)
    assert worker.poll() is None
    known = {"host": socket.gethostname(), "workers": [{"pid": worker.pid, "start": start_time(worker.pid)}]}
    (tmp_path / "workers.json").write_text(json.dumps(known))
    assert worker.wait(20) == 0
    assert element_state(tmp_path, 0) == "ended 0"


def test_what_was_never_started_is_gone(tmp_path: Path) -> None:
    assert element_state(tmp_path, 0) == "gone"


def test_a_process_number_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    now = start_time(os.getpid())
    assert now is not None and is_alive(os.getpid(), now) and not is_alive(os.getpid(), now - 1)
    assert not is_alive(2**22 + 1, None)


def test_the_last_command_runs_once_when_all_has_ended(begin: Any, tmp_path: Path) -> None:
    """Whoever of the workers was the last; also where elements failed, or what they wait for did."""
    line = "import os; open('lasts', 'a').write(' '.join(sorted(os.listdir('run/ends'))) + chr(10)); print('said')"
    folder = begin(
        NOTE, f"time.sleep(0.5); {NOTE}", "sys.exit(3)", NOTE, after={3: (2,)}, workers=2,
        last=(sys.executable, "-S", "-c", line),
    )  # fmt: skip
    _until(lambda: (folder / "logs" / "last.log").exists() and "said" in (folder / "logs" / "last.log").read_text())
    assert (tmp_path / "lasts").read_text() == "0.json 1.json 2.json 3.json\n"
    assert [element_state(folder, n) for n in range(4)] == ["ended 0", "ended 0", "ended 3", "ended 75"]


def test_a_last_command_that_cannot_run_fails_no_element(begin: Any) -> None:
    folder = begin(NOTE, last=(sys.executable, "-S", "-c", "raise SystemExit('broken')"))
    _until(lambda: (folder / "logs" / "last.log").exists() and "broken" in (folder / "logs" / "last.log").read_text())
    assert element_state(folder, 0) == "ended 0"
