"""The idx files: parsing, searching, downloading and refusing, on small files that the tests write themselves."""

import gzip
import hashlib
import pathlib
import struct

import numpy as np
import pytest

from gecko_jax import datasets
from gecko_jax.datasets import idx
from gecko_jax.datasets import mnist as files
from gecko_jax.datasets.download import download

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
LABELS = np.array([3, 9, 0, 1, 1, 2], np.uint8)


def _idx(array, magic=None):
    head = struct.pack(">I", magic if magic is not None else 0x0800 + array.ndim)
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _write(folder, packed=True, **change):
    contents = {
        "train-images-idx3-ubyte": _idx(IMAGES),
        "train-labels-idx1-ubyte": _idx(LABELS),
        "t10k-images-idx3-ubyte": _idx(IMAGES[::-1][:2]),
        "t10k-labels-idx1-ubyte": _idx(LABELS[::-1][:2]),
    } | change
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(data)) if packed else (folder / name).write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch):
    """No folder but those of the test, and an address that nothing lies at."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home"))
    for name, source in files.SOURCES.items():
        url = (tmp_path / "network" / name).as_uri() + "/"
        monkeypatch.setitem(files.SOURCES, name, source._replace(url=url, system=(str(tmp_path / "system"),)))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_load(tmp_path, name, packed):
    _write(tmp_path / "data", packed)
    data = datasets.load(name, tmp_path / "data")
    assert (data.name, data.num_classes, data.train.x.shape) == (name, 10, (6, 5, 4, 1))
    np.testing.assert_allclose(data.train.x[..., 0], IMAGES / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(data.train.y, LABELS)
    np.testing.assert_array_equal(data.test.y, LABELS[::-1][:2])
    assert data.test.id.tolist() == [6, 7]


def test_the_folder_of_its_own_name_comes_first(tmp_path):
    _write(tmp_path / "data", **{"train-labels-idx1-ubyte": _idx(LABELS[::-1])})
    _write(tmp_path / "data" / "mnist")
    assert datasets.load("mnist", tmp_path / "data").train.y.tolist() == LABELS.tolist()
    assert datasets.load("fashion_mnist", tmp_path / "data").train.y.tolist() == LABELS[::-1].tolist()


@pytest.mark.parametrize("place", ["home/mnist", "system"])
def test_other_places(tmp_path, place):
    _write(tmp_path / place)
    assert files.find("mnist", tmp_path / "data")[0].parent == tmp_path / place
    assert files.find("mnist")[0].parent == tmp_path / place


def test_one_is_not_taken_for_the_other(tmp_path):
    first = np.array(files.SOURCES["mnist"].first_labels, np.uint8)
    _write(
        tmp_path / "data",
        **{"train-labels-idx1-ubyte": _idx(first), "train-images-idx3-ubyte": _idx(np.zeros((10, 5, 4), np.uint8))},
    )
    with pytest.raises(ValueError, match="train-labels.*: the labels of mnist, not fashion_mnist"):
        datasets.load("fashion_mnist", tmp_path / "data")
    assert len(datasets.load("mnist", tmp_path / "data").train.y) == 10


def test_nowhere_lists_every_place_and_the_remedy(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("fashion_mnist", tmp_path / "data")
    message = str(caught.value)
    for place in ("data/fashion_mnist", "data (lacks train-labels", "home/fashion_mnist", "system", "network"):
        assert str(tmp_path / place) in message
    assert "apt-get install dataset-fashion-mnist" in message
    assert "python scripts/prepare_data.py fashion_mnist --data_dir=" in message


def _publish(tmp_path, monkeypatch, name="mnist"):
    folder = _write(tmp_path / "network" / name)
    sha256 = tuple(hashlib.sha256((folder / f"{file}.gz").read_bytes()).hexdigest() for file in files.FILES)
    monkeypatch.setitem(files.SOURCES, name, files.SOURCES[name]._replace(sha256=sha256))
    return folder


@pytest.mark.parametrize("given", [True, False])
def test_download_and_find_again(tmp_path, monkeypatch, given):
    network = _publish(tmp_path, monkeypatch)
    data_dir = tmp_path / "data" if given else None
    data = datasets.load("mnist", data_dir)
    assert data.train.y.tolist() == LABELS.tolist()
    for file in network.iterdir():
        file.unlink()
    folder = tmp_path / ("data" if given else "home") / "mnist"
    assert [path.parent for path in datasets.prepare("mnist", data_dir)] == [folder] * 4
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{file}.gz" for file in files.FILES)
    assert datasets.load("mnist", data_dir).test.y.tolist() == data.test.y.tolist()


def test_a_download_that_stopped_goes_on(tmp_path, monkeypatch):
    network = _publish(tmp_path, monkeypatch)
    last = network / f"{files.FILES[3]}.gz"
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(FileNotFoundError):
        datasets.load("mnist", tmp_path / "data")
    for file in network.iterdir():
        file.unlink()
    last.write_bytes(content)
    assert datasets.load("mnist", tmp_path / "data").train.y.tolist() == LABELS.tolist()


def test_a_wrong_checksum_leaves_nothing(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"other bytes")
    got, expected = (hashlib.sha256(each).hexdigest() for each in (b"other bytes", b"published bytes"))
    with pytest.raises(ValueError, match=f"SHA-256 is {got}, expected {expected}"):
        download(source.as_uri(), tmp_path / "folder" / "file", expected)
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_download_replaces_whole_files_only(tmp_path):
    source, target = tmp_path / "source", tmp_path / "folder" / "file"
    source.write_bytes(b"new")
    assert download(source.as_uri(), target, hashlib.sha256(b"new").hexdigest()) == target
    assert target.read_bytes() == b"new" and target.stat().st_mode & 0o444 == 0o444
    source.unlink()
    with pytest.raises(OSError):
        download(source.as_uri(), target, hashlib.sha256(b"new").hexdigest())
    assert target.read_bytes() == b"new" and list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated; 0 bytes"),
        (_idx(LABELS)[:3], "truncated; 3 bytes"),
        (_idx(LABELS)[:6], "truncated; 6 bytes, a header of 1 axes has 8"),
        (_idx(LABELS)[:-1], r"truncated; 13 bytes, the header's shape \(6,\) makes 14"),
        (_idx(LABELS) + b"0", "too long; 15 bytes"),
        (_idx(LABELS, magic=0x1F8B0801), "magic is 0x1f8b0801; not an idx file"),
        (_idx(LABELS, magic=0x00000701), "magic is 0x00000701; not an idx file"),
        (_idx(LABELS, magic=0x00000D01), "holds float32"),
        (_idx(IMAGES), r"has 3 axes \(magic 0x00000803\); expected 1"),
    ],
)
def test_damaged_idx(tmp_path, data, message):
    path = tmp_path / "labels"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        idx.read(path, axes=1)
    assert str(path) in str(caught.value)


def test_damaged_gzip(tmp_path):
    good = gzip.compress(_idx(IMAGES))
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1 :]
    path = tmp_path / "images.gz"
    for data in (b"no gzip", good[:middle], good[:-3], good[:5], flipped, good + b"tail"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"images\.gz: corrupt gzip file"):
            idx.read(path, axes=3)


def test_labels_and_images_that_do_not_match(tmp_path):
    _write(tmp_path / "data", **{"t10k-labels-idx1-ubyte": _idx(LABELS)})
    with pytest.raises(ValueError, match="t10k-labels.*: 6 labels for the 2 images of .*t10k-images"):
        datasets.load("mnist", tmp_path / "data")


def test_a_label_out_of_range(tmp_path):
    _write(tmp_path / "data", **{"t10k-labels-idx1-ubyte": _idx(np.array([1, 10], np.uint8))})
    with pytest.raises(ValueError, match=r"test_y\[1\]=10 must lie in 0..9"):
        datasets.load("mnist", tmp_path / "data")


@pytest.mark.parametrize("name", files.SOURCES)
def test_each_file_has_the_checksum_that_tensorflow_datasets_has(name):
    """TFDS's own table, in its package, of the files of the same names and lengths."""
    import tensorflow_datasets

    table = pathlib.Path(tensorflow_datasets.__file__).parent / "url_checksums" / f"{name}.txt"
    known = {line.rstrip().rpartition("\t")[2]: line.split("\t")[2] for line in table.read_text().splitlines()}
    assert files.SOURCES[name].sha256 == tuple(known[f"{file}.gz"] for file in files.FILES)


