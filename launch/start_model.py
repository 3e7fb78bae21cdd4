"""The start model: a Hub id at a pinned revision, or a folder identified by what is in it."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from slurm.base import UsageError, UserError
from slurm.base.files import make_folder, sha256_file, write_atomic

# Commits of `main`, as several public projects pin them.
PINNED = {
    "FacebookAI/xlm-roberta-base": "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
    "FacebookAI/xlm-roberta-large": "c23d21b0620b635a76227c604d44e43a9f0ee389",
}
_MEANINGFUL = (".json", ".safetensors", ".model")  # config, tokenizer and weights; not READMEs or caches


@dataclass(frozen=True)
class StartModel:
    """Where every path begins. `identity` is what stage keys see; exactly one of `folder` and `revision` is set."""

    identity: str
    folder: str | None = None
    repo: str | None = None
    revision: str | None = None


def resolve(model: str) -> StartModel:
    """The start model that an experiment's `model:` names. UsageError for a Hub id without a known revision."""
    if Path(model).is_absolute():
        return StartModel(identity=f"folder:{_content_hash(Path(model))}", folder=model)
    repo, _, revision = model.partition("@")
    revision = revision or PINNED.get(repo, "")
    if not revision:
        raise UsageError(f"model: '{repo}' has no pinned revision; write model: {repo}@<40 hex digits of a commit>")
    if len(revision) != 40 or set(revision) - set("0123456789abcdef"):
        raise UsageError(f"model: '{revision}' is not a commit (40 hex digits); branches and tags can move")
    return StartModel(identity=f"hub:{repo}@{revision}", repo=repo, revision=revision)


def _content_hash(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in _MEANINGFUL and path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{_remembered_sha256(path)}\n".encode())
    return digest.hexdigest()


def _remembered_sha256(path: Path) -> str:
    """The file's SHA-256, read again only when it changed: weights are gigabytes and every command asks."""
    stat = path.stat()
    identity = f"{path.resolve()}|{stat.st_ino}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepstone" / "sha256"
    entry = cache / hashlib.sha256(identity.encode()).hexdigest()
    try:
        return str(json.loads(entry.read_bytes()))
    except (OSError, ValueError):
        value = sha256_file(path)
    try:
        make_folder(cache)
        write_atomic(entry, json.dumps(value))
    except (OSError, UserError):  # a home that cannot be written costs time, not the command
        pass
    return value
