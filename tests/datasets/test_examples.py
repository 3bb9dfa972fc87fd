"""Examples without ids, and Datasets of any inputs and labels."""

from __future__ import annotations

import copy
import pickle

import jax
import numpy as np
import pytest

from gecko_jax import datasets
from gecko_jax.trees import take
from gecko_jax.types import Examples

TOKENS = np.arange(40).reshape(10, 4) % 7


def test_rows_without_ids_are_numbered():
    rows = Examples(np.ones((3, 2)), np.array([0, 1, 1]))
    assert rows.id.tolist() == [0, 1, 2] and rows.id.dtype == np.int64
    assert Examples([[1.0], [2.0]], [0, 1]).id.tolist() == [0, 1]
    assert Examples({"a": np.ones((2, 1))}, (np.ones((2, 3)), np.ones(2))).id.tolist() == [0, 1]
    assert Examples(np.ones((2, 1)), np.ones(2), np.array([7, 5])).id.tolist() == [7, 5]
    assert take(rows, np.array([2, 0])).id.tolist() == [2, 0]


def test_they_are_pytrees_and_named_tuples_as_before():
    rows = Examples(np.ones((3, 2)), np.arange(3))
    assert Examples._fields == ("x", "y", "id") and rows._replace(y=4).id.tolist() == [0, 1, 2]
    for same in (pickle.loads(pickle.dumps(rows)), copy.deepcopy(rows), jax.tree.map(lambda leaf: leaf, rows)):
        assert type(same) is Examples and same.id.tolist() == [0, 1, 2]
    assert jax.tree.map(lambda leaf: None, rows) == Examples(None, None, None)
    assert jax.tree.map(np.shape, rows) == Examples((3, 2), (3,), (3,))
    assert jax.eval_shape(lambda e: e, rows).x.shape == (3, 2)


def test_any_inputs_and_labels():
    train = Examples({"tokens": TOKENS, "mask": TOKENS > 2}, (TOKENS, np.linspace(0, 1, 10)))
    data = datasets.from_examples("mine", train)
    assert (len(data.train.id), len(data.test.id), data.num_classes) == (8, 2, None)
    for part in (data.train, data.test):
        np.testing.assert_array_equal(part.x["tokens"], TOKENS[part.id])
        np.testing.assert_array_equal(part.x["mask"], TOKENS[part.id] > 2)
        np.testing.assert_array_equal(part.y[1], np.float32(np.linspace(0, 1, 10))[part.id])
    assert [leaf.dtype for leaf in jax.tree.leaves(data.train)] == [np.int32, np.int32, np.int32, np.float32, np.int64]


def test_splits_of_ones_own_get_ids_apart():
    data = datasets.from_examples("mine", Examples(TOKENS, np.ones(10)), Examples(TOKENS[:3], np.ones(3)))
    assert data.train.id.tolist() == list(range(10)) and data.test.id.tolist() == [10, 11, 12]
    named = Examples(TOKENS[:3], np.ones(3), np.array([20, 30, 40]))
    assert datasets.from_examples("mine", Examples(TOKENS, np.ones(10)), named).test.id.tolist() == [20, 30, 40]


def test_class_labels_are_checked_if_they_are_said_to_be_classes():
    rows = Examples((TOKENS, TOKENS / 7), np.arange(10) % 3)
    assert datasets.from_examples("mine", rows, num_classes=3).num_classes == 3
    for y, message in (
        (np.arange(10) % 4, r"train.y\[3\]=3 must lie in 0..2"),
        (np.linspace(0, 1, 10), "train.y has dtype float64"),
        (np.eye(10), "argmax"),
    ):
        with pytest.raises(ValueError, match=message):
            datasets.from_examples("mine", rows._replace(y=y), num_classes=3)
    with pytest.raises(ValueError, match=r"test.y\[0\]=5 must lie in 0..2"):
        datasets.from_examples("mine", rows, Examples(take(rows.x, slice(1)), np.array([5])), num_classes=3)


GOOD = Examples({"tokens": TOKENS}, np.ones(10))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (GOOD._replace(y=np.ones(9)), None, "train.x has 10 rows and train.y 9"),
        (GOOD._replace(x={"tokens": TOKENS, "more": TOKENS[:9]}), None, r"train.x\['more'\] has 9"),
        (GOOD._replace(y=np.full(10, np.nan)), None, "train.y holds 10 entries that are NaN"),
        (GOOD._replace(x={"tokens": TOKENS.astype(str)}), None, r"train.x\['tokens'\] is <U.*expected numbers"),
        (GOOD._replace(x={"tokens": TOKENS + 2**40}), None, "which int32 does not"),
        (GOOD._replace(y=1e300 * np.ones(10)), None, "train.y holds 10 entries"),
        (GOOD._replace(id=np.arange(9)), None, "train.id has 9 entries for 10 rows"),
        (GOOD._replace(id=np.zeros(10, int)), None, "ids must be unique"),
        (GOOD._replace(x=np.ma.masked_equal(TOKENS, 3)), None, "masked or missing"),
        (GOOD, GOOD._replace(x={"tokens": TOKENS[:, :2]}), r"train.x has rows {'tokens': 'int32\[4\]'}, test.x"),
        (GOOD, GOOD._replace(y=np.ones((10, 1))), "train.y has rows float32"),
        (GOOD, GOOD._replace(id=np.arange(10)[::-1]), "train and test share 10 ids, the first 0"),
        (take(GOOD, slice(1)), None, "1 rows, too few for 1 test rows"),
    ],
)
def test_what_does_not_fit_is_refused(train, test, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_examples("mine", train, test)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(test_x=np.ones((1, 2))), "test_x and test_y belong together"),
        (dict(test_y=np.ones(1, int)), "test_x and test_y belong together"),
        (dict(test_x=np.ones((1, 2)), test_y=np.zeros(1, int), test_rows=1), "test_rows=1 splits rows without a test"),
    ],
)
def test_a_test_set_is_given_or_drawn(options, message):
    with pytest.raises(ValueError, match=message):
        datasets.dataset("mine", np.ones((4, 2)), np.array([0, 1, 0, 1]), **options)
