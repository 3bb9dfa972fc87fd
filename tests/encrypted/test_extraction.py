"""Circuits compute what the model computes: each kind of layer by itself and in networks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from extracted_circuits import Function, circuit_of

from gecko_jax.encrypted import depth

IMAGE = (7, 6, 4)
LAYERS = {
    "dense": nn.Dense(3),
    "dense without bias": nn.Dense(3, use_bias=False),
    "same": nn.Conv(6, (3, 2)),
    "valid": nn.Conv(6, (3, 2), padding="VALID"),
    "circular": nn.Conv(6, (3, 3), padding="CIRCULAR"),
    "strided": nn.Conv(6, (3, 3), strides=(2, 3)),
    "padded": nn.Conv(6, (3, 2), padding=((2, 1), (0, 3))),
    "grouped": nn.Conv(6, (3, 3), feature_group_count=2),
    "depthwise": nn.Conv(8, (3, 3), feature_group_count=4),
    "dilated": nn.Conv(6, (3, 3), kernel_dilation=(2, 1)),
    "input dilated": nn.Conv(6, (3, 3), input_dilation=(2, 3), padding=((1, 1), (0, 2))),
    "transposed": nn.ConvTranspose(6, (3, 3), strides=(2, 2)),
    "local": nn.ConvLocal(3, (2, 2)),
    "batch norm": nn.BatchNorm(use_running_average=True),
    "dropout": nn.Dropout(0.5, deterministic=True),
    "average pool": Function(lambda x: nn.avg_pool(x, (2, 2), (2, 2))),
    "padded average pool": Function(lambda x: nn.avg_pool(x, (3, 3), (2, 1), "SAME", count_include_pad=False)),
    "mean": Function(lambda x: x.mean((1, 2))),
    "flatten": Function(lambda x: x.reshape(len(x), -1)),
    "transpose": Function(lambda x: x.transpose(0, 2, 1, 3)),
    "concatenate": Function(lambda x: jnp.concatenate([x, 2 * x[:, ::-1], jnp.ones_like(x)], 3)),
    "pad": Function(lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (3, 0)), constant_values=2.0)),
    "slice": Function(lambda x: x[:, 1::2, :4]),
    "take": Function(lambda x: x[:, jnp.array([3, 0, 0])]),
    "place": Function(lambda x: x.at[:, 1].set(0.5).at[:, :, 2].add(x[:, :, 0])),
    "sum by segment": Function(lambda x: jax.vmap(lambda r: jax.ops.segment_sum(r, jnp.arange(7) // 3, 3))(x)),
    "running sum": Function(lambda x: jnp.cumsum(x, 1)),
    "where": Function(lambda x: jnp.where(jnp.arange(4)[None, None, None] > 1, x, -x)),
    "roll": Function(lambda x: jnp.roll(x, 2, 1)),
    "broadcast": Function(lambda x: jax.lax.sub(x, x.mean((1, 2), keepdims=True))),
    "einsum": Function(lambda x: jnp.einsum("bhwc,hwk->bkc", x, jnp.arange(84.0).reshape(7, 6, 2))),
    "scan": Function(lambda x: jax.lax.scan(lambda c, r: (c + 2 * r, c), x[:, 0], x.swapaxes(0, 1))[1].swapaxes(0, 1)),
    "loop": Function(lambda x: jax.lax.fori_loop(0, jnp.arange(4).max(), lambda i, c: 2 * c + i, x)),
    "branch": Function(lambda x: jax.lax.cond(jnp.arange(4).sum() > 5, lambda x: 2 * x, jnp.sin, x)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_linear_layer_is_one_map(name):
    circuit = circuit_of(LAYERS[name], IMAGE)
    assert circuit.products == () and set(circuit.output.terms) == {0}


POLYNOMIALS = {  # a function of x, how many products it takes, their depth
    "square": (lambda x: x * x, 1, 1),
    "quadratic": (lambda x: 0.5 * x * x - x + 3, 1, 1),
    "negative quadratic": (lambda x: -0.5 * x * x - x, 1, 1),
    "almost linear": (lambda x: 1e-6 * x * x + x, 1, 1),
    "two factors": (lambda x: (x + 1) * (2 - x), 1, 1),
    "canceled": (lambda x: x * x + x - x * x, 0, 0),
    "cube": (lambda x: x**3, 2, 2),
    "cubic": (lambda x: x**3 - x * x + 2 * x + 1, 2, 2),
    "fourth power": (lambda x: x**4, 2, 2),
    "eighth power": (lambda x: x**8, 3, 3),
    "degree 7": (lambda x: jnp.polyval(jnp.array([0.1, -0.2, 0.3, 0.1, -0.5, 0.2, 1.0, 0.4]), x), 4, 3),
    "float power": (lambda x: x**2.0, 1, 1),
    "quadratic of a quadratic": (lambda x: (lambda y: y * y + y)(0.1 * x * x + x), 2, 2),
    "neighbors": (lambda x: x * jnp.roll(x, 1, 1), 1, 1),
    "the same square twice": (lambda x: x * x + (x.reshape(-1) * x.reshape(-1)).reshape(x.shape), 1, 1),
    "one square, two readers": (lambda x: x * x + (x * x)[:, ::-1], 1, 1),
    "product of squares": (lambda x: (x * x) * (x * x)[:, ::-1], 2, 2),
    "gram": (lambda x: x @ x.swapaxes(1, 2), 1, 1),
    "attention without a softmax": (lambda x: jnp.einsum("bqd,bkd,bke->bqe", x, x, x), 2, 2),
    "normalized polynomial": (lambda x: (lambda y: y * y + y)((x - 1) * 3) + (x - 1) * 2, 1, 1),
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_a_polynomial_takes_few_products(name):
    function, products, levels = POLYNOMIALS[name]
    circuit = circuit_of(Function(function), (3, 4))
    assert (len(circuit.products), depth(circuit)) == (products, levels)
