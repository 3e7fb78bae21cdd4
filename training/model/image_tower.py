"""AltCLIP's image tower, frozen: from images to the space that they share with captions, by transformers' own model.

Used once, before anything is trained, to write a file of features (`training.formats.image_features`): whatever the
text tower is trained on, the images stay where they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slurm.base import UserError
from training.formats.image_folder import read_image
from training.pretrained import check_folder
from training.pretrained.start import has_projection

if TYPE_CHECKING:
    from PIL.Image import Image

_BATCH = 16  # images at a time
_PARTS = ("vision_model.", "visual_projection.")  # what of the checkpoint makes features of images
_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")  # the second: as newer versions write it
_PROCESSORS = ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor")


class ImageTower:
    """The image tower in an AltCLIP's folder, with the preprocessing that lies beside it.

    Images are resized by Pillow, as they were for CLIP, whether torchvision is there or not. UserError where the folder
    holds no whole image tower.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such model folder; give that of an AltCLIP, with its safetensors.")
        check_folder(folder)
        if not has_projection(folder):
            raise UserError(
                f"{folder}: has no image tower, it is a model of texts alone; give the folder of an AltCLIP."
            )
        self.folder, self.device = folder, device
        torch.backends.cudnn.allow_tf32 = False  # else a GPU's convolution has not the precision of fp32
        self._preprocess = _preprocessing(folder)
        self._model = _model(folder).to(device)
        self._size: int = self._model.config.vision_config.image_size

    def features(self, images: Sequence["Image"]) -> Tensor:
        """Of RGB images, on the CPU [images, shared width], fp32: AltCLIPModel.get_image_features."""
        pixels = torch.from_numpy(np.stack([self._pixels(image) for image in images])).to(self.device)
        with torch.inference_mode():
            features: Tensor = self._model.get_image_features(pixels).pooler_output
        return features.float().cpu()

    def _pixels(self, image: "Image") -> NDArray[np.float32]:
        """[3, height, width], as the tower takes them."""
        pixels: NDArray[np.float32] = self._preprocess(image, return_tensors="np")["pixel_values"][0]
        if pixels.shape != (3, self._size, self._size):
            raise UserError(
                f"{self.folder}: the preprocessing beside the model makes images of shape {list(pixels.shape)}, but its"
                f" tower takes {[3, self._size, self._size]}; get the model's own {_PREPROCESSING[0]}."
            )
        return pixels


def features_of_files(tower: ImageTower, files: Mapping[str, Path]) -> Iterator[dict[str, Tensor]]:
    """The features [shared width] of image files by what the images are called, some at a time. UserError where one
    cannot be read."""
    remaining_files = iter(files.items())
    while batch := list(islice(remaining_files, _BATCH)):
        features = tower.features([read_image(path) for _, path in batch])
        yield {name: vector for (name, _), vector in zip(batch, features, strict=True)}


def _preprocessing(folder: Path) -> Any:
    from transformers import CLIPImageProcessorPil

    if not any((folder / name).is_file() for name in _PREPROCESSING):
        raise UserError(f"{folder}: {_PREPROCESSING[0]} is missing; copy the one that came with the model into it.")
    try:
        values, _ = CLIPImageProcessorPil.get_image_processor_dict(folder, local_files_only=True)
        kind = values.get("image_processor_type") or values.get("feature_extractor_type")
        processor = CLIPImageProcessorPil.from_dict(values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder}: {_PREPROCESSING[0]} says not how images are prepared ({_first_sentence(error)});"
            " get the model's own."
        ) from error
    if kind not in _PROCESSORS:
        raise UserError(f"{folder}: {_PREPROCESSING[0]} is of {kind!r}; an AltCLIP's images are prepared as CLIP's.")
    return processor


def _model(folder: Path) -> Any:
    from transformers import AltCLIPModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, report = AltCLIPModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise UserError(f"{folder}: no AltCLIP that can be built ({_first_sentence(error)}); get it again.") from error
    missing_names = sorted(name for name in report["missing_keys"] if name.startswith(_PARTS))
    if missing_names:
        raise UserError(
            f"{folder}: has no whole image tower: the weights lack {missing_names[0]} and {len(missing_names) - 1}"
            " more; give an AltCLIP as it was published, not one of texts alone."
        )
    return model.eval()


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).partition(". ")[0][:200]
