"""Two-party inference against the circuit in float64: error, bounds, refusals and what is printed."""

from collections import Counter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn_circuits import affine, clamped, inputs, mlp, residual, run
from scipy.sparse import csr_array

from gecko_jax import models
from gecko_jax.encrypted import compile_circuit, depth, extract
from gecko_jax.encrypted.circuit import Affine, Circuit, Product, node_values
from gecko_jax.encrypted.circuit import evaluate as evaluate_polynomial
from gecko_jax.encrypted.two_party import WAN, Settings, evaluate, observe_bounds, simulate
from gecko_jax.encrypted.two_party import extract as extract_with_clamps
from gecko_jax.encrypted.two_party.fixed_point import decode

SETTINGS = {"secret": Settings(), "public": Settings(public_weights=True)}


@pytest.mark.parametrize("weights", SETTINGS)
def test_the_error_of_784_128_10_on_64_examples(weights):
    circuit = mlp(784, 128, 10)
    x = np.random.default_rng(1).uniform(size=(64, 784))
    result = simulate(circuit, x, SETTINGS[weights], seed=0)
    expected = evaluate_polynomial(circuit, x)
    error = np.abs(result.outputs - expected).max()
    assert result.outputs.shape == (64, 10) and np.abs(expected).max() > 2
    assert error == result.max_error.value and 1e-4 < error <= 1e-3
    assert result.failure_probability.value < 3e-4


@pytest.mark.parametrize("weights", SETTINGS)
@pytest.mark.parametrize("circuit", [residual(), clamped(mlp(20, 9, 4))], ids=["residual", "clamp"])
def test_circuits_of_every_kind(circuit, weights):
    x = inputs(circuit, 7)
    result = simulate(circuit, x, SETTINGS[weights])  # masks from the operating system
    np.testing.assert_allclose(result.outputs, evaluate(circuit, x), rtol=0, atol=3e-3)


def test_a_flax_model_from_its_circuit():
    model = models.create("mlp", num_classes=4, hidden=(16, 8), activation="square")
    x = np.random.default_rng(0).uniform(size=(6, 10)).astype(np.float32)
    variables = jax.tree.map(lambda leaf: leaf / 2, model.init(jax.random.key(0), x))
    result = simulate(extract(model, variables, x), x)
    np.testing.assert_allclose(result.outputs, model.apply(variables, x)[0], rtol=0, atol=3e-3)


def test_more_bits_make_the_error_smaller():
    circuit = mlp(20, 9, 4)
    errors = [simulate(circuit, inputs(circuit), Settings(bits, bits), seed=0).max_error.value for bits in (8, 13, 18)]
    assert errors[0] > 8 * errors[1] > 64 * errors[2] > 0


class Clamps(nn.Module):
    """Clamps between ends of every kind, after a normalization that turns signs; a square and a residual sum."""

    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True, scale_init=nn.initializers.constant(-1.5))(nn.Dense(8)(x))
        x = jax.lax.clamp(-0.25, x, 0.75) + x
        y = nn.Dense(6)(x)
        low, high = jnp.linspace(-1, 0, 6), jnp.linspace(0.5, 2, 6)
        y = jax.lax.clamp(jnp.broadcast_to(low, y.shape), 2 - 3 * y, jnp.broadcast_to(high, y.shape))
        return nn.Dense(3)(jnp.concatenate([y, x * x], axis=-1)) * 2


class Maxima(nn.Module):
    """A maximum and a minimum with constants on either side, and of two layers."""

    @nn.compact
    def __call__(self, x):
        x = jnp.minimum(0.5, nn.Dense(7)(x)) - jnp.maximum(nn.Dense(7)(x), jnp.linspace(-0.3, 0.3, 7)[None])
        return nn.Dense(3)(jnp.maximum(nn.Dense(5)(x), nn.Dense(5)(x * x)))


