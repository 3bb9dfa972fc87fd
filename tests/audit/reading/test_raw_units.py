"""Features of a table in units of their own, dollars beside years: nothing that is read off a model depends on them."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gecko_jax import models, probes
from gecko_jax.audit.reading import model_reader
from gecko_jax.datasets import canaries
from gecko_jax.probes.readers.scale import spread
from gecko_jax.probes.readers.signal_reader import SEED
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Examples

N, D = 60, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32)
UNITS = 2.0 ** np.array([17, -12, 0, 5, -3])  # powers of two: no number is rounded by another unit
WEIGHT = RNG.normal(size=(D, 3))
Y = (X @ WEIGHT).argmax(1)


def plain(x):
    return np.asarray(x, np.float64) @ WEIGHT


def raw(x):
    return (np.asarray(x, np.float64) / UNITS) @ WEIGHT


def readings(predict, x, signals):
    reader = model_reader.ModelReader(predict, False, reference_inputs=x)
    return reader.read(predict, x, Y, [SIGNALS[name] for name in signals]).values


@pytest.mark.parametrize("signal", ["label_robustness", "boundary_distance", "sensitivity"])
def test_a_signal_is_the_same_in_any_units(signal):
    one = readings(plain, X, [signal])[signal]
    other = readings(raw, (X * UNITS).astype(np.float32), [signal])[signal]
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert np.std(one) > 0


def test_noise_is_a_share_of_each_features_own_deviation():
    asked = []

    def watched(x):
        asked.append(x)
        return raw(x)

    x = (X * UNITS).astype(np.float32)
    reader = model_reader.ModelReader(watched, False, reference_inputs=x)
    reader.read(watched, x, Y, [SIGNALS["label_robustness"]])
    moved = np.concatenate([one - x for one in asked[2:]]) / np.std(x, axis=0)
    assert np.unique(moved.round(4), axis=0).shape[0] <= 8 * N and moved.any(0).all()
    copies = np.array([one - x for one in asked[2:]])[:, 0] / np.std(x, axis=0)  # the same noise for all records
    draws = np.array([one[0] for one in probes.noise(np.zeros((1, D), np.float32), 0.1, 8, SEED)[1:]])
    np.testing.assert_allclose(copies, draws, rtol=1e-3, atol=1e-6)


def test_boundaries_are_measured_in_standard_deviations_of_a_jax_model_too():
    model = models.create("mlp", 3, hidden=(8,))
    variables = model.init(jax.random.key(0), X[:1])

    def in_units(held, x, **options):
        return model.apply(held, x / np.float32(UNITS)[None], **options)

    results = []
    for one, x in ((model, X), (model._replace(apply=in_units), (X * UNITS).astype(np.float32))):
        reader = model_reader.ModelReader(one, True, reference_inputs=x)
        y = reader.encoded(variables, x).argmax(1)
        results.append(reader.read(variables, x, y, [SIGNALS["boundary_distance"]]).values["boundary_distance"])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4)
    assert results[0].min() > 0


def test_projections_of_wide_records_hear_every_feature():
    wide = RNG.normal(size=(N, 50)).astype(np.float32)
    units = 2.0 ** RNG.integers(-9, 10, 50)
    signal = ["hinge_on_record"]
    one = readings(lambda x: x[:, :3], wide, signal)[signal[0]]
    other = readings(lambda x: x[:, :3] * units[:3], np.float32(wide / units), signal)[signal[0]]
    np.testing.assert_allclose(one[:, 1:], other[:, 1:], rtol=1e-4, atol=1e-4)


def test_a_constant_feature_stays():
    x = X.copy()
    x[:, 2] = 7
    moved = np.array(probes.noise(x, 0.1 * spread(x), 4, 0)[1:]) - x
    assert not moved[..., 2].any() and moved[..., [0, 1, 3, 4]].all()
    assert spread(np.ones((3, 2))).tolist() == [1, 1]


def test_canaries_of_a_table_keep_to_each_features_range():
    x = (np.abs(X) * UNITS).astype(np.float32)
    data = Examples(x, Y, np.arange(N))
    drawn = canaries.out_of_distribution(data, 200, 3, seed=0).x
    assert (drawn >= x.min(0)).all() and (drawn <= x.max(0)).all()
    np.testing.assert_allclose(drawn.mean(0), (x.min(0) + x.max(0)) / 2, rtol=0.3)
    blank = canaries.blank(data, D, 3, seed=0).x
    np.testing.assert_array_equal(blank.max(0), x.max(0))
    assert ((blank != 0).sum(1) == 1).all()
    x[:, 1] = 0
    with pytest.raises(ValueError, match="count=5 must lie between 1 and 4"):
        canaries.blank(data._replace(x=x), D, 3, seed=0)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (np.ones(3), r"scale has shape \(3,\)"),
        (-np.ones(D), "scale runs from -1.0"),
        (np.zeros(D), "above 0 somewhere"),
        (np.full(D, np.nan), "scale holds 5 entries that are NaN"),
    ],
)
def test_a_bad_scale_is_named(scale, words):
    with pytest.raises(ValueError, match=words):
        probes.noise(X, scale, 2, 0)
