"""Every primitive that only runs another program is seen by all readers alike: steps, costs, paths, clipped sums.

The oracle is the function without wrappers, and what it multiplies, holds in memory and sums up, written by hand.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.custom_batching import sequential_vmap
from jax.extend import core

from gecko_jax import clippings, costs, models, privacy, programs
from gecko_jax.privacy.per_example.paths import paths_of

RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(7, n)).astype(np.float32) for n in (6, 3))
PARAMS = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in (("u", (6, 5)), ("v", (5, 3)))}
MACS, PEAK = 6 * 5 + 5 * 3, 4 * (6 + 5)  # the input beside what is hidden


def net(u, v, x):
    return jnp.maximum(x @ u, 0) @ v


def with_jvp(function):
    wrapped = jax.custom_jvp(function)
    wrapped.defjvp(lambda primals, tangents: jax.jvp(function, primals, tangents))
    return wrapped


def with_vjp(function):
    wrapped = jax.custom_vjp(function)
    wrapped.defvjp(lambda *given: jax.vjp(function, *given), lambda pull, g: pull(g))
    return wrapped


TRANSPARENT = {
    "jit": jax.jit,
    "remat": jax.checkpoint,
    "remat by a policy": lambda function: jax.checkpoint(function, policy=jax.checkpoint_policies.dots_saveable),
}
CUSTOM = {"custom_jvp": with_jvp, "custom_vjp": with_vjp}
FORWARD = {  # JAX has no gradient of these
    "custom_vmap": sequential_vmap,
    "composite": lambda function: lax.composite(function, "gecko.net"),
}
LOOPS = {
    "scan": lambda function: lambda *given: lax.scan(lambda _, __: (None, function(*given)), None, length=1)[1][0],
    "cond": lambda function: lambda *given: lax.cond(jnp.sum(given[-1]) > 1e9, function, function, *given),
}
ALL = TRANSPARENT | CUSTOM | FORWARD | LOOPS


def nestings(names, count=8):
    """Each wrapper alone, and some of two to four in one another."""
    names, rng = sorted(names), np.random.default_rng(1)
    return [(name,) for name in names] + [tuple(rng.choice(names, rng.integers(2, 5))) for _ in range(count)]


def wrapped(nesting):
    function = net
    for name in nesting:
        function = ALL[name](function)
    return function


def with_equation(closed, equation):
    """A traced function that consists of this equation; JAX 0.12 has one kind of jaxpr, before there are two."""
    if closed.jaxpr is closed:
        return closed.replace(eqns=[equation])
    return closed.replace(jaxpr=closed.jaxpr.replace(eqns=[equation]))


def described(program):
    """All that a reader may look at, but for where the code stands."""
    steps = [(s.name, s.inputs, s.outputs, tuple(map(str, s.avals)), s.repeats) for s in program.steps]
    return steps, program.inputs, program.outputs, list(map(str, program.avals))


BARE = described(programs.trace(net, PARAMS["u"], PARAMS["v"], X[0])[0])


@pytest.mark.parametrize("nesting", nestings(TRANSPARENT | CUSTOM | FORWARD), ids="+".join)
def test_a_reader_of_values_sees_the_bare_steps(nesting):
    program, _ = programs.trace(wrapped(nesting), PARAMS["u"], PARAMS["v"], X[0])
    assert described(program) == BARE
    values = programs.execute(program.steps, dict(zip(program.inputs, (PARAMS["u"], PARAMS["v"], X[0]), strict=True)))
    result = np.maximum(X[0] @ PARAMS["u"], 0) @ PARAMS["v"]
    np.testing.assert_allclose(values[program.outputs[0]], result, rtol=1e-5)


@pytest.mark.parametrize("nesting", nestings(TRANSPARENT | CUSTOM | FORWARD), ids="+".join)
def test_a_reader_that_differentiates_leaves_custom_rules_closed(nesting):
    program, _ = programs.trace(wrapped(nesting), PARAMS["u"], PARAMS["v"], X[0], differentiable=True)
    outermost = next((name for name in reversed(nesting) if name not in TRANSPARENT), None)
    if outermost is None:
        assert described(program) == BARE
    else:
        assert [step.name.partition("_call")[0] for step in program.steps] == [outermost]


@pytest.mark.parametrize("name", sorted(programs.TRANSPARENT | programs.CUSTOM))
@pytest.mark.parametrize("where", ["jaxpr", "call_jaxpr", "fun_jaxpr", "call"])
def test_every_name_in_the_list_is_opened_wherever_it_keeps_its_program(name, where):
    closed = jax.make_jaxpr(jax.jit(net))(PARAMS["u"], PARAMS["v"], X[0])
    [equation] = closed.jaxpr.eqns
    for body in (equation.params["jaxpr"], equation.params["jaxpr"].jaxpr):
        renamed = equation.replace(primitive=core.Primitive(name), params={where: body})
        program = programs.flatten(with_equation(closed, renamed))
        assert described(program) == BARE
    [call] = program.calls
    assert call.name == name and call.inputs == BARE[1]


def test_a_wrapper_whose_program_does_not_fit_its_arguments_stays_closed():
    """What JAX may do one day is not guessed at: every reader takes an unknown step for one that mixes all."""
    closed = jax.make_jaxpr(jax.jit(net))(PARAMS["u"], PARAMS["v"], X[0])
    other = jax.make_jaxpr(lambda x: x)(X[0])
    [equation] = closed.jaxpr.eqns
    program = programs.flatten(with_equation(closed, equation.replace(params={"jaxpr": other})))
    assert [step.name for step in program.steps] == ["jit"] and not program.calls


@pytest.mark.parametrize("nesting", nestings(ALL), ids="+".join)
def test_costs_are_those_of_the_bare_function(nesting):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            u = self.param("u", nn.initializers.ones, (6, 5))
            v = self.param("v", nn.initializers.ones, (5, 3))
            return wrapped(nesting)(u, v, x)

    cost = costs.cost(models.from_linen(Net()), {"params": PARAMS}, X)
    assert sum(layer.macs for layer in cost.layers) == MACS
    if not set(nesting) & set(LOOPS):  # a loop is one step: what lives inside it is not seen
        assert cost.peak_activation_bytes.value == PEAK


@pytest.mark.parametrize("nesting", nestings(ALL), ids="+".join)
def test_what_depends_on_what_is_seen_through_all(nesting):
    function = wrapped(nesting)
    program, _ = programs.trace(lambda u, v, x, other: (function(u, v, x), other), *PARAMS.values(), X[0], X[0])
    marks = programs.flow(program, [{"u"}, {"v"}, {"x"}, {"other"}], lambda *sets: set().union(*sets)).outputs
    assert marks == [{"u", "v", "x"}, {"other"}]


@pytest.mark.parametrize("nesting", nestings(TRANSPARENT | LOOPS), ids="+".join)
def test_gradient_paths_are_those_of_the_bare_function(nesting):
    function = wrapped(nesting)

    def loss(params, x):
        return jnp.sum(function(lax.stop_gradient(params["u"]), params["v"], x))

    assert paths_of(loss, PARAMS, X[0]) == (False, True)


@pytest.mark.parametrize("name", CUSTOM)
def test_a_derivative_of_its_own_is_never_taken_for_none(name):
    """A straight-through estimator has a gradient, although the program that it runs has none."""
    straight = ALL[name](jnp.sign)
    assert paths_of(lambda params, x: jnp.sum(straight(params["u"]) @ params["v"]), PARAMS, X[0]) == (True, True)


def clipped_by_hand(clip_norm):
    """sum_i min(1, C / |g_i|) g_i of |net(x) - y|^2, in float64."""
    u, v = (PARAMS[name].astype(np.float64) for name in ("u", "v"))
    total = {"u": 0.0, "v": 0.0}
    for x, y in zip(X.astype(np.float64), Y, strict=True):
        hidden = np.maximum(x @ u, 0)
        error = 2 * (hidden @ v - y)
        gradients = {"u": np.outer(x, (v @ error) * (hidden > 0)), "v": np.outer(hidden, error)}
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
        total = {name: total[name] + min(1, clip_norm / norm) * g for name, g in gradients.items()}
    return total


@pytest.mark.parametrize("nesting", nestings(TRANSPARENT | CUSTOM | LOOPS, count=4), ids="+".join)
def test_clipped_sums_are_those_of_the_bare_function(nesting):
    function = wrapped(nesting)

    def loss(params, example, key):
        x, y = example
        return jnp.sum((function(params["u"], params["v"], x) - y) ** 2)

    for method in ("bookkeeping", "vmap"):
        total, _ = jax.jit(privacy.clipped_sum(loss, clippings.flat(9.0), method))(PARAMS, (X, Y))
        for name, expected in clipped_by_hand(9.0).items():
            np.testing.assert_allclose(total[name], expected, rtol=1e-5, atol=1e-5)
