"""One look at the queue for many commands: fresh, shared, private, and honest where Slurm is silent."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from slurm import commands, queue, snapshot, usercache
from slurm.commands import Output, Refusal, Silent
from slurm.snapshot import Snapshot, look
from tests.at_once import at_once
from tests.slurm.answers import install

ONE = "12|0|RUNNING|gpu|2026-11-21T14:30:05|None|lab|normal|job\n"
TWO = ONE + "12|1|PENDING|gpu|2026-11-21T14:30:05|Priority|lab|normal|job\n"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CONF", "SLURM_CLUSTERS"):
        monkeypatch.delenv(name, raising=False)


def _folder() -> Path:
    folder = usercache.folder()
    assert folder is not None
    return folder


def test_the_second_look_asks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = install(monkeypatch, tmp_path, squeue=ONE)
    first = look()
    assert look() == first and first.stale_since is None
    assert first.entries == queue.squeue()
    assert len(answers.asked) == 2  # the line above asked as well


def test_an_old_look_is_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = install(monkeypatch, tmp_path, squeue=ONE)
    first = look()
    answers.by_start["squeue"] = TWO
    assert len(look(max_age=0).entries or []) == 2
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 59)
    assert look().taken > first.taken and len(answers.asked) == 2
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert len(look().entries or []) == 2 and len(answers.asked) == 3


def test_what_was_sent_since_makes_a_look_useless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = install(monkeypatch, tmp_path, squeue="")
    assert look().entries == []
    snapshot.changed()
    answers.by_start["squeue"] = ONE
    assert len(look().entries or []) == 1


def test_silence_is_stale_since_the_last_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = install(monkeypatch, tmp_path, squeue=ONE)
    good = look()
    answers.by_start["squeue"] = Silent("squeue")
    silent = look(max_age=0)
    assert silent == Snapshot(None, silent.taken, good.taken, given_up=silent.given_up)
    assert look(max_age=0).stale_since == good.taken
    asked = len(answers.asked)
    assert look().stale_since == good.taken and len(answers.asked) == asked  # believed for a while
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 16)
    answers.by_start["squeue"] = ONE
    assert look().stale_since is None


def test_silence_counts_from_the_end_of_the_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a slurmctld that hangs too, which is waited for longer than its silence is believed."""
    now = [time.time()]

    def hang(command: Sequence[str]) -> Output:
        now[0] += commands.TIMEOUT
        raise Silent("squeue did not answer in 60 s")

    answers = install(monkeypatch, tmp_path, squeue=hang)
    monkeypatch.setattr(time, "time", lambda: now[0])
    began = now[0]
    silent = look()
    assert (silent.taken, silent.stale_since) == (began, began) and len(answers.asked) == 1
    now[0] += 14
    assert look() == silent and len(answers.asked) == 1
    now[0] += 2
    assert look().stale_since == began and len(answers.asked) == 2


