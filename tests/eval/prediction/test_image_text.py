"""Images and captions: rankings against counting, vectors of captions and scores against transformers' AltCLIP."""

from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval import metrics
from eval.metrics import contributions
from eval.metrics.image_text import CUTS, Rankings
from eval.prediction.forward import FloatArray
from eval.prediction.image_text import ImageText, rankings
from eval.statistics import resample
from eval.statistics.differences import Compared, Difference, of_target
from eval.statistics.resample import Sample
from slurm.base import UserError
from training.formats.image_text import Example
from training.model.encoder import save_encoder
from training.model.parent import Parent, read_parent
from training.pretrained.config import handed_on
from training.pretrained.start import read_config, tokenizer_files
from training.pretrained.tokenizer import Tokenizer
from training.spec import Runtime, Settings
from training.tasks.task import Files, Hub, Task

CPU = torch.device("cpu")
PHOTOS = Task(
    name="photos",
    format="image_text",
    metric_family="image_text",
    metric="mean_recall",
    licence="ours",
    files=Files(),
    hub=Hub("", None),
    languages=("de",),
    training_path="none",
)
CAPTIONS = {
    "dog": ("Ein Hund.", "Der Hund liegt auf einem Sofa und schläft."),
    "ice": ("Eis",),
    "sea": ("", "Das Meer bei Nacht", "海"),
    "sun": ("Die Sonne scheint auf die Stadt.",),
}


def test_only_the_first_ten_count() -> None:
    names = [str(number) for number in range(12)]
    scores = metrics.score("image_text", ["10"], [([names], names)], "en")
    assert set(scores.values()) == {0.0}
    scores = metrics.score("image_text", ["9"], [([names], names)], "en")
    assert scores["ir@10"] == scores["tr@10"] == 100 and scores["ir@5"] == 0


def by_brute_force(similarities: np.ndarray, owners: list[int]) -> dict[str, float]:  # type: ignore[type-arg]
    """Of captions × images: the place of what is right, by counting what is before it (of equals the first wins)."""

    def place(row: list[float], column: int) -> int:
        return sum(value > row[column] or (value == row[column] and n < column) for n, value in enumerate(row))

    of_captions = [place(row.tolist(), owner) for row, owner in zip(similarities, owners, strict=True)]
    of_images = [
        min(place(column.tolist(), caption) for caption, owner in enumerate(owners) if owner == image)
        for image, column in enumerate(similarities.T)
    ]
    recalls = {f"ir@{k}": 100 * float(np.mean([p < k for p in of_captions])) for k in CUTS}
    recalls |= {f"tr@{k}": 100 * float(np.mean([p < k for p in of_images])) for k in CUTS}
    return {"mean_recall": mean(recalls.values())} | recalls


@given(st.lists(st.integers(1, 3), min_size=1, max_size=14), st.integers(0, 2**32 - 1))
def test_rankings_give_what_counting_gives(numbers_of_captions: list[int], seed: int) -> None:
    """Small whole numbers, so that ties are exact and frequent."""
    owners = [image for image, number in enumerate(numbers_of_captions) for _ in range(number)]
    generator = np.random.default_rng(seed)
    captions, images = (
        generator.integers(-2, 3, (n, 3)).astype(np.float32) for n in (len(owners), len(numbers_of_captions))
    )
    names = [f"image {number}" for number in range(len(images))]
    predictions = [
        ([[names[place] for place in places] for places in by_caption], [names[place] for place in by_image])
        for by_caption, by_image in rankings(captions, owners, images)
    ]
    expected = by_brute_force(captions @ images.T, owners)
    assert metrics.score("image_text", names, predictions, "xx") == pytest.approx(expected)


def units(
    generator: np.random.Generator, count: int, around: FloatArray | float = 0.0, noise: float = 1.0
) -> FloatArray:
    vectors = around + noise * generator.standard_normal((count, 32), np.float32) / 32**0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def predicted(captions: FloatArray, images: FloatArray) -> tuple[list[str], list[Rankings]]:
    """Golds and predictions of a caption per image."""
    names = [f"image {number}" for number in range(len(images))]
    return names, [
        ([[names[place] for place in places] for places in by_caption], [names[place] for place in by_image])
        for by_caption, by_image in rankings(captions, range(len(images)), images)
    ]


def test_vectors_that_say_nothing_of_each_other_are_at_chance_and_equal_ones_are_all_found() -> None:
    generator = np.random.default_rng(5)
    images = units(generator, 400)
    scores = metrics.score("image_text", *predicted(units(generator, 400), images), "xx")
    for k in CUTS:  # hits are as good as binomial, of chance k in 400
        error = 100 * (k / 400 / 400) ** 0.5
        assert abs(scores[f"ir@{k}"] - 100 * k / 400) < 4 * error and abs(scores[f"tr@{k}"] - 100 * k / 400) < 4 * error
    assert set(metrics.score("image_text", *predicted(images, images), "xx").values()) == {100.0}


