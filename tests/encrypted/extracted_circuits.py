"""A model with its variables filled with draws, extracted, and compared with itself in its own precision."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import models
from gecko_jax.encrypted import evaluate, extract


def draws(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def variables_of(model, x, seed=0):
    """Variables of the right shapes with normal draws, scaled by their fan-in; variances above zero."""
    random = np.random.default_rng(seed)

    def draw(leaf):
        values = random.normal(size=leaf.shape) / np.sqrt(max(1, np.prod(leaf.shape[:-1])))
        return (np.abs(values) + 0.1 if leaf.ndim == 1 else values).astype(leaf.dtype)

    variables = jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0), x))
    if "transition" in variables:
        variables["transition"] = jax.tree.map(np.ones_like, variables["transition"])
    return variables


def circuit_of(network, shape, rows=3):
    """The circuit of a module or a Model, which computes on other rows what the module computes."""
    model = models.from_linen(network) if isinstance(network, nn.Module) else network
    x = draws((rows, *shape))
    variables = variables_of(model, x)
    circuit = extract(model, variables, x)
    other = draws((5, *shape), seed=1)
    expected = np.asarray(model.apply(variables, jnp.asarray(other))[0], np.float64)
    np.testing.assert_allclose(evaluate(circuit, other), expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())
    return circuit


class Function(nn.Module):
    """A module of a function of x alone."""

    function: object

    @nn.compact
    def __call__(self, x):
        return self.function(x)
