"""Arrays that would be read as something else than they are are refused, with the way out, before any work is done."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import datasets
from gecko_jax.datasets.hashing import check_ids, count_on

X, Y = np.linspace(0, 1, 12).reshape(4, 3), np.array([0, 1, 2, 1])
GOOD = {"name": "mine", "train_x": X, "train_y": Y, "test_x": X[:2], "test_y": np.array([0, 1])}
MASKED_X = np.ma.masked_equal(X, 0)
MASKED_Y = np.ma.masked_equal(Y, 2)
KINDS = ["normal", "uniform", "lognormal", "sparse", "units"]


class Frame:
    """What a pandas object is to us: `isna`, and an array that has forgotten it. (pandas itself is not installed.)"""

    def __init__(self, values, missing):
        self.values, self.missing = np.asarray(values), np.asarray(missing)

    def isna(self):
        return Frame(self.missing, self.missing)

    def __array__(self, dtype=None, copy=None):
        return self.values.astype(dtype or self.values.dtype)


class Sparse:
    def toarray(self):
        return X


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # gaps among the labels: a class that no row has
        (dict(train_y=[1, 2, 3, 1], test_y=[1, 2]), r"3 different labels \(1, 2, 3\), yet not 0.*num_classes=4 if"),
        (dict(train_y=[0, 1, 10**6, 1]), r"\(0, 1, 1000000\), yet not 2: num_classes would be 1000001"),
        (dict(train_y=[0, 2, 2, 0], test_y=[0, 0]), "yet not 1"),
        (dict(train_y=[0, 1, 1, 0], test_y=[0, 3]), "yet not 2"),
        (dict(train_y=[1, 1, 1, 1], test_y=[1, 1]), "yet not 0"),
        (dict(train_y=np.array([0, 1, 2**63, 1], np.uint64)), "yet not 2"),
        (dict(train_y=[1, 2, 3, 1], test_y=[1, 2], num_classes=3), r"train_y\[2\]=3 must lie in 0..2.*from 1: pass"),
        (dict(train_y=[0, 1, 2**32 + 1, 1], num_classes=2**33), "num_classes=8589934592 must be at most 2147483647"),
        (dict(train_y=np.array([0, 2**64 - 1, 1, 1], np.uint64), num_classes=3), r"train_y\[1\]=18446744073709551615"),
        (dict(num_classes=3.0), "num_classes=3.0 must be an integer"),
        (dict(num_classes=True), "num_classes=True must be an integer"),
        # masks and missing values
        (dict(train_x=MASKED_X), r"train_x has 1 masked or missing.*train_x\.filled"),
        (dict(test_x=MASKED_X[:2]), "test_x has 1 masked"),
        (dict(train_y=MASKED_Y), "train_y has 1 masked"),
        (dict(test_y=np.ma.array([0, 1], mask=[False, True])), "test_y has 1 masked"),
        (dict(ids=np.ma.masked_equal(np.arange(6), 3)), "ids has 1 masked"),
        (dict(train_x=[MASKED_X[0], *X[1:]]), "train_x has 1 masked"),
        (dict(train_y=[0, 1, np.ma.masked, 1]), "train_y has 1 masked"),
        (dict(train_y=Frame(Y, Y == 1)), r"train_y has 2 masked or missing.*train_y\.fillna"),
        (dict(train_x=Frame(X, X > 0.5)), "train_x has 6 masked or missing"),
        # types
        (dict(train_x=X.astype(object)), r"train_x has dtype object: its entries are floats"),
        (dict(train_y=Y.astype(object)), "train_y has dtype object: its entries are ints"),
        (dict(train_y=[0, 1, None, 1]), "train_y has dtype object"),
        (dict(train_y=["a", "b", "c", "b"]), r"train_y has dtype <U1.*np\.unique\(all_labels"),
        (dict(train_y=[0.0, 1.0, 2.0, 1.0]), r"train_y has dtype float64.*use train_y\.astype\(np\.int32\)"),
        (dict(train_y=[0.0, np.nan, 2.0, 1.0]), "train_y has dtype float64.*number the classes"),
        (dict(train_x=X * 1j), "train_x has dtype complex128"),
        (dict(train_x=X.astype("datetime64[s]")), "train_x has dtype datetime64"),
        (dict(train_x=Sparse()), r"train_x is a sparse Sparse; pass train_x\.toarray\(\)"),
        (dict(train_x=[[1, 2, 3], [1, 2]] * 2), "train_x does not form an array.*every row must have the same shape"),
        (dict(test_x=[[0, 0.5, np.inf], [0, 0, 0]]), r"test_x holds 1 entr.*\(0, 2\)"),
        (dict(ids=np.array(list("abcdef"))), r"ids has dtype <U1.*np\.unique\(names"),
        (dict(ids=np.arange(6.0)), "ids has dtype float64"),
        (dict(ids=np.arange(6) > 2), "ids has dtype bool"),
        (dict(ids=np.arange(6, dtype=np.uint64) + np.uint64(2**63)), "ids hold 9223372036854775813, above the max"),
        (dict(ids=[2**70, *range(5)]), "ids has dtype object"),
        # shapes
        (dict(train_y=Y[:, None]), r"train_y has shape \(4, 1\); expected \[n\] class numbers: use train_y\[:, 0\]"),
        (dict(train_y=Y[:3]), "train_y has 3 labels for 4 rows"),
        (dict(test_y=[0, 1, 1]), "test_y has 3 labels for 2 rows"),
        (dict(test_x=X[:2].reshape(2, 3, 1)), r"rows of shape \(3,\), test_x of \(3, 1\)"),
        # scales
        (dict(train_x=255 * X), r"test_x reaches no further than 0\.45.*train_x has a median of 139\.0.*images / 255"),
        (dict(test_x=np.arange(1, 255, 50)[:, None][[1, 3]].repeat(3, 1)), "train_x reaches no further than 1,"),
        (dict(train_x=(255 * X).astype(np.uint8), test_x=X[2:] / 255), "test_x reaches no further"),
        (dict(train_x=16 * np.ones((4, 3)), test_x=-X[:2]), "test_x reaches no further"),
    ],
)
def test_it_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        datasets.dataset(**(GOOD | change))


@pytest.mark.parametrize(
    "change",
    [
        dict(train_y=[1, 2, 3, 1], test_y=[1, 2], num_classes=4),  # said aloud
        dict(train_y=[0, 1, 1, 0], test_y=[0, 2]),  # without a gap in the two together
        dict(train_y=[False, True, True, False], test_y=[True, False]),
        dict(train_y=Y.astype(np.uint64)),
        dict(train_x=np.ma.array(X, mask=False), train_y=np.ma.array(Y)),  # nothing is hidden
        dict(train_x=Frame(X, np.zeros_like(X, bool)), train_y=Frame(Y, np.zeros_like(Y, bool))),
        dict(train_x=X.tolist(), train_y=Y.tolist()),
        dict(train_x=X.astype(np.float16), test_x=X[:2] > 0.1),
        dict(train_x=255 * X, same_scale=False),
        dict(train_x=5 * X),  # four times is still the same scale
        dict(test_x=np.zeros((2, 3))),
        dict(ids=np.arange(6, dtype=np.uint64)),
        dict(ids=np.arange(6, dtype=np.uint64) + np.uint64(2**63 - 6)),
        dict(ids=(np.arange(6, dtype=np.uint64) + np.uint64(2**63)).view(np.int64)),
    ],
)
def test_what_is_meant_is_taken(change):
    data = datasets.dataset(**(GOOD | change))
    assert (data.train.x.dtype, data.train.y.dtype, data.train.id.dtype) == (np.float32, np.int32, np.int64)
    np.testing.assert_array_equal(data.train.y, np.asarray((GOOD | change)["train_y"]))
    assert type(data.train.x) is type(data.train.y) is np.ndarray


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
    st.lists(st.integers(0, 6), min_size=2, max_size=2),
    st.sampled_from([np.int8, np.uint8, np.int64, np.uint64]),
)
def test_the_classes_are_counted_or_refused(train, test, dtype):
    """Against the definition: the labels of both splits, as a set, are {0, ..., K-1}."""
    used = set(train + test)
    arrays = GOOD | dict(train_y=np.array(train, dtype), test_y=np.array(test, np.int16))
    if used == set(range(max(used) + 1)) and len(used) > 1:
        assert datasets.dataset(**arrays).num_classes == len(used)
    else:
        with pytest.raises(ValueError, match="yet not|num_classes=1 must be at least 2"):
            datasets.dataset(**arrays)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.integers(2, 20))
def test_splits_of_one_distribution_are_of_one_scale(seed, kind, tests):
    """However skewed: 200 rows against a few of the same."""
    draws = np.random.default_rng(seed)
    x = {
        "normal": lambda: draws.standard_normal((200 + tests, 5)),
        "uniform": lambda: draws.random((200 + tests, 5)),
        "lognormal": lambda: draws.lognormal(0, 2, (200 + tests, 5)),
        "sparse": lambda: draws.random((200 + tests, 30)) * (draws.random((200 + tests, 30)) < 0.1),
        "units": lambda: draws.random((200 + tests, 4)) * 10.0 ** np.arange(-4, 4, 2),
    }[kind]()
    y = np.arange(len(x)) % 2
    datasets.dataset("drawn", x[:200], y[:200], x[200:], y[200:])
    if kind != "units":  # where one column fills the whole range, a factor of 255 stays within it
        with pytest.raises(ValueError, match="test_x reaches no further"):
            datasets.dataset("drawn", x[:200] * 1e4, y[:200], x[200:], y[200:])


def test_ids_of_every_type_keep_their_names():
    for dtype in (np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64):
        largest = min(np.iinfo(dtype).max, np.iinfo(np.int64).max)
        assert check_ids(np.array([3, largest], dtype)).tolist() == [3, largest]


def test_test_ids_are_counted_on_without_wrapping():
    top = np.iinfo(np.int64).max
    assert count_on(np.array([0, 7]), np.array([0, 3])).tolist() == [8, 11]
    assert count_on(np.array([top - 1, 2]), np.array([-5, 2, 9])).tolist() == [0, 1, 3]


TIMES = 1_700_000_000 + np.arange(100)  # seconds, of which float32 tells one in 128 apart


@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.float64])
def test_integers_that_float32_merges_are_refused(dtype):
    x, y = np.stack([np.arange(100), TIMES], 1).astype(dtype), np.arange(100) % 2
    with pytest.raises(ValueError, match=r"x\[:, 1\] holds 100 different integers up to 1,700,000,099, .* . apart"):
        datasets.dataset("mine", x, y)


def test_other_large_numbers_are_taken():
    rng = np.random.default_rng(0)
    columns = (1e9 * rng.normal(size=100), 1e20 * np.arange(100), TIMES - TIMES[0], 2**24 + 2 * np.arange(100))
    x = datasets.dataset("mine", np.stack(columns, 1), np.arange(100) % 2, test_rows=20).train.x
    assert all(len(np.unique(column)) == 80 for column in x.T)

