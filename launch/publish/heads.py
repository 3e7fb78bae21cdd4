"""One head put on the encoder, as transformers' own class for such a head: the same layers, so only names change.

The weights are not read into memory: a safetensors file is a head of JSON, which is written anew, and the tensors'
bytes behind it, which are copied.
"""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from slurm.base import UsageError
from slurm.base.files import CHUNK_BYTES, write_file

WEIGHTS = "model.safetensors"
_LENGTH = struct.Struct("<Q")  # of the JSON, which ends on a multiple of 8 bytes
_METADATA = "__metadata__"


@dataclass(frozen=True)
class HeadClass:
    """How transformers calls a model with such a head. `names`: what begins a tensor's name here, and there."""

    architecture: str
    auto_class: str
    names: Mapping[str, str]


CLASSES: Mapping[str, HeadClass] = {  # by format
    "sequence": HeadClass(
        "XLMRobertaForSequenceClassification",
        "AutoModelForSequenceClassification",
        {"dense.": "classifier.dense.", "out.": "classifier.out_proj."},
    ),
    "choice": HeadClass(
        "XLMRobertaForMultipleChoice",
        "AutoModelForMultipleChoice",
        {"dense.": "roberta.pooler.dense.", "out.": "classifier."},
    ),
    "span": HeadClass("XLMRobertaForQuestionAnswering", "AutoModelForQuestionAnswering", {"out.": "qa_outputs."}),
    "tagging": HeadClass(
        "XLMRobertaForTokenClassification", "AutoModelForTokenClassification", {"out.": "classifier."}
    ),
} | dict.fromkeys(
    ("mlm", "prompted_pair", "prompted_choice"),
    HeadClass("XLMRobertaForMaskedLM", "AutoModelForMaskedLM", {"": "lm_head."}),
)


def put_on(folder: Path, task: str, stage_name: str) -> str:
    """Make the encoder in `folder` a model with the head of `task`, one of those in its `heads/`; returns its format.

    UsageError where there is no such head, or transformers has none of its kind.
    """
    descriptions = {path.stem: path for path in sorted((folder / "heads").glob("*.json"))}
    if task not in descriptions:
        raise UsageError(f"--head {task}: {stage_name} has no such head; it has {', '.join(descriptions) or 'none'}")
    kind = json.loads(descriptions[task].read_bytes())
    head_class = CLASSES.get(kind["format"])
    if head_class is None:
        raise UsageError(
            f"--head {task}: transformers has no model with a head of format {kind['format']}; leave it out"
        )
    _join(folder / WEIGHTS, folder / "heads" / f"{task}.safetensors", head_class.names)
    _describe(folder / "config.json", head_class, kind["labels"] if kind["format"] in ("sequence", "tagging") else [])
    return str(kind["format"])


def _describe(config: Path, head_class: HeadClass, labels: list[str]) -> None:
    values = json.loads(config.read_bytes()) | {"architectures": [head_class.architecture]}
    if labels:
        values["id2label"] = {str(number): label for number, label in enumerate(labels)}
        values["label2id"] = {label: number for number, label in enumerate(labels)}
    write_file(config, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _join(encoder: Path, head: Path, names: Mapping[str, str]) -> None:
    """Write the encoder's tensors, as `roberta.…`, and the head's behind them, in place of the encoder's file."""
    both_file = encoder.with_suffix(".joined")
    with encoder.open("rb") as encoder_file, head.open("rb") as head_file, both_file.open("xb") as target:
        os.fchmod(target.fileno(), 0o600)
        encoder_tensors, head_tensors = _header(encoder_file), _header(head_file)
        end = max(entry["data_offsets"][1] for entry in encoder_tensors.values())
        tensors = {f"roberta.{name}": entry for name, entry in encoder_tensors.items()}
        for name, entry in head_tensors.items():
            start, stop = entry["data_offsets"]
            tensors[_renamed(name, names)] = entry | {"data_offsets": [start + end, stop + end]}
        content = json.dumps({_METADATA: {"format": "pt"}} | tensors, separators=(",", ":")).encode()
        content += b" " * (-len(content) % _LENGTH.size)
        target.write(_LENGTH.pack(len(content)) + content)
        for source in (encoder_file, head_file):
            while chunk := source.read(CHUNK_BYTES):
                target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    os.replace(both_file, encoder)


def _header(file: BinaryIO) -> dict[str, Any]:
    """The tensors of an open file by name; it is left where their bytes begin."""
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    tensors: dict[str, Any] = json.loads(file.read(length))
    tensors.pop(_METADATA, None)
    return tensors


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for here, there in names.items():
        if name.startswith(here):
            return there + name.removeprefix(here)
    raise AssertionError(name)
