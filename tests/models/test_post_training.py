"""Post-training quantization: calibrated ranges against NumPy, roundings against all others, bad input."""

from __future__ import annotations

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models, quantizers
from gecko_jax.quantizers.ranges import RANGES

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)).astype(np.float32)  # more than one block of rows
NET = models.create("mlp", 3, hidden=(6,))
START = jax.jit(NET.init)(KEY, X[:1])
INT8 = models.quantized(NET, [("", quantizers.int8(), quantizers.int8_input())], float_layers=())
PER_CHANNEL = quantizers.lsq(4, per_channel=True, start="mse")


def hidden(kernel):
    params = START["params"]["dense1"]
    return np.maximum(X @ np.asarray(kernel) + np.asarray(params["bias"]), 0)


def test_min_max_is_the_range_of_all_rows_under_quantized_weights():
    calibrated = models.calibrate(INT8, START, X)
    kernel = quantizers.int8().apply((), START["params"]["dense1"]["kernel"])
    for name, inputs in (("dense1", X), ("logits", hidden(kernel))):
        state = calibrated[RANGES][f"input:{name}"]
        assert float(state["low"]) == pytest.approx(inputs.min(), abs=1e-6)
        assert float(state["high"]) == pytest.approx(inputs.max(), rel=1e-5)
    np.testing.assert_array_equal(calibrated["params"]["dense1"]["kernel"], START["params"]["dense1"]["kernel"])
    gap = INT8.apply(calibrated, X)[0] - NET.apply(START, X)[0]
    assert 0 < float(np.abs(gap).max()) < 0.05


def test_a_percentile_is_numpys():
    calibrated = models.calibrate(INT8, START, X, "percentile", percentile=95)
    state = calibrated[RANGES]["input:dense1"]
    np.testing.assert_allclose([state["low"], state["high"]], np.percentile(X, [5, 95]), rtol=1e-5)


def test_the_least_error_is_that_of_numpy():
    model = models.quantized(NET, [("", None, quantizers.int4_input())], float_layers=())
    state = models.calibrate(model, START, X, "mse")[RANGES]["input:dense1"]

    def error(share):
        low, high = share * X.min(), share * X.max()
        s = (high - low) / 15
        zero = np.round(-8 - low / s)
        return (((np.clip(np.round(X / s) + zero, -8, 7) - zero) * s - X) ** 2).mean()

    best = min(np.arange(20, 101) / 100, key=error)
    assert 0.2 < best < 1
    assert error(float(state["high"]) / X.max()) == pytest.approx(error(best), rel=1e-3)


@pytest.mark.parametrize(
    "quantizer, state",
    [
        (quantizers.pact(4), {"level": X.max()}),
        (quantizers.lsq_input(4, signed=True), {"step": max(X.max() / 7, -X.min() / 8)}),
        (quantizers.lsq_plus_input(4), {"step": (X.max() - X.min()) / 15, "offset": X.min()}),
    ],
)
def test_what_is_trained_starts_from_the_range(quantizer, state):
    model = models.quantized(NET, [("dense1", PER_CHANNEL, quantizer)], float_layers=())
    learned = models.calibrate(model, START, X)["params"]["quantizers"]
    assert set(learned) == {"weight:dense1/kernel", "input:dense1"}
    for name, value in state.items():
        assert float(learned["input:dense1"][name]) == pytest.approx(value, rel=1e-5)
    expected = PER_CHANNEL.init(START["params"]["dense1"]["kernel"])["step"]
    np.testing.assert_allclose(learned["weight:dense1/kernel"]["step"], expected, rtol=1e-6)


def test_calibrating_again_changes_no_weight_state():
    model = models.quantized(NET, [("dense1", PER_CHANNEL, quantizers.pact(4))], float_layers=())
    calibrated = models.calibrate(model, START, X)
    moved = jax.tree.map(lambda leaf: 2 * leaf, calibrated)
    again = models.calibrate(model, moved, X)["params"]["quantizers"]
    np.testing.assert_array_equal(
        again["weight:dense1/kernel"]["step"], moved["params"]["quantizers"]["weight:dense1/kernel"]["step"]
    )
    assert float(again["input:dense1"]["level"]) == float(X.max())


