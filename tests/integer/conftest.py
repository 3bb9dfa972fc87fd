import jax
import numpy as np
import pytest


@pytest.fixture
def filled():
    """(model, x) -> variables of the right shapes with normal draws: nothing is compiled, unlike model.init."""

    def fill(model, x, seed=0):
        random = np.random.default_rng(seed)

        def draw(leaf):
            # Above zero in the batch statistics too: a variance is one.
            return np.abs(random.standard_normal(leaf.shape)).astype(leaf.dtype) if leaf.ndim == 1 else (
                random.standard_normal(leaf.shape).astype(leaf.dtype)
            )

        return jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0), x))

    return fill
