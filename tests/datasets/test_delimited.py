"""Tables of binary features: text and .npz give one and the same data set, and damage is named."""

import gzip
import io

import numpy as np
import pytest

from gecko_jax import datasets
from gecko_jax.datasets import delimited
from gecko_jax.datasets.delimited import Table, read

TABLE = Table("toy", features=4, classes=3, files=("toy.npz", "toy.csv", "toy.csv.gz", "toy"), address="a friend")
X = np.random.default_rng(0).integers(0, 2, (20, 4))
Y = np.arange(20) % 3


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home"))


def _text(x=X, y=Y):
    return "".join(",".join(map(str, [label + 1, *row])) + "\n" for label, row in zip(y, x, strict=True)).encode()


def _npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("toy", _text()),
        ("toy.csv", _text().replace(b"\n", b"\r\n")),
        ("toy.csv", b"".join(b'"' + line.replace(b",", b'",', 1) for line in _text().splitlines(keepends=True))),
        ("toy.csv.gz", gzip.compress(_text())),
        ("toy.npz", _npz(features=X, labels=np.eye(3)[Y])),
        ("toy.npz", _npz(features=X.astype(float), labels=Y)),
        ("toy.npz", _npz(features=X.astype(bool), labels=Y + 1)),
    ],
)
def test_every_form_reads_the_same(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    x, y = read(tmp_path / name, 4, 3)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_load_splits_by_row_number(tmp_path):
    (tmp_path / "toy.csv").write_bytes(_text())
    data = delimited.load(TABLE, tmp_path)
    assert (len(data.train.y), len(data.test.y), data.num_classes) == (16, 4, 3)
    for split in (data.train, data.test):
        np.testing.assert_array_equal(split.x, X[split.id])
        np.testing.assert_array_equal(split.y, Y[split.id])
    assert sorted([*data.train.id, *data.test.id]) == list(range(20))


@pytest.mark.parametrize("place", ["data", "data/toy", "home/toy"])
def test_prepare_writes_what_load_then_reads(tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    text = tmp_path / place / "toy.csv.gz"
    text.write_bytes(gzip.compress(_text()))
    before = delimited.load(TABLE, tmp_path / "data")
    (written,) = delimited.prepare(TABLE, tmp_path / "data")
    assert written == tmp_path / "data" / "toy" / "toy.npz" and list(written.parent.glob(".*")) == []
    text.unlink()
    after = delimited.load(TABLE, tmp_path / "data")
    for split in ("train", "test"):
        for one, other in zip(getattr(before, split), getattr(after, split), strict=True):
            np.testing.assert_array_equal(one, other)
    assert delimited.prepare(TABLE, tmp_path / "data") == [written]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"1,0,1,1\n", "4 columns; expected 5"),
        ("t.csv", b"1,0,1,1,0\n2,0,1\n", "number of columns changed"),
        ("t.csv", b"label,a,b,c,d\n1,0,1,1,0\n", "could not convert.*without a head"),
        ("t.csv", "1,0,1,1,0\n2,0,é,0,1\n".encode(), "could not convert string 'é'"),
        ("t.csv", b"0,0,1,1,0\n", r"row 0 has label 0; expected 1\.\.3"),
        ("t.csv", b"1,0,1,1,0\n4,0,1,1,0\n", r"row 1 has label 4; expected 1\.\.3"),
        ("t.csv", b"1,0,1,1,0\n2,0,1,2,0\n", "feature 2 of row 1 is 2; expected 0 or 1"),
        ("t.csv.gz", gzip.compress(_text())[:-9], "corrupt gzip"),
        ("t.csv.gz", _text(), "corrupt gzip"),
        ("t.npz", b"no zip", "t.npz: "),
        ("t.npz", _npz(features=X, labels=Y)[:-40], "t.npz: "),
        ("t.npz", _npz(a=X), r"holds \['a'\]; expected the arrays 'features' and 'labels'"),
        ("t.npz", _npz(features=X, labels=np.eye(4)[Y]), r"labels of shape \(20, 4\) are not one-hot rows of 3"),
        ("t.npz", _npz(features=X, labels=np.ones((20, 3))), "not one-hot"),
        ("t.npz", _npz(features=X, labels=Y * 0.5), "labels are float64"),
        ("t.npz", _npz(features=X, labels=np.full(20, 2)), r"labels 2\.\.2 may count from 0 or 1"),
        ("t.npz", _npz(features=X, labels=Y + (Y == 2)), r"labels 0\.\.3 may count from 0 or 1"),
        ("t.npz", _npz(features=X[:5], labels=Y), r"features \(5, 4\) and labels \(20,\)"),
        ("t.npz", _npz(features=X[:0], labels=Y[:0]), "n > 0"),
        ("t.npz", _npz(features=X + np.nan, labels=Y), "feature 0 of row 0 is nan"),
    ],
)
def test_damage_is_named(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / name, 4, 3)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("name", ["location", "purchase", "texas"])
def test_not_found(tmp_path, name):
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load(name, tmp_path / "data")
    message = str(caught.value)
    for part in (f"data/{name}", "data", f"home/{name}"):
        assert f"  {tmp_path / part}\n" in message
    assert f"{name}.npz or" in message and "github.com/privacytrustlab" in message


