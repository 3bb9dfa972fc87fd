"""A digest is of values: equal ones in any memory have one name, unequal ones have two."""

from __future__ import annotations

import decimal
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from gecko_jax.digests import array_digest, row_digests, sha256, value_digest

X = np.random.default_rng(0).integers(-4, 5, (12, 6)) / 4  # exact in every float


def objects(rows):
    """An array of one object for each row."""
    column = np.empty(len(rows), object)
    column[:] = rows
    return column


EQUAL = {
    "float32": X.astype(np.float32),
    "float16": X.astype(np.float16),
    "bfloat16": X.astype(ml_dtypes.bfloat16),
    "big-endian": X.astype(">f8"),
    "columns first": np.asfortranarray(X),
    "a view": np.repeat(X, 2, 0)[::2],
    "turned twice": X[:, ::-1].copy()[:, ::-1],
    "negative zeros": np.where(X == 0, -0.0, X),
    "objects": X.astype(object),
    "lists": objects([list(row) for row in X]),
    "arrays": objects([row.copy() for row in X]),
}


@pytest.mark.parametrize("name", sorted(EQUAL))
def test_equal_rows_have_equal_digests(name):
    mine, other = row_digests(X, EQUAL[name])
    assert mine == other and len(set(mine)) == len(np.unique(X, axis=0))
    again = row_digests(EQUAL[name])[0]
    assert row_digests(EQUAL[name].copy())[0] == again
    if EQUAL[name].dtype != object or EQUAL[name].ndim == 2:
        assert value_digest(EQUAL[name]) == value_digest(X)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.coo_matrix, sparse.csc_matrix])
def test_a_sparse_row_is_its_dense_one(form):
    sparse_rows = form(X)
    sparse_rows.data[:1] = sparse_rows.data[:1]
    mine, other = row_digests(X, sparse_rows)
    assert mine == other == row_digests(sparse_rows, X)[0]
    with_zeros = sparse.csr_array((np.zeros(2), ([0, 1], [0, 3])), shape=X.shape) + sparse.csr_array(X)
    assert row_digests(with_zeros, X)[0] == other


def test_text_has_no_width():
    words = ["a", "bb", "", "äö"]
    narrow, wide = np.array(words, "U2"), np.array(words, "U9")
    column = objects(words)
    assert row_digests(narrow, wide)[0] == row_digests(wide, column)[0] == row_digests(column, narrow)[0]
    assert value_digest(narrow) == value_digest(wide) == value_digest(column)
    assert value_digest(["ab", "c"]) != value_digest(["a", "bc"])


def test_a_nan_is_a_nan():
    other = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    assert np.isnan(other).all()
    assert value_digest(other) == value_digest([np.nan, np.nan]) and len(set(row_digests(other[:, None])[0])) == 1


def test_dicts_are_compared_part_by_part_in_any_order():
    one = {"a": X, "b": np.arange(12)}
    two = {"b": np.arange(12.0), "a": X.astype(np.float32)}
    mine, other = row_digests(one, two)
    assert mine == other and value_digest(one) == value_digest(two)
    assert row_digests(one, {"a": X, "b": np.arange(12)[::-1]})[1] != mine
    with pytest.raises(ValueError, match=r"keys \['a', 'b'\]"):
        row_digests(one, {"a": X})


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(allow_nan=False) | st.integers(-(2**62), 2**62), min_size=1, max_size=5),
    st.lists(st.floats(allow_nan=False) | st.integers(-(2**62), 2**62), min_size=1, max_size=5),
)
def test_digests_are_equal_where_values_are(a, b):
    """As Python compares them, whose integers and floats are exact."""
    same = len(a) == len(b) and all(x == y for x, y in zip(a, b, strict=True))
    mine, other = row_digests(objects([a]), objects([b]))
    assert (mine == other) == same


def test_what_has_no_value_is_named_and_what_has_one_is_taken():
    mixed = [decimal.Decimal("1.5"), None, "x", b"x", {"k": [1, 2]}, frozenset({"a", "b"}), (1, "y")]
    again = [decimal.Decimal("1.50"), None, "x", b"x", {"k": (1.0, 2)}, frozenset({"b", "a"}), [1, "y"]]
    mine, other = row_digests(objects(mixed), objects(again))
    assert mine[1:] == other[1:] and len(set(mine)) == len(mixed)
    with pytest.raises(ValueError, match="function among the records has no value"):
        row_digests(objects([lambda x: x]))


def test_a_digest_is_the_same_in_every_process():
    """Whatever seed Python hashes words by, which orders its sets."""
    code = "value_digest(np.array([{'a', 'b', 'c'}, 'x', 1.5, None], object), 'w', np.arange(3), {'k': [1]})"
    head = "import numpy as np; from gecko_jax.digests import value_digest; print"
    seed = "1" if sys.flags.hash_randomization else "2"
    other = subprocess.run(
        [sys.executable, "-c", f"{head}({code})"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ).stdout  # fmt: skip
    assert other.strip() == eval(code)


def test_array_digests_tell_bytes_shapes_types_and_order_apart():
    a, b = np.arange(6, dtype=np.float32), np.arange(6, dtype=np.int32)
    different = [(a,), (b,), (a.reshape(2, 3),), (a, b), (b, a), (a, None), (None, a), (), (a[:0],), (np.float32(1),)]
    assert len({array_digest(*arrays) for arrays in different}) == len(different)
    assert array_digest(a[::2]) == array_digest(np.array([0, 2, 4], np.float32))


def test_sha256_is_the_published_one():
    """FIPS 180-2, appendix B.1."""
    assert sha256("abc") == sha256(b"a", "bc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
