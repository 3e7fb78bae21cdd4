"""What was sent, known from disk: the lock, where a stage was last sent, and what became of interrupted submissions."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launch.store import Submission
from launch.store.lock import lock
from launch.store.submissions import IntendedArray, Intent, Receipt, locate, new_folder, read_all, write_intent
from launch.submit.orphans import adopt
from slurm.base import UserError
from slurm.base.files import make_folder, write_file
from slurm.queue import QueueEntry
from tests.anybody import anybody
from tests.at_once import at_once, trials


@pytest.fixture
def no_accounting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing of Slurm can be asked."""
    monkeypatch.setenv("PATH", str(tmp_path / "no-commands"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _submission(root: Path, *arrays: dict[int, list[str]], executor: str = "slurm") -> Submission:
    submission, identifier = new_folder(root)
    intended = tuple(IntendedArray(f"e-{identifier}.{n}", elements) for n, elements in enumerate(arrays))
    write_intent(submission, Intent(identifier, "e", executor, since="2020-01-01T00:00:00", arrays=intended))
    return submission


def _entry(name: str, job: str, index: int = 0) -> QueueEntry:
    return QueueEntry(job, index, "PENDING", "None", name)


# --- the lock


def test_one_submitter_at_a_time(tmp_path: Path) -> None:
    with lock(tmp_path) as held:
        assert held.path.exists()
        with pytest.raises(UserError) as caught, lock(tmp_path):
            pass
        message = str(caught.value)
        assert f"process {os.getpid()} on {socket.gethostname()}" in message and f"rm {held.path}" in message
        assert held.path.exists() and "\n" not in message
    assert not held.path.exists()
    with lock(tmp_path):
        pass


def test_a_submitter_waits_for_another_and_says_for_whom(tmp_path: Path) -> None:
    said: list[str] = []
    with lock(tmp_path), pytest.raises(UserError, match="another submit is at work"), lock(tmp_path, 0.5, said.append):
        pass
    assert said == [f"waiting for another submit (process {os.getpid()} on {socket.gethostname()}), up to 0 s"]


def test_a_lock_that_was_lost_stops_its_holder(tmp_path: Path) -> None:
    with lock(tmp_path) as held:
        held.keep()
        held.path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": 1}))
        with pytest.raises(UserError, match="nothing more was sent"):
            held.keep()


def test_a_claim_that_a_killed_process_left_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _left_over(tmp_path)
    holder = json.loads(path.read_bytes())
    claim = path.with_name(f"lock.stale-{holder['host']}-{holder['pid']}-{holder['start']}")
    os.link(path, claim)
    with pytest.raises(UserError), lock(tmp_path):
        pass
    later = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: later)
    with lock(tmp_path, 5.0):
        assert not claim.exists()


def test_the_lock_goes_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock(tmp_path):
        raise RuntimeError
    with lock(tmp_path):
        pass


def _left_over(root: Path) -> Path:
    """The lock of a process that was killed."""
    program = "import sys\nfrom pathlib import Path\nfrom launch.store.lock import lock\nimport os, signal\n"
    program += "with lock(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    subprocess.run([sys.executable, "-c", program, str(root)], check=False)
    path = root / "submissions" / "lock"
    assert path.exists()
    return path


def test_without_room_for_a_thread_the_lock_is_held_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with lock(tmp_path) as held:
        assert held.is_ours()
    assert not held.path.exists()


def test_a_dead_submitters_lock_is_broken(tmp_path: Path) -> None:
    path = _left_over(tmp_path)
    with lock(tmp_path):
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
    assert os.listdir(path.parent) == []


def test_another_hosts_lock_is_broken_only_when_it_is_old(tmp_path: Path) -> None:
    path = tmp_path / "submissions" / "lock"
    path.parent.mkdir()
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": 1}))
    with pytest.raises(UserError, match="process 1 on elsewhere"), lock(tmp_path):
        pass
    then = time.time() - 3600
    os.utime(path, (then, then))
    with lock(tmp_path):
        pass


def test_a_lock_that_another_took_over_is_not_removed(tmp_path: Path) -> None:
    with lock(tmp_path) as held:
        theirs = json.dumps({"host": "elsewhere", "pid": 1, "start": 1})
        held.path.write_text(theirs)
    assert held.path.read_text() == theirs


def test_a_lock_that_may_not_be_read_is_not_waited_for(tmp_path: Path) -> None:
    """In a folder that somebody opened for writing to a group by hand."""
    folder = make_folder(tmp_path / "submissions")
    write_file(folder / "lock", "{}")
    os.chmod(folder / "lock", 0)
    os.chmod(folder, 0o777)
    with anybody(tmp_path), pytest.raises(UserError, match="another user's submit"), lock(tmp_path):
        raise AssertionError


# --- the same where the file system has no hard links: a symbolic link, which may outlive what it leads to


@pytest.fixture
def no_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), source, None, target)

    monkeypatch.setattr(os, "link", link)


