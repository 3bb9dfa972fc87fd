"""What every listed quantizer promises; a new one is tested by being listed. Some of other levels promise it, too."""

from __future__ import annotations

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import costs, integer, models
from gecko_jax.quantizers import QUANTIZERS, straight_through
from gecko_jax.types import Codes, Quantizer


def nearest(name, levels):
    """A scheme of one's own: the nearest of some levels, whatever their distances, times a scale for each filter."""
    levels, bits = np.asarray(levels, np.float32), math.ceil(math.log2(len(levels)))

    def split(w):
        w = w.astype(jnp.promote_types(w.dtype, jnp.float32))
        top = jnp.max(jnp.abs(w), axis=tuple(range(w.ndim - 1)), keepdims=True)
        scale = jnp.where(top > 1e-30, top, 1) * np.float32(1 / np.abs(levels).max())
        distances = jnp.abs((w / scale)[..., None] - levels.reshape((1,) * w.ndim + (-1,)))
        values = jnp.asarray(levels)[jnp.argmin(distances, -1)]
        return values, scale

    def apply(state, w, key=None):
        values, scale = split(w)
        return straight_through((values * scale).astype(w.dtype), w)

    def codes(state, w):
        values, scale = split(w)
        return Codes(values.astype(jnp.int8) if (levels == levels.round()).all() else values, scale, bits)

    return lambda: Quantizer(name, bits, lambda w: (), apply, codes, inputs=False)


OF_ONES_OWN = {
    "powers_of_two": nearest("powers_of_two", [-4, -2, -1, 0, 1, 2, 4]),
    "two_magnitudes": nearest("two_magnitudes", [-2, -1, 1, 2]),
    "quantiles": nearest("quantiles", [-1, -0.4375, 0.0, 0.3125, 1]),
}
SCHEMES = {**QUANTIZERS, **OF_ONES_OWN}
EVERY = pytest.mark.parametrize("name", sorted(SCHEMES))
WEIGHTS = pytest.mark.parametrize("name", sorted(name for name in SCHEMES if SCHEMES[name]().weights))
CHANGED_AGAIN = {"dorefa4"}  # by its tangent, a quantized weight is another number
TYPES = [jnp.float32, jnp.bfloat16, jnp.float16]
SHAPES = [(7, 3), (1, 1), (3, 2, 2, 4)]  # (1, 1): nothing to reduce over, where XLA rearranges most


@functools.cache
def result(name):
    """The quantizer, a state, and its functions as compiled programs."""
    quantizer = SCHEMES[name]()
    state = state_for(quantizer, draw((7, 3)))
    value = jax.jit(lambda w: quantizer.apply(state, w))
    gradient = jax.jit(jax.grad(lambda w, g: (quantizer.apply(state, w) * g).sum()))
    return quantizer, state, value, gradient


def state_for(quantizer, w):
    """The state at init; of a scheme that measures, after a batch."""
    state = jax.jit(quantizer.init)(w)
    return quantizer.observe(state, w) if quantizer.observe else state


def draw(shape, dtype=jnp.float32, seed=1):
    values = np.random.default_rng(seed).normal(scale=0.6, size=shape)
    return jnp.asarray(values.astype(np.float32), dtype)


def each(function, *arrays):
    """The function of one row after the other."""
    return np.stack([np.asarray(function(*rows)) for rows in zip(*map(np.asarray, arrays), strict=True)])


def stored(codes):
    """What a device computes with, in NumPy."""
    return (np.asarray(codes.values).astype(np.float32) - np.float32(codes.zero_point)) * np.float32(codes.scale)


@EVERY
def test_it_carries_its_own_name_and_bits(name):
    quantizer = result(name)[0]
    assert isinstance(quantizer, Quantizer)
    assert quantizer.name == name.removesuffix("_inputs")
    assert 1 <= quantizer.bits <= 32


@EVERY
def test_shapes_and_dtypes_stay(name):
    quantizer, state, _, _ = result(name)
    for shape, dtype in itertools.product([(5,), *SHAPES], [jnp.float32, jnp.bfloat16]):
        out = jax.eval_shape(lambda w: quantizer.apply(state, w), jax.ShapeDtypeStruct(shape, dtype))
        assert (out.shape, out.dtype) == (shape, dtype)


@EVERY
@pytest.mark.parametrize("shape", SHAPES)
def test_codes_times_scale_is_what_is_computed_with_to_the_last_bit(name, shape):
    quantizer, state, value, _ = result(name)
    if quantizer.codes is None:
        assert quantizer.bits == 32  # only floats have no codes
        return
    w = draw(shape)
    codes = quantizer.codes(state, w)
    assert codes.values.shape == shape and codes.values.dtype in (jnp.int8, jnp.int16, jnp.float32)
    assert np.shape(codes.zero_point) == () and (quantizer.inputs or int(codes.zero_point) == 0)
    assert np.broadcast_shapes(codes.scale.shape, shape) == shape
    assert (stored(codes) == np.asarray(quantizer.apply(state, w))).all()
    assert (stored(codes) == np.asarray(value(w))).all()  # compiled, too


