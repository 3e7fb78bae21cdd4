"""What jobs are told: it comes back as it was written, and another version's is an error of one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from launch.store import manifests
from launch.store.manifests import Manifest, StageEntry
from slurm.base import UserError
from training.pretrained.start import StartModel

ENTRY = StageEntry("k" * 16, f"squad-{'k' * 16}", "train", {"seed": 1}, {"device": "cpu"})
MANIFEST = Manifest(
    "/store", StartModel("hub:m@1", repo="m", revision="1"), {0: (ENTRY,), 10: (ENTRY,)}, {0: ("a",), 10: ()}
)


def test_it_comes_back(tmp_path: Path) -> None:
    manifests.write(tmp_path / "manifest-0.json", MANIFEST)
    assert manifests.read(tmp_path / "manifest-0.json") == MANIFEST
    assert list(MANIFEST.entries()) == [ENTRY, ENTRY]


def test_the_file_stays_as_it_was() -> None:
    """Jobs read it with the code that was frozen when it was sent, but `drop` reads those of other versions."""
    entry = {
        "key": "k" * 16, "folder": f"squad-{'k' * 16}", "kind": "train", "spec": {"seed": 1},
        "runtime": {"device": "cpu"}, "parent": None, "model": "",
    }  # fmt: skip
    assert json.loads(json.dumps(manifests.to_record(MANIFEST))) == {
        "schema": 1, "store": "/store", "experiment": "", "asked": None, "share_group": None, "packages": {},
        "start": {"identity": "hub:m@1", "folder": None, "repo": "m", "revision": "1"}, "starts": {}, "tasks": [],
        "failures": {},
        "elements": {"0": [entry], "10": [entry]}, "drop": {"0": ["a"], "10": []},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"schema": 3, "elements": []}', "written by another version of stepstone (schema 3, not 1)"),
        pytest.param('{"schema": 1}', "cannot be read: store: Field required", marks=pytest.mark.slow),
        pytest.param(None, "there is no such manifest", marks=pytest.mark.slow),
    ],
)
def test_a_job_says_in_one_line_what_is_wrong_with_its_manifest(
    tmp_path: Path, content: str | None, words: str
) -> None:
    path = tmp_path / "manifest-0.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError):
        manifests.read(path)
    command = [sys.executable, "-P", "-m", "launch.job", str(path), "--index", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and line.startswith(f"error: {path}: {words}") and "Traceback" not in done.stderr


def test_the_signals_get_their_handlers_before_anything_heavy_comes() -> None:
    program = "import sys, launch.job.__main__; print(sorted({'torch', 'pydantic', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
