"""Each scheme against its paper's formula in NumPy: value and gradient, one filter at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import quantizers
from gecko_jax.quantizers.base import clip_gradient, sign, straight_through

RNG = np.random.default_rng(0)
W = (RNG.normal(size=(3, 2, 4, 5)) * 0.8).astype(np.float32)  # some beyond 1
G = RNG.normal(size=W.shape).astype(np.float32)


def value_and_gradient(quantizer, w=W, g=G):
    value, back = jax.vjp(lambda w: quantizer.apply((), w), jnp.asarray(w))
    return np.asarray(value), np.asarray(back(jnp.asarray(g))[0])


def signs(w):
    return np.where(w >= 0, 1.0, -1.0)


def filters(w):
    """[(n values of one output filter)], Flax's filters being the last axis."""
    return [w[..., f].ravel().astype(np.float64) for f in range(w.shape[-1])]


def unfilter(rows, like):
    return np.stack([row.reshape(like.shape[:-1]) for row in rows], axis=-1)


@pytest.mark.parametrize("make", [quantizers.binary, quantizers.xnor_input])
def test_bnn_sign_and_its_straight_through_mask(make):
    w = np.concatenate([W.ravel(), [0, -0.0, 1, -1, 1 + 1e-6, -1 - 1e-6]]).astype(np.float32)
    g = RNG.normal(size=w.shape).astype(np.float32)
    value, gradient = value_and_gradient(make(), w, g)
    assert (value == signs(w)).all()
    assert (gradient == g * (np.abs(w) <= 1)).all()  # 1 itself lets the gradient pass
    assert 0 < (gradient == 0).mean() < 0.5


@pytest.mark.parametrize("stochastic", [False, True])
def test_binary_connect_is_deployed_by_its_sign_and_passes_the_gradient(stochastic):
    value, gradient = value_and_gradient(quantizers.binary_connect(stochastic))
    assert (value == signs(W)).all() and (gradient == G).all()


def test_binary_connect_draws_plus_one_as_often_as_the_paper_says():
    w = jnp.array([-2.0, -1.0, -0.6, 0.0, 0.3, 1.0, 1.7])
    quantizer, draws = quantizers.binary_connect(stochastic=True), 4000
    drawn = jax.vmap(lambda key: quantizer.apply((), w, key))(jax.random.split(jax.random.key(0), draws))
    assert set(np.unique(drawn)) == {-1.0, 1.0}
    chance = np.clip((np.asarray(w) + 1) / 2, 0, 1)
    error = 5 * np.sqrt(chance * (1 - chance) / draws)  # 0 at the ends: never the other sign
    assert (np.abs((np.asarray(drawn) > 0).mean(0) - chance) <= error + 1e-9).all()


def test_binary_connect_gradient_of_a_draw_is_the_identity_too():
    quantizer = quantizers.binary_connect(stochastic=True)
    _, back = jax.vjp(lambda w: quantizer.apply((), w, jax.random.key(3)), jnp.asarray(W))
    assert (np.asarray(back(jnp.asarray(G))[0]) == G).all()


def test_binary_connect_without_stochastic_ignores_the_key():
    value = quantizers.binary_connect().apply((), jnp.asarray(W), jax.random.key(0))
    assert (np.asarray(value) == signs(W)).all()


@pytest.mark.parametrize("shape, inputs, units", [((784, 512), 784, 512), ((3, 3, 32, 64), 9 * 32, 9 * 64)])
def test_rate_is_one_over_the_authors_coefficient(shape, inputs, units):
    """1 / sqrt(1.5 / (num_inputs + num_units)), num_units being filter size x filters for a convolution."""
    rate = quantizers.binary_connect().rate(jnp.zeros(shape))
    assert rate == pytest.approx(1 / np.sqrt(1.5 / (inputs + units)))


def xnor_by_hand(exact):
    values, gradients = [], []
    for w, g in zip(filters(W), filters(G), strict=True):
        n, alpha = len(w), np.abs(w).sum() / len(w)
        values.append(alpha * signs(w))
        gradient = g * alpha * (np.abs(w) <= 1)
        if exact:
            gradient = gradient + signs(w) / n * sum(g[j] * signs(w)[j] for j in range(n))
        gradients.append(gradient)
    return unfilter(values, W), unfilter(gradients, W)


@pytest.mark.parametrize("gradient", ["exact", "stopped"])
def test_xnor(gradient):
    value, back = value_and_gradient(quantizers.xnor(gradient))
    expected_value, expected_back = xnor_by_hand(gradient == "exact")
    np.testing.assert_allclose(value, expected_value, rtol=1e-6)
    np.testing.assert_allclose(back, expected_back, rtol=1e-5, atol=1e-6)


