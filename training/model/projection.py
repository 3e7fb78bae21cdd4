"""AltCLIP's projection: from the state of `<s>` to the space that captions and images share. Never trained here."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from slurm.base import UserError
from training.pretrained.altclip import PROJECTION
from training.pretrained.config import EncoderConfig


class TextProjection(nn.Module):
    """States of `<s>` [rows, width] → [rows, shared width], fp32: as transformers' AltCLIPModel has it for texts.

    `tensors`: those of `PROJECTION`, by these names.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: EncoderConfig) -> None:
        super().__init__()
        norm_weight, norm_bias, weight, bias, shared_weight = (tensors[name] for name in PROJECTION)
        with torch.device("meta"):
            self.pre_LN = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
            self.transformation = nn.Linear(config.hidden_size, len(weight))
            self.text_projection = nn.Linear(len(weight), len(shared_weight), bias=False)
        self.pre_LN.load_state_dict({"weight": norm_weight, "bias": norm_bias}, assign=True)
        self.transformation.load_state_dict({"weight": weight, "bias": bias}, assign=True)
        self.text_projection.load_state_dict({"weight": shared_weight}, assign=True)

    def forward(self, states: Tensor) -> Tensor:
        return self.text_projection(self.transformation(self.pre_LN(states.float())))  # type: ignore[no-any-return]


def checked(folder: Path, tensors: Mapping[str, Tensor], width: int) -> dict[str, Tensor]:
    """The projection among the tensors that were read, fp32; empty where there is none of it. UserError where it is not
    whole, or does not fit an encoder of this width."""
    projection = {name: tensors[name].float() for name in PROJECTION if name in tensors}
    if not projection:
        return {}
    missing_names = [name for name in PROJECTION if name not in projection]
    if missing_names:
        raise UserError(
            f"{folder}: the weights lack {missing_names[0]}, a part of AltCLIP's projection; get them again."
        )
    norm_weight, norm_bias, weight, bias, shared_weight = (list(projection[name].shape) for name in PROJECTION)
    inner = weight[0]
    if [norm_weight, norm_bias, weight, bias] != [[width], [width], [inner, width], [inner]] or (
        shared_weight[1:] != [inner]
    ):
        raise UserError(
            f"{folder}: the parts of AltCLIP's projection do not fit each other and an encoder of width {width};"
            " get the model again."
        )
    return projection