@EVERY
def test_codes_fit_in_their_bits(name):
    quantizer, state, value, _ = result(name)
    if quantizer.codes is None:
        return
    w = jnp.linspace(-0.9, 0.9, 2001)[:, None]  # one filter, each of its codes taken
    w = w * top_of(quantizer.codes(state, jnp.array([[1e9], [-1e9]])))
    values = np.unique(quantizer.codes(state, w).values)
    assert quantizer.codes(state, w).bits == quantizer.bits
    assert len(values) <= 2**quantizer.bits
    assert len(np.unique(value(w))) == len(values)  # one filter, one scale
    assert math.ceil(math.log2(len(values))) == quantizer.bits  # and fewer bits would not do


def top_of(codes):
    """The largest magnitude of a learned or measured grid, and 1 of those that follow the weight's own magnitude."""
    top = float(np.abs(stored(codes)).max())
    return 2 * top if top < 1e6 else 1.0


class Net(nn.Module):
    """One layer of weights in the model's type."""

    dtype: type

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, param_dtype=self.dtype, dtype=self.dtype, name="dense")(x)


@WEIGHTS
@pytest.mark.parametrize("dtype", TYPES)
def test_what_is_trained_can_be_packed_read_and_priced(name, dtype, tmp_path):
    """Producer and consumer agree: pack -> write -> read -> unpack -> cost, whatever the levels and the type."""
    quantizer, x = result(name)[0], jnp.zeros((1, 7), dtype)
    model = models.quantized(models.from_linen(Net(dtype)), [("", quantizer, None)], float_layers=())
    weights = draw((7, 3), dtype).at[:, 1].set(0)  # a filter of zeros
    state = state_for(quantizer, weights)
    learned = {"quantizers": {"weight:dense/kernel": state}} if jax.tree.leaves(state) else {}
    variables = {"params": {"dense": {"kernel": weights, "bias": jnp.zeros(3, dtype)}, **learned}}
    stored = integer.write(tmp_path / "model", integer.pack(model, variables, x))
    assert stored.total == (tmp_path / "model").stat().st_size
    back = integer.read(tmp_path / "model")["params"]["dense"]
    w_hat = np.asarray(quantizer.apply(state, weights))
    assert np.isfinite(w_hat.astype(np.float32)).all()
    assert back["kernel"].dtype == back["bias"].dtype == dtype
    np.testing.assert_array_equal(back["kernel"], w_hat)
    cost, width = costs.cost(model, variables, x), jnp.finfo(dtype).bits
    bits = quantizer.bits if quantizer.codes else width
    assert cost.stored.code_bits == (21 * bits if quantizer.codes else 0)
    assert sum(cost.parameters[b].value for b in {bits, width}) == 24
    assert {precision: e.value for precision, e in cost.macs.items()} == {(bits, width): 21}
    assert cost.peak_activation_bytes.value == (7 + 3) * width // 8
    assert cost.stored.raw_bytes == (3 if quantizer.codes else 24) * width // 8


@EVERY
def test_the_gradient_is_finite_and_straight_through(name):
    *_, gradient = result(name)
    actual = np.asarray(gradient(draw((7, 3)), jnp.ones((7, 3))))
    assert np.isfinite(actual).all() and (actual != 0).mean() > 0.5


@EVERY
def test_gradients_are_linear_in_what_comes_back(name):
    *_, gradient = result(name)
    w, g, h = draw((7, 3)), draw((7, 3), seed=3), draw((7, 3), seed=4)
    both = 2 * np.asarray(gradient(w, g)) - np.asarray(gradient(w, h))
    np.testing.assert_allclose(gradient(w, 2 * g - h), both, rtol=1e-5, atol=1e-6)


@EVERY
def test_many_models_at_once(name):
    """vmap and vmap of grad, as an ensemble trains: each model gets what it would get alone."""
    quantizer, state, value, gradient = result(name)
    many, g = draw((3, 7, 3), seed=5), draw((3, 7, 3), seed=6)
    apply = jax.vmap(lambda w: quantizer.apply(state, w))
    slope = jax.vmap(jax.grad(lambda w, g: (quantizer.apply(state, w) * g).sum()))
    np.testing.assert_allclose(jax.jit(apply)(many), each(value, many), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(slope)(many, g), each(gradient, many, g), rtol=1e-6)


