"""No product of the forward pass is left out: `cost` against a count over the jaxpr, and against sums by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from gecko_jax import costs, models, quantizers

sys.path.append(str(Path(__file__).parents[1] / "models"))
from module_generator import generated  # noqa: E402

SEQUENCE = np.zeros((2, 5, 6), np.float32)


def macs_of_jaxpr(jaxpr):
    """Every product of a program, written from the definitions: loops times their length, the dearest branch."""
    total = 0
    for eqn in jaxpr.eqns:
        name, shapes, params = eqn.primitive.name, [var.aval.shape for var in eqn.invars], eqn.params
        inner = [v for value in params.values() for v in (value if type(value) is tuple else [value])]
        inner = [macs_of_jaxpr(j) for j in (getattr(v, "jaxpr", v) for v in inner) if hasattr(j, "eqns")]
        if name == "dot_general":
            (_, summed), (_, batch) = params["dimension_numbers"]
            free = [n for i, n in enumerate(shapes[1]) if i not in (*summed, *batch)]
            total += math.prod(shapes[0]) * math.prod(free)
        elif name == "conv_general_dilated":
            numbers = params["dimension_numbers"]
            features, per_group, *window = (shapes[1][i] for i in numbers.rhs_spec)
            positions = [eqn.outvars[0].aval.shape[i] for i in (numbers.out_spec[0], *numbers.out_spec[2:])]
            total += math.prod(positions) * features * per_group * math.prod(window)
        elif name == "cond":
            total += max(inner)
        elif name == "scan":
            total += params["length"] * sum(inner)
        else:
            total += sum(inner)
    return total


def counted(module, x, filled):
    """(cost, MACs of the jaxpr)."""
    model = models.from_linen(module)
    variables = filled(model, x)
    program = jax.make_jaxpr(lambda v, row: model.apply(v, row)[0])(variables, x[:1])
    return costs.cost(model, variables, x), macs_of_jaxpr(program.jaxpr)


def total(cost):
    assert sum(layer.macs for layer in cost.layers) == sum(e.value for e in cost.macs.values())
    return sum(layer.macs for layer in cost.layers)


def rows(cost):
    return {layer.path: layer.macs for layer in cost.layers}


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.integers(0, 10_000))
def test_macs_of_random_modules_are_those_of_their_jaxpr(seed):
    module, x = generated(seed)
    model = models.from_linen(module)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, leaf.dtype), shapes)
    program = jax.make_jaxpr(lambda v, row: model.apply(v, row)[0])(variables, x[:1])
    assert total(costs.cost(model, variables, x)) == macs_of_jaxpr(program.jaxpr)


class Sequence(nn.Module):
    cell: type[nn.Module]

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="last")(nn.RNN(self.cell(7), name="rnn")(x)[:, -1])


CELLS = [(nn.OptimizedLSTMCell, 4), (nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.SimpleCell, 1)]


@pytest.mark.parametrize("cell, gates", CELLS)
def test_every_step_of_a_recurrent_layer_counts(cell, gates, filled):
    cost, program = counted(Sequence(cell), SEQUENCE, filled)
    assert total(cost) == program == 5 * gates * (6 * 7 + 7 * 7) + 7 * 3


class Loop(nn.Module):
    """Four layers of 6 x 6 in a scan, remat within, then a layer called twice."""

    @nn.compact
    def __call__(self, x):
        body = nn.scan(nn.remat(Step), variable_axes={"params": 0}, split_rngs={"params": True}, length=4)
        x = body(name="layers")(x.mean(1), None)[0]
        twice = nn.Dense(6, name="twice")
        return twice(twice(x))


class Step(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.relu(nn.Dense(6, name="dense")(x)), None


def test_a_loop_over_layers_counts_each_and_a_shared_layer_each_call(filled):
    cost, program = counted(Loop(), SEQUENCE, filled)
    assert rows(cost) == {"layers/dense": 4 * 36, "twice": 2 * 36} and total(cost) == program
    assert cost.parameters[32].value == 4 * (36 + 6) + 36 + 6  # shared weights are stored once


def test_what_no_layer_owns_is_a_row_of_its_own(filled):
    class Attention(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=8, name="attention")(x)
            return nn.Dense(3, name="last")(x.mean(1))

    cost, program = counted(Attention(), SEQUENCE, filled)
    heads = {f"attention/{name}": 5 * 6 * 8 for name in ("query", "key", "value", "out")}
    assert rows(cost) == {**heads, "last": 18, "products outside layers": 2 * 5 * 5 * 8}
    assert total(cost) == program and "products outside layers" in cost.table()


def test_a_tied_embedding_multiplies_where_it_attends_alone(filled):
    class Tied(nn.Module):
        @nn.compact
        def __call__(self, x):
            table = nn.Embed(7, 4, name="table")
            return table.attend(table(x).mean(1))

    class Lookup(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name="last")(nn.Embed(7, 4, name="table")(x).mean(1))

    words = np.zeros((2, 5), np.int32)
    cost, program = counted(Tied(), words, filled)
    assert rows(cost) == {"table": 28} and program == 28
    assert cost.parameters[32].value == 28
    assert rows(counted(Lookup(), words, filled)[0]) == {"table": 0, "last": 8}


class Odd(nn.Module):
    """Weights under any name, by bare functions."""

    @nn.compact
    def __call__(self, x):
        w = self.param("mixing", nn.initializers.lecun_normal(), (6, 4))
        taps = self.param("taps", nn.initializers.lecun_normal(), (3, 2, 4))
        x = lax.conv_general_dilated(
            jnp.dot(x, w), taps, (2,), "SAME", rhs_dilation=(2,), feature_group_count=2,
            dimension_numbers=("NHC", "HIO", "NHC"),
        )  # fmt: skip
        x = x @ np.ones((4, 4), np.float32)  # a constant of the code, which no layer owns
        return nn.Einsum((4, 3), "btd,de->bte", name="einsum")(x).mean(1)


def test_weights_of_any_name_count(filled):
    cost, program = counted(Odd(), SEQUENCE, filled)
    expected = {"": 5 * 24 + 3 * 4 * 3 * 2, "einsum": 3 * 4 * 3, "products outside layers": 3 * 4 * 4}
    assert rows(cost) == expected and total(cost) == program


def test_a_transposed_convolution_multiplies_no_inserted_zeros(filled):
    class Up(nn.Module):
        strides: tuple[int, int]

        @nn.compact
        def __call__(self, x):
            return nn.ConvTranspose(4, (2, 3), self.strides)(x).mean((1, 2))

    x = np.zeros((1, 4, 5, 3), np.float32)
    for strides in ((1, 1), (2, 2), (3, 1)):
        assert total(counted(Up(strides), x, filled)[0]) == 4 * 5 * 2 * 3 * 3 * 4


class Wrapped(nn.Module):
    """Products within a custom derivative, a rematerialised and a compiled function, a branch and a shard_map."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.lecun_normal(), (6, 6))

        @jax.custom_vjp
        def custom(x, w):
            return x @ w

        custom.defvjp(lambda x, w: (custom(x, w), (x, w)), lambda kept, g: (g @ kept[1].T, kept[0].T @ g))
        mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
        columns = PartitionSpec(None, "d")
        shared = jax.shard_map(jnp.matmul, mesh=mesh, in_specs=(PartitionSpec(), columns), out_specs=columns)
        x = nn.jit(nn.Dense)(6, name="compiled")(custom(x.mean(1), w))
        x = lax.cond(x.sum() > 0, lambda x: x @ w, lambda x: x @ w @ w, x)
        return shared(lax.fori_loop(0, 3, lambda _, x: jnp.tanh(jax.checkpoint(jnp.dot)(x, w)), x), w)


