"""What `observe` sees of a run, and that it changes nothing."""

import jax
import numpy as np
import pytest

from gecko_jax import models, training
from gecko_jax.types import Examples

RNG = np.random.default_rng(0)
DATA = Examples(RNG.normal(size=(12, 3)).astype(np.float32), RNG.integers(0, 2, 12))
MODEL = models.create("mlp", 2, hidden=(4,))
OPTIONS = dict(epochs=3, batch_size=4)


class Enough(Exception):
    """Ends a run."""


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_each_epoch_is_seen_and_the_run_is_as_without():
    member, states = np.ones((2, 12), bool), {}
    plain = training.fit_ensemble(MODEL, DATA, member, **OPTIONS)
    observed = training.fit_ensemble(MODEL, DATA, member, **OPTIONS, observe=states.__setitem__)
    assert list(states) == [1, 2, 3] and same(observed.variables, plain.variables)
    assert same(states[3], plain.variables) and not same(states[2], plain.variables)
    # A run of as many epochs and a constant rate passes through the same states.
    assert same(states[2], training.fit_ensemble(MODEL, DATA, member, epochs=2, batch_size=4).variables)


def test_an_exception_ends_the_run_and_one_model_has_no_axis():
    shapes = []

    def observe(epoch, variables):
        shapes.append(variables["params"]["logits"]["kernel"].shape)
        if epoch == 2:
            raise Enough

    with pytest.raises(Enough):
        training.fit(MODEL, DATA, **OPTIONS, observe=observe)
    assert shapes == [(4, 2), (4, 2)]


def test_something_else_than_a_function_is_refused():
    with pytest.raises(ValueError, match=r"observe=5 must be a function \(epochs done, variables\)"):
        training.fit(MODEL, DATA, observe=5)
