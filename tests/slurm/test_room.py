"""What a file system still takes: the quota commands' own words, as they print them."""

import os
from pathlib import Path

import pytest

from slurm import room
from slurm.room import Room

# quota-tools 4.06, on ext4: 13 KiB of 20,000 (hard 30,000) and 2 of 500 files.
QUOTA = """\
Disk quotas for user ada (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
       {mount}      {used}   20000   30000       0       2     {files}     600       0
"""
LUSTRE = """\
     {mount}
                 1024*  0       307200  -       12      0       1000    -
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH, alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    return folder


def _says(folder: Path, name: str, text: str, code: int = 0) -> None:
    (folder / f"{name}.txt").write_text(text)
    (folder / name).write_text(f"#!/bin/sh\ncat {folder}/{name}.txt\nexit {code}\n")
    (folder / name).chmod(0o700)


def _mount(folder: Path) -> str:
    return room.mount_of(folder)[0]


def test_the_mount_is_the_longest_that_holds_the_folder(tmp_path: Path) -> None:
    mount, kind = room.mount_of(tmp_path)
    assert os.path.ismount(mount) and tmp_path.resolve().is_relative_to(mount) and kind
    assert room.mount_of(Path("/proc/self"))[0] == "/proc"


@pytest.mark.parametrize(
    ("used", "files", "code", "left"),
    [("13", "500", 0, (19_987 * 1024, 498)), ("25013*", "0", 1, (0, 598))],
)
def test_a_quota(
    tmp_path: Path, commands: Path, used: str, files: str, code: int, left: tuple[int, int | None]
) -> None:
    _says(commands, "quota", QUOTA.format(mount=_mount(tmp_path), used=used, files=files), code)
    assert room.quota_left(tmp_path) == left
    assert room.room(tmp_path / "not" / "there" / "yet") == Room(*left, by_quota=True)


def test_a_quota_of_another_file_system_or_none(tmp_path: Path, commands: Path) -> None:
    _says(commands, "quota", QUOTA.format(mount="/elsewhere", used=1, files=1))
    assert room.quota_left(tmp_path) == (None, None)
    _says(commands, "quota", "Disk quotas for user ada (uid 1000): none\n")
    assert room.quota_left(tmp_path) == (None, None)
    (commands / "quota").unlink()
    free = room.room(tmp_path)
    assert free.bytes > 0 and not free.by_quota


def test_lustre_wraps_long_names(tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "mount_of", lambda folder: ("/lustre/scratch", "lustre"))
    _says(commands, "lfs", LUSTRE.format(mount="/lustre/scratch"))
    assert room.quota_left(tmp_path) == ((307_200 - 1024) * 1024, 988)


def test_a_command_that_hangs_is_not_waited_for(
    tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_PATIENCE", 0.2)
    (commands / "quota").write_text("#!/bin/sh\nexec sleep 5\n")
    (commands / "quota").chmod(0o700)
    assert room.quota_left(tmp_path) == (None, None)
