"""Convolutions without a convolution: the values and gradients of `lax.conv`, with a kernel for each model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gecko_jax.convolutions import as_ungrouped

NHWC, NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")
MODELS = 3
CASES = {  # images, kernel, strides, padding, dilation inside, dilation of the kernel, numbers, groups
    "plain": ((2, 6, 5, 2), (3, 2, 2, 4), (1, 1), "SAME", None, None, NHWC, 1),
    "strides and a border": ((2, 6, 5, 2), (3, 3, 2, 4), (2, 1), [(1, 2), (0, 1)], None, (1, 2), NHWC, 1),
    "channels first": ((2, 2, 6, 5), (4, 2, 2, 3), (1, 2), "VALID", None, None, NCHW, 1),
    "one axis": ((2, 7, 2), (3, 2, 4), (2,), "SAME_LOWER", None, None, ("NHC", "HIO", "NHC"), 1),
    "dilated inside": ((2, 4, 4, 2), (3, 3, 2, 2), (1, 1), [(2, 2), (1, 1)], (2, 1), None, NHWC, 1),
    "groups": ((2, 5, 5, 6), (2, 2, 3, 4), (1, 1), "SAME", None, None, NHWC, 2),
    "depthwise": ((2, 5, 5, 3), (3, 3, 1, 3), (2, 2), "SAME", None, None, NHWC, 3),
    "depthwise, two outputs each": ((2, 5, 5, 3), (2, 2, 1, 6), (1, 1), "VALID", None, (2, 1), NHWC, 3),
}


def gradients(convolve, case, x, kernel):
    _, _, *settings, numbers, groups = CASES[case]

    def run(x, kernel):
        y = convolve(x, kernel, *settings, dimension_numbers=numbers, feature_group_count=groups)
        return jnp.sum(y * jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)), y

    return jax.vmap(jax.grad(run, argnums=(0, 1), has_aux=True))(x, kernel)


def test_values_and_gradients_are_those_of_lax():
    draws = np.random.default_rng(0)
    inputs = {
        case: [draws.normal(size=(MODELS, *shape)).astype(np.float32) for shape in settings[:2]]
        for case, settings in CASES.items()
    }

    def both(inputs):
        ways = lax.conv_general_dilated, as_ungrouped
        return {case: [gradients(way, case, *each) for way in ways] for case, each in inputs.items()}

    results = jax.jit(both, compiler_options={"xla_backend_optimization_level": 0})(inputs)
    for case, (expected, actual) in results.items():
        for theirs, ours in zip(jax.tree.leaves(expected), jax.tree.leaves(actual), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=case)
    for case, each in inputs.items():
        program = str(jax.make_jaxpr(lambda *each, case=case: gradients(as_ungrouped, case, *each))(*each))
        assert "conv_general_dilated" not in program, case


def test_what_has_no_other_form_is_left_to_xla():
    x, kernel = jnp.ones((4, 3, 3, 2)), jnp.ones((2, 2, 2, 4))
    options = dict(dimension_numbers=NHWC, batch_group_count=2)
    ours, theirs = (way(x, kernel, (1, 1), "VALID", **options) for way in (as_ungrouped, lax.conv_general_dilated))
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="String padding"):
        as_ungrouped(x, kernel, (1, 1), "SAME", (2, 2), None, NHWC)
