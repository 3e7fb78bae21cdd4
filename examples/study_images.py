"""What study-images.yaml starts from, made: no weights of AltCLIP and no photographs come with this.

./altclip: the small XLM-R of ./model-12 with AltCLIP's projection on it, drawn at random, and no image tower.
./data-images: of ./data what is needed, and two files of features for the captions of XFlickr&CO:

    features.safetensors    planted: an image lies where this model has its English caption, plus noise
    unrelated.safetensors   drawn at random: nothing is to be found

With a real AltCLIP and real images `stepstone models image-features` writes the first of them instead.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from eval.prediction.image_text import ImageText
from training.formats.image_text import Example, read_captions, read_images
from training.model.parent import read_parent
from training.pretrained import load_tokenizer
from training.pretrained.altclip import PROJECTION
from training.pretrained.start import tokenizer_files
from training.spec import Runtime, Settings
from training.tasks import find
from training.tensors import read_tensors, write_tensors

WIDTH = 256  # of the space that captions and images share
NOISE = 2.0  # its length, where that of a caption's vector, less the mean of all, is 1
USED = ("xflickrco", "mnli", "squad_v1", "tatoeba")


def write_model(source: Path, folder: Path) -> None:
    """An AltCLIP's folder as `save_pretrained` of transformers would lay it out, of an XLM-R's."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    hidden = config["hidden_size"]
    generator = torch.Generator().manual_seed(1)
    values = {
        "pre_LN.weight": torch.ones(hidden),
        "pre_LN.bias": torch.zeros(hidden),
        "transformation.weight": torch.randn(hidden, hidden, generator=generator) / hidden**0.5,
        "transformation.bias": torch.zeros(hidden),
        "text_projection.weight": torch.randn(WIDTH, hidden, generator=generator) / hidden**0.5,
    }
    projection = {name: values[name.removeprefix("text_model.")] for name in PROJECTION}
    encoder = read_tensors(source / "model.safetensors")
    folder.mkdir()
    write_tensors(folder / "model.safetensors", projection | {f"text_model.roberta.{n}": t for n, t in encoder.items()})
    tower = config | {"model_type": "altclip_text_model", "project_dim": hidden}
    altclip = {"model_type": "altclip", "projection_dim": WIDTH, "text_config": tower}
    (folder / "config.json").write_text(json.dumps(altclip, indent=2) + "\n", encoding="utf-8")
    for path in tokenizer_files(source):
        shutil.copyfile(path, folder / path.name)


def write_data(source: Path, folder: Path) -> None:
    """What the experiment reads of a data folder: copies, for links must not lead to other people's files."""
    files = [path for name in USED for path in (source / name).rglob("*") if path.is_file()]
    for path in (*files, source / "splits.yaml"):
        copy = folder / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def write_features(model: Path, folder: Path) -> None:
    """The two files of features."""
    captions = next(folder.glob("en/test.jsonl*"))
    images = read_images(captions)
    generator = torch.Generator().manual_seed(2)
    drawn_vectors, noise = torch.randn(2, len(images), WIDTH, generator=generator) / WIDTH**0.5
    write_tensors(folder / "unrelated.safetensors", dict(zip(images, drawn_vectors, strict=True)))
    examples = read_captions(captions, folder / "unrelated.safetensors", "en")
    vectors = english_vectors(model, examples)
    centre = vectors.mean(dim=0)
    deviation = (vectors - centre).norm(dim=1).mean()
    write_tensors(folder / "features.safetensors", dict(zip(images, vectors + NOISE * deviation * noise, strict=True)))


def english_vectors(model: Path, examples: Sequence[Example]) -> Tensor:
    """The captions as the start model projects them, unit vectors [captions, WIDTH]."""
    parent, settings = read_parent(model), Settings(precision="fp32")
    encoder = parent.model((), settings, torch.device("cpu"))
    target = ImageText(encoder, parent, find("xflickrco"), load_tokenizer(model), settings, Runtime())
    return torch.from_numpy(target.caption_vectors(examples))


if __name__ == "__main__":
    write_data(Path("data"), Path("data-images"))
    write_model(Path("model-12"), Path("altclip"))
    write_features(Path("altclip"), Path("data-images/xflickrco"))
