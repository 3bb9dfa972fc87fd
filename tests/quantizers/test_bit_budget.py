"""Bits of trained steps and what they cost: counted levels, slopes by differences, and a budget that is kept."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import quantizers
from gecko_jax.quantizers import bit_operations, over_budget, trained_bits, weight_bytes


def test_bits_are_enough_for_every_level_and_one_less_is_not():
    """A grid -Q step, ..., Q step has 2 Q + 1 levels; a code of b bits in the narrow range has 2^b - 1."""
    levels = np.arange(1, 300)
    bits = np.asarray(trained_bits(jnp.full(299, 0.25), jnp.asarray(0.25 * levels)))
    assert (2**bits - 1 >= 2 * levels + 1).all()
    assert (2 ** (bits - 1) - 1 < 2 * levels + 1)[bits > 2].all()
    for b in (2, 4, 8):  # the grid of the uniform quantizer
        w = jnp.linspace(-1, 1, 1001)[:, None]
        step = float(jnp.diff(jnp.unique(quantizers.uniform(b).apply((), w))).min())
        assert float(trained_bits(jnp.float32(step * (1 + 1e-5)), jnp.float32(1.0))) == b


def test_slopes_are_those_of_the_unrounded_bits():
    step, top, h = 0.03, 0.9, 1e-6

    def smooth(step, top):
        return np.log2(top / step + 1) + 1

    slopes = jax.jit(jax.grad(trained_bits, (0, 1)))(step, top)
    expected = [(smooth(step + h, top) - smooth(step - h, top)) / (2 * h)]
    expected.append((smooth(step, top + h) - smooth(step, top - h)) / (2 * h))
    np.testing.assert_allclose(slopes, expected, rtol=1e-4)
    np.testing.assert_allclose(expected[0], -top / (step * (top + step) * np.log(2)), rtol=1e-6)
    assert float(jax.grad(trained_bits)(2.0, 0.5)) == 0  # below two bits nothing is left to give


def test_costs_are_sums_over_layers_and_filters():
    bits = {"a": jnp.array([2.0, 4.0, 6.0]), "b": jnp.float32(8.0)}
    assert float(weight_bytes(bits, {"a": 30, "b": 5})) == (10 * 2 + 10 * 4 + 10 * 6 + 5 * 8) / 8
    inputs = {"a": jnp.float32(8.0), "b": jnp.float32(1.0)}
    assert float(bit_operations(bits, inputs, {"a": 300, "b": 7})) == 100 * (2 + 4 + 6) * 8 + 7 * 8
    slope = jax.grad(lambda b: weight_bytes({"a": b}, {"a": 30}))(bits["a"])
    np.testing.assert_allclose(slope, [10 / 8] * 3, rtol=1e-6)


def test_training_ends_within_the_budget_and_the_layer_that_needs_bits_keeps_more():
    """Two layers of 1,000 weights whose rounding errors cost 100 and 1: with q bits the error is as step^2 / 12."""
    parameters, top, budget = {"fine": 1000, "coarse": 1000}, 1.0, 1250.0

    def amount(logs):
        return weight_bytes({name: trained_bits(jnp.exp(s), jnp.float32(top)) for name, s in logs.items()}, parameters)

    def loss(logs):
        errors = 100 * jnp.exp(2 * logs["fine"]) + jnp.exp(2 * logs["coarse"])
        return errors / 12 + 30 * over_budget(amount(logs), budget)

    @jax.jit
    def train(logs):
        def step(logs, _):
            slopes = jax.grad(loss)(logs)
            return jax.tree.map(lambda s, g: s - 0.02 * g, logs, slopes), None

        return jax.lax.scan(step, logs, None, length=600)[0]

    start = {"fine": jnp.log(jnp.float32(1 / 127)), "coarse": jnp.log(jnp.float32(1 / 127))}
    end = train(start)
    assert float(amount(start)) == 2000 and float(amount(end)) <= budget
    bits = {name: float(trained_bits(jnp.exp(s), jnp.float32(top))) for name, s in end.items()}
    assert bits["fine"] > bits["coarse"]
    assert float(over_budget(amount(end), budget)) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: over_budget(jnp.float32(1.0), 0), "budget=0 must be a finite number above 0"),
        (lambda: weight_bytes({"a": 4.0}, {"b": 3}), r"same layers; only one of the two has \['a', 'b'\]"),
        (lambda: weight_bytes({}, {}), "no layer has bits"),
        (lambda: bit_operations({"a": 4.0}, {}, {"a": 3}), r"input_bits and the bits .* \['a'\]"),
    ],
)
def test_what_does_not_belong_together_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
