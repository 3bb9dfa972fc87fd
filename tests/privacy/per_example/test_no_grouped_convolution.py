"""Replayed losses hold no convolution with a group for each example: XLA's partitioner gets those wrong."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from test_clipped_sum import compiled

from gecko_jax.privacy.per_example import graph


def drawn(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def plain(x, k):
    return lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def test_the_primitive_of_a_convolution_is_known_by_its_name():
    program = jax.make_jaxpr(plain)(drawn((1, 5, 5, 2), 0), drawn((3, 3, 2, 2), 1)).jaxpr
    assert program.eqns[-1].primitive.name == graph.CONVOLUTION


def grouped(function, *examples):
    """Whether a vmap over the examples holds a convolution with a group for each."""
    text = str(jax.make_jaxpr(jax.vmap(function))(*examples))
    return f"group_count={len(examples[0])}" in text


@pytest.mark.parametrize("inside", ["plain", "a scan", "a branch", "a loop in a scan", "a kernel of its own"])
def test_no_example_gets_a_group_of_a_convolution(inside):
    """What XLA's partitioner would get wrong is in the plain gradient, and not in that of the replayed loss."""

    def loss(k, x):
        if inside == "a scan":
            x = lax.scan(lambda x, _: (jnp.tanh(plain(x, k)), None), x, None, length=2)[0]
        elif inside == "a branch":
            x = lax.cond(x[0, 0, 0, 0] > 0, lambda: plain(x, k), lambda: plain(2 * x, k))
        elif inside == "a loop in a scan":
            turn = lambda x: lax.fori_loop(0, 2, lambda i, x: jnp.tanh(plain(x, k)), x)  # noqa: E731
            x = lax.scan(lambda x, _: (turn(x), None), x, None, length=2)[0]
        elif inside == "a kernel of its own":
            x = plain(x, k * x.mean())
        else:
            x = plain(x, k)
        return (jnp.sum(x**2),)

    k, x = drawn((3, 3, 2, 2), 3) * 0.3, drawn((4, 1, 5, 5, 2), 4)
    replayed = graph.replayed(loss)
    of_kernel, of_replayed = (jax.grad(lambda k, x, run=run: run(k, x)[0]) for run in (loss, replayed))
    assert grouped(lambda x: of_kernel(k, x), x) and not grouped(lambda x: of_replayed(k, x), x)
    both = compiled(lambda k, x: [jax.vmap(each, in_axes=(None, 0))(k, x) for each in (of_kernel, of_replayed)])
    np.testing.assert_allclose(*both(k, x), rtol=1e-4, atol=1e-4)
