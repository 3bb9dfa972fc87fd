"""Steps on losses of 16 bits: bfloat16 counts to 256, float16 to 2,048, and a step counts all of its rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_clipped_sum import compiled

from gecko_jax import clippings, losses, privacy, training
from gecko_jax.privacy import gradients
from gecko_jax.privacy.augmentation import augmented
from gecko_jax.types import Batch, Loss, Model

B, REAL = 3000, 2691


def model_of(dtype):
    """Two logits, x and 0, times a parameter, in a half precision."""

    def apply(variables, x, *, key=None, train=False):
        return (x * variables["params"]["w"]).astype(dtype), {}

    return Model(lambda key, x: {"params": {"w": jnp.ones(())}}, apply)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_step_counts_all_of_its_rows(dtype):
    rng = np.random.default_rng(0)
    x = np.stack([rng.choice([-1.0, 1.0], B), np.zeros(B)], axis=1).astype(np.float32)
    y, weight = rng.integers(0, 2, B).astype(np.int32), (np.arange(B) < REAL).astype(np.float32)
    model, loss = model_of(dtype), Loss("margin", lambda logits, example: 1 - logits[example.y], losses.accuracy())
    real = 1 - np.where(y == 0, x[:, 0], 0)[:REAL].astype(np.float64)
    right = int(((x[:REAL, 0] > 0) == (y[:REAL] == 0)).sum())
    variables = model.init(None, None)
    steps = (
        training.batch_gradients(model, loss),
        gradients.private_gradients(privacy.example_loss(model, loss), clippings.flat(1.0), 0.0, REAL),
    )
    for step, given in zip(steps, (weight.astype(dtype), weight), strict=True):
        update, metrics = compiled(step)(variables, Batch(x, y, given), jax.random.key(0))
        assert (float(metrics.count), float(metrics.metric)) == (REAL, right)
        np.testing.assert_allclose(metrics.loss, real.mean(), rtol=1e-5)
        # In plain training the cotangents of the logits, 1 / count each, are of the model's own 16 bits.
        np.testing.assert_allclose(update["w"], (real - 1).mean(), rtol=2.0**-8)


def test_a_mean_over_copies_is_not_rounded_to_half_precision():
    """Losses of 1 and of 1 + 2^-7, the next bfloat16: their mean lies between."""

    def loss(w, x, key):
        return (w * x).astype(jnp.bfloat16), x > 1

    def augment(key, x):
        return jnp.where(jax.random.bernoulli(key), x, x + 2.0**-7)

    value, share = augmented(loss, augment, 32)(jnp.ones(()), jnp.ones(()), jax.random.key(0))
    assert 0 < float(share) < 1
    np.testing.assert_allclose(float(value), 1 + float(share) * 2.0**-7, rtol=1e-6)
