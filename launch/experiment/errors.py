"""The mistakes that pydantic finds in a file, each as one line that says what to type."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from launch.experiment.cluster import UNDER_SBATCH
from launch.experiment.schema import known_keys
from launch.experiment.yaml_text import Document, Location

# What Hugging Face's Trainer and DeepSpeed call what is called otherwise here.
_ELSEWHERE = {
    "micro_batch_size": "token_budget", "per_device_train_batch_size": "token_budget",
    "train_micro_batch_size_per_gpu": "token_budget", "gradient_accumulation_steps": "token_budget",
    "per_device_eval_batch_size": "eval_token_budget", "eval_batch_size": "eval_token_budget",
    "train_batch_size": "global_batch_size",
    "num_train_epochs": "epochs", "max_seq_length": "max_length", "lr": "learning_rate",
}  # fmt: skip


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of an error about `name`: which of `names` was meant, and all of them where they are few."""
    names = list(names)
    elsewhere = _ELSEWHERE.get(name)
    matches = [elsewhere] if elsewhere in names else get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{matches[0]}'?" if matches else ""
    return f"{hint} (known: {', '.join(names)})" if 0 < len(names) <= 30 else hint


def explain(document: Document, error: ValidationError) -> str:
    """The first of pydantic's errors, as a line that says what to type."""
    first = min(error.errors(), key=lambda entry: _urgency(document, entry["type"], entry["loc"]))
    location = _without_unions(document, first["loc"])
    key = _dotted(location)
    if first["type"] == "missing" and len(location) == 1:
        return f"{document.path}: `{key}:` is missing; see the README for an example"
    if first["type"] == "missing":
        return f"{document.where(location[:-1])}: `{key}:` is missing"
    where = document.where(location)
    if first["type"] == "extra_forbidden":
        section = _dotted(location[:-1])
        place = f" in `{section}:`" if section else ""
        if location[:-1] == ("cluster",) and location[-1] in UNDER_SBATCH:
            flag = location[-1]
            return f"{where}: '{flag}' belongs under `sbatch:`; write cluster: {{sbatch: {{{flag}: …}}}}"
        return f"{where}: unknown key '{location[-1]}'{place}{nearest(str(location[-1]), known_keys(location[:-1]))}"
    return f"{where}: {key}: {_reason(first)}"


def _dotted(location: Location) -> str:
    return ".".join(part for part in location if isinstance(part, str))


def _urgency(document: Document, kind: str, location: Location) -> tuple[bool, int, int]:
    """Unknown keys first, then from top to bottom; of a value that may be one or a list, what is wrong in the list."""
    location = _without_unions(document, location)
    return kind != "extra_forbidden", document.lines.get(location, 0), -len(location)


def _without_unions(document: Document, location: Location) -> Location:
    """pydantic's location without the names of union members."""
    keys: Location = ()
    for part in location:
        # The last part may be what the file lacks, and has no line then.
        at_end = part == location[-1] and not str(part).startswith(("[key]", "list[", "literal[", "function-"))
        if (*keys, part) in document.lines or at_end:
            keys = (*keys, part)
    return keys


def _reason(entry: Any) -> str:
    value, context = entry["input"], entry.get("ctx", {})
    match entry["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"'{value}' is not one of {context['expected'].replace(' or ', ', ')}"
        case "greater_than_equal":
            return f"{value} is too small; the least is {context['ge']}"
        case "less_than_equal":
            return f"{value} is too large; the most is {context['le']}"
        case "list_type":
            return f"expected a list: write [{value}]" if isinstance(value, str) else "expected a list"
        case "dict_type" | "model_type":
            return "expected `key: value` lines"
        case "too_short":
            return "must not be empty"
        case _:
            return str(entry["msg"])
