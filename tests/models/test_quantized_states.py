"""Quantizers that learn: their state is made at init, trained with the rest, and unseen by the model itself."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from called_twice import Net

from gecko_jax import models, quantizers
from gecko_jax.models.removed_weights import STATES
from gecko_jax.quantizers import straight_through
from gecko_jax.types import Model, Quantizer

TOP = 7  # of the grid -7..7
X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))


def learned_step():
    """LSQ (Esser et al. 2020) without its gradient scale: w_hat = s round(clip(w / s, -7, 7)), s trained."""

    def apply(state, w, key=None):
        scaled = jnp.clip(w / state["step"], -TOP, TOP)
        return straight_through(jnp.round(scaled), scaled) * state["step"]

    def init(w):
        return {"step": 2 * jnp.abs(w).mean() / np.sqrt(TOP)}

    return Quantizer("learned_step", 4, init, apply, project=lambda w: jnp.clip(w, -1, 1), rate=lambda w: 0.5)


LEARNED = learned_step()
MODEL = models.quantized(models.from_linen(Net()), [("two", LEARNED, LEARNED), ("one|three", LEARNED, None)], ())


@functools.cache
def variables():
    return MODEL.init(jax.random.key(0), X)


def step_of(name):
    return np.float64(variables()["params"][STATES][name]["step"])


def grid(w, s):
    return s * np.round(np.clip(np.asarray(w, np.float64) / s, -TOP, TOP))


def test_states_are_made_at_init_one_a_weight_and_one_an_input():
    params = jax.tree.map(np.asarray, variables()["params"])
    names = {"weight:one/kernel", "weight:two/kernel", "weight:three/kernel", "input:two"}
    assert set(params[STATES]) == names
    for layer in ("one", "two", "three"):
        expected = 2 * np.abs(params[layer]["kernel"]).mean() / np.sqrt(TOP)
        assert step_of(f"weight:{layer}/kernel") == pytest.approx(expected, rel=1e-5)
    # A layer that is called twice: from its first inputs, in float.
    inputs = np.tanh(np.asarray(X) @ params["one"]["kernel"] + params["one"]["bias"])
    assert step_of("input:two") == pytest.approx(2 * np.abs(inputs).mean() / np.sqrt(TOP), rel=1e-5)


def test_the_forward_pass_uses_them():
    params = jax.tree.map(np.asarray, variables()["params"])
    weights = {name: grid(params[name]["kernel"], step_of(f"weight:{name}/kernel")) for name in ("one", "two", "three")}
    h = np.tanh(np.asarray(X, np.float64) @ weights["one"] + params["one"]["bias"])
    for _ in range(2):
        h = np.tanh(grid(h, step_of("input:two")) @ weights["two"] + params["two"]["bias"])
    expected = h @ weights["three"] + params["three"]["bias"]
    np.testing.assert_allclose(MODEL.apply(variables(), X)[0], expected, rtol=1e-4, atol=1e-5)


def test_the_model_itself_never_sees_them():
    seen = []
    plain = models.from_linen(Net())

    def apply(variables, x, **options):
        seen.append(set(variables["params"]))
        return plain.apply(variables, x, **options)

    watched = models.quantized(Model(plain.init, apply), [("two", LEARNED, LEARNED)], ())
    watched.apply(watched.init(jax.random.key(0), X), X)
    assert seen and all(names == {"one", "two", "three"} for names in seen)


def test_the_gradient_of_a_step_is_lsq():
    """dL/ds = sum of g (round(v) - v) inside the range and of g * +-7 outside it, v = w / s."""
    model = models.quantized(models.from_linen(nn.Dense(3, use_bias=False)), [(".*", LEARNED, LEARNED)], ())
    result = model.init(jax.random.key(0), X)
    rng = np.random.default_rng(1)
    w, s, t, g = rng.normal(size=(4, 3)), 0.11, 0.13, rng.normal(size=(6, 3))
    params = {"kernel": jnp.asarray(w, jnp.float32), STATES: {"weight:kernel": {"step": s}, "input:": {"step": t}}}
    params = jax.tree.map(jnp.float32, params)
    assert jax.tree.structure(result) == jax.tree.structure({"params": params})

    def loss(params):
        return (model.apply({"params": params}, X)[0] * jnp.asarray(g, jnp.float32)).sum()

    actual = jax.grad(loss)(params)
    x = np.asarray(X, np.float64)

    def slope(value, step, back):
        v = value / step
        inside = np.abs(v) <= TOP
        assert inside.any() and not inside.all()
        return (back * np.where(inside, np.round(v) - v, np.sign(v) * TOP)).sum()

    to_weight, to_input = grid(x, t).T @ g, g @ grid(w, s).T
    assert float(actual[STATES]["weight:kernel"]["step"]) == pytest.approx(slope(w, s, to_weight), rel=1e-3)
    assert float(actual[STATES]["input:"]["step"]) == pytest.approx(slope(x, t, to_input), rel=1e-3)
    np.testing.assert_allclose(actual["kernel"], to_weight * (np.abs(w / s) <= TOP), rtol=1e-3, atol=1e-4)


def test_training_moves_them_and_lowers_the_loss():
    target = jnp.asarray(np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32))

    @jax.jit
    def update(params):
        def loss(params):
            return ((MODEL.apply({"params": params}, X, train=True)[0] - target) ** 2).mean()

        value, slopes = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, slope: p - 0.1 * slope, params, slopes), value

    params, losses = variables()["params"], []
    for _ in range(30):
        params, value = update(params)
        losses.append(float(value))
    assert losses[-1] < 0.8 * losses[0]
    moved = jax.tree.map(lambda a, b: bool(a != b), params[STATES], variables()["params"][STATES])
    assert all(jax.tree.leaves(moved))


def test_projection_and_rates_pass_them_over():
    far = {"params": jax.tree.map(lambda w: w * 0 + 5, variables()["params"])}
    projected, rates = models.finish_update(MODEL, far, X)["params"], MODEL.rates[0](far, X)
    assert jax.tree.structure(rates) == jax.tree.structure(far["params"])
    for name, clipped, rate in (("one", 1, 0.5), (STATES, 5, 1.0)):
        tops = {float(leaf.max()) for leaf in jax.tree.leaves(projected[name]) if leaf.ndim != 1}
        assert tops == {clipped}
        assert rate in jax.tree.leaves(rates[name])
    assert set(jax.tree.leaves(rates[STATES])) == {1.0}


def test_schemes_without_state_leave_no_trace():
    model = models.quantized(models.from_linen(Net()), [(".*", quantizers.binary(), quantizers.binary())], ())
    assert STATES not in model.init(jax.random.key(0), X)["params"]
    mixed = models.quantized(models.from_linen(Net()), [("two", LEARNED, None), (".*", quantizers.binary(), None)], ())
    assert set(mixed.init(jax.random.key(0), X)["params"][STATES]) == {"weight:two/kernel"}


def test_an_ensemble_of_them():
    stacked = jax.tree.map(lambda a: jnp.stack([a, 1.5 * a]), variables())
    together = jax.jit(jax.vmap(lambda v: MODEL.apply(v, X)[0]))(stacked)
    apart = np.stack([MODEL.apply(jax.tree.map(lambda a, i=i: a[i], stacked), X)[0] for i in range(2)])
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)
