"""Folders of images: what is read, pixel by pixel, and what is refused with the way out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gecko_jax import datasets

CLASSES = ("covid", "normal", "pneumonia")


def write(folder, name, array, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)
    return path


@pytest.fixture
def scans(tmp_path):
    """Three unbalanced classes of gray images, each with pixels of its own."""
    rng = np.random.default_rng(0)
    folder, pixels = tmp_path / "scans", []
    for label, (name, count) in enumerate(zip(CLASSES, (2, 7, 4), strict=True)):
        for i in range(count):
            pixels.append((label, rng.integers(0, 256, (6, 6))))
            write(folder, f"{name}/{i}.png", pixels[-1][1])
    return folder, pixels


def test_images_of_the_right_size_are_read_pixel_by_pixel(scans):
    folder, pixels = scans
    data = datasets.from_images(folder, side=6, test_rows=3)
    assert data.name == "scans" and data.num_classes == 3
    assert data.train.x.shape == (10, 6, 6, 1) and data.train.x.dtype == np.float32
    for part in (data.train, data.test):
        for x, y, i in zip(part.x, part.y, part.id, strict=True):
            label, image = pixels[i]
            assert y == label
            np.testing.assert_allclose(x[..., 0], image / 255, rtol=1e-6)
    assert sorted([*data.train.id, *data.test.id]) == list(range(13))


def test_a_split_of_its_own_is_kept(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for gray, name in ((10, "a"), (200, "b")):
            for i in range(count):
                write(tmp_path, f"{split}/{name}/{i}.png", np.full((4, 4), gray))
    (tmp_path / ".DS_Store").write_text("not an image")
    data = datasets.from_images(tmp_path, side=4)
    assert data.train.y.tolist() == [0, 0, 0, 1, 1, 1] and data.test.y.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(data.test.x[:, 0, 0, 0], np.array([10, 10, 200, 200]) / 255, rtol=1e-6)


def test_size_color_and_rotation(tmp_path):
    """A camera stores how it was held beside the pixels; gray is Rec. 601's luma of the colors."""
    color = np.zeros((4, 8, 3))
    color[:, :4] = (200, 100, 50)
    write(tmp_path, "a/1.png", color)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    write(tmp_path, "b/1.png", color, exif=exif)
    data = datasets.from_images(tmp_path, side=4, channels=3, test_rows=1)
    x = dict(zip([*data.train.id, *data.test.id], [*data.train.x, *data.test.x], strict=True))
    np.testing.assert_allclose(x[0][0, 0], np.array([200, 100, 50]) / 255, atol=0.002)
    np.testing.assert_allclose(x[1][0, -1], np.array([200, 100, 50]) / 255, atol=0.002)
    assert x[0][0, -1].max() == x[1][0, 0].max() == 0
    gray = datasets.from_images(tmp_path, side=8, test_rows=1)
    x = dict(zip([*gray.train.id, *gray.test.id], [*gray.train.x, *gray.test.x], strict=True))
    assert x[0][0, 0, 0] == pytest.approx((0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255, abs=0.003)


def test_a_folder_that_is_not_one_is_named(scans, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder; expected one with a folder of images"):
        datasets.from_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is a folder, not the name of a data set.*datasets.from_images"):
        datasets.load(str(scans[0]))
    with pytest.raises(ValueError, match="side=0"):
        datasets.from_images(scans[0], side=0)
    with pytest.raises(ValueError, match="channels=2"):
        datasets.from_images(scans[0], channels=2)


def change(folder, what):
    """Makes a good folder a bad one."""
    covid = folder / "covid"
    if what == "one class":
        for name in CLASSES[1:]:
            (folder / name).rename(folder.parent / name)
    elif what == "loose file":
        (folder / "labels.csv").write_text("1,2")
    elif what == "empty class":
        (folder / "empty").mkdir()
    elif what == "other file":
        (covid / "scan.dcm").write_bytes(b"DICM")
    elif what == "damaged":
        (covid / "0.png").write_bytes((covid / "0.png").read_bytes()[:60])
    elif what == "text":
        (covid / "0.png").write_text("an image, really")
    elif what == "16 bits":
        Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(covid / "0.png")
    elif what == "transparent":
        write(folder, "covid/0.png", np.zeros((4, 4, 4)))
    elif what == "frames":
        frames = [Image.new("L", (4, 4), gray) for gray in (0, 255)]
        frames[0].save(covid / "9.gif", save_all=True, append_images=frames[1:])
    elif what == "classes of splits":
        good = [(folder / name) for name in CLASSES]
        for split, names in (("train", good), ("test", good[:2])):
            for path in names:
                write(folder.parent / "both", f"{split}/{path.name}/0.png", np.zeros((4, 4)))
        return folder.parent / "both"
    return folder


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("one class", "holds 1 folders; expected one with images for each of at least two classes"),
        ("loose file", "holds files beside the classes' folders: labels.csv"),
        ("empty class", "empty holds no image"),
        ("other file", "holds scan.dcm; expected images alone"),
        ("damaged", "0.png cannot be read as an image"),
        ("text", "0.png cannot be read as an image"),
        ("16 bits", "0.png is of mode 'I;16'; expected 8 bits a channel"),
        ("transparent", "0.png is of mode 'RGBA'"),
        ("frames", "9.gif holds 2 frames; expected one"),
        ("classes of splits", "have different classes: pneumonia stands in one alone"),
    ],
)
def test_what_would_be_another_data_set_is_refused(scans, what, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_images(change(scans[0], what))
