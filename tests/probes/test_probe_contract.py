"""What every listed probe promises; a new one is tested by being listed, and by one line in CASES."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gecko_jax import models, probes
from gecko_jax.probes import ProbedModel
from gecko_jax.probes.readers.signal_reader import no_model

N, CLASSES = 40, 3
MODEL = models.create("mlp", CLASSES, hidden=(64,))


@functools.cache
def data():
    """Images of noise with labels of chance: there is nothing to learn but the records themselves."""
    rng = np.random.default_rng(0)
    return rng.random((N, 5, 5, 1)).astype(np.float32), rng.integers(0, CLASSES, N)


@functools.cache
def trained():
    """Variables that know the first half of the records by heart."""
    x, y = (jnp.asarray(part[: N // 2]) for part in data())
    optimizer = optax.adam(0.02)

    def loss(params):
        return optax.softmax_cross_entropy_with_integer_labels(MODEL.apply({"params": params}, x)[0], y).mean()

    @jax.jit
    def step(state, _):
        params, inner = state
        updates, inner = optimizer.update(jax.grad(loss)(params), inner)
        return (optax.apply_updates(params, updates), inner), None

    params = MODEL.init(jax.random.key(0), x)["params"]
    (params, _), _ = jax.jit(lambda state: jax.lax.scan(step, state, None, 150))((params, optimizer.init(params)))
    return {"params": params}


forward = jax.jit(lambda variables, x: MODEL.apply(variables, x)[0])


def predict(x):
    return forward(trained(), x)


# Each as a function of the records alone.
CASES = {
    "boundary_distance": lambda x, y: probes.boundary_distance(
        forward, x, y, 0, variables=trained(), iterations=4, queries=700
    ),
    "noise_robustness": lambda x, y: probes.noise_robustness(predict, x, y, 0.3, 40, 0),
    "rotation_robustness": lambda x, y: probes.rotation_robustness(predict, x, y),
    "small_gradient": lambda x, y: probes.small_gradient(MODEL, trained(), x, y),
    "translation_robustness": lambda x, y: probes.translation_robustness(predict, x, y),
    "gradient_norms": lambda x, y: probes.gradient_norms(MODEL, trained(), x, y),
    "last_layer_gradients": lambda x, y: probes.last_layer_gradients(MODEL, trained(), x, y),
    "sensitivity": lambda x, y: probes.sensitivity(predict, x, 0),
    "flips_and_shifts": lambda x, y: probes.flips_and_shifts(x),
    "noise": lambda x, y: probes.noise(x, 0.3, 2, 0),
    "rotations": lambda x, y: probes.rotations(x, 5.0),
    "translations": lambda x, y: probes.translations(x, 2),
}
OF_IMAGES = ("rotation_robustness", "translation_robustness", "flips_and_shifts", "rotations", "translations")
OF_LABELS = sorted(set(CASES) - {"sensitivity", *probes.AUGMENTATIONS})

EVERY = pytest.mark.parametrize("name", sorted(CASES))
SCORES = pytest.mark.parametrize("name", sorted(probes.PROBES))


def close(found, expected, rows):
    """Leaf by leaf, equal but for the rounding of sums."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other[rows], rtol=1e-2, atol=1e-4)


def test_every_listed_probe_has_a_case():
    assert set(CASES) == {*probes.PROBES, *probes.FEATURES, *probes.AUGMENTATIONS}
    assert set(probes.PROBES) | set(probes.FEATURES) | set(probes.AUGMENTATIONS) <= set(probes.__all__)
    for table in (probes.PROBES, probes.FEATURES, probes.AUGMENTATIONS):
        assert all(function.__name__ == name and getattr(probes, name) is function for name, function in table.items())


@SCORES
def test_larger_means_member(name):
    scores = CASES[name](*data())
    assert scores.shape == (N,) and scores.dtype.kind == "f" and np.isfinite(scores).all()
    gap = scores[: N // 2, None] - scores[None, N // 2 :]
    assert (gap > 0).mean() + (gap == 0).mean() / 2 > 0.7


@EVERY
def test_a_result_for_each_record(name):
    result = CASES[name](*data())
    assert isinstance(result, list) == (name in probes.AUGMENTATIONS)
    for leaf in jax.tree.leaves(result):
        assert isinstance(leaf, np.ndarray) and len(leaf) == N and np.isfinite(leaf).all()


@EVERY
def test_order_of_records_does_not_matter(name):
    x, y = data()
    order = np.random.default_rng(1).permutation(N)
    close(CASES[name](x[order], y[order]), CASES[name](x, y), order)


@EVERY
def test_a_record_is_the_same_beside_others(name):
    x, y = data()
    few = 3 + np.arange(N) % 5
    close(CASES[name](x[few], y[few]), CASES[name](x, y), few)


@EVERY
def test_it_repeats_itself_and_leaves_its_arguments_alone(name):
    x, y = data()
    copies = x.copy(), y.copy()
    first, second = CASES[name](x, y), CASES[name](x, y)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(y, copies[1])


@EVERY
def test_bad_inputs_are_named(name):
    x, y = data()
    spoilt = x.copy()
    spoilt[2, 1, 0, 0] = np.nan
    for bad, words in (
        (spoilt, r"x holds 1 entry that is NaN or infinite, the first at index \(2, 1, 0, 0\)"),
        ((255 * x).astype(np.uint8), "expected floats"),
        (x[:0], "x is empty"),
    ):
        with pytest.raises(ValueError, match=words):
            CASES[name](bad, y[: len(bad)])


@pytest.mark.parametrize("name", OF_IMAGES)
def test_images_are_asked_for(name):
    x, y = data()
    with pytest.raises(ValueError, match=r"x has shape \(40, 25\); expected images"):
        CASES[name](x.reshape(N, -1), y)


@pytest.mark.parametrize("name", OF_LABELS)
def test_bad_labels_are_named(name):
    x, y = data()
    for bad, words in (
        (y + 1, "y runs from 1 to 3; expected 0..2"),
        (y - 1, "y runs from -1 to 1"),
        (y.astype(float), "dtype float64; expected class numbers"),
        (y[:-1], "y has shape"),
        (np.eye(CLASSES)[y], "y has shape"),
    ):
        with pytest.raises(ValueError, match=words):
            CASES[name](x, bad)


def test_readers_say_that_there_is_no_model_to_ask():
    x, y = data()
    probed = ProbedModel(no_model, x)
    with pytest.raises(ValueError, match="a reader asks a model in `read` alone"):
        probed.ask(x)
    with pytest.raises(ValueError, match="a predict function"):
        probes.READERS["small_gradient"].read(probed, x, y, np.zeros((N, CLASSES)))
