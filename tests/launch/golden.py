"""Golden texts: what a command printed, beside the test that types it. `UPDATE_GOLDEN=1` rewrites them, to be read."""

import os
from pathlib import Path


def check(path: Path, text: str) -> None:
    """That a golden file holds this text."""
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"not as {path.name}; UPDATE_GOLDEN=1 rewrites it"
