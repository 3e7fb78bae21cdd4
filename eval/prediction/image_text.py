"""Retrieval between images and captions: which image is nearest to each caption, and back, in AltCLIP's shared space.

A caption's vector is made as transformers' AltCLIPModel.get_text_features makes it: the last layer's state of `<s>`, by
the encoder as it was trained, then the checkpoint's projection as it was. An image's is read from the file of features:
the image tower is frozen. Compared by cosine.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eval import metrics
from eval.metrics.image_text import CUTS
from eval.prediction.forward import FloatArray, by_length, token_budget
from eval.prediction.predict import LanguageResult, records
from eval.prediction.search import neighbours_on
from slurm.base import UserError
from training import formats
from training.data.tokens import encode
from training.formats import image_features
from training.formats.base import Piece
from training.formats.image_text import Example
from training.model.encoder import StageModel
from training.model.packing import Packed
from training.model.parent import Parent
from training.model.projection import TextProjection
from training.pretrained.config import EncoderConfig
from training.pretrained.start import lacks_projection
from training.spec import Runtime, Settings
from training.tasks import Task

_RANKED = max(CUTS)


class ImageText:
    """A model for all languages of a target; the images' features are read once, for languages share their images."""

    def __init__(
        self, model: StageModel, parent: Parent, task: Task, tokenizer: object, settings: Settings, runtime: Runtime
    ) -> None:
        if not parent.projection or not isinstance(parent.config, EncoderConfig):
            raise lacks_projection(parent.folder, task.name)
        self.model, self.task, self.tokenizer = model, task, tokenizer
        self.settings, self.runtime = settings, runtime
        self.projection = TextProjection(parent.projection, parent.config).to(model.device).eval()
        self._images: tuple[str, tuple[str, ...], FloatArray] = ("", (), np.empty((0, 0), np.float32))

    def language(self, language: str, examples: Sequence[Example]) -> LanguageResult:
        """Retrieve both ways. A prediction is an image's `eval.metrics.image_text.Rankings`, the gold its own name.

        UserError where the features are no vectors of the shared space.
        """
        images, captions = self._image_vectors(examples), self.caption_vectors(examples)
        if images.shape[1] != captions.shape[1]:
            raise UserError(
                f"{examples[0].features}: {images.shape[1]} features per image, but the model projects captions to"
                f" {captions.shape[1]}; they are those that AltCLIPModel.get_image_features makes."
            )
        ids = [example.id for example in examples]
        owners = [number for number, example in enumerate(examples) for _ in example.captions]
        predictions = [
            [[[ids[image] for image in of_caption] for of_caption in by_caption], [ids[image] for image in by_image]]
            for by_caption, by_image in rankings(captions, owners, images, self.model.device)
        ]
        scores = metrics.score(self.task.metric_family, ids, predictions, language)
        return LanguageResult(scores, records(ids, predictions, ids))

    def _image_vectors(self, examples: Sequence[Example]) -> FloatArray:
        file, names = examples[0].features, tuple(example.id for example in examples)
        if self._images[:2] != (file, names):
            self._images = file, names, image_features.read(Path(file), names)
        return self._images[2]

    def caption_vectors(self, examples: Sequence[Example]) -> FloatArray:
        """Unit vectors [captions, shared width], in the captions' order."""
        pieces = encode(formats.get(self.task.format), examples, self.tokenizer, self.task, self.settings)

        def forward(batch: Packed) -> Tensor:
            states = self.model(batch).index_select(0, batch.layout.starts)
            return torch.nn.functional.normalize(self.projection(states), dim=1)

        budget = token_budget(self.model, self.runtime)
        return np.stack(by_length(self.model, "retrieval", pieces, budget, forward, _rows))


def _rows(vectors: Tensor, pieces: Sequence[Piece]) -> list[FloatArray]:
    return list(vectors.cpu().numpy())


def rankings(
    captions: FloatArray,
    owners: Sequence[int],
    images: FloatArray,
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> list[tuple[list[list[int]], list[int]]]:
    """Of each image, as rows of `images`, best first: those nearest to each of its captions; and those whose captions
    are nearest to it, one for each caption. `owners`: each caption's image; vectors [n, width] of length 1."""
    _, nearest_images = neighbours_on(device, captions, images, _RANKED)
    _, nearest_captions = neighbours_on(device, images, captions, _RANKED)
    by_caption: list[list[list[int]]] = [[] for _ in images]
    for owner, places in zip(owners, nearest_images.tolist(), strict=True):
        by_caption[owner].append(places)
    by_image = [[owners[caption] for caption in places] for places in nearest_captions.tolist()]
    return list(zip(by_caption, by_image, strict=True))
