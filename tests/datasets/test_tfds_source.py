"""TFDS without TensorFlow: small builders of the test's own, written and read back."""

import io
import sys

import numpy as np
import pytest

from gecko_jax import datasets

ROWS = {"train": range(0, 20), "test": range(100, 108)}


def _png(value):
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.full((4, 3), value, np.uint8)).save(out, "png")
    out.seek(0)
    return out


def _prepare(folder, kind, rows=ROWS):
    """Writes a data set whose row i has inputs made of i, the label i % 3 and, where there is one, the id i."""
    import tensorflow_datasets as tfds

    columns = {
        "pictures": {"image": tfds.features.Image(shape=(4, 3, 1)), "id": np.int64},
        "named": {"features": tfds.features.Tensor(shape=(2,), dtype=np.float32), "id": tfds.features.Text()},
        "nameless": {"features": tfds.features.Tensor(shape=(2,), dtype=np.float32)},
        "scalar": {"features": np.float32},
        "strange": {"sound": np.float32},
    }[kind]
    columns["label"] = tfds.features.ClassLabel(num_classes=4)

    def examples(self, numbers):
        for i in numbers:
            row = {"label": i % 3}
            for column in columns:
                if column == "image":
                    row[column] = _png(i)
                elif column == "features":
                    row[column] = np.float32(i) if kind == "scalar" else np.array([i, -i], np.float32)
                elif column == "id":
                    row[column] = f"row {i}" if kind == "named" else i
                elif column == "sound":
                    row[column] = np.float32(0)
            yield i, row

    body = {
        "__module__": __name__,
        "VERSION": tfds.core.Version("1.0.0"),
        "name": f"gecko_{kind}",
        "pkg_dir_path": folder,
        "_info": lambda self: tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(columns)),
        "_split_generators": lambda self, _: {split: examples(self, numbers) for split, numbers in rows.items()},
        "_generate_examples": examples,
    }
    # Not registered: what is read back is the folder alone.
    builder_class = type(f"Gecko{kind.title()}", (tfds.core.GeneratorBasedBuilder,), body, skip_registration=True)
    builder = builder_class(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return f"tfds:gecko_{kind}"


@pytest.fixture(autouse=True)
def no_tensorflow():
    """Nothing in here imports TensorFlow."""
    yield
    assert "tensorflow" not in sys.modules


def test_images_and_ids(tmp_path):
    data = datasets.load(_prepare(tmp_path, "pictures"), tmp_path)
    assert (data.name, data.num_classes) == ("tfds:gecko_pictures", 4)
    assert data.train.x.shape == (20, 4, 3, 1) and data.test.x.shape == (8, 4, 3, 1)
    for split, rows in ((data.train, ROWS["train"]), (data.test, ROWS["test"])):
        assert sorted(split.id) == list(rows)
        np.testing.assert_allclose(split.x[:, 0, 0, 0], split.id / 255, rtol=1e-6)
        np.testing.assert_array_equal(split.y, split.id % 3)
    assert data.train.id.tolist() != list(ROWS["train"])  # shuffled on writing


def test_membership_survives_preparing_anew(tmp_path):
    """Other rows in the file, another order; a row that is in both keeps its membership."""
    first = datasets.load(_prepare(tmp_path / "a", "named"), tmp_path / "a")
    rows = ROWS | {"train": range(5, 40)}
    second = datasets.load(_prepare(tmp_path / "b", "named", rows), tmp_path / "b")
    member = [
        {int(x[0]): coin for x, coin in zip(data.train.x, datasets.coins(data.train.id, 1, 0)[0], strict=True)}
        for data in (first, second)
    ]
    assert all(member[0][i] == member[1][i] for i in range(5, 20))


def test_places_stand_in_for_ids(tmp_path):
    data = datasets.load(_prepare(tmp_path, "nameless"), tmp_path)
    assert data.train.id.tolist() == list(range(20)) and data.test.id.tolist() == list(range(20, 28))
    np.testing.assert_array_equal(data.train.x[:, 0], -data.train.x[:, 1])


def test_splits_that_number_from_the_same_id_on(tmp_path):
    data = datasets.load(_prepare(tmp_path, "pictures", {"train": range(20), "test": range(8)}), tmp_path)
    np.testing.assert_allclose(data.test.x[:, 0, 0, 0], (data.test.id - 20) / 255, rtol=1e-6)


def test_validation_or_a_fixed_fifth_for_a_missing_test_split(tmp_path):
    rows = {"train": ROWS["train"], "validation": ROWS["test"]}
    data = datasets.load(_prepare(tmp_path / "a", "pictures", rows), tmp_path / "a")
    assert sorted(data.test.id) == list(ROWS["test"])
    data = datasets.load(_prepare(tmp_path / "b", "scalar", {"train": ROWS["train"]}), tmp_path / "b")
    assert data.train.x.shape == (16, 1) and data.test.x.shape == (4, 1)


def _stored_as_tfrecord(folder):
    """TFDS's default format, by its name only: writing it needs TensorFlow."""
    name = _prepare(folder, "named")
    info = folder / "gecko_named" / "1.0.0" / "dataset_info.json"
    assert '"fileFormat": "array_record"' in info.read_text()
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    return name


def test_errors(tmp_path):
    for name, error, message in [
        (_prepare(tmp_path, "strange"), ValueError, r"features \['label', 'sound'\]; expected image or features, and"),
        (_prepare(tmp_path, "scalar", {"test": range(9)}), ValueError, r"splits \['test'\]; one called train"),
        (_stored_as_tfrecord(tmp_path), ValueError, "stored as .*TFRECORD, which cannot be read by index. Run"),
        ("tfds:cifar11", ValueError, "tfds:cifar11 is not known to TFDS.*Did you mean 'tfds:cifar10"),
        ("tfds:cifar10:0.0.1", ValueError, "tfds:cifar10:0.0.1: "),
        ("tfds:cifar10", FileNotFoundError, "tfds:cifar10 is not prepared in .*prepare_data.py tfds:cifar10 --"),
    ]:
        with pytest.raises(error, match=message):
            datasets.load(name, tmp_path)


def test_prepare_finds_what_is_there(tmp_path):
    name = _prepare(tmp_path, "nameless")
    (folder,) = datasets.prepare(name, tmp_path)
    assert folder == tmp_path / "gecko_nameless" / "1.0.0"


def test_prepare_says_why_it_failed(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def fail(self, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(RuntimeError, match=r"tfds:mnist could not be prepared in .* \(ConnectionError: no route"):
        datasets.prepare("tfds:mnist", tmp_path)
