"""Who may read a store."""

import grp
import os
import stat
from pathlib import Path

import pytest

from launch import sharing
from slurm.errors import UserError
from slurm.files import make_folder, write_file


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_group_may_read_and_never_write(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    root = tmp_path / "store"
    part, other = make_folder(root / "a" / "b"), make_folder(root / "other")
    outside = tmp_path / "outside"
    write_file(outside, b"")
    write_file(part / "file", b"")
    write_file(root / "a" / "beside", b"")
    (part / "link").symlink_to(outside)
    sharing.let_in(group, root, [part])
    assert [_mode(path) & 0o777 for path in (root, root / "a", part, part / "file")] == [0o750, 0o750, 0o750, 0o640]
    assert [_mode(path) for path in (other, root / "a" / "beside", outside)] == [0o700, 0o600, 0o600]
    assert _mode(part / "file") & 0o022 == 0
    sharing.let_in(group, root, [part / "file", root / "gone"])


def test_nobody_is_let_in_unless_told(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "store")
    sharing.let_in(None, folder, [folder])
    assert _mode(folder) == 0o700


def test_a_group_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such group"):
        sharing.check("no-such-group-here")
    sharing.check(None)