def test_images_of_the_other_data_set_are_refused(tmp_path, monkeypatch):
    """Labels told the two apart, images did not: 60,000 of one beside as many labels of the other were taken."""
    plain, packed = _write(tmp_path / "plain", packed=False), _write(tmp_path / "packed")
    of_packed = hashlib.sha256((packed / f"{files.FILES[0]}.gz").read_bytes()).hexdigest()
    known = dict(images=hashlib.sha256(IMAGES.tobytes()).hexdigest()), dict(sha256=(of_packed, "", "", ""))
    for folder, of_mnist in zip((plain, packed), known, strict=True):
        with monkeypatch.context() as patch:
            patch.setitem(files.SOURCES, "mnist", files.SOURCES["mnist"]._replace(**of_mnist))
            with pytest.raises(ValueError, match="train-images.*: the images of mnist, not fashion_mnist"):
                datasets.load("fashion_mnist", folder)
            assert len(datasets.load("mnist", folder).train.y) == 6


def test_an_md5_is_not_taken_for_a_checksum(tmp_path):
    (tmp_path / "source").write_bytes(b"bytes")
    with pytest.raises(ValueError, match="sha256='.*' must be the 64 hexadecimal digits"):
        download((tmp_path / "source").as_uri(), tmp_path / "file", hashlib.md5(b"bytes").hexdigest())
    assert not (tmp_path / "file").exists()
