"""Convolutions by matrix products: the values and gradients of `lax.conv`, and XLA's own where they do not serve."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from gecko_jax.convolutions import as_matmul
from gecko_jax.models import convolutions_as_matmul

NUMBERS = ("NHWC", "HWIO", "NHWC")


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def value_and_gradients(convolve, x, kernel, *settings):
    def run(x, kernel):
        out, back = jax.vjp(lambda x, kernel: convolve(x, kernel, *settings, dimension_numbers=NUMBERS), x, kernel)
        return out, *back(jnp.sin(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape))

    return jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})(x, kernel)  # compiling is all its time


PADDING = st.sampled_from(["SAME", "VALID", "SAME_LOWER", ((1, 2), (0, 1)), ((-1, 0), (2, 0))])
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(derandomize=True, deadline=None, max_examples=10)
@given(
    batch=st.integers(1, 5), sides=st.tuples(st.integers(7, 10), st.integers(7, 10)), channels=PAIR,
    window=PAIR, strides=PAIR, dilation=PAIR, padding=PADDING,
)  # fmt: skip
def test_it_is_lax_conv(batch, sides, channels, window, strides, dilation, padding):
    x, kernel = draw(batch, *sides, channels[0]), draw(*window, *channels, seed=1)
    arguments = (x, kernel, strides, padding, None, dilation)
    for ours, theirs in zip(
        value_and_gradients(as_matmul, *arguments),
        value_and_gradients(lax.conv_general_dilated, *arguments),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [((4, 4), (2, 2), "VALID"), ((8, 8), (2, 2), ((2, 2),) * 2), ((2, 4), (2, 1), "SAME"), ((3, 2), (3, 2), "VALID")],
)
def test_a_stride_that_divides_the_window_is_folded_into_channels(size, strides, padding):
    """Images of 11 x 13: rows beyond the last window, and a window's last rows beyond the last step."""
    x, kernel = draw(3, 11, 13, 2), draw(*size, 2, 5, seed=1)
    for ours, theirs in zip(
        value_and_gradients(as_matmul, x, kernel, strides, padding),
        value_and_gradients(lax.conv_general_dilated, x, kernel, strides, padding),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_many_models_and_examples_at_once():
    """vmap of a gradient over models, as an ensemble trains, and over examples, as private training does."""
    x, kernels = draw(4, 8, 8, 2), draw(3, 3, 3, 2, 5, seed=1)

    def gradient(convolve):
        def loss(kernel, x):
            return jnp.sin(convolve(x, kernel, (1, 1), "SAME", dimension_numbers=NUMBERS)).sum()

        one = jax.grad(loss, (0, 1))
        many = jax.jit(jax.vmap(one, (0, None)))(kernels, x)
        private = jax.jit(jax.vmap(lambda x: one(kernels[0], x[None])))(x)
        return many, private

    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4),
        gradient(as_matmul),
        gradient(lax.conv_general_dilated),
    )


def program(layer, x, by_matmul):
    variables = layer.init(jax.random.key(0), x)
    apply = jax.jit(layer.apply)
    if not by_matmul:
        return str(jax.make_jaxpr(layer.apply)(variables, x)), apply(variables, x)
    with convolutions_as_matmul():
        return str(jax.make_jaxpr(layer.apply)(variables, x)), jax.jit(layer.apply)(variables, x)


@pytest.mark.parametrize(
    "layer, shape, served",
    [
        (nn.Conv(3, (3, 3)), (2, 6, 6, 2), True),
        (nn.Conv(3, (3, 2), strides=2, padding=1, kernel_dilation=2, use_bias=False), (2, 7, 6, 2), True),
        (nn.Conv(3, (3, 3), padding="CIRCULAR"), (2, 6, 6, 2), True),
        (nn.Conv(4, (3, 3), feature_group_count=2), (2, 6, 6, 2), False),
        (nn.Conv(3, (3,)), (2, 6, 2), False),
        (nn.Conv(3, (2, 2, 2)), (1, 3, 3, 3, 1), False),
        (nn.Conv(3, (3, 3), input_dilation=2, padding=1), (2, 6, 6, 2), False),
        (nn.ConvTranspose(3, (3, 3)), (2, 6, 6, 2), False),
        (nn.Conv(3, (3, 3), conv_general_dilated=lambda x, w, *a, **k: x[..., :1] * w[:1, :1, :1]), (2, 6, 6, 2), None),
    ],
)
def test_flax_layers(layer, shape, served):
    x = draw(*shape)
    text, ours = program(layer, x, by_matmul=True)
    _, theirs = program(layer, x, by_matmul=False)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert ("conv_general_dilated" in text) == (served is False)


def test_other_layouts_and_empty_batches_go_to_xla():
    x, kernel = draw(2, 3, 6, 5), draw(4, 3, 2, 2, seed=1)
    arguments = (x, kernel, (1, 1), "SAME")
    numbers = dict(dimension_numbers=("NCHW", "OIHW", "NCHW"))
    np.testing.assert_array_equal(as_matmul(*arguments, **numbers), lax.conv_general_dilated(*arguments, **numbers))
    none = as_matmul(jnp.zeros((0, 6, 6, 2)), draw(3, 3, 2, 4), (1, 1), "SAME", dimension_numbers=NUMBERS)
    assert none.shape == (0, 6, 6, 4)


def test_the_layer_is_as_before_afterwards():
    layer = nn.Conv(3, (3, 3))
    bound = layer.bind(layer.init(jax.random.key(0), draw(1, 4, 4, 1)))
    with convolutions_as_matmul():
        bound(draw(1, 4, 4, 1))
        with pytest.raises(Exception, match="shape"):  # put back after an error as well
            bound(draw(1, 4, 4, 7))
    assert bound.conv_general_dilated is None
