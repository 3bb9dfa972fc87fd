"""Scales lie along each layer's own outputs: against NumPy on stated axes, and against unrolled layers."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from module_generator import PIECES, D, Generated, T, axes_of, generated

from gecko_jax import integer, models, quantizers
from gecko_jax.models.removed_weights import STATES
from gecko_jax.quantizers import straight_through
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Quantizer

KEY = jax.random.key(0)
FOUR = quantizers.uniform(4)


def grid_by_hand(w, bits=4):
    """One output's weights on a grid of its own."""
    w, top = w.astype(np.float64), 2 ** (bits - 1) - 1
    scale = np.abs(w).max() / top or 1.0
    return np.round(w / scale) * scale


def mean_by_hand(w):
    return np.abs(w.astype(np.float64)).mean() * np.where(w >= 0, 1, -1)


def twn_by_hand(w):
    w = w.astype(np.float64)
    large = np.abs(w) > 0.7 * np.abs(w).mean()
    return np.where(large, np.sign(w), 0) * np.abs(w)[large].mean()


def each_by_hand(w, axes, function):
    """function of the weights of one index along `axes`, for every index."""
    outputs, shape = [axis % w.ndim for axis in axes], w.shape
    rows = np.moveaxis(w, outputs, range(len(outputs))).reshape(int(np.prod([shape[a] for a in outputs])), -1)
    out = np.stack([function(row) for row in rows])
    moved = [shape[a] for a in outputs] + [n for a, n in enumerate(shape) if a not in outputs]
    return np.moveaxis(out.reshape(moved), range(len(outputs)), outputs)


# scheme -> (quantizer, what it does to what shares a scale, whether that is a layer and not an output)
SCHEMES = {
    "uniform": (FOUR, grid_by_hand, False),
    "xnor": (quantizers.xnor(), mean_by_hand, False),
    "ternary": (quantizers.ternary(), twn_by_hand, True),
}


def by_hand(module, params, scheme):
    _, function, per_layer = SCHEMES[scheme]

    def quantize(name, w):
        axes = axes_of(module, name)
        if axes is None:
            return w
        return each_by_hand(np.asarray(w), axes[0] + (() if per_layer else axes[1]), function).astype(np.float32)

    return map_named(quantize, params)


def spread(params, seed=0):
    """Parameters whose magnitudes differ from index to index along every axis: heads at 1 : 10 : .1."""
    rng = np.random.default_rng(seed)

    def draw(w):
        w = rng.normal(size=w.shape)
        for axis, length in enumerate(w.shape if w.ndim > 1 else ()):
            shape = [length if other == axis else 1 for other in range(w.ndim)]
            w = w * 10 ** rng.uniform(-0.5, 0.5, shape)
        return (w / max(1.0, np.abs(w).mean())).astype(np.float32)

    return jax.tree.map(draw, params)


@functools.cache
def case(pieces):
    module = Generated(pieces)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, T, D)), jnp.float32)
    model = models.from_linen(module)
    shapes = jax.eval_shape(model.init, KEY, x)
    return module, model, {"params": spread(shapes["params"])}, x


def rules_of(module, scheme, inputs=None):
    floats = [(piece, None, None) for piece in ("optimized_lstm", "bare") if any(piece in p for p in module.pieces)]
    return [*floats, ("", SCHEMES[scheme][0], inputs)]


