"""Features of images against transformers' AltCLIP, and what is no image tower, in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from launch.cli.app import app
from slurm.base import UserError
from training.formats import image_features
from training.formats.image_folder import image_files
from training.model.image_tower import ImageTower, features_of_files
from training.pretrained.start import WEIGHTS
from training.tensors import read_tensors, write_tensors

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SIZE = 8  # of the fixture's tower
MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
# As BAAI/AltCLIP has it, made small.
PUBLISHED = {
    "crop_size": SIZE, "do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3, "size": SIZE,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": list(MEAN), "image_std": list(SPREAD),
}  # fmt: skip


@pytest.fixture
def model(altclip_model: Path, tmp_path: Path) -> Path:
    """The random AltCLIP with its images' preprocessing (hard links: replace files, do not write into them)."""
    folder = tmp_path / "altclip"
    folder.mkdir()
    for path in altclip_model.iterdir():
        (folder / path.name).hardlink_to(path)
    (folder / "preprocessor_config.json").write_text(json.dumps(PUBLISHED))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Random ones, wide and high, in 20 files: more than are computed at a time."""
    folder, generator = tmp_path / "images", np.random.default_rng(3)
    folder.mkdir()
    for number in range(20):
        shape = (8 + number, 30 - number, 3)
        Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(folder / f"image {number}.png")
    return folder


def as_clip_prepares(path: Path) -> torch.Tensor:
    """The shorter side to 8 by bicubic resizing, the middle, CLIP's normalisation; with Pillow and numpy alone."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    shorter = min(width, height)
    image = image.resize((SIZE * width // shorter, SIZE * height // shorter), Image.Resampling.BICUBIC)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    pixels = np.asarray(image, np.float64)[top : top + SIZE, left : left + SIZE] / 255
    return torch.from_numpy(((pixels - MEAN) / SPREAD).transpose(2, 0, 1)).float()


def test_features_are_those_of_transformers(model: Path, images: Path, tmp_path: Path) -> None:
    from transformers import AltCLIPModel

    done = CliRunner().invoke(
        app, ["models", "image-features", str(model), str(images), str(tmp_path / "f.safetensors")]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path}/f.safetensors: 20 images, 10 features each.\n"
    files = image_files(images)
    pixels = torch.stack([as_clip_prepares(path) for path in files.values()])
    with torch.no_grad():
        expected = AltCLIPModel.from_pretrained(model).eval().get_image_features(pixels).pooler_output
    features = read_tensors(tmp_path / "f.safetensors")
    assert list(features) == sorted(files)
    torch.testing.assert_close(torch.stack([features[name] for name in files]), expected, rtol=1e-5, atol=1e-5)
    # and as the format reads them: unit vectors
    vectors = image_features.read(tmp_path / "f.safetensors", list(files))
    np.testing.assert_allclose(vectors, torch.nn.functional.normalize(expected, dim=1).numpy(), atol=1e-5)


def test_preprocessing_as_newer_versions_save_it_is_the_same(model: Path, images: Path) -> None:
    """Beside the tokenizer's, in processor_config.json."""
    files = dict(list(image_files(images).items())[:3])
    (old,) = features_of_files(ImageTower(model, CPU), files)
    values = PUBLISHED | {"image_processor_type": "CLIPImageProcessor"}
    (model / "preprocessor_config.json").unlink()
    (model / "processor_config.json").write_text(json.dumps({"image_processor": values}))
    (new,) = features_of_files(ImageTower(model, CPU), files)
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)


def test_only_images_with_captions_are_computed(model: Path, images: Path, tmp_path: Path) -> None:
    rows = [{"img_path": f"image {number}.jpg", "sentences": ["x"]} for number in (3, 11)]
    for name, of_language in (("de", rows), ("en", rows[:1])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_language))
    asked = ["--captions", str(tmp_path / "en.jsonl"), "--captions", str(tmp_path / "de.jsonl")]
    arguments = ["models", "image-features", str(model), str(images), str(tmp_path / "f.safetensors")]
    done = CliRunner().invoke(app, [*arguments, *asked])
    assert done.exit_code == 0, done.output
    assert image_features.names(tmp_path / "f.safetensors") == {"image 3", "image 11"}
    again = CliRunner().invoke(app, [*arguments, *asked])
    assert again.exit_code == 1 and isinstance(again.exception, UserError)
    assert str(again.exception).endswith("f.safetensors: already there. Remove it, or choose another name.")


def test_a_bad_image_is_named_before_any_is_computed(model: Path, images: Path, tmp_path: Path) -> None:
    (images / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    done = CliRunner().invoke(
        app, ["models", "image-features", str(model), str(images), str(tmp_path / "f.safetensors")]
    )
    assert done.exit_code == 1 and "torn.jpg: not an image that can be read" in str(done.exception)
    assert not list(tmp_path.glob("*f.safetensors*"))


@pytest.mark.parametrize(
    ("preprocessing", "says"),
    [
        (None, "preprocessor_config.json is missing; copy the one"),
        (PUBLISHED | {"crop_size": 9}, r"images of shape \[3, 9, 9\], but its tower takes \[3, 8, 8\]"),
        (PUBLISHED | {"do_center_crop": False}, r"images of shape \[3, 8, 16\]"),
        (PUBLISHED | {"feature_extractor_type": "ViTFeatureExtractor"}, "is of 'ViTFeatureExtractor'"),
        (PUBLISHED | {"size": "large"}, "says not how images are prepared"),
        ([1], "says not how images are prepared"),
        ("torn", "says not how images are prepared"),
    ],
)
def test_preprocessing_that_does_not_fit_is_one_line(preprocessing: Any, says: str, model: Path) -> None:
    path = model / "preprocessor_config.json"
    path.unlink() if preprocessing is None else path.write_text(
        json.dumps(preprocessing)[: None if preprocessing != "torn" else 3]
    )
    with pytest.raises(UserError, match=says) as error:
        ImageTower(model, CPU).features([Image.new("RGB", (20, 10))])
    assert "\n" not in str(error.value) and str(model) in str(error.value)


def test_a_model_without_an_image_tower_is_one_line(model: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no image tower, it is a model of texts alone"):
        ImageTower(tiny_model, CPU)
    with pytest.raises(UserError, match="nowhere: no such model folder"):
        ImageTower(tmp_path / "nowhere", CPU)
    tensors = read_tensors(model / WEIGHTS)
    (model / WEIGHTS).unlink()
    write_tensors(model / WEIGHTS, {name: tensor for name, tensor in tensors.items() if "vis" not in name})
    with pytest.raises(
        UserError, match=r"has no whole image tower: the weights lack vision_model\S* and \d+ more"
    ) as error:
        ImageTower(model, CPU)
    assert "\n" not in str(error.value)
    write_tensors(model / WEIGHTS, tensors | {"visual_projection.weight": torch.zeros(3, 3)})
    with pytest.raises(UserError, match="no AltCLIP that can be built") as error:
        ImageTower(model, CPU)
    assert "\n" not in str(error.value)
    (model / WEIGHTS).rename(model / "pytorch_model.bin")
    with pytest.raises(UserError, match="never loaded"):
        ImageTower(model, CPU)
