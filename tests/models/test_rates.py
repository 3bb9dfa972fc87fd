"""Learning rates of their own for some parameters."""

import jax
import numpy as np
import optax
import pytest

from gecko_jax import models, quantizers, training
from gecko_jax.trees import named_leaves
from gecko_jax.types import Examples

RNG = np.random.default_rng(0)
DATA = Examples(RNG.normal(size=(12, 5)).astype(np.float32), RNG.integers(0, 3, 12).astype(np.int32))
PLAIN = models.create("mlp", 3, hidden=(4,), activation="quadratic")
COEFFICIENTS = r"Quadratic_\d+/"


def moved(model, start):
    """How far one step of SGD moves each parameter."""
    options = dict(epochs=1, batch_size=12, optimizer=optax.sgd(0.1), init=start)
    after = training.fit(model, DATA, **options).variables["params"]
    return {name: leaf - dict(named_leaves(start["params"]))[name] for name, leaf in named_leaves(after)}


def test_a_step_is_multiplied_by_the_first_expression_that_is_found():
    start = jax.tree.map(np.asarray, PLAIN.init(jax.random.key(0), DATA.x[:1]))
    plain = moved(PLAIN, start)
    slower = moved(models.with_rates(PLAIN, {COEFFICIENTS: 0.25, "dense|Quadratic": 3}), start)
    factor = {"block1/Quadratic_0/a": 0.25, "block1/Quadratic_0/b": 0.25, "dense1/kernel": 3, "dense1/bias": 3}
    for name, step in plain.items():
        assert np.abs(step).max() > 0
        np.testing.assert_allclose(slower[name], factor.get(name, 1) * step, rtol=1e-3, atol=1e-6, err_msg=name)
    both = models.with_rates(models.with_rates(PLAIN, {"bias": 0.5}), {"dense1": 0.5})
    twice = moved(both, start)
    np.testing.assert_allclose(twice["dense1/bias"], 0.25 * plain["dense1/bias"], rtol=1e-3, atol=1e-6)


def test_a_quantized_model_keeps_them():
    model = models.quantized(models.with_rates(PLAIN, {COEFFICIENTS: 0.25}), [("", quantizers.binary(), None)], ())
    start = jax.tree.map(np.asarray, model.init(jax.random.key(0), DATA.x[:1]))
    factors = [dict(named_leaves(rates(start, DATA.x))) for rates in model.rates]
    assert np.prod([each["block1/Quadratic_0/a"] for each in factors]) == 0.25


@pytest.mark.parametrize(
    "factors, message",
    [
        ({}, "must map regular expressions to factors"),
        ([("a", 1)], "must map regular expressions to factors"),
        ({"(": 1.0}, r"factors: '\(' is not a regular expression"),
        ({"dense": 0.0}, r"factors\['dense'\]=0.0 must be a finite number above 0"),
        ({"Herpn": 0.5}, r"factors: \['Herpn'\] hold for no parameter"),
        ({"dense": 0.5, "dense1": 0.1}, r"factors: \['dense1'\] hold for no parameter"),
    ],
)
def test_factors_that_would_change_nothing_are_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        training.fit(models.with_rates(PLAIN, factors), DATA, epochs=1)
