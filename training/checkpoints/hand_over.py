"""What a train stage hands on: the best epoch's encoder as an ordinary model folder, and its heads."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from slurm.base import UserError
from slurm.base.files import make_folder, remove_folder, sync_folder
from training import formats
from training.checkpoints.fragments import FragmentReader
from training.model.encoder import FilesWritten, HeadKind, StageModel, head_module, save_encoder, save_head
from training.model.parent import Parent, TrainedHead
from training.pretrained.config import handed_on
from training.pretrained.start import hash_of_files, read_config, tokenizer_files
from training.tensors import tensors_hash

ENCODER = "encoder."
WORDS = "encoder.embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class HandOver:
    """What was written: `files` by their names below the stage's folder, and `model`, the same in memory."""

    files: FilesWritten
    model: Parent


def write(
    out: Path, reader: FragmentReader, model: StageModel, table: Tensor | None, kinds: list[HeadKind], parent: Parent
) -> HandOver:
    """Write out/encoder and out/heads from the fragments of the best epoch.

    `model` gives names and shapes alone. `table`: all word embeddings, where `reader` has some rows only.
    """
    shapes = {name: parameter_shape(parameter) for name, parameter in model.named_parameters()}
    tensors = {
        name: reader.tensor("parameters", name, shape)
        for name, shape in shapes.items()
        if table is None or name != WORDS
    }
    if table is not None:
        tensors[WORDS] = table
    for name in ("encoder", "heads"):  # of a start that did not finish them
        remove_folder(out / name)
    encoder = below(tensors, ENCODER + model.encoder.prefix)
    heads = {kind.task: TrainedHead(kind, below(tensors, f"heads.{head_module(kind.task)}.")) for kind in kinds}
    language_models = [head.state for head in heads.values() if formats.get(head.kind.format).is_language_model]
    lm_head = language_models[-1] if language_models else parent.lm_head
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
        hashing = pool.submit(tensors_hash, encoder)  # another hash than the file's, over the same bytes
        config, tokenizer = handed_on(read_config(parent.folder)), _tokenizer(parent)
        folder = out / "encoder"
        files = _within("encoder", save_encoder(encoder, lm_head, config, tokenizer, folder, parent.projection))
        make_folder(out / "heads")
        for head in heads.values():
            files |= _within("heads", save_head(head.state, head.kind, out / "heads"))
        encoder_hash = hashing.result()
    sync_folder(out / "encoder")
    sync_folder(out / "heads")
    sync_folder(out)
    model_in_memory = Parent(
        out / "encoder",
        parent.config,
        encoder,
        parent.tokenizer_hash,
        lm_head,
        out / "heads",
        heads,
        {},
        encoder_hash,
        parent.projection,
    )
    return HandOver(files, model_in_memory)


def _tokenizer(parent: Parent) -> dict[str, bytes]:
    """The contents of the tokenizer's files. UserError where they are not those that the training began with."""
    contents = {path.name: path.read_bytes() for path in tokenizer_files(parent.folder)}
    if hash_of_files(contents) != parent.tokenizer_hash:
        raise UserError(f"{parent.folder}: the tokenizer's files changed while the stage was trained; submit it again.")
    return contents


def _within(folder: str, files: FilesWritten) -> FilesWritten:
    return {f"{folder}/{name}": facts for name, facts in files.items()}


def parameter_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """Its own, also where ZeRO-3 has taken its values away."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
