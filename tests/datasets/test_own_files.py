"""Files of one's own: what is read, and what is refused with the way out."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from gecko_jax import datasets

TABLE = """age,city,"pay, gross",key,sick
31,0,1.5,10,no
45,1,-2,11,yes
28,0,3e2,12,no
60,1,4,13,yes
52,1,5,14,maybe
"""


@pytest.fixture
def table(tmp_path):
    def write(text=TABLE, name="mine.csv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def in_order(data):
    """Features, labels and ids of both splits, by id."""
    x, y, ids = (np.concatenate([a, b]) for a, b in zip(data.train, data.test, strict=True))
    order = np.argsort(ids)
    return x[order], y[order], ids[order]


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz"])
def test_a_table_of_classes(table, name):
    data = datasets.from_csv(table(name=name), "sick", id="key")
    x, y, ids = in_order(data)
    np.testing.assert_array_equal(x, np.float32([[31, 0, 1.5], [45, 1, -2], [28, 0, 300], [60, 1, 4], [52, 1, 5]]))
    assert y.tolist() == [1, 2, 1, 2, 0]  # maybe, no, yes
    assert ids.tolist() == [10, 11, 12, 13, 14]
    assert (data.name, data.num_classes, len(data.test.y)) == ("mine", 3, 1)
    assert (x.dtype, y.dtype, ids.dtype) == (np.float32, np.int32, np.int64)


def test_a_table_of_numbers(table):
    data = datasets.from_csv(table(), "pay, gross", drop=["sick", "key"], classes=False, test_rows=2)
    x, y, ids = in_order(data)
    assert x.shape == (5, 2) and y.dtype == np.float32 and y.tolist() == [1.5, -2, 300, 4, 5]
    assert data.num_classes is None and len(data.test.y) == 2 and ids.tolist() == [0, 1, 2, 3, 4]


def test_labels_that_are_numbers_are_sorted_as_numbers(table):
    text = "a,y\n" + "".join(f"{i},{label}\n" for i, label in enumerate([10, 9, 2, 10, 9, 2]))
    assert in_order(datasets.from_csv(table(text), "y"))[1].tolist() == [2, 1, 0, 2, 1, 0]


def test_other_delimiters_and_byte_order_marks(table):
    text = "\ufeff" + TABLE.replace('"pay, gross"', "pay").replace(",", ";")
    assert datasets.from_csv(table(text), "sick", drop=["key"], delimiter=";").train.x.shape == (4, 3)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (TABLE, dict(label="ill"), "label='ill' is not known.*Known: age, city, pay, gross, key, sick"),
        (TABLE, dict(label="sic"), "Did you mean 'sick'"),
        (TABLE, dict(label="sick", drop="key"), r"drop='key' must be a list of columns: \['key'\]"),
        (TABLE, dict(label="sick", drop=["age", "city", "pay, gross", "key"]), "has no feature"),
        (TABLE, dict(label="age"), r"row 2, column 'sick' holds 'no'; expected a number.*drop=\['sick'\]"),
        (TABLE, dict(label="pay, gross", drop=["sick"]), "numbers with fractions.*classes=False"),
        (TABLE, dict(label="city", id="sick"), "ids must be integers"),
        (TABLE.replace("45", ""), dict(label="sick"), "row 3, column 'age' holds an empty cell"),
        (TABLE.replace("45", "nan"), dict(label="sick"), "train_x holds 1 entry that is NaN"),
        (TABLE.replace("yes", "", 1), dict(label="sick"), "row 3 has no label in column 'sick'"),
        (TABLE.replace("45,1", "45"), dict(label="sick"), "row 3 has 4 cells; expected 5"),
        (TABLE.replace("11,yes", "10,yes"), dict(label="sick", id="key"), "ids must be unique, yet 10"),
        ("", dict(label="sick"), "is empty; expected a line of column names"),
        ("a,b\n", dict(label="b"), "holds no rows after its first line, 'a,b'"),
        ("1,2\n3,4\n", dict(label="b"), "begins with numbers, 1, 2; expected a line of column names"),
        ("a;b\n1;2\n", dict(label="b"), "has one column, 'a;b'; pass delimiter=';'"),
        ("a,a\n1,2\n", dict(label="a"), "names a column twice"),
        ("a,b\n1,2\n3,2\n", dict(label="b"), "num_classes=1 must be at least 2"),
    ],
)
def test_what_cannot_be_read_is_refused(table, text, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_csv(table(text), **options)


def test_binary_files_are_no_tables(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00a,b\n")
    (tmp_path / "b.csv.gz").write_bytes(b"a,b\n1,2\n")
    for name in ("a.csv", "b.csv.gz"):
        with pytest.raises(ValueError, match="is not a table as text"):
            datasets.from_csv(tmp_path / name, "b")


def test_arrays_of_an_npz(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 4
    np.savez(tmp_path / "all.npz", x=x, y=y, ids=np.arange(20) + 5)
    data = datasets.from_npz(tmp_path / "all.npz", test_rows=6)
    rows, labels, ids = in_order(data)
    np.testing.assert_array_equal(rows, x.astype(np.float32))
    assert labels.tolist() == y.tolist() and ids.tolist() == list(range(5, 25)) and len(data.test.y) == 6
    np.savez(tmp_path / "split.npz", train_x=x[:12], train_y=y[:12], test_x=x[12:], test_y=y[12:])
    data = datasets.from_npz(tmp_path / "split.npz", num_classes=7)
    assert data.num_classes == 7 and data.test.y.tolist() == y[12:].tolist()
    np.savez(tmp_path / "other.npz", x=x, labels=y)
    with pytest.raises(ValueError, match="holds the arrays labels, x; expected x and y, or train_x, train_y"):
        datasets.from_npz(tmp_path / "other.npz")


def test_load_says_which_call_reads_a_file(table, tmp_path):
    path = table()
    with pytest.raises(ValueError, match=r"is a file, not the name of a data set. Read it with datasets.from_csv\("):
        datasets.load(path)
    with pytest.raises(ValueError, match=r"label=\.\.\.\), with the column of the labels; its columns are age, city"):
        datasets.load(str(path))
    with pytest.raises(ValueError, match=r"Read it with datasets.from_npz\('mine.npz'\)"):
        datasets.load("mine.npz")
    with pytest.raises(ValueError, match=r"Read it with datasets.from_csv\('nowhere.csv', label=...\)"):
        datasets.load("nowhere.csv")
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        datasets.load("digit")


@pytest.mark.parametrize("label", ["inf", "9007199254740993", "-1e300"])
def test_a_number_that_float64_does_not_tell_apart_is_not_a_class(tmp_path, label):
    path = tmp_path / "table.csv"
    path.write_text(f"a,b\n1,0\n2,{label}\n3,1\n4,9007199254740991\n")
    with pytest.raises(ValueError, match=f"column 'b' holds '{label}', which is not a number that every class"):
        datasets.from_csv(path, "b")


@pytest.mark.parametrize("missing", ["", "NA", "N/A", "nan", "NULL", "?"])
@pytest.mark.parametrize("classes", [("yes", "no"), ("1", "0")])
def test_a_missing_label_is_not_a_class(tmp_path, missing, classes):
    path = tmp_path / "table.csv"
    path.write_text(f"a,b\n1,{classes[0]}\n2,{missing}\n3,{classes[1]}\n4,{classes[0]}\n")
    with pytest.raises(ValueError, match=r"row 3 has no label in column 'b', but '.*'; fill it or leave the row out"):
        datasets.from_csv(path, "b")
