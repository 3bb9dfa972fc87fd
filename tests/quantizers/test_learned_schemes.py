"""Schemes with a trained or measured grid against their papers: values in NumPy, gradients by differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import quantizers
from gecko_jax.quantizers.ranges import moved

RNG = np.random.default_rng(0)
W = (RNG.normal(size=(3, 4, 5)) * 0.8).astype(np.float32)
G = RNG.normal(size=W.shape).astype(np.float32)
STEP = np.float32(0.11)
HALVES = jnp.array([-0.25, -0.15, 0.05, 0.15, 0.25])  # of a step of 0.1


def frozen(round_at, function):
    """The function with round(v) as v + what rounding added at the point itself: what differences must not see."""
    rest = []

    def first(v):
        rest.append(np.round(v) - v)
        return np.round(v)

    function(first, *round_at)

    def run(*arguments):
        parts = iter(rest)
        return function(lambda v: v + next(parts), *arguments)

    return run


def lsq(lowest, highest):
    def function(rounding, v, s):
        return rounding(np.clip(v / s, lowest, highest)) * s

    return function


def lsq_plus(lowest, highest):
    def function(rounding, v, s, beta):
        return rounding(np.clip((v - beta) / s, 0, highest - lowest)) * s + beta

    return function


def pact():
    def function(rounding, v, alpha):
        del rounding
        return 0.5 * (np.abs(v) - np.abs(v - alpha) + alpha)  # eq. 1; the paper passes gradients over the rounding

    return function


def dorefa(bits):
    def function(rounding, w):
        top, tangent = 2**bits - 1, np.tanh(w)
        return 2 * rounding(top * (tangent / (2 * np.abs(tangent).max()) + 0.5)) / top - 1

    return function


def dorefa_input(bits):
    return lambda rounding, x: rounding((2**bits - 1) * np.clip(x, 0, 1)) / (2**bits - 1)


N = W.size
PER_EXAMPLE = W[0].size
CASES = {  # the quantizer, its state, its formula, what multiplies the gradients of the state
    "lsq3": (quantizers.lsq(3), {"step": STEP}, lsq(-4, 3), 1 / np.sqrt(N * 3)),
    "lsq8": (quantizers.lsq(8), {"step": STEP / 20}, lsq(-128, 127), 1 / np.sqrt(N * 127)),
    "lsq2_narrow": (quantizers.lsq(2, narrow=True), {"step": STEP * 3}, lsq(-1, 1), 1 / np.sqrt(N)),
    "lsq4_input": (quantizers.lsq_input(4), {"step": STEP}, lsq(0, 15), 1 / np.sqrt(PER_EXAMPLE * 15)),
    "lsq4_signed": (quantizers.lsq_input(4, signed=True), {"step": STEP}, lsq(-8, 7), 1 / np.sqrt(PER_EXAMPLE * 7)),
    "lsq_plus4": (quantizers.lsq_plus(4), {"step": STEP}, lsq(-8, 7), 1 / np.sqrt(N * 7)),
    "lsq_plus4_input": (
        quantizers.lsq_plus_input(4),
        {"step": STEP, "offset": np.float32(-0.66)},
        lsq_plus(-8, 7),
        1 / np.sqrt(PER_EXAMPLE * 15),
    ),
    "pact4": (quantizers.pact(4), {"level": np.float32(0.7)}, pact(), 1.0),
    "pact8": (quantizers.pact(8), {"level": np.float32(0.7)}, pact(), 1.0),
    "dorefa2": (quantizers.dorefa(2), (), dorefa(2), 1.0),
    "dorefa8": (quantizers.dorefa(8), (), dorefa(8), 1.0),
    "dorefa4_input": (quantizers.dorefa_input(4), (), dorefa_input(4), 1.0),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_the_differences_of_the_formula(name):
    quantizer, state, formula, factor = CASES[name]
    values = [np.float64(value) for value in jax.tree.leaves(state)]
    names = sorted(state) if state else []
    values = [np.float64(state[key]) for key in ("step", "offset", "level") if key in names]
    surrogate = frozen([W.astype(np.float64), *values], formula)

    def loss(state, w):
        return (quantizer.apply(state, w) * G).sum()

    to_state, to_w = jax.jit(jax.grad(loss, argnums=(0, 1)))(state, W)
    step = 1e-6
    for at, key in enumerate(key for key in ("step", "offset", "level") if key in names):
        ends = []
        for sign in (1, -1):
            moved_values = [value + sign * step * (i == at) for i, value in enumerate(values)]
            ends.append((surrogate(W.astype(np.float64), *moved_values) * G).sum())
        assert float(to_state[key]) == pytest.approx(factor * (ends[0] - ends[1]) / (2 * step), rel=2e-3, abs=1e-5), key
    places = [tuple(RNG.integers(0, n) for n in W.shape) for _ in range(12)]
    places.append(np.unravel_index(np.abs(W).argmax(), W.shape))  # of the maximum, through which dorefa's gradient goes
    for place in places:
        bump = np.zeros(W.shape)
        bump[place] = step
        slope = (surrogate(W + bump, *values) - surrogate(W - bump, *values)) / (2 * step)
        assert float(to_w[place]) == pytest.approx((slope * G).sum(), rel=2e-3, abs=2e-4), place


def by_hand(name, v, state):
    """w_hat by the paper's formula; Python's round is half to even."""
    rounding = np.vectorize(lambda x: float(round(float(x))))
    if name.startswith("lsq_plus") and name.endswith("input"):
        s, beta = np.float64(state["step"]), np.float64(state["offset"])
        zero = np.clip(round(float(-8 - beta / s)), -8, 7)
        return (np.clip(rounding(v / s) + zero, -8, 7) - zero) * s
    if name.startswith("pact"):
        alpha, top = np.float64(state["level"]), 15 if name == "pact4" else 255
        return rounding(np.clip(v, 0, alpha) * top / alpha) * alpha / top
    return CASES[name][2](rounding, v, *[np.float64(leaf) for leaf in jax.tree.leaves(state)])


@pytest.mark.parametrize("name", CASES)
def test_values_are_the_formula(name):
    quantizer, state, _, _ = CASES[name]
    w_hat = jax.jit(quantizer.apply)(state, W)
    np.testing.assert_allclose(w_hat, by_hand(name, W.astype(np.float64), state), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "quantizer, state, levels",
    [
        (quantizers.lsq(4), {"step": STEP}, 16),
        (quantizers.lsq(2, narrow=True), {"step": STEP}, 3),
        (quantizers.lsq_input(8), {"step": STEP / 10}, 256),
        (quantizers.lsq_plus_input(8), {"step": STEP / 10, "offset": np.float32(-0.9)}, 256),
        (quantizers.pact(8), {"level": 2.0}, 256),
        (quantizers.dorefa(8), (), 256),
        (quantizers.dorefa(1), (), 2),
        (quantizers.dorefa_input(1), (), 2),
        (quantizers.ttq(), {"positive": 0.7, "negative": 0.4}, 3),
        (quantizers.int8(), (), 255),
        (quantizers.int4(), (), 15),
        (quantizers.int8_input(), {"low": -1.0, "high": 2.0, "count": 1}, 256),
        (quantizers.int4_input(), {"low": -1.0, "high": 2.0, "count": 1}, 16),
    ],
)
def test_levels_are_counted(quantizer, state, levels):
    w = np.linspace(-3, 3, 4001, dtype=np.float32)[:, None]
    codes = jax.jit(quantizer.codes)(state, w)
    assert len(np.unique(codes.values)) == levels
    if jnp.issubdtype(codes.values.dtype, jnp.integer) and quantizer.name != "dorefa8":
        assert codes.values.dtype == jnp.int8
    if quantizer.name == "dorefa8":
        assert codes.values.dtype == jnp.int16 and set(np.unique(codes.values) % 2) == {1}


def test_ttq():
    up, down, delta = 0.7, 0.4, 0.3 * np.abs(W).max()
    quantizer = quantizers.ttq(threshold=0.3)
    state = {"positive": jnp.float32(up), "negative": jnp.float32(down)}
    above, below = delta < W, -delta > W
    w_hat, back = jax.vjp(quantizer.apply, state, jnp.asarray(W))
    np.testing.assert_allclose(w_hat, np.where(above, up, np.where(below, -down, 0)), rtol=1e-6)
    to_state, to_w = back(jnp.asarray(G))
    assert float(to_state["positive"]) == pytest.approx(G[above].sum(), rel=1e-5)
    assert float(to_state["negative"]) == pytest.approx(-G[below].sum(), rel=1e-5)
    np.testing.assert_allclose(to_w, G * np.where(above, up, np.where(below, down, 1)), rtol=1e-6)
    start = quantizer.init(jnp.asarray(W))
    assert float(start["negative"]) == pytest.approx(np.abs(W[below]).mean(), rel=1e-5)


def test_dorefa_of_one_bit():
    w_hat, back = jax.vjp(lambda w: quantizers.dorefa(1).apply((), w), jnp.asarray(W))
    np.testing.assert_allclose(w_hat, np.where(W >= 0, 1, -1) * np.abs(W).mean(), rtol=1e-6)
    assert (np.asarray(back(jnp.asarray(G))[0]) == G).all()


def test_pact_gradient_at_its_very_ends():
    x = jnp.array([-0.1, 0.0, 0.35, 0.7, 0.9], jnp.float32)
    state = {"level": x[3]}
    to_state, to_x = jax.grad(lambda state, x: quantizers.pact(4).apply(state, x).sum(), argnums=(0, 1))(state, x)
    assert to_x.tolist() == [0, 1, 1, 0, 0] and float(to_state["level"]) == 2


@pytest.mark.parametrize("low, high", [(-0.9, 1.7), (0.2, 1.7), (-1.2, -0.3), (0.0, 0.0)])
@pytest.mark.parametrize("bits", [4, 8])
def test_integers_over_a_range(bits, low, high):
    """Jacob et al., eq. 1 and 12: the range is widened to hold 0, whose code is exact."""
    quantizer = quantizers.int8_input() if bits == 8 else quantizers.int4_input()
    state, lowest, top = {"low": low, "high": high, "count": 1}, -(2 ** (bits - 1)), 2**bits - 1
    wide_low, wide_high = min(low, 0.0), max(high, 0.0)
    s = (wide_high - wide_low) / top or 1.0
    zero = round(lowest - wide_low / s)
    x = np.concatenate([W.ravel(), [0.0, -0.0, 100.0, -100.0]]).astype(np.float32)
    expected = (np.clip(np.round(x.astype(np.float64) / s) + zero, lowest, lowest + top) - zero) * s
    codes = quantizer.codes(state, jnp.asarray(x))
    assert int(codes.zero_point) == zero and float(codes.scale) == pytest.approx(s)
    actual, back = jax.vjp(lambda x: quantizer.apply(state, x), jnp.asarray(x))
    agree = np.isclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert agree.mean() > 0.99  # a tie may fall on the other side
    assert actual[-4:-2].tolist() == [0.0, 0.0]
    ends = (lowest - zero) * s, (lowest + top - zero) * s
    inside = (x >= ends[0]) & (x <= ends[1])
    assert (np.asarray(back(jnp.ones(x.shape))[0]) == inside).mean() > 0.99


def test_ranges_are_a_moving_average_that_stops():
    batches = [RNG.normal(size=6).astype(np.float32) for _ in range(5)]
    state, low = quantizers.int8_input().init(jnp.zeros(1)), None
    for number, x in enumerate(batches):
        state = moved(state, jnp.asarray(x), 0.9, 4)
        if number < 4:
            low = x.min() if low is None else 0.9 * low + 0.1 * x.min()
        assert float(state["low"]) == pytest.approx(low, rel=1e-5)
    assert int(state["count"]) == 4
    assert quantizers.int8_input(decay=None).observe(state, batches[0]) is state


def test_rounding_is_half_to_even():
    quantizer = quantizers.lsq_input(4, signed=True)
    assert (quantizer.codes({"step": 0.5}, HALVES * 5).values == jnp.array([-2, -2, 0, 2, 2])).all()


def test_a_step_that_crosses_zero_counts_by_its_magnitude():
    for step in (-STEP, STEP):
        value, slope = jax.value_and_grad(lambda s: quantizers.lsq(4).apply({"step": s}, W).sum())(step)
        assert value == quantizers.lsq(4).apply({"step": STEP}, W).sum() and slope != 0


@pytest.mark.parametrize("start", ["max", "mse"])
def test_steps_for_a_trained_network(start):
    quantizer = quantizers.lsq(2, per_channel=True, narrow=True, start=start)
    steps = np.asarray(jax.jit(quantizer.init)(W)["step"])
    assert steps.shape == (1, 1, 5)

    def error(w, s):
        return ((np.clip(np.round(w / s), -1, 1) * s - w) ** 2).sum()

    for channel, step in enumerate(steps.ravel()):
        w = W[..., channel].astype(np.float64)
        tried = [np.abs(w).max() * k / 64 for k in range(1, 65)]
        best = min(tried, key=lambda s: error(w, s)) if start == "mse" else tried[-1]
        assert error(w, step) == pytest.approx(error(w, best), rel=1e-4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: quantizers.dorefa(0), "dorefa: bits=0 must be an integer from 1 to 8"),
        (lambda: quantizers.lsq(1), "lsq: bits=1 .* from 2 to 8; for one bit use"),
        (lambda: quantizers.lsq_input(9), "bits=9"),
        (lambda: quantizers.lsq_plus(True), "bits=True"),
        (lambda: quantizers.lsq_plus_input(4.0), "bits=4.0"),
        (lambda: quantizers.lsq(4, start="best"), "start='best'"),
        (lambda: quantizers.pact(9), "pact: bits=9"),
        (lambda: quantizers.pact(4, level=-1), "level=-1"),
        (lambda: quantizers.ttq(1.0), r"threshold=1.0 must lie in \[0, 1\)"),
        (lambda: quantizers.int8_input(decay=1.5), "decay=1.5"),
        (lambda: quantizers.int8_input(decay=1), "decay=1 would keep the first"),
        (lambda: quantizers.int4_input(freeze_after=0), "freeze_after=0"),
        (lambda: quantizers.int4_input(None, 5), "freeze_after=5 needs a decay"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
