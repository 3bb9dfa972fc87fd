"""A user's own Flax module under rules: it computes with exactly the quantized weights and inputs, and no others."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import convolve, same, signs, xnor_filters

from gecko_jax import models, quantizers

X = np.random.default_rng(0).normal(size=(3, 7, 6, 2)).astype(np.float32)
K1, K2, S1, S2 = (3, 3), (3, 2), (2, 2), (2, 1)
XNOR, BITS = quantizers.xnor(), quantizers.xnor_input()


class Inner(nn.Module):
    """One layer called twice, and a Sequential."""

    def setup(self):
        self.shared = nn.Dense(6)
        self.tail = nn.Sequential([nn.Dense(6), nn.tanh, nn.Dense(6, use_bias=False)])

    def __call__(self, x):
        return self.shared(nn.tanh(self.shared(x))) + self.tail(x)


class Own(nn.Module):
    """What a user may bring: setup(), nested modules, strides and SAME padding, an Embed, a call by keyword."""

    def setup(self):
        self.first = nn.Conv(4, K1, strides=S1)
        self.second = nn.Conv(6, K2, strides=S2)
        self.table = nn.Embed(2, 3)
        self.inner = Inner()
        self.head = nn.Dense(3)

    def __call__(self, x):
        marks = (x[:, 0, 0] > 0).astype(jnp.int32)
        x = self.second(inputs=nn.tanh(self.first(x)))
        x = x.mean((1, 2)) + self.table(marks).reshape(len(x), 6)
        return self.head(self.inner(x))


def latents(variables, seed=1):
    """Parameters as training leaves them: none 0, some beyond 1."""
    rng = np.random.default_rng(seed)
    draw = jax.tree.map(lambda w: rng.normal(scale=0.7, size=w.shape).astype(np.float32), variables["params"])
    return {**variables, "params": draw}


FLOAT = models.from_linen(Own())
PARAMS = latents(FLOAT.init(jax.random.key(0), X))["params"]


def run(model, params=PARAMS):
    return np.asarray(jax.jit(lambda params: model.apply({"params": params}, jnp.asarray(X))[0])(params))


def own_by_hand(weight, inputs, fill, held):
    """`Own` in NumPy. weight, inputs: functions for the layers named in `held`; fill: the border of convolutions."""

    def dense(x, name, *path):
        layer = PARAMS
        for part in (*path, name):
            layer = layer[part]
        w, x = (weight(layer["kernel"]), inputs(x)) if name in held else (layer["kernel"], x)
        return x @ w + layer.get("bias", 0)

    first = PARAMS["first"]["kernel"], [same(7, 3, 2), same(6, 3, 2)]
    if "first" in held:
        x = convolve(inputs(X), weight(first[0]), S1, first[1], fill) + PARAMS["first"]["bias"]
    else:
        x = convolve(X, first[0], S1, first[1], 0) + PARAMS["first"]["bias"]
    x = inputs(np.tanh(x))
    x = convolve(x, weight(PARAMS["second"]["kernel"]), S2, [same(4, 3, 2), same(3, 2, 1)], fill)
    x = (x + PARAMS["second"]["bias"]).mean((1, 2))
    marks = (X[:, 0, 0] > 0).astype(int)
    x = x + PARAMS["table"]["embedding"][marks].reshape(len(X), 6)
    once = dense(x, "shared", "inner")
    tail = dense(np.tanh(dense(x, "layers_0", "inner", "tail")), "layers_2", "inner", "tail")
    return dense(dense(np.tanh(once), "shared", "inner") + tail, "head")


MIDDLE = {"second", "shared", "layers_0", "layers_2"}


def test_the_float_model_is_its_re_implementation():
    expected = own_by_hand(lambda w: w, lambda x: x, 0, set())
    np.testing.assert_allclose(run(FLOAT), expected, rtol=1e-4, atol=1e-4)


def test_signs_and_scales_in_the_middle_floats_at_both_ends():
    model = models.quantized(FLOAT, [("table", None, None), (".*", XNOR, BITS)])
    expected = own_by_hand(xnor_filters, signs, 1, MIDDLE)
    np.testing.assert_allclose(run(model), expected, rtol=1e-4, atol=1e-4)
    with_zeros = own_by_hand(xnor_filters, signs, 0, MIDDLE)  # the border matters here
    assert np.abs(expected - with_zeros).max() > 0.1


def test_no_layer_left_in_float():
    model = models.quantized(FLOAT, [("table", None, None), (".*", XNOR, BITS)], float_layers=())
    expected = own_by_hand(xnor_filters, signs, 1, MIDDLE | {"first", "head"})
    np.testing.assert_allclose(run(model), expected, rtol=1e-4, atol=1e-4)


def test_weights_alone_keep_inputs_and_the_border_of_zeros():
    model = models.quantized(FLOAT, [("table", None, None), (".*", XNOR, None)])
    expected = own_by_hand(xnor_filters, lambda x: x, 0, MIDDLE)
    np.testing.assert_allclose(run(model), expected, rtol=1e-4, atol=1e-4)


def test_it_is_the_float_model_with_weights_replaced_to_the_last_bit():
    """Weights alone, an embedding too: the same program on parameters that NumPy has quantized."""
    model = models.quantized(FLOAT, [(".*", quantizers.binary(), None)], float_layers=("last",))
    replaced = jax.tree_util.tree_map_with_path(
        lambda path, w: w if w.ndim < 2 or "head" in str(path) else signs(w).astype(np.float32), PARAMS
    )
    np.testing.assert_array_equal(run(model), run(FLOAT, replaced))


def test_matrix_products_change_nothing_of_the_border():
    model = models.quantized(FLOAT, [("table", None, None), (".*", XNOR, BITS)])
    with models.convolutions_as_matmul():
        np.testing.assert_allclose(run(model), own_by_hand(xnor_filters, signs, 1, MIDDLE), rtol=1e-4, atol=1e-4)


def weights_inside(model, variables, x, **options):
    """{path: kernel} as the layers see them in the forward pass, not as anyone planned them."""
    seen = {}

    def look(next_fun, args, kwargs, context):
        for name in ("kernel", "embedding"):
            if context.method_name == "__call__" and context.module.has_variable("params", name):
                seen["/".join(context.module.path)] = context.module.get_variable("params", name)
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(look):
        model.apply(variables, x, **options)
    return {path: np.asarray(kernel) for path, kernel in seen.items()}


BINARY = {name: make for name, make in quantizers.QUANTIZERS.items() if make().bits == 1 and "input" not in name}


@pytest.mark.parametrize("name", sorted(BINARY))
@pytest.mark.parametrize("train", [False, True])
def test_a_binary_layer_takes_exactly_two_values_a_filter(name, train):
    model = models.quantized(FLOAT, [(".*", BINARY[name](), None)])
    variables = {"params": PARAMS}
    model.apply(variables, X)  # the call order is traced once, out of sight of the look below
    options = dict(train=True, key=jax.random.key(0)) if train else {}
    inside = weights_inside(model, variables, X, **options)
    for path, kernel in inside.items():
        filters = kernel.reshape(-1, kernel.shape[-1])
        floats = path in ("first", "head")
        for column in filters.T:
            if floats:
                assert len(np.unique(column)) > 2, path
            else:
                assert len(np.unique(np.abs(column))) == 1, path
                assert len(np.unique(column)) == 2 or len(column) == 2, path  # two rows may have one sign
    tail = {"inner/tail/layers_0", "inner/tail/layers_2"}
    assert set(inside) == {"first", "second", "table", "inner/shared", "head"} | tail


def test_deployed_weights_are_the_codes():
    """What a file would hold, times its scale, is what the forward pass computes with."""
    model = models.quantized(FLOAT, [(".*", XNOR, None)])
    model.apply({"params": PARAMS}, X)
    inside = weights_inside(model, {"params": PARAMS}, X)
    codes = XNOR.codes((), jnp.asarray(PARAMS["second"]["kernel"]))
    np.testing.assert_array_equal(inside["second"], np.asarray(codes.values, np.float32) * np.asarray(codes.scale))


def test_gradients_reach_the_latents_through_both_estimators():
    """One dense layer: dL/dw and dL/dx by BNN's rule, by hand."""
    model = models.quantized(models.from_linen(nn.Dense(4)), [(".*", quantizers.binary(), quantizers.binary())], ())
    rng = np.random.default_rng(3)
    x, w, g = (rng.normal(size=s).astype(np.float32) for s in ((5, 6), (6, 4), (5, 4)))
    variables = {"params": {"kernel": jnp.asarray(w), "bias": jnp.zeros(4)}}
    _, back = jax.vjp(lambda v, x: model.apply(v, x)[0], variables, jnp.asarray(x))
    to_variables, to_x = back(jnp.asarray(g))
    to_w = to_variables["params"]["kernel"]
    np.testing.assert_allclose(to_w, signs(x).T @ g * (np.abs(w) <= 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_x, g @ signs(w).T * (np.abs(x) <= 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_the_gain_multiplies_before_the_bias(bias):
    """XNOR-Net's K: y = (sign(x) * sign(w) alpha) K + b, K from |x| with zeros around the image."""
    layer = nn.Conv(5, K1, strides=S1, use_bias=bias)
    model = models.quantized(models.from_linen(layer), [(".*", XNOR, quantizers.xnor_input(scaling=True))], ())
    params = latents(layer.init(jax.random.key(0), X))["params"]
    pads = [same(7, 3, 2), same(6, 3, 2)]
    k = convolve(np.abs(X).mean(-1, keepdims=True), np.full((*K1, 1, 1), 1 / 9), S1, pads, 0)
    expected = convolve(signs(X), xnor_filters(params["kernel"]), S1, pads, 1) * k + params.get("bias", 0)
    np.testing.assert_allclose(run(model, params), expected, rtol=1e-4, atol=1e-4)


def test_the_gain_of_a_dense_layer():
    model = models.quantized(models.from_linen(nn.Dense(4)), [(".*", XNOR, quantizers.xnor_input(scaling=True))], ())
    rng = np.random.default_rng(4)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((3, 6), (6, 4), (4,)))
    actual = model.apply({"params": {"kernel": w, "bias": b}}, jnp.asarray(x))[0]
    expected = signs(x) @ xnor_filters(w) * np.abs(x).mean(-1, keepdims=True) + b
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
