"""The folder: encoder, heads, card, the experiment file and the record of where it comes from; whole or not there."""

import json
import socket
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.plan import Plan, Stage
from launch.publish import card, facts, heads, reproduction
from launch.publish.card import Wishes
from launch.publish.facts import Facts
from launch.store import Store
from launch.store.artifacts import TrainResult
from launch.text import as_typed
from slurm.base import UsageError, UserError
from slurm.base.files import copy_file, make_folder, move_new, remove_folder, sha256_file, to_json, write_file
from training.pretrained.start import is_causal

RECORD = "stepstone.json"
_NAMING = ("config.json", "tokenizer_config.json")  # in which transformers may have noted where a model was read
_PLACES = ("_name_or_path", "name_or_path")
_MACHINE_FILES = 1 << 20  # bytes: of what is looked through for names of the machine; a vocabulary is longer


@dataclass(frozen=True)
class Publication:
    """What was written. `remarks`: what its author is to look at before it is shown."""

    folder: Path
    bytes: int
    remarks: tuple[str, ...]


def write(plan: Plan, stage: Stage, out: Path, wishes: Wishes) -> Publication:
    """Write a finished training's folder.

    UsageError where the stage is none that can be published, or `out` exists; UserError where it is not finished or its
    encoder is gone, with what to type. Then nothing is written.
    """
    store = Store(plan.experiment.store)
    result = _result(plan, store, stage, out)
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out}: exists already; name another folder, or remove it")
    stage_facts = facts.gather(plan, store, stage)
    make_folder(out.absolute().parent, "OUT")
    temporary = make_folder(out.absolute().parent / f".{out.name}.{uuid.uuid4().hex}.tmp", "OUT")
    try:
        try:
            _copy(store.stage_folder(stage.folder) / result.attempt, temporary, result)
        except FileNotFoundError:  # its job has dropped it since
            raise UserError(_lost(plan, store, stage)) from None
        head_format = heads.put_on(temporary, wishes.head, stage.name) if wishes.head else None
        experiment_text = reproduction.experiment_text(plan, stage)
        write_file(temporary / reproduction.NAME, experiment_text)
        write_file(temporary / RECORD, to_json({"schema": 1} | asdict(stage_facts)))
        write_file(temporary / "README.md", card.text(stage_facts, experiment_text, wishes, out.name, head_format))
        remarks = tuple(_remarks(stage_facts, wishes, temporary, _machine_names(plan)))
        if not move_new(temporary, out):
            raise UsageError(f"{out}: exists already; name another folder, or remove it")
    except BaseException:
        remove_folder(temporary)
        raise
    return Publication(out, sum(path.stat().st_size for path in out.rglob("*") if path.is_file()), remarks)


def _result(plan: Plan, store: Store, stage: Stage, out: Path) -> TrainResult:
    """Of a stage that can be published."""
    file, word = as_typed(plan.experiment.path), plan.word(stage)
    if stage.kind == "evaluate" and stage.parent is None:
        raise UsageError(f"{stage.name} evaluates the start model, which was not trained here; name a training")
    if stage.kind == "evaluate":
        training = plan.word(plan.stages[stage.parent or ""])
        raise UsageError(
            f"{stage.name} evaluates an encoder; to publish that: stepstone publish {file} {training} {as_typed(out)}"
        )
    result = store.train_result(stage)
    if result is None:
        raise UserError(f"{stage.name} is not finished; stepstone logs {file} {word} --why says where it stands")
    if not store.has_encoder(stage):
        raise UserError(_lost(plan, store, stage))
    encoder = store.stage_folder(stage.folder) / result.attempt / "encoder"
    if (encoder / "config.json").is_file() and is_causal(encoder):  # else its job drops it just now
        raise UsageError(
            f"{stage.name} is a causal language model, of which no card can be written yet; {as_typed(encoder)} is an"
            " ordinary model folder"
        )
    return result


def _lost(plan: Plan, store: Store, stage: Stage) -> str:
    """What to type where a training's encoder is not there any more."""
    file = as_typed(plan.experiment.path)
    record = as_typed(store.stage_folder(stage.folder) / "result.json")
    keep = "" if plan.experiment.keep == "all" else f"write `keep: all` into {file}, then "
    return (
        f"{stage.name}: its encoder was not kept; to train it again: {keep}type mv {record} {record}.before"
        f" && stepstone submit {file} --wait, and submit once more for its evaluations"
    )


def _copy(attempt: Path, folder: Path, result: TrainResult) -> None:
    """The encoder's files at the top, as `from_pretrained` looks for them; each compared with what was recorded."""
    for name, file_facts in result.files.items():
        target = folder / name.removeprefix("encoder/")
        make_folder(target.parent)
        copy_file(attempt / name, target)
        if sha256_file(target) != file_facts.sha256:
            raise UserError(f"{attempt / name}: is not what was trained (its SHA-256 differs); train it again")
    for name in _NAMING:
        _forget_places(folder / name)


def _forget_places(path: Path) -> None:
    """Take out where on somebody's machine a model was read from."""
    if not path.is_file():
        return
    values = json.loads(path.read_bytes())
    public_values = {
        key: value for key, value in values.items() if key not in _PLACES or not str(value).startswith(("/", "~"))
    }
    if public_values != values:
        write_file(path, json.dumps(public_values, indent=2, ensure_ascii=False) + "\n")


def _machine_names(plan: Plan) -> list[str]:
    e = plan.experiment
    folders = [e.store, e.path.parent, Path.home(), *([e.data_root] if e.data_root else [])]
    names = [str(folder) for folder in folders if len(folder.parts) > 2]
    return [*names, *(name for name in [socket.gethostname()] if len(name) > 4)]


def _remarks(stage_facts: Facts, wishes: Wishes, folder: Path, machine_names: Iterable[str]) -> list[str]:
    remarks = []
    if wishes.licence == card.NO_LICENCE:
        remarks.append("the card says that the weights' licence is unknown; --license ID states it, such as mit")
    tasks = [use.task for use in stage_facts.data if card.is_unstated(use)]
    if tasks:
        remarks.append(f"licence of the data not stated: {', '.join(dict.fromkeys(tasks))}; say it in the card")
    if not wishes.as_published and any(use.published for use in stage_facts.data):
        remarks.append("data from local files is not named as the Hub's; --as-published says that it is the same")
    if stage_facts.start is None:
        remarks.append("the start model is a folder: say in the card where it comes from (base_model)")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in (".json", ".md", ".yaml") and path.stat().st_size < _MACHINE_FILES:
            text = path.read_text(encoding="utf-8", errors="replace")
            names = [name for name in machine_names if name in text]
            if names:
                remarks.append(f"{path.name} names {names[0]}; look at it before you show it")
    return remarks
