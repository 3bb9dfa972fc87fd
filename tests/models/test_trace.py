"""The trace: every call of a layer that owns a kernel, in order, with shapes and with the quantizers in force."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from gecko_jax import models, quantizers
from gecko_jax.models import Call

X = jnp.ones((2, 6, 6, 1))


class Twice(nn.Module):
    def setup(self):
        self.last_made = nn.Dense(3)
        self.shared = nn.Dense(4)
        self.conv = nn.Conv(4, (3, 3), strides=(2, 1), padding="VALID")

    def __call__(self, x):
        x = self.conv(inputs=x).reshape(len(x), -1)[:, :4]
        return self.last_made(self.shared(self.shared(x)))


def test_calls_in_order_with_shapes_and_kernels():
    model = models.from_linen(Twice())
    calls = models.trace(model, model.init(jax.random.key(0), X), X)
    dense = ("shared", "Dense", (2, 4), (2, 4), None, None, (4, 4))
    assert calls == [
        Call("conv", "Conv", (2, 6, 6, 1), (2, 2, 4, 4), None, None, (3, 3, 1, 4)),
        Call(*dense),
        Call(*dense),
        Call("last_made", "Dense", (2, 4), (2, 3), None, None, (4, 3)),
    ]


@pytest.mark.parametrize("rules", [[], [("shared", quantizers.xnor(), quantizers.xnor_input())]])
def test_quantizers_in_force_and_shapes_alone(rules):
    """Nothing is computed: the variables and the inputs may be shapes."""
    model = models.quantized(models.from_linen(Twice()), rules) if rules else models.from_linen(Twice())
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)
    actual = [(c.weight and c.weight.name, c.inputs and c.inputs.name) for c in models.trace(model, shapes, X)]
    middle = ("xnor", "xnor_input") if rules else (None, None)
    assert actual == [(None, None), middle, middle, (None, None)]
    alone = jax.ShapeDtypeStruct(X.shape, X.dtype)
    assert models.trace(model, shapes, alone) == models.trace(model, shapes, X)


def test_one_layer_alone_stands_at_the_empty_path():
    model = models.quantized(models.from_linen(nn.Dense(3)), [("^$", quantizers.binary(), None)], ())
    (call,) = models.trace(model, model.init(jax.random.key(0), jnp.ones((2, 4))), jnp.ones((2, 4)))
    assert (call.path, call.weight.name, call.kernel) == ("", "binary", (4, 3))


class Recurrent(nn.Module):
    cell: type[nn.Module]

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.RNN(self.cell(4))(x)[:, -1])


@pytest.mark.parametrize("cell, layers", [(nn.OptimizedLSTMCell, 1), (nn.SimpleCell, 3)])
def test_recurrent_cells(cell, layers):
    """Cells of dense layers are listed, and quantized; gates that give away their kernels are neither."""
    x = jnp.ones((2, 5, 3))
    plain = models.from_linen(Recurrent(cell))
    variables = plain.init(jax.random.key(0), x)
    calls = models.trace(plain, variables, x)
    assert len({call.path for call in calls}) == layers and {call.kind for call in calls} == {"Dense"}
    gates = [("OptimizedLSTMCell", None, None)] if layers == 1 else []  # without it, a warning lists them
    model = models.quantized(plain, [*gates, (".*", quantizers.binary(), None)], ())
    signs = jax.tree.map(lambda w: jnp.where(w >= 0, 1.0, -1.0) if w.ndim == 2 else w, variables["params"])
    if layers == 1:
        signs = {**variables["params"], "Dense_0": signs["Dense_0"]}
    expected = plain.apply({"params": signs}, x)[0]
    assert jnp.allclose(model.apply(variables, x)[0], expected, atol=1e-5)