def _point_to_nothing(root: Path, mark: str, seconds: float = 0.0) -> Path:
    """A lock that was last touched so many seconds ago, of which the symbolic link alone is left."""
    path = make_folder(root / "submissions") / "lock"
    path.symlink_to(f".lock.{mark}0123abcd.once")
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)
    return path


@pytest.mark.usefixtures("no_hard_links")
def test_a_holder_keeps_a_lock_whose_file_is_lost(tmp_path: Path) -> None:
    with lock(tmp_path) as held:
        (held.path.parent / held.path.readlink()).unlink()
        then = time.time() - 3600
        os.utime(held.path, (then, then), follow_symlinks=False)
        held.keep()
        assert time.time() - held.path.lstat().st_mtime < 3600
        with pytest.raises(UserError, match=f"process {os.getpid()} on"), lock(tmp_path):
            pass
    assert os.listdir(held.path.parent) == []


@pytest.mark.parametrize(
    ("mark", "seconds"),
    [
        (f"{socket.gethostname()}-{2**22 + 1}-7.", 0),
        (f"{socket.gethostname()}-1-999.", 0),
        ("else-where.org-1-1.", 901),
    ],
    ids=["died here", "another process with its id", "another host's, not touched for long"],
)
@pytest.mark.usefixtures("no_hard_links")
def test_a_link_to_nothing_of_a_holder_that_is_gone_is_taken_over(tmp_path: Path, mark: str, seconds: float) -> None:
    path = _point_to_nothing(tmp_path, mark, seconds)
    with lock(tmp_path):
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
    assert os.listdir(path.parent) == []


@pytest.mark.usefixtures("no_hard_links")
def test_a_link_to_nothing_of_another_host_is_left_to_it(tmp_path: Path) -> None:
    path = _point_to_nothing(tmp_path, "else-where.org-1-1.", 800)
    with pytest.raises(UserError, match=rf"\(process 1 on else-where.org\).* rm {path}"), lock(tmp_path):
        pass
    assert path.is_symlink()


