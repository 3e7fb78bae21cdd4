"""Paths keep the names that people gave them: a node may see what is behind a link elsewhere."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.base import paths


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home behind a link, in which the shell stands."""
    (tmp_path / "disk3" / "ada" / "study").mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "disk3")
    name = tmp_path / "home" / "ada"
    monkeypatch.setenv("HOME", str(name))
    monkeypatch.setenv("PWD", str(name / "study"))
    monkeypatch.chdir(name / "study")
    yield name


def test_the_current_folder_is_called_what_the_shell_calls_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path.cwd() != home / "study" == paths.current_folder()
    assert paths.absolute(Path("a.yaml")) == home / "study" / "a.yaml"
    for told in (str(home), "study", "", "/nowhere"):  # what some program left there
        monkeypatch.setenv("PWD", told)
        assert paths.current_folder() == Path.cwd()


def test_dots_go_where_they_say_no_more_than_the_names(home: Path) -> None:
    assert paths.absolute(Path("../store")) == home / "store"
    assert paths.absolute(Path("x/../../y"), home / "study") == home / "y"
    (home / "link").symlink_to(home.parents[1])
    through = paths.absolute(Path("link/../store"), home)
    assert os.path.realpath(through) == str(home.parents[2] / "store") and ".." in through.parts


def test_what_a_program_resolved_has_its_name_again(home: Path) -> None:
    python = home / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/true")  # as in a venv: the file itself is a link that stays one
    assert paths.named(home.parents[1] / "disk3" / "ada" / "env" / "bin" / "python") == python
    assert paths.named(python) == python
    for elsewhere in ("/bin/true", str(home.parents[1] / "disk3" / "ada" / "not-there")):
        assert paths.named(Path(elsewhere)) == Path(elsewhere)
