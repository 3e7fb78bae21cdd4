"""What every record of a store is written with, on a network's file system: whatever goes wrong at whatever call, the
old content is there or the new one, an error names its file, and the same once more brings it about."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from launch.store import artifacts, attempts, lock, provenance
from launch.store.attempts import Starter
from slurm.base import UserError, look
from slurm.base.files import (
    link_file,
    make_folder,
    move,
    move_new,
    read_sealed,
    remove,
    seal,
    sha256_file,
    write_atomic,
    write_file,
    write_once,
)
from tests.filesystem.network import Network, mounted
from tests.filesystem.panel import Fault, Settings
from training.spec import HubPart

pytestmark = pytest.mark.slow

NUMBERS = count(1)
SPLIT = (HubPart("repo", "revision", "config", "test"),)
ERRORS = (errno.ESTALE, errno.EIO, errno.ENOSPC, errno.EDQUOT)
CERTAIN = ("rename", "link", "symlink")  # whether they were done shows, whatever was said
NAMING = ("rename", "link", "symlink", "mkdir", "unlink", "rmdir")


@dataclass(frozen=True)
class Action:
    """Something done in a folder; `act` may be called again after it failed. `holds`: what then is to be seen."""

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    holds: Callable[[Path], bool]
    between: Callable[[Path], bool] = lambda folder: True  # also after an error
    is_long: bool = False


def _begin_and_publish(folder: Path) -> None:
    if read_sealed(folder / "result.json") is None:
        attempt = attempts.begin(folder, Starter(job="1_1"), lambda job: None)
        attempt.publish({"key": "k"})
        attempt.end()


def _is_published(folder: Path) -> bool:
    open_attempts = [attempt for attempt in attempts.attempts_of(folder) if not attempt.is_fenced()]
    return read_sealed(folder / "result.json") == {"key": "k"} and not open_attempts


def _publish_language(folder: Path) -> None:
    artifacts.publish_language(folder, "g", "de", SPLIT, {"scores": {"f1": 1.0}}, b"line\n")


def _locked(folder: Path) -> None:
    with lock.lock(folder, patience=0.002) as held:  # to look twice, where a claim to a dead holder's lock was left
        held.keep()


def _leave_a_link(folder: Path) -> None:
    """The lock of a process that is dead, where what it led to was lost."""
    path = make_folder(folder / "submissions") / "lock"
    path.symlink_to(f".lock.{socket.gethostname()}-{2**22 + 1}-7.0123abcd.once")


def _freeze(folder: Path) -> None:
    provenance._write({Path("a/b.py"): b"1"}, folder / "code")


def _is(path: str, *contents: bytes) -> Callable[[Path], bool]:
    return lambda folder: (folder / path).read_bytes() in contents


def _sealed(folder: Path) -> bool:
    return read_sealed(folder / "a") in ({"n": 1}, {"n": 2})


ACTIONS = {
    "write_atomic": Action(
        lambda folder: write_atomic(folder / "a", seal({"n": 1})),
        lambda folder: write_atomic(folder / "a", seal({"n": 2})),
        lambda folder: read_sealed(folder / "a") == {"n": 2},
        _sealed,
    ),
    "write_once": Action(
        lambda folder: None,
        lambda folder: write_once(folder / "a", b"1"),
        _is("a", b"1"),
        lambda folder: not (folder / "a").exists() or _is("a", b"1")(folder),
    ),
    "remove": Action(
        lambda folder: write_once(folder / "a", b"1"),
        lambda folder: remove(folder / "a"),
        lambda folder: not (folder / "a").exists(),
    ),
    "make_folder": Action(
        lambda folder: None,
        lambda folder: make_folder(folder / "a" / "b"),
        lambda folder: (folder / "a" / "b").is_dir(),
    ),
    "move": Action(
        lambda folder: write_file(folder / "a", b"1"),
        lambda folder: (folder / "b").exists() or move(folder / "a", folder / "b"),
        _is("b", b"1"),
    ),
    "move_new": Action(
        lambda folder: write_file(make_folder(folder / "a") / "f", b"1"),
        lambda folder: (folder / "b").exists() or move_new(folder / "a", folder / "b"),
        _is("b/f", b"1"),
    ),
    "link_file": Action(
        lambda folder: write_file(folder / "a", b"1"),
        lambda folder: (remove(folder / "b"), link_file(folder / "a", folder / "b")),
        _is("b", b"1"),
    ),
    "read": Action(
        lambda folder: write_file(folder / "a", b"1"),
        lambda folder: (look.read_bytes(folder / "a"), sha256_file(folder / "a"), look.names(folder)),
        _is("a", b"1"),
    ),
    "an attempt": Action(lambda folder: None, _begin_and_publish, _is_published, is_long=True),
    "a language": Action(
        lambda folder: None,
        _publish_language,
        lambda folder: artifacts.read_language(folder, "g", "de", SPLIT) is not None,
        is_long=True,
    ),
    "the lock": Action(
        lambda folder: None,
        _locked,
        lambda folder: not os.path.lexists(folder / "submissions" / "lock"),
        is_long=True,
    ),
    "a lock of which the link is left": Action(
        _leave_a_link,
        _locked,
        lambda folder: not os.path.lexists(folder / "submissions" / "lock"),
        is_long=True,
    ),
    "frozen code": Action(lambda folder: None, _freeze, _is("code/a/b.py", b"1"), is_long=True),
}


@pytest.fixture(scope="module", params=[True, False], ids=["hard links", "no hard links"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    with mounted(Settings(seconds=60, hard_links=request.param), memory=True) as network:
        yield network


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_PAUSES", (0.0,) * len(look._PAUSES))
    monkeypatch.setattr(lock, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(lock, "_CLAIM_SECONDS", -1.0)


def _faults() -> Iterator[Fault]:
    for code in ERRORS:
        yield Fault(error=code)
    yield Fault(error=errno.ESTALE, times=4)  # the kernel asks twice where a handle is stale
    yield Fault(error=errno.EIO, times=-1)
    for call in NAMING:
        yield Fault(calls=call, lost=True)
        yield Fault(calls=call, lost=True, error=errno.EIO)


@pytest.mark.parametrize("name", ACTIONS)
def test_whatever_goes_wrong_at_whatever_call(network: Network, name: str) -> None:
    cases = sum(_at_every_call(network, ACTIONS[name], fault) for fault in _faults())
    print(f"{name}: {cases} cases")
    assert cases > 10, cases


def _at_every_call(network: Network, action: Action, fault: Fault) -> int:
    """How many cases there were: an action of a hundred calls is hit at every seventh."""
    stride = 7 if action.is_long and "NETWORK_FULL" not in os.environ else 1
    for cases, skip in enumerate(count(next(NUMBERS) % stride, stride)):
        if not _is_hit(network, action, Fault(**vars(fault) | {"skip": skip})):
            return cases
    raise AssertionError


def _is_hit(network: Network, action: Action, fault: Fault) -> bool:
    """Whether there was a call to go wrong."""
    number = next(NUMBERS)
    ours, theirs = network.login / f"{number}", network.compute / f"{number}"
    network.clock(1000.0 * number)
    ours.mkdir()
    action.prepare(ours)
    before = network.fired("login")
    network.fault("login", fault)
    try:
        _act(action, ours, may_fail=not fault.lost or (bool(fault.error) and fault.calls not in CERTAIN))
    finally:
        network.fault("login")
    network.clock(1000.0 * number + 61)
    assert action.between(theirs), fault
    if not _holds(action, ours):
        action.act(ours)
    network.clock(1000.0 * number + 200)
    assert _holds(action, ours) and _holds(action, theirs), fault
    return network.fired("login") > before


def _holds(action: Action, folder: Path) -> bool:
    try:
        return action.holds(folder)
    except FileNotFoundError:
        return False


def _act(action: Action, folder: Path, *, may_fail: bool) -> None:
    try:
        action.act(folder)
    except UserError as error:
        assert may_fail and "\n" not in str(error) and str(folder) in str(error)
    except OSError as error:
        assert may_fail, repr(error)
        assert str(error.filename).startswith(str(folder)), repr(error)


def test_what_another_has_just_written_is_seen(network: Network) -> None:
    folder = network.login / "seen"
    folder.mkdir()
    ours, theirs = network.login / "seen" / "a", network.compute / "seen" / "a"
    assert not look.exists(theirs) and not look.exists(network.compute / "seen" / "new" / "b")
    write_atomic(ours, b"1")
    write_atomic(make_folder(folder / "new") / "b", b"1")
    assert look.read_bytes(theirs) == b"1" and look.read_bytes(network.compute / "seen" / "new" / "b") == b"1"
    write_atomic(ours, b"123")
    assert look.status(theirs).st_size == 3


def test_what_is_replaced_while_it_is_read_is_read_again(network: Network) -> None:
    ours, theirs = network.login / "replaced", network.compute / "replaced"
    write_atomic(ours, b"1")
    real = Path.read_bytes

    def replaced_meanwhile(path: Path) -> bytes:
        with path.open("rb") as file:
            if path == theirs and real(ours) == b"1":
                write_atomic(ours, b"2")
            return file.read()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", replaced_meanwhile)
        assert look.read_bytes(theirs) == b"2"


def test_the_first_of_two_machines_wins(network: Network) -> None:
    ours, theirs = network.login / "first", network.compute / "first"
    assert not theirs.exists()
    assert write_once(ours, b"1") and not write_once(theirs, b"2")
    assert look.read_bytes(theirs) == b"1"
    remove(theirs)
    assert write_once(theirs, b"2") and look.read_bytes(ours) == b"2"
    assert [name for name in os.listdir(network.backing) if "first" in name and name.endswith(".tmp")] == []


def test_an_attempt_that_cannot_be_seen_yet_is_fenced(network: Network) -> None:
    """Listings that are a minute old, also of a folder that is opened: what `nocto` does."""
    network.tell(Settings(seconds=60, looks_again=False, hard_links=network.settings.hard_links))
    try:
        (network.login / "stage").mkdir()
        assert attempts.attempts_of(network.compute / "stage") == []
        earlier = attempts.begin(network.login / "stage", Starter(job="1_1"), lambda job: None)
        later = attempts.begin(network.compute / "stage", Starter(job="1_1", restart=1), lambda job: None)
        assert later.number == earlier.number + 1
        with pytest.raises(attempts.Fenced):
            earlier.publish({"key": "earlier"})
        later.publish({"key": "later"})
    finally:
        network.tell(Settings(seconds=60, hard_links=network.settings.hard_links))


def test_what_others_can_see_stays_though_the_power_fails(network: Network) -> None:
    """Also where the last call of the write, which only tidies up, has failed."""
    if not network.settings.hard_links:
        pytest.skip("what is beside a symbolic link is not told from what a power cut takes")
    (network.login / "seen first").mkdir()
    network.remember()
    network.fault("login", Fault(calls="unlink", error=errno.EIO, times=-1))
    assert write_once(network.login / "seen first" / "a", b"1")
    network.cut_power("names")
    assert (network.compute / "seen first" / "a").read_bytes() == b"1"
