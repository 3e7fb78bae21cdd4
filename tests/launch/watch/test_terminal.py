"""`stepstone watch` in real terminals: how it leaves, what it leaves behind, and a visit on a real Slurm in tmux."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ

import pytest
from typer.testing import CliRunner

from launch.cli.app import app
from slurm.base import UsageError
from tests.conftest import DevCluster
from tests.launch.workspace import Workspace

STEPSTONE = Path(sys.executable).parent / "stepstone"
_PATIENCE = 60.0  # seconds, on a busy machine


def test_without_a_terminal_it_says_what_to_type(workspace: Workspace) -> None:
    answer = CliRunner().invoke(app, ["watch", str(workspace.file())])
    assert isinstance(answer.exception, UsageError)
    assert f"type: stepstone status {workspace.root}" in str(answer.exception) and "\n" not in str(answer.exception)


@dataclass
class Terminal:
    """A process with a terminal of its own, whose other end is here."""

    pid: int
    end: int
    seen: str = ""

    def read(self) -> bool:
        """Take in what it has drawn; False once the terminal is closed."""
        if not select.select([self.end], [], [], 0.1)[0]:
            return True
        try:
            block = os.read(self.end, 1 << 16)
        except OSError:  # EIO: nobody holds the other side any more
            return False
        self.seen += block.decode(errors="replace")
        return bool(block)

    def shows(self, words: str) -> None:
        end = time.monotonic() + _PATIENCE
        while words not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen):
            assert self.read() and time.monotonic() < end, self.seen[-3000:]

    def exit_code(self) -> int:
        """Wait for its end."""
        end = time.monotonic() + _PATIENCE
        while True:
            with suppress(OSError):
                self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < end, f"it does not end; {self.seen[-2000:]}"


@pytest.fixture
def begin(workspace: Workspace) -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def start(command: str = "", **variables: str) -> Terminal:
        file = str(workspace.file())
        pid, end = pty.fork()
        if pid == 0:
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # torch's ports in this process survive an exec
            environment = os.environ | {"TERM": "xterm-256color"} | variables
            line = command or f"exec {STEPSTONE} watch {file}"
            os.execvpe("sh", ["sh", "-c", line.replace("WATCH", f"{STEPSTONE} watch {file}")], environment)
        ioctl(end, TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
        terminals.append(Terminal(pid, end))
        return terminals[-1]

    yield start
    for terminal in terminals:
        with suppress(OSError):
            os.kill(terminal.pid, signal.SIGKILL)
        with suppress(OSError):
            os.close(terminal.end)
        with suppress(ChildProcessError):
            os.waitpid(terminal.pid, 0)


def _listening(pid: int) -> list[str]:
    """Sockets of a process that wait for connections."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor)):
                inodes.add(match[1])
    tables = [Path(f"/proc/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["q", "\x03"], ids=["q", "ctrl-c"])
def test_a_key_leaves_with_exit_code_0_and_a_whole_terminal(begin: Callable[..., Terminal], key: str) -> None:
    terminal = begin()
    terminal.shows("finished")
    os.write(terminal.end, key.encode())
    assert terminal.exit_code() == 0
    assert "\x1b[?1049l" in terminal.seen and "Traceback" not in terminal.seen


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_the_terminal_whole(begin: Callable[..., Terminal], number: int) -> None:
    terminal = begin()
    terminal.shows("finished")
    os.kill(terminal.pid, number)
    assert terminal.exit_code() == 0 and "\x1b[?1049l" in terminal.seen


@pytest.mark.slow
@pytest.mark.parametrize("command", ["", "trap '' HUP; exec WATCH"], ids=["plain", "nohup"])
def test_a_lost_connection_ends_it(begin: Callable[..., Terminal], command: str) -> None:
    terminal = begin(command)
    terminal.shows("finished")
    os.close(terminal.end)
    assert terminal.exit_code() != 0  # it was ended


@pytest.mark.slow
def test_no_port_is_opened_whatever_the_shell_says(begin: Callable[..., Terminal]) -> None:
    terminal = begin(TEXTUAL="devtools,debug", TEXTUAL_DRIVER="textual.drivers.web_driver:WebDriver")
    terminal.shows("finished")
    assert not _listening(terminal.pid)


@pytest.mark.slow
def test_no_color_is_respected(begin: Callable[..., Terminal]) -> None:
    terminal = begin(NO_COLOR="1")
    terminal.shows("finished")
    terminal.shows("quit")
    terminal.shows("tatoeba")
    shades = {int(shade) for shade in re.findall(r"[34]8;5;(\d+)", terminal.seen)}
    greys = {*range(232, 256), 0, 7, 8, 15, 16, 59, 102, 145, 188, 231}
    assert shades <= greys and not re.search(r"\x1b\[[0-9;]*\b(3[1-6]|4[1-6]|9[1-6]|10[1-6])m", terminal.seen)
    assert re.search(r"\x1b\[([0-9;]*;)?7[;m]", terminal.seen)  # the cursor, reversed


class Tmux:
    """A real terminal of 80 x 24."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._environment = environment

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], env=self._environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def shows(self, words: str) -> str:
        end = time.monotonic() + _PATIENCE
        while words not in (screen := self("capture-pane", "-p")):
            assert time.monotonic() < end, f"no {words!r} in\n{screen}"
            time.sleep(0.2)
        return screen

    def keys(self, *keys: str) -> None:
        self("send-keys", *keys)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux here")
def test_a_visit_on_a_real_slurm(devcluster: DevCluster, workspace: Workspace, tmp_path: Path) -> None:
    cluster = {"executor": "slurm", "partition": "gpu", "time": "00:10:00", "sbatch": {"begin": "now+1hour"}}
    file = workspace.file(cluster=cluster, seeds=["1"])
    environment = devcluster.environment | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "LANG": "C.UTF-8"}

    def queue(form: str) -> list[str]:
        command = ["squeue", "-h", "-r", "-o", form]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()

    subprocess.run([STEPSTONE, "submit", file], env=environment, check=True, capture_output=True)
    count = len(queue("%i"))
    assert count
    terminal = Tmux(tmp_path, environment)
    try:
        line = f"{STEPSTONE} watch {file}; echo left with $?; sleep 600"
        terminal("new-session", "-d", "-x", "80", "-y", "24", line)
        screen = terminal.shows("7 queued")
        assert "recipe" in screen and max(map(len, screen.splitlines())) <= 80
        terminal.keys("Enter")
        terminal.shows("the earliest time that it may start has not come")
        terminal.keys("Escape")  # alone: with a key behind it, it is Alt
        terminal.shows("recipe")
        terminal.keys("H")
        terminal.shows("the same: stepstone hold")
        terminal.keys("y")
        terminal.shows(f"held: {count} elements")
        assert set(queue("%r")) <= {"JobHeldUser", "JobHeldAdmin"}
        terminal.keys("L")
        terminal.shows("the same: stepstone release")
        terminal.keys("y")
        terminal.shows(f"released: {count} elements")
        assert not {"JobHeldUser", "JobHeldAdmin"} & set(queue("%r"))
        terminal.keys("h")  # the cell under the cursor: one element of an array that Slurm shows as one line
        terminal.shows("--stage mnli-s1")
        terminal.keys("y")
        terminal.shows("held: 1 elements")
        assert sum(reason in ("JobHeldUser", "JobHeldAdmin") for reason in queue("%r")) == 1
        terminal("resize-window", "-x", "120", "-y", "40")
        terminal.shows("recipe")
        terminal("resize-window", "-x", "80", "-y", "24")
        terminal.keys("C")
        terminal.shows("waiting stages? Finished results stay.")
        terminal.keys("n")
        terminal.shows("nothing was cancelled")
        assert len(queue("%i")) == count
        terminal.keys("C")
        terminal.shows("waiting stages? Finished results stay.")
        terminal.keys("y")
        terminal.shows("cancelled 7 stages")
        assert not queue("%i")
        terminal.keys("q")
        assert "left with 0" in terminal.shows("left with")
    finally:
        with suppress(subprocess.CalledProcessError):
            terminal("kill-server")
        subprocess.run(["scancel", "--me"], env=environment, check=False)
