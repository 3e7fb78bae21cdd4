"""Package versions: what is recorded, and what a job says of others."""

import grp
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch.store import provenance, sharing
from slurm.base.files import remove_folder


def test_versions_without_importing_them() -> None:
    code = "import json, sys; from launch.store import provenance; print(json.dumps(provenance.versions())); " \
           "assert 'torch' not in sys.modules"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["python"] == platform.python_version() and "torch" in found


@pytest.mark.slow
def test_frozen_code_is_compiled_once(tmp_path: Path) -> None:
    """Every module's bytecode lies beside it, is taken whatever the files' times are, and no job writes there."""
    folder = provenance.freeze(tmp_path)
    sources = sorted(folder.rglob("*.py"))
    bytecode = sorted(folder.rglob("*.pyc"))
    assert len(sources) == len(bytecode) > 200
    assert {path.stat().st_mode & 0o777 for path in (*sources, *bytecode)} == {0o400}
    copied = shutil.copytree(folder, tmp_path / "copied", copy_function=shutil.copyfile)
    code = (
        "import importlib._bootstrap_external as loader; loader.SourceLoader.source_to_code = None; "  # cannot compile
        "import launch.job.__main__ as job, sys; print(job.main.__code__.co_filename); "
        "import launch.store.manifests, slurm.local, training.formats"
    )
    environment = os.environ | {"PYTHONPATH": str(copied), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, str(copied / "launch/job/__main__.py")), done.stderr
    assert sorted(copied.rglob("*.pyc")) == sorted(copied / path.relative_to(folder) for path in bytecode)
    assert provenance.freeze(tmp_path) == folder
    sharing.let_in(grp.getgrgid(os.getegid()).gr_name, tmp_path, [folder])
    assert {path.stat().st_mode & 0o777 for path in (*sources, *bytecode)} == {0o440}
    remove_folder(folder)  # as gc does
    assert not folder.exists()


def test_differences() -> None:
    sent = {"python": "3.11.2", "torch": "2.5.1", "deepspeed": "0.15"}
    assert provenance.differences(sent, sent) == []
    assert provenance.differences(sent, {"python": "3.11.2", "torch": "2.6.0", "numpy": "2"}) == [
        "deepspeed missing instead of 0.15",
        "numpy 2 instead of none",
        "torch 2.6.0 instead of 2.5.1",
    ]
