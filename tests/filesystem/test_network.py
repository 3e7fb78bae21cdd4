"""The test file system itself: what real clients of network file systems do, it does."""

import errno
import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.filesystem.network import Network, mounted
from tests.filesystem.panel import Fault, Settings

pytestmark = pytest.mark.slow
NUMBERS = count(1)


@pytest.fixture(scope="module")
def shared() -> Iterator[Network]:
    """One pair of mounts for all of these tests, each of which has folders of its own; time stands still."""
    with mounted(Settings(seconds=10), memory=True) as network:
        yield network


@pytest.fixture
def network(shared: Network) -> Iterator[Network]:
    shared.tell(Settings(seconds=10))
    for path in shared.backing.iterdir():
        os.rename(path, shared.folder / f"old-{next(NUMBERS)}")
    shared.clock(1000.0 * next(NUMBERS))
    yield shared


def test_what_was_not_there_is_believed_for_a_while(network: Network) -> None:
    assert not (network.compute / "a").exists()
    (network.login / "a").write_bytes(b"1")
    assert not (network.compute / "a").exists()
    network.clock(1000.0 * next(NUMBERS))
    assert (network.compute / "a").read_bytes() == b"1"


def test_opening_a_folder_shows_what_is_in_it(network: Network) -> None:
    assert not (network.compute / "a").exists()
    (network.login / "a").write_bytes(b"1")
    assert os.listdir(network.compute) == ["a"] and (network.compute / "a").exists()
    network.tell(Settings(seconds=10, looks_again=False))
    (network.login / "b").write_bytes(b"1")
    assert os.listdir(network.compute) == ["a"]
    network.clock(1000.0 * next(NUMBERS))
    assert sorted(os.listdir(network.compute)) == ["a", "b"]


def test_what_is_written_is_seen_after_close_by_who_opens_then(network: Network) -> None:
    (network.login / "a").write_bytes(b"1")
    with (network.compute / "a").open("rb") as before:
        assert before.read() == b"1"
        with (network.login / "a").open("r+b", buffering=0) as file:
            file.write(b"2")
            assert (network.backing / "a").read_bytes() == b"1"
        before.seek(0)
        assert before.read() == b"1" and (network.compute / "a").read_bytes() == b"2"


def test_attributes_are_old_until_the_file_is_opened(network: Network) -> None:
    (network.login / "a").write_bytes(b"1")
    assert (network.compute / "a").stat().st_size == 1
    (network.login / "a").write_bytes(b"123")
    assert (network.compute / "a").stat().st_size == 1
    (network.compute / "a").open().close()
    assert (network.compute / "a").stat().st_size == 3


def test_silly_renames(network: Network) -> None:
    (network.login / "a").write_bytes(b"1")
    with (network.login / "a").open("rb") as file:
        (network.login / "a").unlink()
        (silly,) = os.listdir(network.login)
        assert silly.startswith(".nfs") and file.read() == b"1"
    assert os.listdir(network.login) == []


def test_what_another_removed_is_stale(network: Network) -> None:
    (network.login / "a").write_bytes(b"1")
    with (network.compute / "a").open("rb") as file:
        (network.login / "b").write_bytes(b"2")
        os.replace(network.login / "b", network.login / "a")
        with pytest.raises(OSError) as raised:
            file.read()
    assert raised.value.errno == errno.ESTALE
    assert (network.compute / "a").read_bytes() == b"2"


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["create", "write", "rename", "mkdir", "link", "sync"])
def test_errors_at_a_call(network: Network, call: str, code: int) -> None:
    (network.login / "there").write_bytes(b"1")
    # At a stale handle the kernel itself asks once again.
    times = 2 if code == errno.ESTALE and call in ("create", "rename", "mkdir", "link") else 1
    network.fault("login", Fault(calls=call, error=code, times=times))
    actions = {
        "create": lambda: (network.login / "a").touch(),
        "write": lambda: (network.login / "there").write_bytes(b"2"),
        "rename": lambda: os.rename(network.login / "there", network.login / "a"),
        "mkdir": lambda: (network.login / "a").mkdir(),
        "link": lambda: os.link(network.login / "there", network.login / "a"),
        "sync": lambda: _sync(network.login / "there"),
    }
    fired = network.fired("login")
    with pytest.raises(OSError) as raised:
        actions[call]()
    assert raised.value.errno == code and network.fired("login") == fired + times
    actions[call]()  # once only


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def test_a_lost_reply_and_the_question_asked_again(network: Network) -> None:
    (network.login / "a").write_bytes(b"1")
    network.fault("login", Fault(calls="rename", lost=True))
    with pytest.raises(FileNotFoundError):
        os.rename(network.login / "a", network.login / "b")
    assert os.listdir(network.backing) == ["b"]
    network.fault("login", Fault(calls="link", lost=True))
    with pytest.raises(FileExistsError):
        os.link(network.login / "b", network.login / "c")
    network.fault("login", Fault(calls="mkdir", lost=True, error=errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        (network.login / "d").mkdir()
    assert sorted(os.listdir(network.backing)) == ["b", "c", "d"]


def test_no_hard_links(network: Network) -> None:
    network.tell(Settings(hard_links=False))
    (network.login / "a").write_bytes(b"1")
    with pytest.raises(PermissionError):
        os.link(network.login / "a", network.login / "b")
    os.symlink("a", network.login / "b")
    assert (network.compute / "b").read_bytes() == b"1"


def test_appending_from_two_clients_loses_lines(network: Network) -> None:
    with (
        (network.login / "a").open("ab", buffering=0) as ours,
        (network.compute / "a").open("ab", buffering=0) as other,
    ):
        ours.write(b"ours\n")
        other.write(b"others\n")
    assert len((network.backing / "a").read_bytes()) < len(b"ours\nothers\n")


def test_a_power_cut_takes_what_was_not_synced(network: Network) -> None:
    (network.login / "kept").mkdir()
    (network.login / "kept" / "old").write_bytes(b"1")
    network.remember()
    for name in ("synced", "not"):
        with (network.login / "kept" / name).open("wb") as file:
            file.write(b"1")
            file.flush()
            if name == "synced":
                os.fsync(file.fileno())
    _sync_folder(network.login / "kept")
    (network.login / "kept" / "name").write_bytes(b"2")
    network.cut_power("names")
    contents = {path.name: path.read_bytes() for path in (network.compute / "kept").iterdir()}
    assert contents == {"old": b"1", "synced": b"1", "not": b""}


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def test_calls_on_an_open_file(network: Network) -> None:
    with (network.login / "a").open("wb") as file:
        os.ftruncate(file.fileno(), 3)
        os.fchmod(file.fileno(), 0o640)
        os.utime(file.fileno(), (5, 5))
    status = (network.backing / "a").stat()
    assert (status.st_size, status.st_mode & 0o777) == (3, 0o640)


def test_a_touch_is_now(network: Network) -> None:
    (network.login / "a").write_bytes(b"1")
    os.utime(network.login / "a", (5, 5))
    os.symlink("a", network.login / "b")
    os.utime(network.login / "b", (6, 6), follow_symlinks=False)
    assert [os.lstat(network.backing / name).st_mtime for name in "ab"] == [5, 6]
    for name in "ab":
        os.utime(network.login / name, follow_symlinks=False)
    assert all(abs(os.lstat(network.backing / name).st_mtime - time.time()) < 1000 for name in "ab")
