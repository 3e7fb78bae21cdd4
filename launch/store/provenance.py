"""What made a result: our own code, copied into the store by content, and the versions of the packages beside it.

Jobs run the code that was submitted, whatever is edited meanwhile. Packages are not copied: what was there when a stage
was sent is written down, and compared with what its job finds. The copy carries its bytecode, so that no job compiles.
"""

import hashlib
import marshal
import platform
import uuid
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path

from slurm.base import look
from slurm.base.files import make_folder, move_new, remove_folder, sync_folder, write_file

_READ_ONLY = 0o400  # no job, and no editor that follows a traceback into it, changes what it is named after
_PACKAGES = ("launch", "training", "eval", "slurm")


def code_root() -> Path:
    """The folder that our packages lie in: a checkout, or in a job the frozen code, whose name is its hash."""
    return Path(__file__).resolve().parents[2]


def freeze(root: Path) -> Path:
    """The folder `code/<hash>` of a store with the code as it is now; made where it is not there yet."""
    source = code_root()
    paths = sorted(path.relative_to(source) for package in _PACKAGES for path in (source / package).rglob("*.py"))
    files = {path: (source / path).read_bytes() for path in paths}  # read once: what is hashed is what is copied
    digest = hashlib.sha256()
    for path, content in files.items():
        digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    folder = root / "code" / digest.hexdigest()[:16]
    if not look.exists(folder):
        _write(files, folder)
    return folder


def _write(files: dict[Path, bytes], folder: Path) -> None:
    temporary = make_folder(folder.parent / f".tmp-{uuid.uuid4().hex}")
    for path, content in files.items():
        make_folder((temporary / path).parent)
        bytecode_file = Path(cache_from_source(str(temporary / path)))
        make_folder(bytecode_file.parent)
        for file, file_content in ((temporary / path, content), (bytecode_file, _bytecode(content, folder / path))):
            write_file(file, file_content)
            file.chmod(_READ_ONLY)  # its folder stays open to changes: gc removes what no job needs
    try:
        is_ours = move_new(temporary, folder)
    except OSError:
        remove_folder(temporary)
        raise
    if not is_ours:  # another submitter was first, with the same content
        remove_folder(temporary)
    sync_folder(folder.parent)


def _bytecode(source: bytes, path: Path) -> bytes:
    """The `.pyc` of a module that will lie at `path` (PEP 552, unchecked): it stands as long as its folder, whose name
    is the sources' hash, whenever either file was copied. Another version of Python looks for another file."""
    code = compile(source, str(path), "exec", dont_inherit=True, optimize=0)
    return MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source) + marshal.dumps(code)


_NAMES = ("torch", "transformers", "tokenizers", "deepspeed", "datasets", "safetensors", "numpy", "submitit")


def versions() -> dict[str, str]:
    """Python and the packages that results depend on, as installed here. Imports none of them."""
    return dict(_versions())


@cache  # they are read with all that packages say of themselves, and every result asks
def _versions() -> dict[str, str]:
    packages = {"python": platform.python_version()}
    for name in _NAMES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return packages


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What changed, such as `torch 2.6.0 instead of 2.5.1`."""
    return [
        f"{name} {now.get(name, 'missing')} instead of {before.get(name, 'none')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
