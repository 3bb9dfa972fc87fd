"""The microbatch that "auto" takes: counted by hand for one dense layer and one convolution."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax.privacy.per_example import microbatch
from gecko_jax.privacy.per_example.microbatch import floats_of_one, microbatch_of


def dense(params, example):
    return (jnp.sum(example @ params),)


def convolution(params, example):
    return (jnp.sum(lax.conv_general_dilated(example[None], params, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))),)  # fmt: skip  # noqa: E501


def grouped(params, example):
    return (jnp.sum(lax.conv_general_dilated(example[None], params, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2)),)  # fmt: skip  # noqa: E501


def test_numbers_of_one_example():
    # x @ w gives 5 numbers, their sum 1, the cotangent at the only site 5.
    assert floats_of_one(dense, jnp.ones((7, 5)), jnp.ones((3, 7))) == (5 + 1 + 5, False, False)
    # [1, 6, 6, 2] -> [1, 4, 4, 3]: 48 numbers, their cotangents, 16 windows of 9 * 2; 72 for x with an axis more; 1.
    floats, has, _ = floats_of_one(convolution, jnp.ones((3, 3, 2, 3)), jnp.ones((4, 6, 6, 2)))
    assert has and floats == 72 + 48 + 1 + 48 + 16 * 18


def test_all_at_once_where_they_fit_else_a_power_of_two(monkeypatch):
    rows = np.ones((100, 7), np.float32)
    assert microbatch_of(dense, jnp.ones((7, 5)), rows, 100) == 100
    monkeypatch.setattr(microbatch, "MAX_FLOATS", 11 * 99)
    assert microbatch_of(dense, jnp.ones((7, 5)), rows, 100) == 64
    monkeypatch.setattr(microbatch, "MAX_FLOATS", 11)
    assert microbatch_of(dense, jnp.ones((7, 5)), rows, 100) == 1
    monkeypatch.setattr(microbatch, "MAX_FLOATS", 1)  # one does not fit: there is nothing smaller
    assert microbatch_of(dense, jnp.ones((7, 5)), rows, 100) == 1


def test_convolutions_on_a_cpu_are_looped_over_as_products_in_its_cache(monkeypatch):
    kernel, images = jnp.ones((3, 3, 2, 3)), np.ones((100, 6, 6, 2), np.float32)
    assert microbatch_of(convolution, kernel, images, 100) == 100
    monkeypatch.setattr(microbatch, "MAX_FLOATS_OF_WINDOWS", 7 * (72 + 48 + 1 + 48))  # a few at a time
    assert microbatch_of(convolution, kernel, images, 100) == 4
    monkeypatch.setattr(microbatch, "MIN_FLOATS_PER_PARAMETER", 169)  # 54 parameters: as much work as 54 examples
    assert microbatch_of(convolution, kernel, images, 100) == 32


def test_convolutions_that_are_no_such_products_are_not_looped_over(monkeypatch):
    monkeypatch.setattr(microbatch, "MAX_FLOATS", 1)
    images = np.ones((100, 6, 6, 2), np.float32)
    assert microbatch_of(grouped, jnp.ones((3, 3, 1, 2)), images, 100) == 100