@pytest.mark.parametrize(
    ("name", "file", "features", "classes"),
    [("location", "bangkok", 446, 30), ("purchase", "dataset_purchase", 600, 100)],
)
def test_the_published_shapes(tmp_path, name, file, features, classes):
    x, y = np.eye(features, dtype=int)[: 2 * classes], np.arange(2 * classes) % classes
    (tmp_path / file).write_bytes(_text(x, y))
    with pytest.warns(UserWarning, match=rf"has {2 * classes} rows; the published table {name} has \d+"):
        data = datasets.load(name, tmp_path)
    assert (data.name, data.num_classes, data.train.x.shape[1]) == (name, classes, features)
    np.testing.assert_array_equal(data.train.x.argmax(1), data.train.id)
    np.testing.assert_array_equal(data.train.y, data.train.id % classes)


def test_labels_beside_the_features(tmp_path):
    """Texas as it is unpacked, and as npz after `prepare`."""
    x, y, folder = np.eye(200, 6169, dtype=int), np.arange(200) % 100, tmp_path / "data" / "texas" / "100"
    folder.mkdir(parents=True)
    (folder / "feats").write_bytes(b"".join(b",".join(row) + b"\n" for row in x.astype("S1").tolist()))
    (folder / "labels").write_text("".join(f"{label + 1}\n" for label in y))
    with pytest.warns(UserWarning, match="has 200 rows; the published table texas has 67330"):
        data = datasets.load("texas", tmp_path / "data")
    assert (data.num_classes, data.train.x.shape) == (100, (160, 6169))
    np.testing.assert_array_equal(data.train.x.argmax(1), data.train.id)
    np.testing.assert_array_equal(data.train.y, data.train.id % 100)
    table = TABLE._replace(files=("toy.npz", "feats"), labels="labels", rows=20)
    (tmp_path / "feats").write_bytes(b"".join(line[2:] for line in _text().splitlines(keepends=True)))
    with pytest.raises(ValueError, match="labels: absent; expected the labels of the features"):
        delimited.load(table, tmp_path)
    (tmp_path / "labels").write_text("".join(f"{label + 1}\n" for label in Y))
    before = delimited.load(table, tmp_path)
    np.testing.assert_array_equal(before.train.x, X[before.train.id])
    np.testing.assert_array_equal(before.train.y, Y[before.train.id])
    delimited.prepare(table, tmp_path)
    (tmp_path / "feats").unlink()
    np.testing.assert_array_equal(delimited.load(table, tmp_path).train.x, before.train.x)


@pytest.mark.parametrize(("labels", "message"), [("1,2\n", "2 columns; expected one"), ("1\n2\n", r"labels \(2,\)")])
def test_damaged_labels_are_named(tmp_path, labels, message):
    (tmp_path / "feats").write_text("1,0,1,0\n")
    (tmp_path / "labels").write_text(labels)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "feats", 4, 3, "labels")


def test_a_byte_order_mark_is_no_number(tmp_path):
    (tmp_path / "toy.csv").write_bytes(b"\xef\xbb\xbf" + _text())
    x, y = read(tmp_path / "toy.csv", 4, 3)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