@pytest.mark.usefixtures("no_hard_links")
def test_a_link_to_nothing_that_says_of_nobody_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As earlier versions made it."""
    monkeypatch.setattr("launch.store.lock._NOBODY_SECONDS", 0.0)
    path = _point_to_nothing(tmp_path, "", 10_000)
    words = f"^{path}: leads to a file that is gone, and says of no submit that it is at work; .* rm {path}$"
    with pytest.raises(UserError, match=words), lock(tmp_path):
        pass


@pytest.mark.usefixtures("no_hard_links")
def test_a_claim_of_which_only_the_link_is_left_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _point_to_nothing(tmp_path, "gone-1-1.", 10_000)
    claim = path.with_name("lock.stale-gone-1-1")
    claim.symlink_to(f".{claim.name}..0123abcd.once")
    with pytest.raises(UserError), lock(tmp_path):
        pass
    later = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: later)
    with lock(tmp_path, 5.0):
        assert not claim.is_symlink()


def _contend(root: Path) -> str:
    try:
        with lock(root):
            os.mkdir(root / "alone")  # fails where another holds the lock too
            time.sleep(0.01)
            os.rmdir(root / "alone")
            return "held"
    except UserError:
        return "refused"


@pytest.mark.parametrize("left_over", [False, True])
@pytest.mark.parametrize("trial", trials(20))
def test_several_at_once(tmp_path: Path, left_over: bool, trial: int) -> None:
    """At any time one of them holds the lock, also where all find a dead submitter's."""
    if left_over:
        path = tmp_path / "submissions" / "lock"
        path.parent.mkdir()
        path.write_text(json.dumps({"host": socket.gethostname(), "pid": 2**22 + 1, "start": 1}))
    answers = at_once(6, lambda _: _contend(tmp_path))
    assert set(answers) <= {"held", "refused"} and "held" in answers
    assert [name for name in os.listdir(tmp_path / "submissions") if not name.startswith(".")] == []


# --- where a stage was last sent


def test_the_latest_submission_of_a_stage_counts(tmp_path: Path) -> None:
    first = _submission(tmp_path, {0: ["a"], 3: ["b", "c"]})
    second = _submission(tmp_path, {0: ["d"]}, {5: ["b"]})
    first.write_receipt(0, Receipt(job="11"))
    second.write_receipt(1, Receipt(job="12"))
    assert [submission.folder for submission in read_all(tmp_path)] == [first.folder, second.folder]
    found = locate(read_all(tmp_path))
    assert {key: (place.array, place.index, place.job) for key, place in found.items()} == {
        "a": (0, 0, "11"), "c": (0, 3, "11"), "b": (1, 5, "12"), "d": (0, 0, None),
    }  # fmt: skip


