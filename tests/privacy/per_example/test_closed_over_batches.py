"""A NumPy batch that a compiled step closes over is a constant of its program, and clips as one that is passed."""

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import clippings
from gecko_jax.privacy.per_example.clipped import clipped


def convolved(params, row, key):
    """Reads the rows by a primitive that takes no NumPy constant under vmap."""
    axes = "NWC", "WIO", "NWC"
    return jnp.sum(jax.lax.conv_general_dilated(row, params["kernel"], (1,), "VALID", dimension_numbers=axes) ** 2)


def test_a_batch_that_a_step_closes_over():
    rng = np.random.default_rng(0)
    batch, params = np.float32(rng.normal(size=(3, 1, 4, 2))), {"kernel": jnp.float32(rng.normal(size=(2, 2, 1)))}
    total = clipped(convolved)
    passed = jax.jit(lambda params, batch: total(clippings.flat(1.0), params, batch).sum)(params, batch)
    inside = jax.jit(lambda params: total(clippings.flat(1.0), params, batch).sum)(params)
    rows = [jax.grad(lambda params, i=i: convolved(params, batch[i], None))(params)["kernel"] for i in range(3)]
    expected = sum(np.float64(row) * min(1, 1 / np.linalg.norm(row)) for row in rows)
    for result in (passed, inside):
        np.testing.assert_allclose(result["kernel"], expected, rtol=1e-5)
