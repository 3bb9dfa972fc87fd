"""CIFAR's binary files: unpacked and in the archive, read byte by byte, and damage named."""

import io
import tarfile

import numpy as np
import pytest

from gecko_jax import datasets
from gecko_jax.datasets import cifar
from gecko_jax.digests import sha256

ROWS = 3  # of each file
RNG = np.random.default_rng(0)


def made_up(name):
    """{file: bytes} of random rows, and the images and labels that a loop over the bytes reads."""
    source, files, x, y = cifar.SOURCES[name], {}, [], []
    for file in (*source.train, *source.test):
        parts = []
        for i in range(ROWS):
            label, pixels = (len(y) + i) % source.classes, RNG.integers(0, 256, 3072, dtype=np.uint8)
            parts.append(bytes([7] * (source.labels - 1) + [label]) + pixels.tobytes())
            image = np.empty((32, 32, 3))
            for color in range(3):
                for row in range(32):
                    image[row, :, color] = pixels[1024 * color + 32 * row : 1024 * color + 32 * row + 32] / 255
            x.append(image)
        y += [part[source.labels - 1] for part in parts]
        files[file] = b"".join(parts)
    return files, np.array(x), np.array(y)


def archive(source, files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for file, data in {**files, "batches.meta.txt": b"airplane\n"}.items():
            member = tarfile.TarInfo(f"{source.folder}/{file}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture
def own(monkeypatch, tmp_path):
    """(name) -> its made-up files, which count as the published ones."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home"))

    def publish(name):
        files, x, y = made_up(name)
        source = cifar.SOURCES[name]
        digests = [{file: sha256(files[file]) for file in part} for part in (source.train, source.test)]
        source = source._replace(train=digests[0], test=digests[1], sha256=sha256(archive(source, files)))
        monkeypatch.setitem(cifar.SOURCES, name, source)
        return source, files, x, y

    return publish


def write(folder, files):
    folder.mkdir(parents=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_files_archive_and_prepared_files_read_the_same(own, tmp_path, name):
    source, files, x, y = own(name)
    write(tmp_path / "plain" / source.folder, files)
    write(tmp_path / "packed", {source.archive: archive(source, files)})
    written = datasets.prepare(name, tmp_path / "packed")
    assert [path.parent for path in written] == [tmp_path / "packed" / name / source.folder] * len(files)
    (tmp_path / "packed" / name / source.folder / "test_batch.bin").unlink(missing_ok=True)  # then the archive is read
    for place in ("plain", "packed"):
        data = datasets.load(name, tmp_path / place)
        n = ROWS * len(source.train)
        assert (data.num_classes, len(data.train.y), len(data.test.y)) == (source.classes, n, ROWS)
        np.testing.assert_allclose(np.concatenate([data.train.x, data.test.x]), x, rtol=1e-6)
        np.testing.assert_array_equal(np.concatenate([data.train.y, data.test.y]), y)
        np.testing.assert_array_equal(np.concatenate([data.train.id, data.test.id]), np.arange(n + ROWS))


def test_files_that_are_not_the_published_ones_are_told(own, tmp_path, monkeypatch):
    source, files, x, _ = own("cifar10")
    monkeypatch.setitem(cifar.SOURCES, "cifar10", source._replace(train={**source.train, "data_batch_2.bin": "0" * 64}))
    write(tmp_path / "cifar10", files)
    with pytest.warns(UserWarning, match=r"data_batch_2.bin of cifar10 differ from the published files \(SHA-256\)"):
        datasets.load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "data_batch_1.bin: 9218 bytes; expected rows of 3073"),
        (lambda data: b"", "data_batch_1.bin: 0 bytes"),
        (lambda data: bytes([10]) + data[1:], r"data_batch_1.bin: row 0 has label 10; expected 0\.\.9"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*differ from the published files")
def test_a_damaged_file_is_named(own, tmp_path, change, message):
    _, files, _, _ = own("cifar10")
    write(tmp_path / "cifar10", files | {"data_batch_1.bin": change(files["data_batch_1.bin"])})
    with pytest.raises(ValueError, match=message):
        datasets.load("cifar10", tmp_path)


def test_a_damaged_archive_is_named(own, tmp_path):
    source, files, _, _ = own("cifar10")
    complete = archive(source, files)
    for data in (complete[: len(complete) // 2], b"no archive", archive(source, {"test_batch.bin": b""})):
        (tmp_path / source.archive).write_bytes(data)
        with pytest.raises(ValueError, match="cifar-10-binary.tar.gz: corrupt archive"):
            datasets.load("cifar10", tmp_path)


def test_absent_files_name_the_folders_and_the_way_out(own, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "test_batch.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("cifar10", tmp_path)
    message = str(caught.value)
    assert f"{tmp_path / 'cifar10'} (lacks ['data_batch_1.bin'" in message and "(no network in this test)" in message
    assert "python scripts/prepare_data.py cifar10 --data_dir=DIR" in message
