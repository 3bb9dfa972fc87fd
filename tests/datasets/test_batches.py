"""batches: against a set-wise account of who must appear, and the independence of one model from the others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax.datasets import batches


def _real(order, row):
    return order.indices[row][order.weight[row] == 1]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 9), st.integers(0, 99), st.data())
def test_each_member_appears_once_and_padding_is_of_members_only(m, n, b, seed, data):
    member = np.random.default_rng(data.draw(st.integers(0, 999))).random((m, n)) < 0.5
    member[:, data.draw(st.integers(0, n - 1))] = True
    order = batches(member, b, seed, epoch=3)
    most = max(int(row.sum()) for row in member)
    assert order.indices.shape == order.weight.shape == (m, (most + b - 1) // b, b)
    assert order.indices.dtype == np.int32 and order.weight.dtype == np.float32
    for row in range(m):
        members = set(np.flatnonzero(member[row]).tolist())
        assert sorted(_real(order, row).tolist()) == sorted(members)
        assert set(order.indices[row].ravel().tolist()) <= members
        flat = order.weight[row].ravel()
        assert (np.diff(flat) <= 0).all() and set(flat.tolist()) <= {0.0, 1.0}


def test_a_model_trained_alone_sees_what_it_sees_in_an_ensemble():
    member = np.random.default_rng(0).random((5, 80)) < np.array([[0.2], [0.9], [0.5], [0.5], [0.7]])
    together = batches(member, 16, seed=7, epoch=2)
    for i in range(5):
        alone = batches(member[i : i + 1], 16, seed=7, epoch=2, model_ids=[i])
        steps = alone.indices.shape[1]
        np.testing.assert_array_equal(alone.indices[0], together.indices[i, :steps])
        np.testing.assert_array_equal(alone.weight[0], together.weight[i, :steps])
        assert not together.weight[i, steps:].any()


def test_a_models_order_depends_on_its_own_members_alone():
    member = np.random.default_rng(1).random((2, 40)) < 0.5
    wider = np.pad(member, ((0, 0), (0, 25)))
    np.testing.assert_array_equal(batches(member, 8, 0, 0).indices, batches(wider, 8, 0, 0).indices)
    changed = member.copy()
    changed[1] = True
    np.testing.assert_array_equal(_real(batches(member, 8, 0, 0), 0), _real(batches(changed, 8, 0, 0), 0))


def test_seed_epoch_and_model_each_change_the_order():
    member = np.ones((2, 200), bool)
    first = batches(member, 50, seed=0, epoch=0)
    assert (first.indices[0] != first.indices[1]).any()
    for other in (batches(member, 50, 1, 0), batches(member, 50, 0, 1), batches(member, 50, 0, 0, model_ids=[2, 3])):
        assert (first.indices[0] != other.indices[0]).any()
    np.testing.assert_array_equal(first.indices, batches(member, 50, 0, 0).indices)


def test_orders_are_uniform():
    """The row that comes first is each of 5 equally often: chi-squared with 4 degrees, 99.9 % quantile 18.5."""
    member = np.ones((500, 5), bool)
    counts = np.bincount(np.concatenate([batches(member, 5, 0, e).indices[:, 0, 0] for e in range(4)]), minlength=5)
    assert ((counts - 400) ** 2 / 400).sum() < 18.5


def test_steps_given():
    member = np.ones((1, 10), bool)
    full = batches(member, 4, 0, 0)
    fewer, more = batches(member, 4, 0, 0, steps=2), batches(member, 4, 0, 0, steps=5)
    np.testing.assert_array_equal(fewer.indices, full.indices[:, :2])
    assert fewer.weight.all()
    np.testing.assert_array_equal(more.indices[:, :2], full.indices[:, :2])
    assert more.weight.sum() == 10 and more.indices.shape == (1, 5, 4)


def test_padding_recycles_the_permutation_from_its_start():
    order = batches(np.ones((1, 3), bool), 8, 0, 0)
    flat = order.indices[0, 0]
    assert flat.tolist() == [*flat[:3], *flat[:3], *flat[:2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"member": np.array([[True], [False]])}, r"member\[1\] selects no rows.*at least one"),
        ({"member": np.ones(3, bool)}, r"member has shape \(3,\)"),
        ({"member": np.ones((1, 3))}, "dtype float64; expected bool"),
        ({"member": np.ones((0, 3), bool)}, "member is empty"),
        ({"member": np.ones((1, 0), bool)}, r"member\[0\] selects no rows"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2.5}, "batch_size=2.5 must be an integer"),
        ({"seed": -1}, "seed=-1"),
        ({"epoch": -1}, "epoch=-1"),
        ({"steps": 0}, "steps=0"),
        ({"model_ids": [0, 1]}, "model_ids=.* must be 1 different"),
    ],
)
def test_errors(change, message):
    arguments = {"member": np.ones((1, 3), bool), "batch_size": 2, "seed": 0, "epoch": 0} | change
    with pytest.raises(ValueError, match=message):
        batches(**arguments)


def test_repeated_model_ids_are_refused():
    with pytest.raises(ValueError, match="2 different integers"):
        batches(np.ones((2, 3), bool), 2, 0, 0, model_ids=[4, 4])
