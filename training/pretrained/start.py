"""The start model: a Hub id at a pinned revision, or a folder identified by what is in it.

Either holds XLM-R as safetensors with its config and its tokenizer, which is checked before anything is trained; or an
AltCLIP, whose text tower is one; or a causal language model. No torch. Not covered: what the weights' values are like,
and tensors other than the word embeddings.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from slurm.base import UsageError, UserError
from slurm.base.files import make_folder, sha256_file, write_atomic
from training.hub_client import Repository, errors_in_one_line, fetch_file, set_up_client, verify
from training.pretrained import altclip, causal

# Commits of `main`, as several public projects pin them.
PINNED = {
    "FacebookAI/xlm-roberta-base": "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
    "FacebookAI/xlm-roberta-large": "c23d21b0620b635a76227c604d44e43a9f0ee389",
}
MODEL_TYPE = "xlm-roberta"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
# The tokenizer is handed on file by file: saving a loaded one would write its passing state (padding, truncation) too.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "added_tokens.json",
)
_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
_WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
ACTIVATION = "gelu"  # that of all published XLM-Rs, and the only one that the encoder has
_MEANINGFUL = (".json", ".safetensors", ".model")  # config, tokenizer and weights; not READMEs or caches


@dataclass(frozen=True)
class StartModel:
    """Where every path begins. `identity` is what stage keys see; exactly one of `folder` and `revision` is set."""

    identity: str
    folder: str | None = None
    repo: str | None = None
    revision: str | None = None


def resolve(model: str) -> StartModel:
    """The start model that a value of an experiment's `model:` or `models:` names. UsageError for a Hub id without a
    known revision."""
    if Path(model).is_absolute():
        return StartModel(identity=f"folder:{_content_hash(Path(model))}", folder=model)
    repo, _, revision = model.partition("@")
    revision = revision or PINNED.get(repo, "")
    if not revision:
        raise UsageError(f"'{repo}' has no pinned revision; write {repo}@<40 hex digits of a commit>")
    if len(revision) != 40 or set(revision) - set("0123456789abcdef"):
        raise UsageError(f"'{revision}' is not a commit (40 hex digits); branches and tags can move")
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


def check_folder(folder: Path) -> None:
    """Raise a UserError unless `folder` holds an XLM-R encoder, or a causal language model, in safetensors, its config
    and its tokenizer."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such model folder. `model:` takes a Hub id or a folder relative to the file.")
    config = read_config(folder)
    if causal.is_causal(config):
        path = folder / "tokenizer_config.json"
        causal.check_tokenizer(folder, _read_mapping(path) if path.is_file() else None)
        sizes = causal.causal_config(config).sizes
        _check_word_embeddings(folder, [sizes.vocabulary, sizes.width], causal.is_word_embeddings)
    else:
        _check_tokenizer(folder)
        _check_word_embeddings(folder, [config["vocab_size"], config["hidden_size"]], _is_word_embeddings)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder; an AltCLIP's as that of the XLM-R in it. UserError where it is missing, or
    neither an XLM-R's nor a causal language model's that can be trained."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: config.json is missing; a model folder is what `save_pretrained` writes.")
    config = _read_mapping(path)
    if config.get("model_type") == altclip.MODEL_TYPE:
        config = _tower_config(path, config)
    if causal.is_causal(config):
        causal.check_config(path, config)
        return config
    kind = config.get("model_type")
    if kind != MODEL_TYPE:
        raise UserError(
            f"{path}: model_type is {kind!r}, but only {MODEL_TYPE!r} and the text tower of {altclip.MODEL_TYPE!r} can"
            f" be trained, and of causal language models {', '.join(causal.FAMILIES)}; choose an XLM-R model or one of"
            " these."
        )
    for name in _SIZES:
        value = config.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{path}: {name} must be a positive whole number, it is {value!r}.")
    _check_can_be_built(path, config)
    return config


def is_causal(folder: Path) -> bool:
    """Whether a start model is a causal language model."""
    return causal.is_causal(_read_mapping(folder / "config.json"))


def has_projection(folder: Path) -> bool:
    """Whether a start model comes with AltCLIP's projection from texts to the space that they share with images."""
    return _read_mapping(folder / "config.json").get("model_type") == altclip.MODEL_TYPE


def lacks_projection(folder: Path, target: str) -> UserError:
    """What to tell of a target that compares texts with images, and a model that cannot."""
    return UserError(
        f"target {target}: captions are compared with images by the projection of an AltCLIP, and {folder} has none;"
        " choose an AltCLIP as `model:`, or leave the target out."
    )