def test_a_later_submission_counts_though_the_others_clock_was_ahead(tmp_path: Path) -> None:
    """Two login nodes: the first one's clock is a day ahead."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y%m%d-%H%M%S.%f")
    (tmp_path / "submissions" / f"{tomorrow}-00000000").mkdir(parents=True)
    (tmp_path / "submissions" / "strange").mkdir()
    later = [new_folder(tmp_path)[0].folder.name for _ in range(3)]
    assert [one.folder.name for one in read_all(tmp_path)][1:4] == later == sorted(later)


@pytest.mark.parametrize("receipt", [Receipt(refused="no such partition"), Receipt(held=""), Receipt(lost=True)])
def test_what_was_refused_or_lost_does_not_count(tmp_path: Path, receipt: Receipt) -> None:
    first = _submission(tmp_path, {0: ["a"]}, {0: ["b"]})
    first.write_receipt(0, Receipt(job="11"))
    first.write_receipt(1, receipt)
    assert set(locate(read_all(tmp_path))) == {"a"}


def test_a_receipt_stays(tmp_path: Path) -> None:
    submission = _submission(tmp_path, {0: ["a"]})
    submission.write_receipt(0, Receipt(job="11"))
    submission.write_receipt(0, Receipt(lost=True))
    receipt = submission.receipt(0)
    assert receipt is not None and receipt.job == "11" and not receipt.lost


def test_what_is_written_stays_as_it_was(tmp_path: Path) -> None:
    """Other versions read it: no field comes or goes unnoticed."""
    submission = _submission(tmp_path, {0: ["a"], 10: ["b"], 2: ["c"]})
    intent = json.loads((submission.folder / "intent.json").read_bytes())
    array = {
        "name": submission.arrays[0].name, "elements": {"0": ["a"], "2": ["c"], "10": ["b"]}, "dependency": None,
        "throttle": None, "changes": None,
    }  # fmt: skip
    assert intent.pop("id") and intent == {
        "schema": 1, "experiment": "e", "executor": "slurm", "since": "2020-01-01T00:00:00", "code": "",
        "arrays": [array],
    }  # fmt: skip
    for number, (receipt, expected) in enumerate([
        (Receipt(job="7"), {"job": "7", "throttle": None}),
        (Receipt(job="7", adopted=True, throttle=3), {"job": "7", "throttle": 3, "adopted": True}),
        (Receipt(local=True), {"local": True}), (Receipt(lost=True), {"lost": True}),
        (Receipt(refused="why"), {"refused": "why"}), (Receipt(held="why"), {"held": "why"}),
    ]):  # fmt: skip
        submission.write_receipt(number, receipt)
        record = json.loads((submission.folder / f"receipt-{number}.json").read_bytes())
        assert record.pop("time") and record == expected
    assert Submission(submission.folder).intent == submission.intent


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"schema": 2, "arrays": 5}', "written by another version of stepstone (schema 2, not 1); update this one"),
        ('{"schema": 1, "arrays": [{}]}', "cannot be read: arrays.0.name: Field required"),
        ('{"schema": 1, "arr', "cannot be read: Invalid JSON"),
    ],
)
def test_an_intent_that_cannot_be_read_is_an_error_of_one_line(tmp_path: Path, content: str, words: str) -> None:
    submission, _ = new_folder(tmp_path)
    write_file(submission.folder / "intent.json", content)
    with pytest.raises(UserError) as caught:
        locate(read_all(tmp_path))
    message = str(caught.value)
    assert message.startswith(f"{submission.folder / 'intent.json'}: {words}") and "\n" not in message


def test_a_submitter_that_died_before_its_intent_sent_nothing(tmp_path: Path) -> None:
    new_folder(tmp_path)
    assert locate(read_all(tmp_path)) == {} and adopt(read_all(tmp_path), []) == []
    assert read_all(tmp_path / "nowhere") == []


# --- adoption


@pytest.mark.usefixtures("no_accounting")
def test_an_array_is_adopted_by_its_name(tmp_path: Path) -> None:
    submission = _submission(tmp_path, {0: ["a"]}, {0: ["b"]}, {0: ["c"]})
    submission.write_receipt(0, Receipt(job="11"))
    name = submission.arrays[1].name
    entries = [_entry(name, "9"), _entry(name, "9", 1), _entry("e-00000000.1", "8"), _entry(name + "0", "7")]
    lines = adopt(read_all(tmp_path), entries)
    assert lines == [f"array {name} was sent as job 9: adopted", f"array {submission.arrays[2].name} was never sent"]
    found = locate(read_all(tmp_path))
    assert {key: place.job for key, place in found.items()} == {"a": "11", "b": "9"}
    assert adopt(read_all(tmp_path), entries) == []  # settled once and for all


@pytest.mark.usefixtures("no_accounting")
def test_nothing_is_settled_while_slurm_does_not_answer(tmp_path: Path) -> None:
    submission = _submission(tmp_path, {0: ["a"]})
    with pytest.raises(UserError, match=r"what is queued is unknown; .*an earlier submission is unsettled"):
        adopt(read_all(tmp_path), None)
    assert submission.receipt(0) is None
    assert locate(read_all(tmp_path))["a"].job is None


@pytest.mark.parametrize("started", [False, True])
def test_local_workers_that_never_started_are_lost(tmp_path: Path, started: bool) -> None:
    submission = _submission(tmp_path, {0: ["a"]}, executor="local")
    if started:
        (submission.folder / "local").mkdir()
        (submission.folder / "local" / "workers.json").write_text("{}")
    assert adopt(read_all(tmp_path), None) == []
    assert set(locate(read_all(tmp_path))) == ({"a"} if started else set())


def test_an_elements_number_in_a_local_run(tmp_path: Path) -> None:
    submission = _submission(tmp_path, {0: ["a"], 1: ["b"]}, {2: ["c"], 10: ["d"]}, executor="local")
    places = locate([submission])
    assert {key: submission.local_element(p.array, p.index) for key, p in places.items()} == {
        "a": 0, "b": 1, "c": 2, "d": 3,
    }  # fmt: skip
