"""Names of layers on the steps of a program, devices that share one, and memory: against what stands in the code."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from gecko_jax import programs


class Cell(nn.Module):
    """Two layers in one another; the inner one is called in a compiled function, in a loop."""

    @nn.compact
    def __call__(self, x):
        inner = nn.Dense(3, use_bias=False, name="inner")
        inner(x)

        def turn(carry, _):
            return jax.jit(jnp.sin)(carry), None

        x, _ = lax.scan(turn, x, None, length=2)
        return jnp.cos(x)


class Net(nn.Module):
    """One cell, and a cosine of its own."""

    @nn.compact
    def __call__(self, x):
        return jnp.tanh(Cell(name="cell")(x))


def check_scopes():
    """Each step is of the innermost layer around it, within loops and compiled functions too."""
    net, x = Net(), jnp.ones((1, 3))
    variables = net.init(jax.random.key(0), x)
    with programs.layer_scopes() as kinds:
        program, _ = programs.trace(net.apply, variables, x)
    layers = {step.name: programs.layer_of(step.scope) for step in programs.every_step(program)}
    expected = {"dot_general": "cell/inner", "scan": "cell", "sin": "cell", "cos": "cell", "tanh": ""}
    assert {name: layers[name] for name in expected} == expected
    assert kinds == {"": "Net", "cell": "Cell", "cell/inner": "Dense"}


def test_each_step_is_of_the_innermost_layer():
    check_scopes()


def check_devices():
    """A mapped program runs once on each device: 4 times two rows, and 4 times the compiled function in it."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = PartitionSpec("data")
    mapped = jax.shard_map(lambda x: jax.jit(jnp.sin)(x), mesh=mesh, in_specs=rows, out_specs=rows)
    program, _ = programs.trace(lambda x: jnp.cos(mapped(x)), jnp.ones(8))
    steps = {step.name: (step.repeats, step.avals[0].shape) for step in program.steps}
    assert {name: steps.get(name) for name in ("sin", "cos")} == {"sin": (4, (2,)), "cos": (1, (8,))}


def test_a_mapped_program_runs_once_on_each_device():
    check_devices()


def check_every_step():
    """Both branches, the test and the body of a loop."""

    def function(x):
        x = lax.cond(x > 0, jnp.sin, jnp.cos, x)
        return lax.while_loop(lambda x: jnp.tanh(x) > 1, jnp.log, x)

    names = [step.name for step in programs.every_step(programs.trace(function, 1.0)[0])]
    assert {"sin", "cos", "tanh", "log"} <= set(names)


def test_every_branch_and_body_is_read():
    check_every_step()


def check_closed_in_a_loop():
    """A derivative of its own survives in the body of a loop that is differentiated later."""
    rounded = jax.custom_jvp(lambda x: jnp.round(x))
    rounded.defjvp(lambda primals, tangents: (rounded(*primals), tangents[0]))

    def function(x):
        return lax.scan(lambda carry, _: (rounded(carry), None), x, None, length=2)[0]

    names = {
        differentiable: [step.name for step in programs.every_step(program)]
        for differentiable in (True, False)
        for program, _ in [programs.trace(function, 1.0, differentiable=differentiable)]
    }
    assert names == {True: ["scan", "custom_jvp_call"], False: ["scan", "round"]}


def test_a_derivative_in_a_loop_stays_closed():
    check_closed_in_a_loop()


def check_needed():
    """What a result needs is needed through a chain of steps, not only by the last."""
    program, _ = programs.trace(lambda a, b: (jnp.sin(jnp.cos(jnp.tanh(a))), jnp.log(b))[0], 1.0, 2.0)
    live = programs.needed(program.steps, program.outputs)
    assert [step.name for step in program.steps if live.intersection(step.outputs)] == ["tanh", "cos", "sin"]
    assert program.inputs[0] in live and program.inputs[1] not in live


def test_a_chain_is_needed_from_its_beginning():
    check_needed()


def check_peak():
    """The peak is that of a table of bytes by time, filled array by array."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        lifetimes, table = [], np.zeros(12, int)
        for _ in range(rng.integers(1, 8)):
            size, (written, read) = int(rng.integers(1, 100)), sorted(rng.integers(0, 12, 2).tolist())
            lifetimes.append(programs.Lifetime(size, written, read))
            table[written : read + 1] += size
        assert programs.peak_bytes(lifetimes) == table.max()


def test_the_peak_is_the_largest_sum_at_one_time():
    check_peak()
