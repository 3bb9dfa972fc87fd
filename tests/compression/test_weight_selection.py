"""What compression computes on arrays, against sorts, loops and closed forms in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import compression

RANDOM = np.random.default_rng(0)


@jax.jit
def _marked(scores, count):
    return compression.strongest(scores, count)


def test_strongest_marks_what_a_stable_sort_marks():
    """Any number of them, with ties, negative scores and infinities, at one compilation."""
    for trial in range(20):
        scores = RANDOM.integers(-3, 4, 40).astype(np.float32) * RANDOM.choice([1.0, 1e-20, 1e20])
        scores[RANDOM.random(40) < 0.2] = RANDOM.choice([-np.inf, np.inf, -0.5])
        count = int(RANDOM.integers(0, 41))
        expected = np.zeros(40, bool)
        expected[np.argsort(-scores, kind="stable")[:count]] = True
        np.testing.assert_array_equal(_marked(scores, count), expected, err_msg=str(trial))


def test_zeros_of_both_signs_are_equal():
    for scores in ([-0.0, 0.0, -1.0], [0.0, -0.0, -1.0]):
        assert _marked(jnp.array(scores), 1).tolist() == [True, False, False]


def test_the_cubic_schedule_is_zhu_and_guptas():
    """Equation 1 with t0 = 20, n dt = 60 of 100 steps."""
    schedule = compression.cubic(0.2, 0.8, 0.1, 0.9)
    for step in range(100):
        t = min(max(step, 20), 80)
        assert schedule(step / 100) == pytest.approx(0.9 + (0.1 - 0.9) * (1 - (t - 20) / 60) ** 3)
    for settings, message in [((0.5, 0.5), "0 <= start < end"), ((0, 1, 0, 1.0), "last=1.0"), ((0, 1, -0.1), "first")]:
        with pytest.raises(ValueError, match=message):
            compression.cubic(*settings)


def test_the_share_that_moves_ends_at_zero():
    schedule = compression.cosine_drop(0.4, 0.5)
    shares = [schedule(share / 20) for share in range(20)]
    assert shares[:10] == pytest.approx([0.2 * (1 + np.cos(np.pi * i / 10)) for i in range(10)])
    assert shares[10:] == [0.0] * 10
    for settings in ((1.5, 0.5), (0.3, 0.0), (0.3, 1.1)):
        with pytest.raises(ValueError, match="drop=|end="):
            compression.cosine_drop(*settings)


SHAPES = {"conv1": (3, 3, 1, 8), "conv2": (3, 3, 8, 16), "dense": (64, 32), "logits": (32, 10)}


@pytest.mark.parametrize("density", [0.01, 0.05, 0.3, 0.8, 1.0])
def test_erdos_renyi_shares_the_weights_out(density):
    shares = compression.erdos_renyi(SHAPES, density)
    sizes = {name: np.prod(shape) for name, shape in SHAPES.items()}
    assert sum(shares[name] * sizes[name] for name in SHAPES) == pytest.approx(density * sum(sizes.values()))
    scales = {name: shares[name] * sizes[name] / sum(SHAPES[name]) for name in SHAPES if shares[name] < 1}
    assert all(scale == pytest.approx(next(iter(scales.values()))) for scale in scales.values())
    full = [sum(SHAPES[name]) / sizes[name] for name in SHAPES if shares[name] == 1]
    assert not (full and scales) or min(full) >= max(sum(SHAPES[name]) / sizes[name] for name in scales)


def test_kmeans_finds_what_lloyd_finds():
    """A loop in float64 from the same even start; the clusters' means are then a fixed point of both."""
    weights = np.concatenate([RANDOM.normal(m, 0.05, 200) for m in (-0.5, 0.0, 0.4)]).astype(np.float32)
    centroids, codes = (np.asarray(part) for part in jax.jit(compression.cluster, static_argnums=1)(weights, 3))
    expected = np.linspace(weights.min(), weights.max(), 8)
    for _ in range(50):
        nearest = np.abs(weights[:, None].astype(float) - expected[None]).argmin(1)
        expected = np.array([weights[nearest == k].mean() if (nearest == k).any() else expected[k] for k in range(8)])
    np.testing.assert_allclose(centroids, expected, atol=1e-5)
    assert (np.diff(centroids) >= 0).all() and codes.dtype == np.int16
    np.testing.assert_array_equal(np.abs(weights[:, None] - centroids[None]).argmin(1), codes)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_kmeans_counts_many_weights_of_a_half_type(dtype):
    """A type of 8 or 11 binary digits counts to 256 or 2,048 alone; the centroids are those of the float32 weights."""
    weights = jnp.asarray(np.random.default_rng(3).normal(0, 0.1, 20_000), dtype)
    centroids, codes = compression.cluster(weights, 2)
    expected, _ = compression.cluster(weights.astype(jnp.float32), 2)
    assert centroids.dtype == dtype
    np.testing.assert_array_equal(centroids, expected.astype(dtype))
    away = np.abs(np.asarray(weights, np.float64)[:, None] - np.asarray(centroids, np.float64)[None])
    np.testing.assert_allclose(away[np.arange(20_000), codes], away.min(1), atol=1e-6)