def test_xnor_exact_is_the_slope_of_alpha():
    """Where the sign's own slope is masked (|w| > 1), what is left is the derivative of alpha: by differences."""
    w, g = W * 10, G
    w = np.where(np.abs(w) <= 1.1, np.float32(2), w)
    _, back = value_and_gradient(quantizers.xnor(), w, g)
    step = np.zeros_like(w, dtype=np.float64)
    step[0, 1, 2, 3] = 1e-3

    def loss(w):
        return sum((np.abs(f).mean() * signs(f) * h).sum() for f, h in zip(filters(w), filters(g), strict=True))

    slope = (loss(w + step) - loss(w - step)) / 2e-3
    assert back[0, 1, 2, 3] == pytest.approx(slope, rel=1e-3)


def test_xnor_gradient_moves_a_filter_of_zeros():
    """sign(0) = +1 in the gradient through alpha as well; with 0 there, a filter of zeros stays one for ever."""
    _, back = value_and_gradient(quantizers.xnor(), np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32))
    np.testing.assert_allclose(back, np.ones((4, 2)))


def test_xnor_gives_two_values_a_filter():
    value, _ = value_and_gradient(quantizers.xnor())
    assert [len(np.unique(value[..., f])) for f in range(value.shape[-1])] == [2] * value.shape[-1]


@pytest.mark.parametrize("threshold", [0.0, 0.7, 0.95])
def test_ternary(threshold):
    value, gradient = value_and_gradient(quantizers.ternary(threshold))
    magnitude = np.abs(W.astype(np.float64))
    delta = threshold * magnitude.mean()
    alpha = magnitude[magnitude > delta].mean()
    expected = np.where(delta < W, alpha, np.where(-delta > W, -alpha, 0))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert (gradient == G).all()


def test_ternary_scale_is_the_best_for_its_codes():
    """The paper's eq. 5: for given codes, the mean of the kept magnitudes is the least-squares scale."""
    codes = np.asarray(quantizers.ternary().codes((), jnp.asarray(W)).values, np.float64).ravel()
    best = np.linalg.lstsq(codes[:, None], W.astype(np.float64).ravel(), rcond=None)[0]
    value, _ = value_and_gradient(quantizers.ternary())
    assert value.max() == pytest.approx(best[0], rel=1e-5)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_uniform_weights(bits):
    value, gradient = value_and_gradient(quantizers.uniform(bits))
    q = 2 ** (bits - 1) - 1
    rows = []
    for w in filters(W):
        s = np.abs(w).max() / q
        rows.append(np.array([s * round(float(x / s)) for x in w]))  # Python rounds half to even
    np.testing.assert_allclose(value, unfilter(rows, W), rtol=1e-5, atol=1e-6)
    assert (gradient == G).all()
    assert (np.abs(value - W) <= np.abs(W).max((0, 1, 2)) / q / 2 * 1.0001).all()


@pytest.mark.parametrize("bits, top", [(2, 1.0), (4, 0.5), (8, 1.0)])
def test_uniform_inputs_and_their_gradient_up_to_the_very_ends(bits, top):
    x = np.concatenate([W.ravel(), [0, top, -top, top * 1.001, -top * 1.001]]).astype(np.float32)
    g = RNG.normal(size=x.shape).astype(np.float32)
    value, gradient = value_and_gradient(quantizers.uniform(bits, max_abs=top), x, g)
    q = 2 ** (bits - 1) - 1
    expected = np.array([top / q * round(float(np.clip(v * q / top, -q, q))) for v in x.astype(np.float64)])
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    assert (gradient == g * (np.abs(x) <= top)).all()


def test_full_changes_nothing():
    value, gradient = value_and_gradient(quantizers.identity())
    assert (value == W).all() and (gradient == G).all()


def test_straight_through_is_exact_where_the_usual_sum_rounds():
    w = jnp.asarray(W)
    value = 0.3 * sign(w)
    usual = w + jax.lax.stop_gradient(value - w)
    assert len(np.unique(usual)) > 2  # why it is not written that way
    assert len(np.unique(straight_through(value, w))) == 2
    assert jax.grad(lambda w: straight_through(jnp.zeros_like(w), w**2).sum())(jnp.array([3.0])).tolist() == [6.0]


def test_clip_gradient_keeps_the_value():
    x = jnp.array([-3.0, -0.5, 0.5, 3.0])
    assert clip_gradient(x, 0.5).tolist() == x.tolist()
    assert jax.grad(lambda x: clip_gradient(x, 0.5).sum())(x).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: quantizers.uniform(1), "bits=1 .*binary"),
        (lambda: quantizers.uniform(9), "bits=9"),
        (lambda: quantizers.uniform(4.0), "bits=4.0"),
        (lambda: quantizers.uniform(4, max_abs=0), "max_abs=0"),
        (lambda: quantizers.ternary(1.0), r"threshold=1.0 must lie in \[0, 1\)"),
        (lambda: quantizers.ternary(float("nan")), "threshold=nan"),
        (lambda: quantizers.xnor("exat"), "Did you mean 'exact'"),
    ],
)
def test_bad_settings_are_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()
