"""Representations: a layer's output by hand, padding that never counts, and transforms that take part."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models, probes, quantizers

VOCABULARY, WIDTH = 9, 4
X = np.array([[3, 4, 5, 0], [6, 0, 0, 0], [7, 8, 8, 1]], np.int32)


class Tagger(nn.Module):
    """Tokens [b, t] -> logits [b, t, vocabulary]."""

    @nn.compact
    def __call__(self, x):
        x = nn.Embed(VOCABULARY, WIDTH, name="embed")(x)
        x = nn.Dense(WIDTH, name="shared")(nn.tanh(nn.Dense(WIDTH, name="hidden")(x)))
        return nn.remat(nn.Dense)(VOCABULARY, name="head")(x)


MODEL = models.from_linen(Tagger())
VARIABLES = jax.jit(MODEL.init)(jax.random.key(0), X)


def by_hand(params, x):
    """The mean of the hidden layer over the real tokens of each row, in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    rows = []
    for row in x:
        tokens = [p["embed"]["embedding"][token] for token in row if token]
        rows.append(np.mean([token @ p["hidden"]["kernel"] + p["hidden"]["bias"] for token in tokens], 0))
    return np.array(rows)


def test_it_is_the_mean_over_tokens_by_hand():
    actual = probes.representations(MODEL, VARIABLES, X, "hidden")
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, by_hand(VARIABLES["params"], X), rtol=1e-5, atol=1e-6)
    wide = np.pad(X, [(0, 0), (0, 3)])
    np.testing.assert_allclose(probes.representations(MODEL, VARIABLES, wide, "hidden"), actual, rtol=1e-6)
    blocks = probes.representations(MODEL, VARIABLES, X, "hidden", batch_size=2)
    np.testing.assert_allclose(blocks, actual, rtol=1e-6)
    outputs = np.asarray(MODEL.apply(VARIABLES, X)[0])
    of_model = probes.representations(MODEL, VARIABLES, X, "", padding=None)
    np.testing.assert_allclose(of_model, outputs.mean(1), rtol=1e-5, atol=1e-6)


def test_models_of_an_ensemble_are_read_one_by_one():
    several = jax.tree.map(lambda leaf: np.stack([leaf, -2 * leaf]), VARIABLES)
    actual = probes.representations(MODEL, several, X, "hidden", ensemble=True)
    expected = [by_hand(jax.tree.map(lambda leaf, i=i: leaf[i], several["params"]), X) for i in range(2)]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_features_of_a_classifier_are_read_as_they_are():
    model, x = models.create("mlp", 3, hidden=(5,)), np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    np.testing.assert_array_equal(probes.representations(model, variables, x, ""), model.apply(variables, x)[0])


def test_a_transform_takes_part():
    quantized = models.quantized(MODEL, [("hidden", quantizers.binary(), None)], float_layers=())
    weights = VARIABLES["params"]
    binary = np.asarray(quantizers.binary().apply((), weights["hidden"]["kernel"]))
    weights = {**weights, "hidden": {**weights["hidden"], "kernel": binary}}
    actual = probes.representations(quantized, VARIABLES, X, "hidden")
    np.testing.assert_allclose(actual, by_hand(weights, X), rtol=1e-5, atol=1e-6)

    def doubled(next_fun, args, kwargs, context):  # as a fine-tuning method does, around the model's own call
        output = next_fun(*args, **kwargs)
        return 2 * output if context.module.name == "hidden" else output

    def apply(variables, x, **options):
        with nn.intercept_methods(doubled):
            return MODEL.apply(variables, x, **options)

    actual = probes.representations(MODEL._replace(apply=apply), VARIABLES, X, "hidden")
    np.testing.assert_allclose(actual, 2 * by_hand(VARIABLES["params"], X), rtol=1e-5, atol=1e-6)


class Twice(nn.Module):
    """One layer, called two times."""

    @nn.compact
    def __call__(self, x):
        layer = nn.Dense(3, name="layer")
        return layer(layer(x))


def test_a_layer_that_cannot_be_read_is_named():
    x = np.ones((2, 3), np.float32)
    twice = models.from_linen(Twice())
    variables = jax.jit(twice.init)(jax.random.key(0), x)
    images = models.from_linen(nn.Sequential([nn.Conv(2, (2, 2)), lambda x: x.mean((1, 2))]))
    picture = np.zeros((1, 3, 3, 1), np.float32)
    of_images = jax.jit(images.init)(jax.random.key(0), picture)
    for call, words in (
        (lambda: probes.representations(MODEL, VARIABLES, X, "hiden"), "layer='hiden' is not known. Did you mean"),
        (lambda: probes.representations(MODEL, VARIABLES, X * 0 + [[1], [0], [1]], "hidden"), r"x\[1\] is padding"),
        (lambda: probes.representations(MODEL, VARIABLES, X[:0], "hidden"), "x is empty"),
        (lambda: probes.representations(twice, variables, x, "layer"), "'layer' is called 2 times"),
        (lambda: probes.representations(MODEL, VARIABLES, X, "head"), "'head' runs inside nn.jit, nn.remat"),
        (lambda: probes.representations(images, of_images, picture, "layers_0"), r"output of shape \(1, 3, 3, 2\)"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    diverged = jax.tree.map(lambda leaf: leaf * jnp.nan, VARIABLES)
    with pytest.raises(ValueError, match="the output of layer 'hidden' holds 12 entries"):
        probes.representations(MODEL, diverged, X, "hidden")
