"""The oracle of clipped sums for any loss: one gradient after another, clipped and summed by NumPy in float64."""

from __future__ import annotations

import jax
import numpy as np

# Compiling is all the time that these tests take, and half of it is LLVM's optimization of programs that run once.
OPTIONS = {"xla_backend_optimization_level": 0}


def clipped_by_hand(loss, params, batch, clip_norm=1.0, weight=None):
    """(sum, norms [b]) of loss(params, example, key=None) over the examples of weight 1."""
    leaves, structure = jax.tree.flatten(batch)
    one = jax.jit(jax.grad(lambda params, example: loss(params, example, None)), compiler_options=OPTIONS)
    total, norms = jax.tree.map(lambda leaf: np.zeros(np.shape(leaf)), params), []
    for i in range(len(leaves[0])):
        gradient = one(params, structure.unflatten([leaf[i] for leaf in leaves]))
        gradient = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), gradient)
        norms.append(np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(gradient))))
        factor = (1 if weight is None else weight[i]) * min(1.0, clip_norm / max(norms[-1], 1e-30))
        total = jax.tree.map(lambda so_far, leaf: so_far + factor * leaf, total, gradient)  # noqa: B023
    return total, np.asarray(norms)


def check_every_method(loss, params, batch, ways=(("vmap", None), ("bookkeeping", None), ("auto", 2))):
    """`clipped_sum` against the loop, by each (method, microbatch)."""
    from test_clipped_sum import check_equal, compiled

    from gecko_jax import clippings
    from gecko_jax.privacy.per_example.clipped import clipped_sum

    wanted, lengths = clipped_by_hand(loss, params, batch)
    assert lengths.max() > 1e-3  # a gradient is there to be compared
    for method, microbatch in ways:
        total, norms = compiled(clipped_sum(loss, clippings.flat(1.0), method, microbatch))(params, batch)
        check_equal(total, wanted)
        np.testing.assert_allclose(norms, lengths, rtol=1e-5, atol=1e-7)
