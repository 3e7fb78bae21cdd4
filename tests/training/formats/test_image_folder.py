"""A folder of images: which are taken, and what people have in one, in one line."""

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slurm.base import UserError
from training.formats.image_folder import image_files, read_image


def picture(path: Path, colour: Any = (200, 10, 30), size: tuple[int, int] = (9, 7), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def test_images_are_taken_from_all_folders_below(tmp_path: Path) -> None:
    paths = {
        "1": picture(tmp_path / "images/1.png"),
        "COCO_7": picture(tmp_path / "images/coco/COCO_7.JPG"),
        "far": picture(tmp_path / "elsewhere/far.webp"),
    }
    (tmp_path / "images/flickr").symlink_to(tmp_path / "elsewhere")
    for name in ("readme.txt", "._1.png", "1.png.part", "Thumbs.db"):
        (tmp_path / "images" / name).write_text("no image")
    files = image_files(tmp_path / "images")
    assert {name: path.resolve() for name, path in files.items()} == paths and list(files) == sorted(paths)
    assert list(image_files(tmp_path / "images", {"far"})) == ["far"]


def test_what_is_no_folder_of_images_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder of images"):
        image_files(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"no image in it; looked for .jpg, .jpeg, .png, .webp, .bmp, there and in"):
        image_files(tmp_path)
    picture(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"no file of image 'b' and 1 more, which has captions"):
        image_files(tmp_path, {"a", "b", "c"})


def test_two_images_called_alike_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg"), picture(tmp_path / "coco/a.png"), picture(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"/a.jpg and .*/coco/a.png: both would be image 'a'; leave one"):
        image_files(tmp_path)
    assert list(image_files(tmp_path, {"b"})) == ["b"]  # the others are nobody's


@pytest.mark.parametrize(
    ("mode", "colour"),
    [("RGB", (200, 10, 30)), ("RGBA", (200, 10, 30, 99)), ("L", 77), ("P", 5), ("CMYK", (1, 2, 3, 4))],
)
def test_every_kind_of_image_is_read_in_rgb(mode: str, colour: Any, tmp_path: Path) -> None:
    image = read_image(picture(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), colour, mode=mode))
    assert (image.mode, image.size) == ("RGB", (9, 7))
    assert mode != "L" or image.getpixel((3, 3)) == (77, 77, 77)


def test_an_image_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (9, 7)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (7, 9)


def test_what_is_no_whole_image_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {
        ending: picture(tmp_path / f"whole.{ending}", size=(99, 80)).read_bytes() for ending in ("jpg", "png", "bmp")
    }
    contents = (
        {f"torn.{ending}": content[: len(content) * 2 // 3] for ending, content in whole.items()}
        | {
            "empty.jpg": b"",
            "page.jpg": b"<html>404 Not Found</html>",
            "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",  # Pillow would start Ghostscript
            "broken.png": whole["png"][:40] + b"\0" * 20 + whole["png"][60:],
        }
    )
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in (*contents, "missing.png"):
        with pytest.raises(
            UserError, match=rf"{name}: not an image that can be read \(.*mend it, or leave it"
        ) as error:
            read_image(tmp_path / name)
        assert "\n" not in str(error.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match=r"whole.png: not an image that can be read .*decompression bomb"):
        read_image(tmp_path / "whole.png")


def test_without_pillow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=r"Pillow, which is not installed here: `pip install 'stepstone\[images\]'`"):
        read_image(path)
