"""What a train stage hands on: the best epoch's encoder as an ordinary model folder, and its heads."""

from pathlib import Path

from torch import Tensor, nn

from slurm.base.files import make_folder, remove_folder, sync_folder
from training import formats
from training.checkpoints.fragments import FragmentReader
from training.model.encoder import HeadKind, head_module, lm_head_of, save_encoder, save_head, save_lm_head

ENCODER = "encoder."
WORDS = "encoder.embeddings.word_embeddings.weight"


def write(
    out: Path, reader: FragmentReader, model: nn.Module, table: Tensor | None, kinds: list[HeadKind], parent: Path
) -> dict[str, Tensor]:
    """Write out/encoder and out/heads from the fragments of the best epoch; returns the encoder's tensors.

    `model` gives names and shapes alone. `table`: all word embeddings, where `reader` has some rows only.
    """
    shapes = {name: parameter_shape(parameter) for name, parameter in model.named_parameters()}
    tensors = {name: reader.tensor("parameters", name, shape) for name, shape in shapes.items() if name != WORDS}
    tensors[WORDS] = reader.tensor("parameters", WORDS, shapes[WORDS]) if table is None else table
    for name in ("encoder", "heads"):  # of a start that did not finish them
        remove_folder(out / name)
    encoder = below(tensors, ENCODER)
    save_encoder(encoder, parent, out / "encoder")
    make_folder(out / "heads")
    lm_head = lm_head_of(parent)
    for kind in kinds:
        state = below(tensors, f"heads.{head_module(kind.task)}.")
        save_head(state, kind, out / "heads")
        lm_head = state if formats.get(kind.format).is_language_model else lm_head
    save_lm_head(lm_head, out / "encoder")
    sync_folder(out / "encoder")
    sync_folder(out / "heads")
    sync_folder(out)
    return encoder


def parameter_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """Its own, also where ZeRO-3 has taken its values away."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
