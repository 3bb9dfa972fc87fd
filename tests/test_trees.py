"""Pytree paths: every leaf has one name, whatever containers stand above it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import trees


class Pair(NamedTuple):
    left: object
    right: object


TREE = {"b": [np.arange(3.0), {"kernel": np.ones((3, 2))}], "a": Pair(np.zeros(3, np.int32), None)}


def test_names_join_keys_indices_and_fields():
    assert [name for name, _ in trees.named_leaves(TREE)] == ["a/left", "b/0", "b/1/kernel"]
    assert trees.named_leaves(5) == [("", 5)]


def test_leaves_come_in_the_order_of_the_tree():
    for (_, leaf), same in zip(trees.named_leaves(TREE), jax.tree.leaves(TREE), strict=True):
        assert leaf is same


def test_a_map_sees_each_name_once_and_keeps_the_shape_of_the_tree():
    mapped = trees.map_named(lambda name, leaf: (name, leaf.shape), TREE)
    assert mapped == {"b": [("b/0", (3,)), {"kernel": ("b/1/kernel", (3, 2))}], "a": Pair(("a/left", (3,)), None)}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_leaf_that_is_not_finite(bad):
    fine = {"a": jnp.arange(3), "b": {"kernel": jnp.ones(2), "bias": np.zeros((), np.float16)}, "c": jnp.bfloat16(1)}
    assert trees.first_not_finite(fine) is None
    assert trees.first_not_finite({**fine, "b": {**fine["b"], "kernel": jnp.array([1, bad])}}) == "b/kernel"
    assert trees.first_not_finite({**fine, "b": {"bias": bad, "kernel": bad}}) == "b/bias"
    assert trees.first_not_finite({**fine, "c": jnp.bfloat16(bad)}) == "c"


def test_leaves_that_cannot_be_infinite_are_passed_over():
    assert trees.first_not_finite({"key": jax.random.key(0), "step": 3, "flag": True, "none": None}) is None


def test_take_rows_of_every_leaf():
    row, rows = trees.take(TREE, 1), trees.take(TREE, np.array([2, 0]))
    assert row["b"][0] == 1.0 and row["b"][1]["kernel"].shape == (2,)
    assert rows["b"][0].tolist() == [2.0, 0.0] and rows["b"][1]["kernel"].shape == (2, 2)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 12), st.booleans())
def test_blocks_cover_every_row_once_and_in_order(rows, size, full):
    x, lengths = np.random.default_rng(rows).normal(size=(rows, 2)), []

    def double(block):
        lengths.append(len(x[block]))
        return {"twice": 2 * x[block], "first": x[block][:, 0]}

    results = trees.by_blocks(double, rows, size, full)
    np.testing.assert_array_equal(results["twice"], 2 * x)
    np.testing.assert_array_equal(results["first"], x[:, 0])
    assert len(lengths) == -(-rows // size)
    assert set(lengths) == {size} if full else sum(lengths) == rows and max(lengths) <= size


@pytest.mark.parametrize("rows, size, message", [(0, 4, "rows=0"), (4, 0, "batch_size=0"), (4, 2.0, "batch_size=2.0")])
def test_blocks_of_nothing(rows, size, message):
    with pytest.raises(ValueError, match=message):
        trees.by_blocks(lambda block: np.zeros(1), rows, size)