def test_a_refusal_is_as_old_as_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not as old as a silence before it: who waits gives a refusal up sooner."""
    install(monkeypatch, tmp_path, squeue=ONE)
    heard = look(max_age=0).taken

    def at(seconds: float, failure: Exception) -> Snapshot:
        def fails() -> None:
            raise failure

        monkeypatch.setattr(time, "time", lambda: heard + seconds)
        monkeypatch.setattr(queue, "squeue", fails if isinstance(failure, Refusal) else lambda: None)
        return look(max_age=0)

    silent = at(600, Silent("squeue"))
    refused, refused_again = (at(seconds, Refusal("Access denied")) for seconds in (700, 800))
    assert (silent.stale_since, silent.refused_since) == (heard, None)
    assert refused.refused_since == refused_again.refused_since == heard + 700
    assert at(900, Silent("squeue")).refused_since is None


def test_never_heard_is_stale_since_the_first_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, squeue=Silent("squeue"))
    first = look(max_age=0)
    assert first.stale_since == first.taken
    assert look(max_age=0).stale_since == first.taken


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"schema": 1}', os.urandom(40)], ids=["empty", "torn", "list", "unsealed", "noise"]
)
def test_a_damaged_cache_is_asked_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    answers = install(monkeypatch, tmp_path, squeue=ONE)
    for name in ("queue.json", "changed.json"):
        look()
        (_folder() / name).write_bytes(content)
        asked = len(answers.asked)
        assert len(look(max_age=60).entries or []) == 1
        assert len(answers.asked) == asked + 1
        (_folder() / name).unlink()


def test_a_clock_that_went_back_trusts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = install(monkeypatch, tmp_path, squeue=ONE)
    look()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    look()
    look()
    assert len(answers.asked) == 2  # and then the new one counts


def test_only_the_user_may_read_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, squeue=ONE)
    before = os.umask(0)
    try:
        look()
        snapshot.changed()
        usercache.count("squeue")
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_dir()} == {0o700}


def test_a_folder_that_stands_open_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, squeue=ONE)
    folder = _folder()
    folder.chmod(0o777)
    assert usercache.folder() == folder and folder.stat().st_mode & 0o777 == 0o700


def test_no_cache_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stepstone").write_text("in the way")
    answers = install(monkeypatch, tmp_path, squeue=ONE)
    assert usercache.folder() is None
    assert look().entries and look().entries and len(answers.asked) == 1  # it is kept in the process
    snapshot.changed()
    assert snapshot.calls(0) == {}


def test_someone_elses_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "stepstone").symlink_to(elsewhere)
    install(monkeypatch, tmp_path, squeue=ONE)
    assert usercache.folder() is None


def test_each_cluster_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [usercache.cluster()]
    for number in (1, 2):
        conf = tmp_path / f"{number}.conf"
        conf.write_text("ClusterName=north\nSlurmctldHost=a(127.0.0.1)\nSlurmctldPort=17000\n")
        monkeypatch.setenv("SLURM_CONF", str(conf))
        names.append(usercache.cluster())
    monkeypatch.setenv("SLURM_CLUSTERS", "south/../..")
    names.append(usercache.cluster())
    assert len(set(names)) == 4
    assert names[1].startswith("north-") and names[3].startswith("south") and "/" not in names[3]


def test_calls_are_counted_where_they_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, squeue=ONE, sacct="")
    start = time.time()
    look()
    look()
    commands.run(["sacct", "-j", "1"])
    assert snapshot.calls(start - 1) == {"squeue": 1, "sacct": 1}
    assert snapshot.calls(time.time() + 1) == {}


def test_the_count_stays_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    monkeypatch.setattr(usercache, "_LOG_BYTES", 200)
    for _ in range(45):
        usercache.count("/usr/bin/squeue")
    logs = list(_folder().glob("calls-*"))
    assert len(logs) == 2 and all(log.stat().st_size <= 250 for log in logs)
    assert 8 <= snapshot.calls(0)["squeue"] < 45


def _slow_slurm(folder: Path) -> commands.Runner:
    def answer(command: Sequence[str], timeout: float, umask: int, variables: Mapping[str, str]) -> Output:
        (folder / f"asked-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(0.3)
        return Output(0, TWO, "")

    return answer


def test_sixteen_commands_at_once_ask_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(commands, "runner", _slow_slurm(tmp_path))
    assert at_once(16, lambda _: len(look().entries or [])) == [2] * 16
    assert len(list(tmp_path.glob("asked-*"))) == 1


def test_an_asker_that_died_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, squeue=ONE)
    dead = {"host": os.uname().nodename, "pid": 2**22 + 1, "start": 1}
    (_folder() / "asking.json").write_text(json.dumps(dead))
    assert look().entries  # whoever waits in vain gets none
    assert not (_folder() / "asking.json").exists()


def test_an_asker_that_hangs_leaves_the_old_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = install(monkeypatch, tmp_path, squeue=ONE)
    monkeypatch.setattr(snapshot, "_WAIT", 0.2)
    (_folder() / "asking.json").write_text(json.dumps({"host": "another", "pid": 1, "start": 1}))
    nothing = look()
    assert nothing.entries is None and nothing.stale_since is not None and not answers.asked
    first = look(max_age=0)
    snapshot.changed()
    old = look()
    assert old.entries == first.entries and old.stale_since == first.taken
    assert (_folder() / "asking.json").exists()
