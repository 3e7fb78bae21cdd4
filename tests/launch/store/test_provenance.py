"""Package versions: what is recorded, and what a job says of others."""

import json
import platform
import subprocess
import sys

from launch.store import provenance


def test_versions_without_importing_them() -> None:
    code = "import json, sys; from launch.store import provenance; print(json.dumps(provenance.versions())); " \
           "assert 'torch' not in sys.modules"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["python"] == platform.python_version() and "torch" in found


def test_differences() -> None:
    sent = {"python": "3.11.2", "torch": "2.5.1", "deepspeed": "0.15"}
    assert provenance.differences(sent, sent) == []
    assert provenance.differences(sent, {"python": "3.11.2", "torch": "2.6.0", "numpy": "2"}) == [
        "deepspeed missing instead of 0.15",
        "numpy 2 instead of none",
        "torch 2.6.0 instead of 2.5.1",
    ]
