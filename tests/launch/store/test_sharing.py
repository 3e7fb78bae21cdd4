"""Who may read a store."""

import grp
import os
import stat
from pathlib import Path

import pytest

from launch.status.history import failures_of
from launch.store import sharing
from launch.store.attempts import attempts_of
from slurm.base import UserError
from slurm.base.files import make_folder, read_json, read_sealed, to_json, write_atomic, write_file
from tests.anybody import anybody


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


def test_what_is_closed_to_this_user_reads_as_not_there(tmp_path: Path) -> None:
    """As in a store that its owner shares with a group: what a job has just written is not open yet."""
    write_atomic(tmp_path / "record", to_json({}))
    os.chmod(tmp_path / "record", 0)
    for name in ("attempts", "failures"):
        make_folder(tmp_path / "folder" / name / "0001")
        os.chmod(tmp_path / "folder" / name, 0)
    os.chmod(tmp_path / "folder", 0o755)
    with anybody(tmp_path):
        assert read_json(tmp_path / "record") is None and read_sealed(tmp_path / "record") is None
        assert attempts_of(tmp_path / "folder") == [] == failures_of(tmp_path / "folder")