def test_rounding_is_nearly_as_good_as_any_other():
    """One layer of 2 x 3 weights: all 64 roundings are tried."""
    x = (RNG.normal(size=(64, 3)) @ np.array([[2.0, 1.9, 0], [0, 0.3, 0], [0, 0.1, 0.5]])).astype(np.float32)
    net = models.create("mlp", 2, hidden=())
    kernel = jnp.array([[0.45, 0.3], [0.42, -0.6], [1.0, 0.8]])  # two inputs are alike: one up and one down is best
    start = {"params": {"logits": {"kernel": kernel, "bias": jnp.zeros(2)}}}
    model = models.quantized(net, [("", quantizers.lsq(2, narrow=True, start="max"), None)], float_layers=())
    rounded = models.reconstruct(model, start, x, steps=300, batch_size=64)
    w = np.asarray(start["params"]["logits"]["kernel"], np.float64)
    s = float(rounded["params"]["quantizers"]["weight:logits/kernel"]["step"])
    below = np.floor(np.clip(w / s, -1, 1))

    def error(w_hat):
        return ((x @ (w_hat - w)) ** 2).sum() / len(x)

    choices = [np.clip(below + np.reshape(up, w.shape), -1, 1) * s for up in itertools.product((0, 1), repeat=w.size)]
    errors = np.unique([error(choice) for choice in choices])
    nearest = error(np.clip(np.round(w / s), -1, 1) * s)
    assert errors[0] < nearest / 8  # a case in which rounding to nearest is far from the best
    assert error(np.asarray(rounded["params"]["logits"]["kernel"])) < 2 * errors[0]
    outputs = [model.apply(rounded, x)[0], net.apply({"params": {"logits": rounded["params"]["logits"]}}, x)[0]]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)  # quantizing changes them no more


class Blocks(nn.Module):
    """Two blocks and a head, named against their order."""

    def setup(self):
        self.b, self.a = (nn.Sequential([nn.Dense(6), nn.relu, nn.Dense(6), nn.relu]) for _ in range(2))
        self.head = nn.Dense(2)

    def __call__(self, x):
        return self.head(self.a(self.b(x)))


@pytest.mark.parametrize("blocks", [None, ["b", "a", "head"]])
def test_blocks_stay_closer_to_the_float_network_than_nearest_rounding(blocks):
    net = models.from_linen(Blocks())
    start = jax.jit(net.init)(KEY, X[:1])
    weights = quantizers.lsq(2, per_channel=True, narrow=True, start="mse")
    model = models.quantized(net, [("", weights, quantizers.int8_input())], float_layers=())
    nearest = models.calibrate(model, start, X)
    rounded = models.reconstruct(model, nearest, X, blocks, steps=150)

    def error(variables):
        return float(((model.apply(variables, X)[0] - net.apply(start, X)[0]) ** 2).mean())

    assert error(rounded) < 0.7 * error(nearest)
    before, after = models.weight_codes(model, nearest, X[:1]), models.weight_codes(model, rounded, X[:1])
    for name, codes in after.items():
        np.testing.assert_array_equal(codes.scale, before[name].scale)
        assert np.abs(np.asarray(codes.values) - np.asarray(before[name].values)).max() <= 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: models.calibrate(NET, START, X), "model is not quantized"),
        (lambda: models.calibrate(INT8, START, X, "mean"), "method='mean'"),
        (lambda: models.calibrate(INT8, START, X, "percentile", 100), "percentile=100 must lie between 50 and 100"),
        (lambda: models.calibrate(INT8, START, X[:0]), "x"),
        (lambda: models.calibrate(INT8, START, np.full((2, 4), np.nan, np.float32)), "inputs of 'dense1' on x"),
        (lambda: models.reconstruct(NET, START, X), "no quantized weights"),
        (lambda: models.reconstruct(INT8, START, X), "'dense1/kernel' is quantized by 'int8', whose scale follows"),
        (lambda: reconstruct(["dense1"]), "logits/kernel lie in no block"),
        (lambda: reconstruct(["", "logits"]), "logits/kernel lie in two of"),
        (lambda: reconstruct(["dense2"]), "'dense2' holds none of the quantized weights"),
        (lambda: reconstruct("logits"), "blocks='logits' must be a list"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def reconstruct(blocks):
    model = models.quantized(NET, [("", PER_CHANNEL, None)], float_layers=())
    return models.reconstruct(model, START, jnp.asarray(X), blocks)
