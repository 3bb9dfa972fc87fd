"""A parameter without a gradient path to the loss gets no noise, has no part in the norm and never moves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from test_private_gradients import EXPECTED, KEY, SIGMA, check_spread, compiled

from gecko_jax import clippings, privacy
from gecko_jax.privacy.per_example.paths import gradient_paths
from gecko_jax.trees import named_leaves
from gecko_jax.types import Batch

STOP = lax.stop_gradient
P = {name: jnp.asarray(np.random.default_rng(i).normal(size=3), jnp.float32) for i, name in enumerate("abc")}
X = jnp.asarray(np.random.default_rng(9).normal(size=(5, 3)), jnp.float32)


@jax.custom_vjp
def straight(x):
    return jnp.sign(x)


straight.defvjp(lambda x: (jnp.sign(x), None), lambda _, back: (back,))


def scanned(p, x):
    def turn(carry, weight):
        return carry * STOP(p["b"]) + weight * jnp.sum(p["a"]), carry

    return jnp.sum(lax.scan(turn, x, p["c"])[0])


def late(p, x):
    """c reaches what is returned in the second turn only, over two carries."""

    def turn(_, carry):
        first, second, third = carry
        return second * p["a"], third, STOP(p["b"]) * third

    return jnp.sum(lax.fori_loop(0, 3, turn, (x, x, p["c"]))[0])


def referenced(p, x):
    cell = jax.new_ref(jnp.zeros(3))
    cell[...] = p["a"] * x
    return jnp.sum(cell[...] + STOP(p["b"]) * p["c"])


# name -> (loss of one example, who has a path)
PROGRAMS = {
    "all": (lambda p, x: (p["a"] + p["b"] * p["c"]) @ x, "abc"),
    "unread": (lambda p, x: p["a"] @ x, "a"),
    "stopped": (lambda p, x: p["a"] @ (STOP(p["b"] * x) + p["c"]), "ac"),
    "stopped and not": (lambda p, x: p["a"] @ (STOP(p["b"]) * x) + p["b"] @ x, "ab"),
    "of the wrong type": (lambda p, x: p["a"] @ x * jnp.argmax(p["b"] * x) + (p["c"] > 0).sum(), "a"),
    "a choice": (lambda p, x: jnp.sum(jnp.where(p["b"] > 0, p["a"], x)), "a"),
    "rounded": (lambda p, x: jnp.sum(jnp.sign(p["a"]) + jnp.floor(p["b"]) * x + jnp.round(p["c"]) * p["a"]), "a"),
    "straight through": (lambda p, x: jnp.sum(straight(p["a"]) * x + p["b"] + STOP(jnp.round(p["b"]) - p["b"])), "ab"),
    "times 0.0": (lambda p, x: 0.0 * jnp.sum(p["a"] * x) + p["b"] @ x, "ab"),
    "in jit": (lambda p, x: jax.jit(lambda p: p["a"] @ (STOP(p["b"]) + x))(p), "a"),
    "in remat": (lambda p, x: jax.checkpoint(lambda p: p["a"] @ (STOP(p["b"]) + x))(p), "a"),
    "in a branch": (lambda p, x: lax.cond(x[0] > 0, lambda: p["a"] @ x, lambda: p["c"] @ STOP(p["b"])), "ac"),
    "in a scan": (scanned, "ac"),
    "late in a loop": (late, "ac"),
    "in a reference": (referenced, "ac"),
    "in vmap": (lambda p, x: jnp.sum(jax.vmap(lambda a, b: a * STOP(b))(p["a"], p["b"]) * x), "a"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_paths_are_read_off_the_program(name):
    loss, live = PROGRAMS[name]
    paths = gradient_paths(lambda p, x, key: loss(p, x), P, X)
    assert dict(zip("abc", paths, strict=True)) == {leaf: leaf in live for leaf in "abc"}
    gradients = jax.vmap(jax.grad(loss), (None, 0))(P, X)
    for leaf in "abc":  # in reverse mode JAX itself finds no more
        assert leaf in live or not np.any(gradients[leaf])
        assert leaf not in live or name == "times 0.0" or np.any(gradients[leaf])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.data())
def test_random_programs_have_the_paths_that_they_were_built_with(data):
    """Each new value is computed from two earlier ones; what it depends on is kept beside it."""
    steps = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(0, 20)), max_size=8))

    def build(p, x):
        values = [(p[name], {name}) for name in "abc"] + [(x, set())]
        for kind, first, second in steps:
            (one, of_one), (two, of_two) = values[first % len(values)], values[second % len(values)]
            entry = {
                0: (one + two, of_one | of_two),
                1: (jnp.tanh(one) * two, of_one | of_two),
                2: (STOP(one) + two, of_two),
                3: (jax.jit(lambda u, v: jnp.sin(u) + STOP(v))(one, two), of_one),
                4: (lax.scan(lambda c, u: (c * 0.5 + u, None), one[0], two)[0] + jnp.zeros(3), of_one | of_two),
                5: (jnp.where(one > 0, two, 1.0), of_two),
            }[kind]
            values.append(entry)
        return values[-1]

    paths = gradient_paths(lambda p, x, key: jnp.sum(build(p, x)[0]), P, X)
    expected = []
    jax.eval_shape(lambda p: expected.append(build(p, X[0])[1]), P)  # nothing is computed
    assert {name for name, live in zip("abc", paths, strict=True) if live} == expected[0]


def partly(params, row, key):
    """Gradients by hand: of w is x (v @ x), of nothing else; v is read behind stop_gradient, u not at all."""
    return (params["w"] @ row) * STOP(params["v"] @ row)


@pytest.mark.parametrize("method", ["bookkeeping", "vmap"])
@pytest.mark.parametrize("groups", [False, True])
def test_the_clipped_sum_of_a_partly_frozen_model_by_numpy(method, groups):
    params = {"u": jnp.ones((2, 2)), "v": P["b"], "w": P["a"]}
    rule = clippings.per_layer({"w": 0.7}) if groups else clippings.flat(0.7)  # no group for the frozen ones
    total, norms = compiled(privacy.clipped_sum(partly, rule, method))(params, X)
    x, v = np.asarray(X, np.float64), np.asarray(params["v"], np.float64)
    each = x * (x @ v)[:, None]
    lengths = np.linalg.norm(each, axis=1)
    np.testing.assert_allclose(np.ravel(norms), lengths, rtol=1e-5)
    expected = (each * np.minimum(1, 0.7 / lengths)[:, None]).sum(0)
    np.testing.assert_allclose(total["w"], expected, rtol=1e-5, atol=1e-6)
    assert not np.any(total["u"]) and not np.any(total["v"]) and total["u"].shape == (2, 2)


def empty(rows, columns, real=0):
    """Rows of zeros, padding where not real."""
    weight = np.full(rows, real, np.float32)
    return Batch(np.zeros((rows, columns), np.float32), np.zeros(rows, np.int32), weight)


def check_noise(trainable, live):
    """Noise of the right spread on what is trained, and exactly 0 elsewhere."""
    params = {"body": {"w": jnp.ones((60, 50)), "b": jnp.ones(50)}, "head": {"w": jnp.ones((50, 60))}}

    def loss(variables, row, key):
        p = variables["params"]
        return jnp.sum((row.x @ p["body"]["w"] + STOP(p["body"]["b"])) @ p["head"]["w"])

    private = privacy.private_gradients(loss, clippings.flat(5.0), SIGMA, EXPECTED, trainable=trainable)
    noise, _ = compiled(private)({"params": params}, empty(4, 60), KEY)
    assert jax.tree.map(jnp.shape, noise) == jax.tree.map(jnp.shape, params)
    for name, leaf in named_leaves(noise):
        if name in live:
            check_spread(leaf, SIGMA * 5.0 / EXPECTED)
        else:
            assert not np.any(leaf), name


def test_no_noise_behind_stop_gradient():
    check_noise(None, {"body/w", "head/w"})


def test_no_noise_on_what_is_not_trainable():
    check_noise(("head",), {"head/w"})


def test_a_gradient_that_is_zero_by_value_alone_is_noised():
    """Whether a unit is dead depends on data: to leave out its noise would tell."""

    def loss(variables, row, key):
        return jnp.sum(jax.nn.relu(row.x @ variables["params"]["w"] - 1e6))

    private = privacy.private_gradients(loss, clippings.flat(5.0), SIGMA, EXPECTED)
    gradients, _ = compiled(private)({"params": {"w": jnp.ones((60, 50))}}, empty(2, 60, real=1), KEY)
    check_spread(gradients["w"], SIGMA * 5.0 / EXPECTED)


def test_what_is_trained_alone_and_beside_frozen_ones_is_the_same():
    """Norm, factors, noise: as if the frozen parameters were constants of the program."""
    frozen, batch = {"v": P["b"]}, Batch(X, np.zeros(5, np.int32), np.ones(5, np.float32))

    def loss(variables, row, key):
        p = variables["params"]
        return jnp.tanh(p["w"] @ row.x) * (p["v"] @ row.x)

    def alone(variables, row, key):
        return loss({"params": {**variables["params"], **frozen}}, row, key)

    beside = privacy.private_gradients(loss, clippings.flat(0.1), 1.0, 5, trainable=["w"])
    gradients, _ = compiled(beside)({"params": {"w": P["a"], **frozen}}, batch, KEY)
    by_itself = privacy.private_gradients(alone, clippings.flat(0.1), 1.0, 5)
    other, _ = compiled(by_itself)({"params": {"w": P["a"]}}, batch, KEY)
    np.testing.assert_allclose(gradients["w"], other["w"], rtol=1e-6)
    assert not np.any(gradients["v"])


def test_a_loss_of_frozen_parameters_alone_is_refused_with_their_paths():
    with pytest.raises(ValueError, match="every parameter is frozen: none has a gradient path.*The paths are: a, b, c"):
        privacy.clipped_sum(lambda p, x, key: STOP(p["a"]) @ x, clippings.flat(1.0))(P, X)