def _tower_config(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    tower = altclip.text_config(config)
    if tower is None:
        raise UserError(
            f"{path}: text_config is no {altclip.TOWER_TYPE!r}; of models of images and text only AltCLIP's text tower"
            " can be trained."
        )
    return altclip.as_xlmr(tower) | {"model_type": MODEL_TYPE}


def _check_can_be_built(path: Path, config: Mapping[str, Any]) -> None:
    """Here, so that it is said when an experiment is planned and not on a node."""
    activation, padding = config.get("hidden_act", ACTIVATION), config.get("pad_token_id", 1)
    if activation != ACTIVATION:
        raise UserError(f"{path}: hidden_act is {activation!r}; only {ACTIVATION!r} can be computed.")
    if not isinstance(padding, int) or isinstance(padding, bool) or padding < 0:
        raise UserError(f"{path}: pad_token_id must be a token's number, it is {padding!r}; XLM-R's is 1.")
    if config["hidden_size"] % config["num_attention_heads"]:
        raise UserError(
            f"{path}: hidden_size {config['hidden_size']} is no multiple of num_attention_heads"
            f" {config['num_attention_heads']}; get the model again."
        )


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable as JSON ({reason}); get the model again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no JSON object; get the model again.")
    return value


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "sentencepiece.bpe.model")):
        raise UserError(
            f"{folder}: the tokenizer is missing; copy tokenizer.json or sentencepiece.bpe.model of XLM-R into it."
        )


def tokenizer_files(folder: Path) -> list[Path]:
    """Those that a model folder has, in the order in which they are hashed."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def tokenizer_hash(folder: Path) -> str:
    """The SHA-256 over the tokenizer's files in a model folder; remembered while they do not change."""
    files = tokenizer_files(folder)
    return _files_hash(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@cache
def _files_hash(files: tuple[tuple[Path, int, int], ...]) -> str:
    return hash_of_files({path.name: path.read_bytes() for path, _, _ in files})


def hash_of_files(contents: Mapping[str, bytes]) -> str:
    """The SHA-256 over files by name, in their order."""
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name}:{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a model folder, one or several shards; a UserError where one is missing."""
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if not (folder / WEIGHTS_INDEX).is_file():
        hint = " (pytorch_model.bin is a pickle and is never loaded)"
        raise UserError(
            f"{folder}: {WEIGHTS} is missing{hint if (folder / 'pytorch_model.bin').is_file() else ''};"
            " save the model with `save_pretrained` of a current transformers."
        )
    shards = _read_mapping(folder / WEIGHTS_INDEX).get("weight_map")
    if not isinstance(shards, Mapping) or not shards:
        raise UserError(f"{folder / WEIGHTS_INDEX}: names no weight files; get the model again.")
    paths = tuple(folder / name for name in sorted({Path(str(shard)).name for shard in shards.values()}))
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: this shard of the weights is missing; get the model again.")
    return paths


def name_in_encoder(name: str) -> str:
    """What the encoder itself calls a tensor of a checkpoint: those with a head call the encoder "roberta", AltCLIP has
    that in its text tower."""
    return name.removeprefix(altclip.TOWER).removeprefix("roberta.")


def _is_word_embeddings(name: str) -> bool:
    return name_in_encoder(name) == _WORD_EMBEDDINGS


def _check_word_embeddings(folder: Path, config_shape: list[int], is_table: Callable[[str], bool]) -> None:
    for path in weight_files(folder):
        shape = _word_embeddings_shape(path, is_table)
        if shape is not None and shape != config_shape:
            raise UserError(f"{path}: word embeddings of shape {shape}, but config.json says {config_shape}.")
        if shape is not None:
            return
    raise UserError(f"{folder}: the weights hold no word embeddings; get the model again.")


def _word_embeddings_shape(path: Path, is_table: Callable[[str], bool]) -> list[int] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a mapping
                if is_table(name):
                    return list(tensors.get_slice(name).get_shape())
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); copy or download the model again.") from error
    return None


def start_model_folder(repo: str, revision: str, *, local_only: bool = False) -> Path:
    """The local folder of a Hub model at a pinned revision, fetched once; HF_HUB_OFFLINE and HF_HOME are honoured.

    `local_only`: without asking the network. UserError where it cannot be had. What may have come anew is verified by
    its hashes; a job, which is offline, does not read gigabytes for that.
    """
    from huggingface_hub import constants, snapshot_download

    repository = Repository("model", repo, revision)
    file_patterns = ["config.json", WEIGHTS, WEIGHTS_INDEX, "model-*.safetensors", *TOKENIZER_FILES]
    may_fetch = not (local_only or constants.HF_HUB_OFFLINE)
    set_up_client()
    with errors_in_one_line(repository, f"model {repo}@{revision[:12]}"):
        if may_fetch:
            fetch_file(repository, "config.json")  # alone, for a server that answers with another commit
        folder = Path(
            snapshot_download(repo, revision=revision, allow_patterns=file_patterns, local_files_only=local_only)
        )
        if may_fetch:
            verify(sorted(folder.iterdir()))
    if not any((folder / name).is_file() for name in (WEIGHTS, WEIGHTS_INDEX)):
        raise UserError(
            f"model {repo}@{revision}: has no safetensors weights, and a pickle is never loaded; save it once with"
            " `save_pretrained` of transformers, with its tokenizer, and give that folder as `model:`."
        )
    check_folder(folder)
    return folder
