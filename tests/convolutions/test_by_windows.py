"""Products over windows against XLA's convolution, for everything that its primitive can be asked for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gecko_jax.convolutions import by_windows, shared_kernel
from gecko_jax.convolutions.patches import MAX_SLICED_PLACES

CASES = {
    "plain": dict(images=(2, 6, 5, 3), kernel=(3, 2, 3, 4), padding=((1, 0), (0, 2))),
    "strides": dict(images=(2, 7, 6, 3), kernel=(3, 2, 3, 4), window_strides=(2, 3), padding="SAME"),
    "dilated kernel": dict(images=(1, 8, 7, 2), kernel=(3, 2, 2, 3), rhs_dilation=(2, 3), padding="VALID"),
    "dilated images": dict(images=(2, 4, 3, 2), kernel=(3, 3, 2, 3), lhs_dilation=(2, 3), padding=((2, 2), (1, 3))),
    "cut at the edges": dict(images=(2, 6, 6, 2), kernel=(2, 2, 2, 3), lhs_dilation=(2, 1), padding=((-1, 2), (0, -2))),
    "groups": dict(images=(2, 5, 5, 6), kernel=(2, 2, 2, 9), feature_group_count=3, padding="SAME"),
    "depthwise": dict(images=(2, 5, 5, 4), kernel=(3, 3, 1, 8), feature_group_count=4, padding="SAME"),
    "groups of images": dict(images=(6, 5, 5, 2), kernel=(2, 2, 2, 9), batch_group_count=3, padding="VALID"),
    "channels first": dict(
        images=(2, 3, 6, 5), kernel=(4, 3, 3, 2), padding="SAME", dimension_numbers=("NCHW", "OIHW", "NHWC")
    ),
    "one axis, one channel": dict(
        images=(2, 9, 1), kernel=(4, 1, 3), window_strides=(2,), padding="SAME", dimension_numbers=("NWC", "WIO", "NWC")
    ),
    "a kernel of many taps": dict(images=(1, 13, 13, 1), kernel=(12, 11, 1, 2), padding="SAME"),
    "three axes": dict(
        images=(1, 3, 4, 3, 2), kernel=(2, 3, 1, 2, 3), window_strides=(1, 2, 1), padding="SAME",
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    ),
}  # fmt: skip


def drawn(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def convolution(images, kernel, **options):
    """XLA's, and the parameters that its primitive was called with."""
    options = {"window_strides": (1, 1), "dimension_numbers": ("NHWC", "HWIO", "NHWC"), **options}

    def run(x, k):
        return lax.conv_general_dilated(x, k, **options)

    return run, jax.make_jaxpr(run)(drawn(images, 0), drawn(kernel, 1)).jaxpr.eqns[-1]


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_convolution_with_its_gradients(name):
    options = CASES[name]
    plain, equation = convolution(**options)
    ways = plain, by_windows(equation.params), shared_kernel(equation.primitive, equation.params)

    def run(x, k):
        outputs = []
        for way in ways:
            y, pull = jax.vjp(way, x, k)
            outputs.append((y, *pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))))
        return outputs

    wanted, *others = jax.jit(run)(drawn(options["images"], 0), drawn(options["kernel"], 1))
    assert wanted[0].size
    for other in others:
        for array, expected in zip(other, wanted, strict=True):
            np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-4)


def test_both_ways_of_collecting_windows_are_tried():
    taps = [np.prod(CASES[name]["kernel"][:2]) for name in ("plain", "a kernel of many taps")]
    assert taps[0] <= MAX_SLICED_PLACES < taps[1]


def test_half_precision_adds_up_in_what_is_preferred():
    x, k = jnp.ones((1, 3, 3, 400), jnp.bfloat16), jnp.ones((3, 3, 400, 1), jnp.bfloat16)
    _, equation = convolution(x.shape, k.shape, padding="VALID", preferred_element_type=jnp.float32)
    y = by_windows({**equation.params, "preferred_element_type": jnp.dtype("float32")})(x, k)
    assert y.dtype == jnp.float32 and y.item() == 3600.0
