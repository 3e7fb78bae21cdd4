"""Fixtures of the tests of `launch`."""

from pathlib import Path

import pytest

from tests.launch.workspace import Workspace, make


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A fresh small experiment; what is remembered of file hashes stays in it too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make(tmp_path)
