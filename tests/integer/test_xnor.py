"""Packed products against integer and float64 products of signs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gecko_jax import integer, models, quantizers


def signs(x):
    return np.where(x >= 0, 1, -1)


def test_ten_thousand_random_inputs_dense():
    random = np.random.default_rng(0)
    shapes = [(1, 1, 1), (3990, 33, 129), (6000, 100, 20), (9, 3000, 5)]
    assert sum(rows for rows, _, _ in shapes) == 10_000
    for rows, n, out in shapes:
        x, w = random.standard_normal((rows, n)).astype(np.float32), random.standard_normal((n, out)).astype(np.float32)
        x.flat[:: max(n // 3, 1)] = 0.0
        x.flat[1 :: max(n, 2)] = -0.0
        expected = signs(x).astype(np.float64) @ signs(w).astype(np.float64)
        product = jax.jit(
            lambda x, w, n=n: integer.xnor_matmul_transposed(integer.pack_signs(x), integer.pack_kernel(w), n)
        )
        got = product(x, w)
        assert got.dtype == jnp.int32
        np.testing.assert_array_equal(got, expected)


def test_bits_past_the_end_count_nothing():
    random = np.random.default_rng(1)
    x, w = random.standard_normal((9, 37)), random.standard_normal((37, 300))
    a, rows = map(np.array, jax.jit(lambda *x: [integer.pack_signs(part) for part in x])(x, w.T))
    a[:, -1] |= np.uint32(0xFFFFFF00)
    rows[::2, -1] |= np.uint32(0xABCDEF00)
    got = jax.jit(integer.xnor_matmul, static_argnums=2)(a, rows, 37)
    np.testing.assert_array_equal(got, signs(x) @ signs(w))


def test_pack_signs_is_little_endian_and_zero_is_plus_one():
    x = np.random.default_rng(2).standard_normal((3, 2, 70)).astype(np.float32)
    x[..., 3], x[..., 4] = 0.0, -0.0
    packed = np.asarray(integer.pack_signs(x))
    assert packed.dtype == np.uint32 and packed.shape == (3, 2, 3)
    for element in range(70):
        bit = packed[..., element // 32] >> (element % 32) & 1
        np.testing.assert_array_equal(bit, x[..., element] >= 0)
    assert not (packed[..., 2] >> 6).any()


CONVOLUTIONS = [
    # channels, out, kernel, strides, padding, dilation
    (64, 8, (3, 3), (1, 1), "SAME", (1, 1)),
    (5, 3, (3, 2), (2, 1), "SAME", (1, 1)),
    (40, 130, (3, 3), (2, 2), "VALID", (1, 1)),
    (33, 4, (5, 3), (1, 2), ((2, 0), (1, 3)), (1, 1)),
    (16, 6, (3, 3), (1, 1), "SAME", (2, 2)),
    (300, 5, (3, 3), (2, 2), "SAME", (1, 1)),
    (64, 7, (1, 1), (2, 2), "SAME", (1, 1)),
]


@pytest.mark.parametrize("channels, out, size, strides, padding, dilation", CONVOLUTIONS)
def test_conv_equals_the_integer_convolution_with_a_border_of_ones(channels, out, size, strides, padding, dilation):
    random = np.random.default_rng(channels)
    x = random.standard_normal((4, 9, 8, channels)).astype(np.float32)
    w = random.standard_normal((*size, channels, out)).astype(np.float32)

    @jax.jit
    def conv(x, w):
        words, kernel = integer.pack_signs(x), integer.pack_kernel(w)
        return integer.xnor_conv(words, kernel, channels, strides, padding, dilation)

    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    pads = padding
    if isinstance(padding, str):
        pads = lax.padtype_to_pads((9, 8), spans, strides, padding)
    full = np.pad(signs(x), ((0, 0), *pads, (0, 0)), constant_values=1)
    height = (full.shape[1] - spans[0]) // strides[0] + 1
    width = (full.shape[2] - spans[1]) // strides[1] + 1
    expected = np.zeros((4, height, width, out), np.int64)
    for i in range(size[0]):
        for j in range(size[1]):
            rows = slice(i * dilation[0], i * dilation[0] + (height - 1) * strides[0] + 1, strides[0])
            columns = slice(j * dilation[1], j * dilation[1] + (width - 1) * strides[1] + 1, strides[1])
            expected += full[:, rows, columns] @ signs(w[i, j])
    np.testing.assert_array_equal(conv(x, w), expected)


def test_binary_layers_equal_the_fake_quantized_model(filled):
    """Every quantized layer of a model, fed with what it saw, gives what it gave, but for the rounding of the scale."""
    import flax.linen as nn

    rules = [(".*", quantizers.xnor(), quantizers.xnor_input())]
    model = models.quantized(
        models.create("lenet", 10, order="xnor", channels=(8, 34), hidden=20), rules, float_layers=()
    )
    x = np.random.default_rng(0).standard_normal((6, 12, 11, 1)).astype(np.float32)
    variables = filled(model, x)
    seen, modules = [], []

    def watch(next_fun, args, kwargs, context):
        y = next_fun(*args, **kwargs)
        if isinstance(context.module, (nn.Dense, nn.Conv)):
            seen.append((args[0], y))
            modules.append((context.module.path, getattr(context.module, "padding", None)))
        return y

    @jax.jit
    def run(variables, x):
        seen.clear()
        with nn.intercept_methods(watch):
            model.apply(variables, x)
        return tuple(seen)

    pairs = run(variables, x)
    assert len(pairs) == len(models.trace(model, variables, x))
    for (path, padding), (inputs, outputs) in zip(modules, pairs, strict=True):
        layer = variables["params"]
        for part in path:
            layer = layer[part]

        @jax.jit
        def packed(inputs, kernel, bias, padding=padding):
            codes = rules[0][1].codes((), kernel)
            if padding is None:
                return integer.binary_dense(inputs, codes.values, codes.scale, bias)
            return integer.binary_conv(inputs, codes.values, codes.scale, bias, padding=padding)

        y = packed(inputs, layer["kernel"], layer["bias"])
        # The float path sums n rounded terms +-alpha, the packed one multiplies an exact integer once.
        np.testing.assert_allclose(y, outputs, rtol=1e-5, atol=1e-5 * np.abs(outputs).max())


def test_errors_name_the_argument():
    a, w = np.zeros((2, 2), np.uint32), np.zeros((3, 2), np.uint32)
    with pytest.raises(ValueError, match="w_words"):
        integer.xnor_matmul(a, w, 65)
    with pytest.raises(ValueError, match="a_words"):
        integer.xnor_matmul_transposed(a[:, :1], w.T, 64)
    with pytest.raises(ValueError, match="smaller than the dilated kernel"):
        integer.xnor_conv(np.zeros((1, 2, 2, 1), np.uint32), np.zeros((3, 3, 1, 4), np.uint32), 32, padding="VALID")
    with pytest.raises(ValueError, match="scale"):
        integer.binary_dense(np.ones((1, 4)), np.ones((4, 3)), np.ones((4, 1)))
