"""A weight says whether a row is real, 1 or 0: anything else is refused, or gives NaN, and is never obeyed."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from one_by_one import clipped_by_hand
from test_clipped_sum import check_equal, compiled

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.privacy import gradients
from gecko_jax.privacy.per_example.clipped import clipped_sum
from gecko_jax.types import Batch

RULE = clippings.flat(1.0)
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
W = np.asarray([0.3, -0.2, 0.5], np.float32)


def loss(w, row, key):
    return jnp.tanh(row @ w) ** 2


def with_weight(weight, microbatch=None, method="auto"):
    return clipped_sum(loss, RULE, method, microbatch)(W, X, None, weight)


WRONG = [0.5, np.nan, 2.0, -1.0, np.inf, 1e-9, 1 - 1e-6]


@pytest.mark.parametrize("value", WRONG)
def test_a_weight_that_is_known_is_refused_with_its_row(value):
    weight = np.asarray([1, 1, value, 0, 1], np.float32)
    for given in (weight, jnp.asarray(weight)):
        with pytest.raises(ValueError, match=r"^weight\[2\]=.* must be 1 for a real row or 0 for padding. To count"):
            with_weight(given)


traced = {microbatch: compiled(lambda weight, m=microbatch: with_weight(weight, m)) for microbatch in (None, 2)}


@pytest.mark.parametrize("microbatch", [None, 2])
def test_a_weight_that_is_traced_gives_nan(microbatch):
    """In a program it cannot be read: no part of such a sum is released as if it were one."""
    for value in WRONG:
        total, norms = traced[microbatch](np.asarray([1, 1, value, 0, 1], np.float32))
        assert np.isnan(total).all() and np.isnan(norms).all(), value
    weight = np.asarray([1, 0, 1, 0, 1], np.float32)
    total, norms = traced[microbatch](weight)
    wanted, lengths = clipped_by_hand(loss, W, X, weight=weight)
    check_equal(total, wanted)
    np.testing.assert_allclose(norms, lengths * weight, rtol=1e-5)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.float16])
def test_ones_and_zeros_of_any_type(dtype):
    weight = np.asarray([1, 0, 1, 0, 1], dtype)
    wanted, _ = clipped_by_hand(loss, W, X, weight=weight.astype(float))
    check_equal(with_weight(weight)[0], wanted)
    check_equal(traced[2](weight)[0], wanted)


class Patients(NamedTuple):
    """A user's own batch: `weight` is kilograms."""

    x: Any
    weight: Any


def test_a_field_of_that_name_is_the_users_own():
    kilograms = np.asarray([70.0, 0.0, -1.0, np.nan, 0.5], np.float32)

    def of_patient(w, row, key):
        return loss(w, row.x, key) if isinstance(row, Patients) else loss(w, row["x"], key)

    wanted, _ = clipped_by_hand(loss, W, X)
    for batch in (Patients(X, kilograms), {"x": X, "weight": kilograms}):
        check_equal(compiled(clipped_sum(of_patient, RULE))(W, batch)[0], wanted)
    only = np.asarray([1, 0, 0, 0, 0])
    wanted, _ = clipped_by_hand(loss, W, X, weight=only)
    check_equal(clipped_sum(of_patient, RULE)(W, Patients(X, kilograms), None, only)[0], wanted)
    private = gradients.private_gradients(lambda v, row, key: of_patient(v["params"], row, key), RULE, 0.0, 1.0)
    update, metrics = private({"params": W}, Patients(X, kilograms), jax.random.key(0))
    check_equal(update, clipped_by_hand(loss, W, X)[0])
    assert metrics.count == 5


MODEL = models.from_linen(nn.Dense(3))
VARIABLES = MODEL.init(jax.random.key(0), X)


def steps():
    """(variables, batch, key) of private and of plain gradients, and of the adaptive rule."""
    of_one = privacy.example_loss(MODEL, losses.cross_entropy())
    rule = clippings.quantile(1.0)
    adaptive = gradients.with_threshold(MODEL, rule)
    yield MODEL, gradients.private_gradients(of_one, RULE, 0.0, 5.0)
    yield MODEL, training.batch_gradients(MODEL, losses.cross_entropy())
    yield adaptive, gradients.private_gradients(privacy.example_loss(adaptive, losses.cross_entropy()), rule, 0.0, 5)


@pytest.mark.parametrize("number", range(3))
def test_both_trainings_ask(number):
    model, step = list(steps())[number]
    variables, batch = model.init(jax.random.key(0), X), Batch(X, np.zeros(5, np.int32), np.ones(5, np.float32))
    half = batch._replace(weight=np.asarray([1, 1, 0.5, 1, 1], np.float32))
    with pytest.raises(ValueError, match=r"batch.weight\[2\]=0.5 must be 1 for a real row or 0 for padding"):
        step(variables, half, jax.random.key(0))
    gradients, metrics = compiled(step)(variables, half, jax.random.key(0))
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(gradients)) and np.isnan(metrics.loss)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(metrics.updates))
