"""datasets.dataset: what comes out, and a clear refusal for each way an array can be wrong."""

import numpy as np
import pytest

from gecko_jax import datasets

GOOD = {
    "name": "mine",
    "train_x": np.arange(12).reshape(4, 3),
    "train_y": np.array([0, 1, 2, 1]),
    "test_x": np.zeros((2, 3)),
    "test_y": np.array([0, 1]),
}


def test_types_and_defaults():
    data = datasets.dataset(**GOOD)
    assert (data.name, data.num_classes) == ("mine", 3)
    for split in (data.train, data.test):
        assert (split.x.dtype, split.y.dtype, split.id.dtype) == (np.float32, np.int32, np.int64)
    np.testing.assert_array_equal(data.train.x, GOOD["train_x"])
    np.testing.assert_array_equal(np.concatenate([data.train.id, data.test.id]), np.arange(6))
    assert datasets.dataset(**GOOD, num_classes=7).num_classes == 7
    assert datasets.dataset(**GOOD, ids=np.arange(6)[::-1]).test.id.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_x": np.zeros((0, 3)), "train_y": np.zeros(0, int)}, "train_x is empty"),
        ({"test_x": np.zeros((0, 3)), "test_y": np.zeros(0, int)}, "test_x is empty"),
        ({"train_x": np.zeros(4)}, r"train_x has shape \(4,\).*x\[:, None\]"),
        ({"train_x": np.full((4, 3), "a")}, "train_x has dtype"),
        ({"train_x": np.full((4, 3), np.nan)}, r"train_x holds 12 entries.*index \(0, 0\)"),
        ({"test_x": np.array([[0, 0, 0], [0, 1e300, 0]])}, r"test_x holds 1 entr.*index \(1, 1\)"),
        ({"test_x": np.zeros((2, 4))}, r"rows of shape \(3,\), test_x of \(4,\)"),
        ({"train_y": np.zeros(3, int)}, "train_y has 3 labels for 4 rows"),
        ({"train_y": np.eye(3)[[0, 1, 2, 1]]}, r"train_y has shape \(4, 3\).*argmax"),
        ({"train_y": np.array([0, 1.5, 0, 1])}, "train_y has dtype float64"),
        ({"train_y": np.array([0, -1, 0, 1])}, r"train_y\[1\]=-1 must lie in 0..1; 1 rows"),
        ({"test_y": np.array([0, 5]), "num_classes": 3}, r"test_y\[1\]=5 must lie in 0..2"),
        ({"train_y": np.zeros(4, int), "test_y": np.zeros(2, int)}, "num_classes=1"),
        ({"ids": np.zeros(6, int)}, "ids must be unique, yet 0"),
        ({"ids": np.array([0, 1, 2, 3, 3, 4])}, "ids must be unique, yet 3"),
        ({"ids": np.arange(4)}, r"ids has 4 entries; expected 4 training \+ 2 test"),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        datasets.dataset(**(GOOD | change))


def test_a_split_by_id_does_not_follow_the_order_of_rows():
    x, y, ids = np.random.default_rng(0).random((50, 2)), np.arange(50) % 3, np.arange(50) * 11
    data = datasets.dataset("any", x, y, num_classes=3, ids=ids, test_rows=10)
    order = np.random.default_rng(1).permutation(50)
    moved = datasets.dataset("any", x[order], y[order], num_classes=3, ids=ids[order], test_rows=10)
    assert len(data.test.y) == 10 and set(data.test.id.tolist()) == set(moved.test.id.tolist())
    rows = np.concatenate([data.train.id, data.test.id]) // 11
    np.testing.assert_allclose(np.concatenate([data.train.x, data.test.x]), x[rows], rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate([data.train.y, data.test.y]), y[rows])
    other = datasets.dataset("other", x, y, num_classes=3, ids=ids, test_rows=10)
    assert set(other.test.id.tolist()) != set(data.test.id.tolist())


@pytest.mark.parametrize("tests", [0, 3])
def test_a_split_leaves_no_side_empty(tests):
    with pytest.raises(ValueError, match=f"3 rows, too few for {tests} test rows"):
        datasets.dataset("any", np.zeros((3, 1)), np.array([0, 1, 0]), test_rows=tests)