def difference(seed: int, noise: float) -> Difference:
    """Between a recipe whose captions lie around their images with this noise, and a baseline with 3.0: four seeds of
    each on the same 150 images, tested as tables are."""
    generator = np.random.default_rng(seed)
    images = units(generator, 150)
    parts = []
    for length in (3.0,) * 4 + (noise,) * 4:
        golds, predictions = predicted(units(generator, 150, images, length), images)
        contribution = contributions.of_examples("image_text", "mean_recall", golds, predictions, "xx")
        assert contribution is not None
        kind, of_run = contribution
        parts.append(of_run)
    sample = Sample(kind, np.stack(parts, axis=2))
    scores, drawn_scores = resample.scores(sample), resample.drawn(sample, 400, seed)
    compared = Compared(scores[4:] - scores[:4], drawn_scores[:, 4:] - drawn_scores[:, :4])
    return of_target([compared], seed)[0]


@pytest.mark.slow
def test_a_planted_effect_is_found_and_its_absence_is_not() -> None:
    planted, null = ([difference(seed, noise) for seed in range(40)] for noise in (2.2, 3.0))
    assert all(world.value > 0 for world in planted)
    assert sum(world.p is not None and world.p < 0.05 for world in planted) >= 36
    assert sum(world.p is not None and world.p < 0.05 for world in null) <= 6  # 2 are expected


@pytest.fixture(scope="module")
def features(altclip_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of random images, by transformers' image tower."""
    from transformers import AltCLIPModel

    pixels = torch.randn(len(CAPTIONS), 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        vectors = AltCLIPModel.from_pretrained(altclip_model).eval().get_image_features(pixels).pooler_output
    path = tmp_path_factory.mktemp("features") / "features.npz"
    np.savez(path, **dict(zip(CAPTIONS, vectors.numpy(), strict=True)))
    return path


def examples(features: Path) -> list[Example]:
    return [
        Example(id=name, language="de", group=name, captions=captions, features=str(features))
        for name, captions in CAPTIONS.items()
    ]


def image_text(parent: Parent) -> ImageText:
    model = parent.model((), Settings(precision="fp32"), CPU)
    return ImageText(model, parent, PHOTOS, Tokenizer(parent.folder), Settings(), Runtime(eval_token_budget=20))


@pytest.mark.slow
def test_captions_and_scores_are_those_of_transformers(altclip_model: Path, features: Path) -> None:
    from transformers import AltCLIPModel, AutoTokenizer

    texts = [text for captions in CAPTIONS.values() for text in captions]
    batch = AutoTokenizer.from_pretrained(altclip_model)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        told = {name: batch[name] for name in ("input_ids", "attention_mask")}
        theirs = AltCLIPModel.from_pretrained(altclip_model).eval().get_text_features(**told).pooler_output
    ours = image_text(read_parent(altclip_model))
    vectors = ours.caption_vectors(examples(features))
    expected = torch.nn.functional.normalize(theirs, dim=1).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    with np.load(features) as arrays:
        images = np.stack([arrays[name] / np.linalg.norm(arrays[name]) for name in CAPTIONS])
    owners = [number for number, captions in enumerate(CAPTIONS.values()) for _ in captions]
    result = ours.language("de", examples(features))
    assert result.scores == pytest.approx(by_brute_force(expected @ images.T, owners))
    assert len({result.scores[name] for name in ("ir@1", "tr@1", "ir@5")}) > 1
    assert [(row["id"], row["gold"]) for row in result.predictions] == [(name, name) for name in CAPTIONS]


@pytest.mark.slow
def test_the_projection_is_handed_on_beside_an_encoder_that_is_an_ordinary_xlmr(
    altclip_model: Path, features: Path, tmp_path: Path
) -> None:
    parent = read_parent(altclip_model)
    contents = {path.name: path.read_bytes() for path in tokenizer_files(altclip_model)}
    config = handed_on(read_config(altclip_model))
    files = save_encoder(dict(parent.tensors), {}, config, contents, tmp_path / "with", parent.projection)
    again = read_parent(tmp_path / "with", known_hash=parent.encoder_hash)
    assert again.sha256["text_projection.safetensors"] == files["text_projection.safetensors"]["sha256"]
    one, other = (image_text(model).language("de", examples(features)) for model in (parent, again))
    assert (one.scores, one.predictions) == (other.scores, other.predictions)
    save_encoder(dict(parent.tensors), {}, config, contents, tmp_path / "without")
    with pytest.raises(UserError, match=r"target photos: captions are compared .* choose an AltCLIP"):
        image_text(read_parent(tmp_path / "without"))


@pytest.mark.slow
def test_features_of_another_space_are_refused(altclip_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    np.savez(path, **dict.fromkeys(CAPTIONS, np.ones(3, np.float32)))
    with pytest.raises(UserError, match=r"features.npz: 3 features per image, but the model projects captions to 10"):
        image_text(read_parent(altclip_model)).language("de", examples(path))
