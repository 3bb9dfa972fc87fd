"""Accuracy during training: the label is the first of the largest logits."""

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.losses.example_metrics import is_top1


def test_it_is_the_arg_max_on_ties_too():
    rng = np.random.default_rng(0)
    logits = rng.integers(-2, 3, (500, 4)).astype(np.float32)  # many ties
    logits[:20] = [-np.inf, 0.0, np.inf, np.inf]
    y = rng.integers(0, 4, 500).astype(np.int32)
    result = jax.jit(is_top1)(jnp.asarray(logits), jnp.asarray(y))
    np.testing.assert_array_equal(result, logits.argmax(-1) == y)
