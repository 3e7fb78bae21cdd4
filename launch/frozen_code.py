"""Our own code, copied into the store by content: jobs run what was submitted, whatever is edited meanwhile."""

import hashlib
import os
import uuid
from pathlib import Path

from slurm.base.files import make_folder, remove_folder, sync_folder, write_file

_PACKAGES = ("launch", "training", "eval", "slurm")


def freeze(root: Path) -> Path:
    """The folder `code/<hash>` of a store with the code as it is now; made where it is not there yet."""
    source = Path(__file__).resolve().parent.parent
    paths = sorted(path.relative_to(source) for package in _PACKAGES for path in (source / package).rglob("*.py"))
    files = {path: (source / path).read_bytes() for path in paths}  # read once: what is hashed is what is copied
    digest = hashlib.sha256()
    for path, content in files.items():
        digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    frozen = root / "code" / digest.hexdigest()[:16]
    if not frozen.exists():
        _write(files, frozen)
    return frozen


def _write(files: dict[Path, bytes], frozen: Path) -> None:
    temporary = make_folder(frozen.parent / f".tmp-{uuid.uuid4().hex}")
    for path, content in files.items():
        make_folder((temporary / path).parent)
        write_file(temporary / path, content)
    try:
        os.rename(temporary, frozen)
    except OSError:
        remove_folder(temporary)
        if not frozen.exists():  # else another submitter was first, with the same content
            raise
    sync_folder(frozen.parent)