@EVERY
def test_keys_draw_one_sign_a_model(name):
    """vmap of grad over keys alone: the weights are shared, the draws are not."""
    quantizer, state, _, _ = result(name)
    w, keys = draw((7, 3)), jax.random.split(jax.random.key(0), 4)

    def loss(w, key):
        w_hat = quantizer.apply(state, w, key)
        return w_hat.sum(), w_hat

    slopes, drawn = map(np.asarray, jax.jit(jax.vmap(jax.grad(loss, has_aux=True), (None, 0)))(w, keys))
    assert slopes.shape == (4, 7, 3) and np.isfinite(slopes).all() and (slopes == slopes[:1]).all()
    assert len(np.unique(drawn, axis=0)) == (4 if "stochastic" in name else 1)


@EVERY
def test_a_filter_of_zeros_gives_no_nan(name):
    quantizer, state, value, gradient = result(name)
    for w in (jnp.zeros((7, 3)), jnp.full((7, 3), 1e-38), jnp.full((7, 3), 1e-44)):
        assert np.isfinite(value(w)).all() and np.isfinite(gradient(w, jnp.ones_like(w))).all()
        if quantizer.codes:
            assert (stored(quantizer.codes(state, w)) == np.asarray(value(w))).all()
    for dtype, tiny in itertools.product(TYPES[1:], (0, 1e-7, 1e-5)):
        w = jnp.full((7, 3), tiny, dtype)
        assert np.isfinite(np.asarray(value(w), np.float32)).all()
        assert np.isfinite(np.asarray(gradient(w, jnp.ones_like(w)), np.float32)).all()


@EVERY
@pytest.mark.parametrize("dtype", TYPES[1:])
def test_half_precision_is_float32_rounded_once(name, dtype):
    """Also where sums and counts leave float16: 70,000 weights whose magnitudes add up to more than 65,504."""
    quantizer, state, value, _ = result(name)
    for w in (draw((7, 3), dtype), jnp.full((70_000, 1), 1.5, dtype).at[::2].multiply(-2)):
        wide = np.asarray(quantizer.apply(state, w.astype(jnp.float32)))
        np.testing.assert_array_equal(quantizer.apply(state, w), wide.astype(dtype))
        np.testing.assert_array_equal(value(w), wide.astype(dtype))


@EVERY
def test_the_sign_of_zero_is_plus(name):
    quantizer, state, _, _ = result(name)
    if quantizer.bits > 1 or name == "dorefa1_input":  # which is 0 or 1
        return
    zeros = quantizer.apply(state, jnp.array([[0.0, -0.0, 1.0], [2.0, 2.0, 1.0]]))
    assert (np.asarray(zeros) > 0).all()
    assert (np.asarray(quantizer.codes(state, jnp.array([[0.0, -0.0]])).values) == 1).all()


@EVERY
def test_inputs_couple_no_two_examples(name):
    """Rows apart, or the batch: what serves a layer's inputs does the same to both; what does not, does not."""
    quantizer, state, value, gradient = result(name)
    rows = draw((4, 6), seed=8) * jnp.array([[0.5], [1.0], [2.0], [4.0]])
    g = draw((4, 6), seed=9)
    apart, slopes = each(lambda w: value(w[None])[0], rows), each(lambda w, g: gradient(w[None], g[None])[0], rows, g)
    if quantizer.inputs:
        assert (np.asarray(value(rows)) == apart).all() and (np.asarray(gradient(rows, g)) == slopes).all()
    elif "binary_connect" not in name and "lsq" not in name:  # they couple nothing, but draw or start for weights
        assert (np.asarray(value(rows)) != apart).any()


@EVERY
def test_quantizing_twice_changes_nothing(name):
    _, _, value, _ = result(name)
    once = value(draw((7, 3)))
    if name in CHANGED_AGAIN:
        assert (np.abs(value(once) - once) > 1e-3).any()
    else:
        np.testing.assert_allclose(value(once), once, rtol=1e-6, atol=1e-7)


@EVERY
def test_projection_and_rate(name):
    quantizer = result(name)[0]
    w = jnp.array([[-3.0, -1.0, 0.2, 1.0, 1.5]])
    if quantizer.project:
        projected = quantizer.project(w)
        assert (projected.shape, projected.dtype) == (w.shape, w.dtype)
        np.testing.assert_array_equal(quantizer.project(projected), projected)
    if quantizer.rate:
        assert quantizer.rate(w) > 0
    if name in QUANTIZERS:
        projects = quantizer.bits == 1 and "input" not in name and "dorefa" not in name
        assert (quantizer.project is not None) == projects
        assert (quantizer.rate is not None) == name.startswith("binary_connect")
    if name in QUANTIZERS and quantizer.project:
        assert projected.tolist() == [[-1.0, -1.0, pytest.approx(0.2), 1.0, 1.0]]
