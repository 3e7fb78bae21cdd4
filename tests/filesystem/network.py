"""A file system like a network's, mounted twice or more: `login` and `compute` do not see at once what the other wrote.

with mounted(tmp_path, Settings(seconds=60)) as network:
    network.fault("login", Fault(calls="rename", lost=True)); (network.login / "store").mkdir()
"""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from slurm.base import UserError
from slurm.base.processes import start_time
from slurm.devcluster.packages import ensure_packages
from tests.filesystem.panel import Fault, Panel, Settings
from tests.paths import ROOT
from tests.trace import Loss, disk_of, left_after, make

LOGIN, COMPUTE = "login", "compute"
_PREFIX = "stepstone-network-"  # then <pid>-<start time>-… of the test run that owns it
_PATIENCE = 30.0


class Network:
    """`backing` is what the server has, `login`, `compute` and others what its clients see."""

    def __init__(self, folder: Path, settings: Settings, mounts: Sequence[str]) -> None:
        self.folder, self.settings, self.mounts = folder, settings, tuple(mounts)
        self.backing = folder / "backing"
        for name in ("backing", *mounts):
            (folder / name).mkdir()
        self._panels = {name: Panel(folder / f"{name}.panel", make=True) for name in mounts}
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def login(self) -> Path:
        return self.folder / LOGIN

    @property
    def compute(self) -> Path:
        return self.folder / COMPUTE

    def start(self) -> None:
        self.tell(self.settings)
        for name in self.mounts:
            command = [sys.executable, "-m", "tests.filesystem.serve", str(self.backing), str(self.folder / name)]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            log = (self.folder / f"{name}.log").open("ab")
            with log:
                self._processes.append(
                    subprocess.Popen(
                        [*command, str(self.folder / f"{name}.panel")],
                        cwd=ROOT,
                        env=environment,
                        stdout=log,
                        stderr=log,
                    )
                )
        for name in self.mounts:
            self._wait_for(name)

    def _wait_for(self, name: str) -> None:
        patience = time.monotonic() + _PATIENCE
        while not os.path.ismount(self.folder / name):
            log = (self.folder / f"{name}.log").read_text(errors="replace")
            assert time.monotonic() < patience, f"{name} was not mounted: {log}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Unmount, whatever uses the mounts."""
        for name in self.mounts:
            unmount(self.folder / name)
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:  # another name space has it mounted too
                process.kill()
                process.wait()
        self._processes.clear()

    def fault(self, mount: str, *faults: Fault) -> None:
        """What goes wrong at a mount from now on, instead of what was told before."""
        self._panels[mount].tell(self.settings, list(faults))

    def tell(self, settings: Settings) -> None:
        """Change what the file system is like. No more faults."""
        self.settings = settings
        for name in self.mounts:
            self.fault(name)

    def clock(self, now: float | None) -> None:
        """What time it is for what is believed; None: the real one."""
        for panel in self._panels.values():
            panel.clock = now

    def calls(self, mount: str) -> int:
        return self._panels[mount].calls

    def fired(self, mount: str) -> int:
        return self._panels[mount].fired

    def remember(self) -> None:
        """From now on every change is noted: what is there already is durable."""
        journal = self.folder / "journal"
        journal.write_bytes(b"")
        self._disk = disk_of(self.backing)
        self.tell(replace(self.settings, journal=str(journal)))

    def cut_power(self, loss: Loss) -> None:
        """Servers and clients stop at once and start again; what was not durable is lost."""
        self.stop()
        left = left_after(self._disk, self.folder / "journal", loss)
        shutil.rmtree(self.backing)
        make(left, self.backing)
        self.start()
        self.remember()


@contextmanager
def mounted(
    settings: Settings | None = None, memory: bool = False, mounts: Sequence[str] = (LOGIN, COMPUTE)
) -> Iterator[Network]:
    """A network for a test, unmounted and removed whatever happens. `memory`: in /dev/shm, where there is one."""
    require_fuse()
    _remove_leftovers()
    base = "/dev/shm" if memory and os.access("/dev/shm", os.W_OK) else None
    mark = f"{_PREFIX}{os.getpid()}-{start_time(os.getpid())}-"
    network = Network(Path(tempfile.mkdtemp(prefix=mark, dir=base)), settings or Settings(), mounts)
    try:
        network.start()
        yield network
    finally:
        network.stop()
        shutil.rmtree(network.folder, ignore_errors=True)


def unmount(path: Path) -> None:
    try:
        is_mounted = os.path.ismount(path)
        os.lstat(path)
    except OSError as error:
        is_mounted = error.errno == errno.ENOTCONN  # its server was killed
    if is_mounted:
        subprocess.run(["fusermount3", "-u", "-z", str(path)], check=False, capture_output=True)


def require_fuse() -> None:
    """Install what is missing; skip where there is no FUSE (fails if STEPSTONE_REQUIRE_SLURM=1)."""
    why = ""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or os.geteuid() != 0:
        why = "no FUSE for this user here"
    elif not Path("/etc/debian_version").exists() and shutil.which("fusermount3") is None:
        why = "no fuse3 here"
    elif shutil.which("fusermount3") is None:
        try:
            ensure_packages(["fuse3"], install=True, log=Path(tempfile.gettempdir()) / "stepstone-apt.log")
        except UserError as error:
            why = str(error)
    if why and os.environ.get("STEPSTONE_REQUIRE_SLURM") == "1":
        pytest.fail(f"STEPSTONE_REQUIRE_SLURM=1, but: {why}")
    if why:
        pytest.skip(why)


def _remove_leftovers() -> None:
    """Unmount what runs that were killed left: only in folders of this user."""
    for base in (Path(tempfile.gettempdir()), Path("/dev/shm")):
        for folder in base.glob(f"{_PREFIX}*-*-*"):
            pid, started, _ = folder.name.removeprefix(_PREFIX).split("-", 2)
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid() or str(start_time(int(pid))) == started:
                continue
            for path in folder.iterdir():
                unmount(path)
            shutil.rmtree(folder, ignore_errors=True)