def test_a_codebook_has_1_to_8_bits():
    for bits in (0, 9, 2.0):
        with pytest.raises(ValueError, match=f"bits={bits}"):
            compression.cluster(jnp.ones(4), bits)


def test_integers_and_a_mask_of_another_shape_are_not_clustered():
    with pytest.raises(ValueError, match="weights have type int32"):
        compression.cluster(jnp.arange(4), 1)
    with pytest.raises(ValueError, match=r"present has shape \(1,\); expected \(4\)"):
        compression.cluster(jnp.ones(4), 1, jnp.ones(1, bool))


def test_removed_weights_take_no_part_and_stay_zero():
    weights = RANDOM.normal(size=(6, 5)).astype(np.float32)
    present = RANDOM.random((6, 5)) < 0.5
    centroids, codes = compression.cluster(jnp.asarray(weights), 2, jnp.asarray(present), steps=9)
    alone, codes_alone = compression.cluster(jnp.asarray(weights[present]), 2, steps=9)
    np.testing.assert_allclose(centroids, alone, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(codes)[present], codes_alone)
    assert (np.asarray(codes)[~present] == compression.REMOVED).all()
    assert (np.asarray(compression.look_up(centroids, codes)) != 0).tolist() == present.tolist()


def test_a_centroid_gets_the_sum_of_its_weights_gradients():
    codes, slopes = RANDOM.integers(-1, 4, (7, 3)), RANDOM.normal(size=(7, 3))
    gradient = jax.grad(lambda table: jnp.sum(compression.look_up(table, codes) * slopes))(jnp.ones(4))
    np.testing.assert_allclose(gradient, [slopes[codes == k].sum() for k in range(4)], rtol=1e-5)


@pytest.mark.parametrize("density", [0.0, 0.003, 0.05, 0.5, 1.0])
def test_gaps_lead_back_to_the_places(density):
    present = RANDOM.random((37, 50)) < density
    totals = {}
    for bits in range(2, compression.MAX_GAP_BITS + 1):
        levels = compression.gap_levels(present, bits)
        np.testing.assert_array_equal(compression.mask_from_gaps(levels, bits, present.size), present.ravel())
        totals[bits] = bits * len(levels)
        zeros, count = 0, 0  # by hand: one level for each weight, and one for each 2^bits - 1 zeros before it
        for there in present.ravel():
            if there:
                count += zeros // (2**bits - 1) + 1
            zeros = 0 if there else zeros + 1
        assert len(levels) == count
    assert compression.shortest_gap_bits(present)[1] == min(totals.values())
    with pytest.raises(ValueError, match="place 9 of an array of 9"):
        compression.mask_from_gaps([9], 8, 9)
    for levels, bits, message in [([4], 2, r"span 4..4; levels of 2 bits lie in 0..3"), ([0], 9, "bits=9"),
                                  ([-1, 2], 3, "span -1..2")]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            compression.mask_from_gaps(levels, bits, 400)


@pytest.mark.parametrize("shares", compression.DENSITIES.values())
def test_a_kernel_without_a_weight_has_no_density(shares):
    for shape in ((0, 5), (3, 0), ()):
        with pytest.raises(ValueError, match=r"shapes\['b'\]"):
            shares({"a": (4, 4), "b": shape}, 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_without_a_mean_are_not_clustered(value):
    weights = np.array([0.0, 1.0, value, 2.0], np.float32)
    with pytest.raises(ValueError, match=r"weights holds 1 entry that is NaN or infinite, the first at index \(2,\)"):
        compression.cluster(weights, 1)
    centroids, codes = compression.cluster(weights, 1, np.isfinite(weights))  # what was removed takes no part
    np.testing.assert_allclose(centroids, [0.5, 2.0])
    assert codes.tolist() == [0, 0, compression.REMOVED, 1]