def check(pieces, scheme):
    module, model, variables, x = case(pieces)
    expected = by_hand(module, variables["params"], scheme)
    quantized = models.quantized(model, rules_of(module, scheme), ())
    quantizers_of = models.weight_quantizers(quantized, variables, x)
    weights, wanted = (dict(named_leaves(tree)) for tree in (variables["params"], expected))

    @jax.jit
    def results(weights):
        return {name: (q.apply((), weights[name]), q.codes((), weights[name])) for name, q in quantizers_of.items()}

    for name, (w_hat, codes) in results({name: weights[name] for name in quantizers_of}).items():
        np.testing.assert_allclose(w_hat, wanted[name], rtol=1e-5, atol=1e-7, err_msg=name)
        np.testing.assert_array_equal(np.asarray(codes.values, np.float32) * np.asarray(codes.scale), w_hat)
    names = {name for name, _ in named_leaves(variables["params"]) if axes_of(module, name)}
    assert names == set(quantizers_of)
    program = jax.jit(lambda v: (quantized.apply(v, x)[0], model.apply({"params": expected}, x)[0]))
    actual, naive = program(variables)
    np.testing.assert_allclose(actual, naive, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("piece", sorted(PIECES))
def test_every_kind_of_layer_against_numpy_on_its_axes(piece):
    check((piece,), "uniform")


@pytest.mark.parametrize("piece", ["heads", "vmap_of_heads", "scan_axis_1", "transposed_kernel", "einsum", "local"])
@pytest.mark.parametrize("scheme", ["xnor", "ternary"])
def test_scales_of_filters_and_of_layers(piece, scheme):
    check((piece,), scheme)


@pytest.mark.parametrize("seed", range(6))
def test_random_modules_are_the_naive_ones(seed):
    module, _ = generated(seed)
    check(module.pieces, sorted(SCHEMES)[seed % len(SCHEMES)])


def test_no_head_becomes_zero_beside_a_large_one():
    layer, x = nn.MultiHeadDotProductAttention(3, qkv_features=12, out_features=4), jnp.ones((2, 5, 4))
    model = models.from_linen(layer)
    variables = jax.jit(model.init)(KEY, x)
    sizes = np.array([1.0, 10.0, 0.1], np.float32)
    heads = {
        name: np.asarray(variables["params"][name]["kernel"]) * sizes[None, :, None]
        for name in ("query", "key", "value")
    }
    params = {**variables["params"], **{n: {**variables["params"][n], "kernel": w} for n, w in heads.items()}}
    quantized = models.quantized(model, [("query|key|value", quantizers.uniform(4), None)], ())
    actual = models.weight_quantizers(quantized, {"params": params}, x)
    assert set(actual) == {"query/kernel", "key/kernel", "value/kernel"}
    for name, quantizer in actual.items():
        w = heads[name.split("/")[0]]
        codes = quantizer.codes((), w)
        assert codes.scale.shape == (1, 3, 4)
        assert (np.abs(codes.values).max(0) == 7).all()  # each output uses its own grid to the end
        assert (np.abs(np.asarray(quantizer.apply((), w)) - w) <= np.abs(w).max(0, keepdims=True) / 14 * 1.001).all()


class Unrolled(nn.Module):
    """`Generated(("scan",))` with inputs quantized too, layer after layer."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(D, name="enter")(x)
        for i in range(D):
            x = x + nn.Dense(D, name=f"second{i}")(nn.tanh(nn.Dense(D, name=f"first{i}")(x)))
        return nn.Dense(D, name="leave")(nn.tanh(x).mean(1))


@pytest.mark.parametrize("axis, piece", [(0, "scan"), (1, "scan_axis_1"), (2, "scan_last_axis"), (0, "scan_of_remat")])
@pytest.mark.parametrize("inputs", [quantizers.uniform(3, max_abs=1.7), quantizers.xnor_input(scaling=True)])
def test_a_scan_over_four_layers_is_four_layers(axis, piece, inputs):
    _, scanned, variables, x = case((piece,))
    params = variables["params"]
    layers = {name: params[name] for name in ("enter", "leave")}
    for i in range(D):
        for name, stacked in (("first", "Dense_1"), ("second", "Dense_0")):  # Flax names the outer one first
            leaves = params[f"piece0_{piece}"][stacked]
            at = {"kernel": axis, "bias": min(axis, 1)}
            layers[f"{name}{i}"] = {leaf: np.take(w, i, at[leaf]) for leaf, w in leaves.items()}
    rules = [("", quantizers.xnor(), inputs)]
    together = models.quantized(scanned, rules, ())
    apart = models.quantized(models.from_linen(Unrolled()), rules, ())
    actual = jax.jit(lambda v: together.apply(v, x)[0])({"params": params})
    np.testing.assert_allclose(actual, apart.apply({"params": layers}, x)[0], rtol=1e-3, atol=1e-4)


def learned_scale():
    """w_hat = s sign(w), s learned, one a weight that it is shown; it starts at the mean magnitude."""

    def init(w):
        return {"s": jnp.abs(w).mean()}

    def apply(state, w, key=None):
        return straight_through(jnp.where(w >= 0, 1.0, -1.0).astype(w.dtype), w) * state["s"]

    def rate(w):
        return float(w.shape[-2] + 10 * w.shape[-1])

    return Quantizer("learned", 1, init, apply, project=lambda w: w / jnp.abs(w).max(), rate=rate)


def test_learned_states_rates_and_projections_are_one_a_layer():
    _, model, variables, x = case(("scan_axis_1",))
    quantized = models.quantized(model, [("piece", learned_scale(), None)], ())
    result = quantized.init(KEY, x)
    name, w = "piece0_scan_axis_1/Dense_0/kernel", None
    w = np.asarray(result["params"]["piece0_scan_axis_1"]["Dense_0"]["kernel"])
    state = result["params"][STATES]["weight:" + name]["s"]
    np.testing.assert_allclose(state, np.abs(w).mean((0, 2)), rtol=1e-5)
    quantizer = models.weight_quantizers(quantized, result, x)[name]
    expected = np.asarray(state)[None, :, None] * np.where(w >= 0, 1, -1)
    np.testing.assert_allclose(quantizer.apply({"s": state}, w), expected, rtol=1e-6)

    projected = quantized.after_update[0](result, x)["params"]["piece0_scan_axis_1"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(projected, w / np.abs(w).max((0, 2), keepdims=True), rtol=1e-6)
    rates = quantized.rates[0](result, x)["piece0_scan_axis_1"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(np.broadcast_to(rates, w.shape), D + 10 * D)


def test_glorots_rate_counts_one_layers_inputs_and_outputs():
    rule = [("", quantizers.binary_connect(), None)]
    for layer, x, inputs, outputs in (
        (nn.ConvTranspose(5, (3, 2), transpose_kernel=True), jnp.ones((1, 4, 4, 7)), 6 * 7, 6 * 5),
        (nn.DenseGeneral((2, 3), axis=(-2, -1)), jnp.ones((1, 4, 5)), 4 * 5, 2 * 3),
        (nn.Einsum((5, 6), "bi,oi->bo", use_bias=False), jnp.ones((2, 6)), 6, 5),
    ):
        model = models.quantized(models.from_linen(layer), rule, ())
        rate = model.rates[0](model.init(KEY, x), x)["kernel"]
        assert rate == pytest.approx(np.sqrt((inputs + outputs) / 1.5)), type(layer)


def test_stochastic_draws_differ_from_layer_to_layer():
    _, model, variables, x = case(("scan",))
    quantized = models.quantized(model, [("piece", quantizers.binary_connect(stochastic=True), None)], ())
    quantizer = models.weight_quantizers(quantized, variables, x)["piece0_scan/Dense_0/kernel"]
    drawn = np.asarray(quantizer.apply((), jnp.zeros((D, D, D)), key=KEY)).reshape(D, -1)
    assert set(np.unique(drawn)) == {-1, 1} and len(np.unique(drawn, axis=0)) == D


@pytest.mark.parametrize("piece", ["vmap_of_heads", "scan_axis_1", "transposed_kernel", "attention"])
def test_a_packed_model_is_the_model(piece):
    module, model, variables, x = case((piece,))
    quantized = models.quantized(model, [("", quantizers.xnor(), None)], ())
    unpacked = integer.unpack(integer.pack(quantized, variables, x))
    expected = by_hand(module, variables["params"], "xnor")
    for (name, actual), (_, wanted) in zip(named_leaves(unpacked["params"]), named_leaves(expected), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-7, err_msg=name)


class Own(nn.Module):
    """A layer of one's own, its kernel of a shape and use of its own."""

    shape: tuple[int, ...]
    use: str

    @nn.compact
    def __call__(self, x):
        w = self.param("kernel", nn.initializers.normal(), self.shape)
        if self.use == "turned":
            return x @ w.T
        if self.use == "plain":
            return jnp.dot(x, w)
        if self.use == "convolution":
            return jax.lax.conv_general_dilated(x[..., None], w, (1,), "SAME", dimension_numbers=("NWC", "OWI", "NWC"))
        return jnp.einsum(self.use, x, w)


@pytest.mark.parametrize(
    "shape, use, outputs, lift",
    [((4, 5), "turned", (0,), False), ((5, 4), "plain", (1,), False), ((4, 3, 1), "convolution", (0,), False),
     ((3, 5, 4), "bi,oij->boj", (0, 2), True), ((4, 5, 3), "bi,oij->bo", (0,), True), ((4, 5), "turned", (0,), True)],
)  # fmt: skip
def test_a_layer_of_one_s_own_is_read_from_its_product(shape, use, outputs, lift):
    layer = Own
    if lift:
        layer = nn.vmap(Own, variable_axes={"params": 1}, split_rngs={"params": True}, in_axes=0, out_axes=0)
        outputs = (1, *(axis + (axis >= 1) for axis in outputs))
    model = models.from_linen(layer(shape, use))
    x = jnp.ones((2, 2, 5) if lift else (2, 5))
    w = spread(model.init(KEY, x)["params"]["kernel"])
    quantized = models.quantized(model, [("", FOUR, None)], ())
    actual = models.weight_quantizers(quantized, {"params": {"kernel": w}}, x)["kernel"].apply((), jnp.asarray(w))
    np.testing.assert_allclose(actual, each_by_hand(w, outputs, grid_by_hand), rtol=1e-5)


class Said(Own):
    output_axes = (1,)


def test_a_layer_of_one_s_own_may_say_its_outputs():
    x, model = jnp.ones((2, 5)), models.from_linen(Said((4, 5), "turned"))
    w = spread(jnp.zeros((4, 5)))
    quantized = models.quantized(model, [("", FOUR, None)], ())
    actual = models.weight_quantizers(quantized, {"params": {"kernel": w}}, x)["kernel"].apply((), jnp.asarray(w))
    np.testing.assert_allclose(actual, each_by_hand(w, (1,), grid_by_hand), rtol=1e-5)

    class Wrong(Own):
        output_axes = (2,)

    with pytest.raises(ValueError, match=r"Wrong.output_axes=\(2,\): the weight has 2 axes"):
        models.trace(models.from_linen(Wrong((4, 5), "turned")), {"params": {"kernel": w}}, x)