MODELS = {
    "SecureML": models.create("mlp", num_classes=4, hidden=(16, 8), activation="clamp"),
    "any ends": models.from_linen(Clamps()),
    "ReLU": models.create("mlp", num_classes=4, hidden=(16, 8), activation="relu"),
    "maxima": models.from_linen(Maxima()),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_comparisons(name):
    model = MODELS[name]
    x = np.random.default_rng(0).uniform(-1, 1, size=(6, 10)).astype(np.float32)
    circuit = extract_with_clamps(model, variables := model.init(jax.random.key(0), x), x)
    kinds = Counter(type(node).__name__ for node in circuit.products)
    assert kinds["Clamp"] + kinds["Relu"] == (3 if name == "maxima" else 2)
    expected = model.apply(variables, x)[0]
    np.testing.assert_allclose(evaluate(circuit, x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(simulate(circuit, x).outputs, expected, rtol=0, atol=3e-3)
    with pytest.raises(ValueError, match="quadratic"):
        extract(model, variables, x)
    for door in (evaluate_polynomial, compile_circuit, lambda circuit, x: depth(circuit)):
        with pytest.raises(ValueError, match="is a (Clamp|Relu), which is not a polynomial.*two_party.simulate"):
            door(circuit, x)  # never taken for a square


def test_a_clamp_whose_ends_are_data_and_other_maxima_are_refused():
    class Other(nn.Module):
        data: bool

        @nn.compact
        def __call__(self, x):
            return jax.lax.clamp(-x, x, jnp.ones_like(x)) if self.data else jnp.max(x, axis=-1, keepdims=True)

    for data in (True, False):
        model = models.from_linen(Other(data))
        with pytest.raises(ValueError, match="a ReLU or another maximum" if data else "a maximum over data"):
            extract_with_clamps(model, {}, np.ones((2, 3), np.float32))


@pytest.mark.parametrize("weights", SETTINGS)
def test_a_row_of_zeros_and_a_constant_are_shared_as_uniformly_as_the_rest(weights):
    # Shares that are not uniform make a truncation fail for certain: 0 and a negative bias would be such shares.
    still = Affine({0: csr_array((3, 2))}, np.array([-1.5, 0.0, 0.75]))
    output = Affine({1: csr_array(np.eye(3))}, np.array([-0.25, 0.0, 3.0]))
    circuit = Circuit((2,), (3,), (Product(still, None),), output, ("input", "still"))
    result = simulate(circuit, np.ones((4, 2)), SETTINGS[weights])
    np.testing.assert_allclose(result.outputs, np.tile([2.0, 0.0, 3.5625], (4, 1)), atol=1e-3)


def test_values_that_make_a_truncation_likely_to_fail_are_refused():
    circuit = mlp(20, 9, 4)
    big = circuit._replace(output=Affine({1: circuit.output.terms[1] * 2.0**30}, circuit.output.bias))
    with pytest.raises(ValueError, match="fails with probability up to .*Take fewer of them"):
        simulate(big, inputs(circuit))
    # Narrower bounds of the same nodes, from data, need not help the output; a larger odds is accepted on demand only.
    with pytest.raises(ValueError, match="fails with probability"):
        simulate(circuit, inputs(circuit), Settings(max_failure_probability=2.0**-40))


def test_bounds_from_data_take_the_place_of_wide_intervals_and_are_checked():
    random = np.random.default_rng(0)
    deep = tuple(Product(affine(random, 40, **{f"n{i}": 40}), None) for i in range(5))
    circuit = Circuit((40,), (2,), deep, affine(random, 2, n5=40), ("input", *"abcde"))
    x = inputs(circuit) / 4
    with pytest.raises(ValueError, match="node_bounds from two_party.observe_bounds"):
        simulate(circuit, x)
    observed = observe_bounds(circuit, x, margin=1.5)
    assert observed == tuple(1.5 * np.abs(value).max() for value in node_values(circuit, x)[1:])
    with pytest.raises(ValueError, match="margin=0.5 must be at least 1"):
        observe_bounds(circuit, x, 0.5)
    result = simulate(circuit, x, Settings(node_bounds=observed))
    np.testing.assert_allclose(result.outputs, evaluate(circuit, x), rtol=0, atol=3e-3)
    with pytest.raises(ValueError, match="a reaches .* beyond its node_bounds"):
        simulate(circuit, x, Settings(node_bounds=[1e-3] * 5))
    with pytest.raises(ValueError, match="node_bounds has 2 entries; expected 5"):
        simulate(circuit, x, Settings(node_bounds=[1.0, 1.0]))


def test_a_failed_truncation_does_not_pass_as_an_answer():
    # Each of 15 outputs wraps around with probability 2^-7, so that one run of 9 is expected to fail.
    output = Affine({0: csr_array(np.full((15, 1), 2.0**31))}, np.zeros(15))
    circuit = Circuit((1,), (15,), (), output, ("input",))
    x, settings, failures = np.ones((1, 1)), Settings(13, 13, max_failure_probability=0.25), 0
    for seed in range(100):
        ring, _ = run(circuit, x, seed)
        wrong = int((np.abs(decode(ring, 13) / 2.0**31 - 1) > 1e-3).sum())
        failures += wrong > 0
        if wrong:
            with pytest.raises(ArithmeticError, match=f"{wrong} outputs lie outside their bounds: a truncation failed"):
                simulate(circuit, x, settings, seed=seed)
        else:
            assert simulate(circuit, x, settings, seed=seed).max_error.value < 1e-2
    assert 3 <= failures <= 25


@pytest.mark.parametrize(
    "x, settings, message",
    [
        (np.full((1, 20), 1.5), Settings(), "x reaches 1.5, beyond input_bound=1"),
        (np.full((1, 20), np.nan), Settings(), "x holds 20 entries that are NaN"),
        (np.zeros((0, 20)), Settings(), "x is empty"),
        (np.zeros((1, 19)), Settings(), "x has shape \\(1, 19\\); expected \\(any, 20\\)"),
        (np.zeros((1, 20)), Settings(25), "fraction_bits=25 must lie between 1 and 24"),
        (np.zeros((1, 20)), Settings(13, 0), "weight_fraction_bits=0 must be at least 1"),
        (np.zeros((1, 20)), Settings(13.0), "fraction_bits=13.0 must be an integer"),
        (np.zeros((1, 20)), Settings(input_bound=0), "input_bound=0 must be a finite number above 0"),
        (
            np.zeros((1, 20)),
            Settings(max_failure_probability=2),
            "max_failure_probability=2 must lie between 0 and 0.25",
        ),
    ],
)
def test_refusals(x, settings, message):
    with pytest.raises(ValueError, match=message):
        simulate(mlp(20, 9, 4), x, settings)


def test_other_things_than_circuits_and_settings_are_refused():
    circuit = mlp(20, 9, 4)
    with pytest.raises(ValueError, match="circuit is a Affine; expected a Circuit: encrypted.extract"):
        simulate(circuit.output, inputs(circuit))
    with pytest.raises(ValueError, match="settings=13 must be a two_party.Settings"):
        simulate(circuit, inputs(circuit), 13)
    for wrong in (-1.0, np.ones(8), np.nan):
        with pytest.raises(ValueError, match="node_bounds\\[0\\]=.* must be a number of at least 0, or 9 of them"):
            simulate(circuit, inputs(circuit), Settings(node_bounds=[wrong]))


def test_a_secret_matrix_of_a_size_that_no_machine_shares_is_refused():
    wide = Circuit((2**14,), (2**13,), (), Affine({0: csr_array((2**13, 2**14))}, np.zeros(2**13)), ("input",))
    with pytest.raises(ValueError, match="output has a matrix of 8,192 x 16,384 secret weights, 1,024 MiB"):
        simulate(wide, np.zeros((1, 2**14)))


def test_the_result_says_what_it_is():
    text = str(simulate(mlp(20, 9, 4), inputs(mlp(20, 9, 4)), networks=[WAN], seed=0))
    assert text.startswith("SIMULATION of two-party inference on 3 examples; both parties in one process.")
    for part in (
        "trusted dealer",
        "weights are the server's secret",
        "(measured)",
        "(modeled)",
        "WAN",
        "1 setup, 5 online",
    ):
        assert part in text