def test_what_is_wrapped_or_branches_counts(filled):
    cost = counted(Wrapped(), SEQUENCE, filled)[0]
    assert rows(cost) == {"compiled": 36, "": 36 + 2 * 36 + 3 * 36 + 36}


class Unknown(nn.Module):
    kind: str

    @nn.compact
    def __call__(self, x):
        w, x = self.param("w", nn.initializers.lecun_normal(), (6, 6)), x.mean(1)
        if self.kind == "while":
            return lax.while_loop(lambda x: jnp.abs(x).sum() > 1, lambda x: x @ w / 9, x)
        if self.kind == "test":
            return lax.while_loop(lambda x: (x @ w).sum() > 1, lambda x: x / 9, x)
        if self.kind == "scanned":
            return lax.scan(lambda x, _: (Unknown.halve(x, w), None), x, None, length=2)[0]
        if self.kind == "fft":
            return jnp.fft.fft(x).real
        if self.kind == "solve":
            return jnp.linalg.solve(w, x.T).T
        return jax.pure_callback(np.matmul, jax.ShapeDtypeStruct(x.shape, x.dtype), x, w)

    @staticmethod
    def halve(x, w):
        return lax.while_loop(lambda x: jnp.abs(x).sum() > 1, lambda x: x @ w / 9, x)


@pytest.mark.parametrize("kind, message", [
    ("while", "condition.* multiplies 36 times a pass.*nn.scan"), ("test", "ends on a condition"),
    ("scanned", "ends on a condition"), ("fft", "fft"), ("solve", "lu.*rule of its own"), ("callback", "pure_callback"),
])  # fmt: skip
def test_what_cannot_be_counted_is_refused(kind, message, filled):
    with pytest.raises(ValueError, match=message):
        counted(Unknown(kind), SEQUENCE, filled)


def test_a_loop_on_a_condition_without_products_is_none(filled):
    class Halving(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(lax.while_loop(lambda x: jnp.abs(x).sum() > 1, lambda x: x / 2, x.mean(1)))

    assert total(counted(Halving(), SEQUENCE, filled)[0]) == 18


def test_quantized_loops_and_heads_have_their_precision(filled):
    """By rule: the weights of a scan and of heads at 1 bit, their inputs at 1; what attends stays a float product."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.MultiHeadDotProductAttention(num_heads=2, name="attention")(nn.Dense(6, name="enter")(x))
            return Loop(name="loop")(x)

    rule = quantizers.binary(), quantizers.binary()
    model = models.quantized(models.from_linen(Net()), [("query|layers", *rule)], float_layers=())
    cost = costs.cost(model, filled(model, SEQUENCE), SEQUENCE)
    bits = {layer.path: (layer.weight_bits, layer.input_bits) for layer in cost.layers}
    assert bits["attention/query"] == bits["loop/layers/dense"] == (1, 1)
    assert bits["attention/key"] == bits["products outside layers"] == (32, 32)
    assert cost.macs[1, 1].value == 5 * 36 + 4 * 36
