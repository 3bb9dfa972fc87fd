"""The decoder and the encoder against NumPy, and on the doors of every other model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transformer_by_hand import random_params, transformer

from gecko_jax import models, quantizers

VOCABULARY, TOKENS = 32, np.random.default_rng(0).integers(1, 32, (3, 9)).astype(np.int32)
TINY = dict(layers=2, width=16, heads=2, max_length=10)
PADDED = np.where(np.arange(9)[None] < np.array([[9], [5], [2]]), TOKENS, 0)


def tiny(name="transformer", seed=1, **options):
    """A model with random parameters of visible size."""
    model = models.create(name, VOCABULARY, **{**TINY, **options})
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(TOKENS))
    return model, {"params": random_params(shapes["params"], seed)}


def logits(model, variables, tokens):
    return np.asarray(jax.jit(model.apply)(variables, jnp.asarray(tokens))[0])


@pytest.mark.parametrize("name", models.LANGUAGE_MODELS)
@pytest.mark.parametrize("tied", [False, True])
def test_against_numpy(name, tied):
    options = dict(tied=tied) | (dict(heads=(3, 0), head_width=5) if tied else {})
    model, variables = tiny(name, **options)
    width = options.get("head_width", 8)
    expected = transformer(variables["params"], PADDED, head_width=width, causal=name == "transformer")
    actual = logits(model, variables, PADDED)
    assert actual.shape == (3, 9, VOCABULARY) and actual.dtype == np.float32 and ("head" in variables["params"]) != tied
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4)


def test_who_sees_whom():
    later, shorter = TOKENS.copy(), PADDED[1:2, :5]
    later[:, 6:] = 1
    decoder, encoder = tiny(), tiny("masked_transformer")
    np.testing.assert_allclose(logits(*decoder, TOKENS)[:, :6], logits(*decoder, later)[:, :6], atol=1e-5)
    assert np.abs(logits(*encoder, TOKENS)[:, :6] - logits(*encoder, later)[:, :6]).max() > 0.1
    for pair in (decoder, encoder):  # padding on the right is as if it were not there
        np.testing.assert_allclose(logits(*pair, PADDED)[1:2, :5], logits(*pair, shorter), atol=2e-5)


def test_the_names_that_rules_name():
    model, variables = tiny(layers=1)
    dense = [f"block0/attention/{name}" for name in ("query", "key", "value", "output")]
    calls = models.trace(model, variables, jnp.asarray(TOKENS))
    assert [c.path for c in calls] == ["embed", "positions", *dense, "block0/mlp/up", "block0/mlp/down", "head"]
    assert set(variables["params"]["block0"]) == {"norm1", "attention", "norm2", "mlp"}
    assert set(variables["params"]) == {"embed", "positions", "block0", "final_norm", "head"}


def test_saved_and_loaded_and_quantized(tmp_path):
    options = dict(layers=1, tied=True, heads=(1,), head_width=4, activation="square")
    model, variables = tiny(**options)
    model = models.quantized(model, [("attention|mlp", quantizers.uniform(4), None)], float_layers=())
    models.save(tmp_path, model, variables, TOKENS)
    saved = models.load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, saved.variables, variables)
    assert saved.model.blueprint == model.blueprint  # `load` compares the outputs
    in_float = ["embed/embedding", "positions/embedding"]
    assert sorted(models.float_weights(model, variables, jnp.asarray(TOKENS))) == in_float


def test_dropout_acts_in_training_alone():
    model, variables = tiny(dropout=0.5)
    apply = jax.jit(model.apply, static_argnames="train")
    first, second = (apply(variables, TOKENS, key=jax.random.key(i), train=True)[0] for i in range(2))
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(apply(variables, TOKENS, key=jax.random.key(0))[0], logits(model, variables, TOKENS))


def test_a_token_outside_the_vocabulary_is_never_another_one():
    model, variables = tiny()
    for wrong in (-1, VOCABULARY):
        tokens = TOKENS.copy()
        tokens[1, 4] = wrong
        values = logits(model, variables, tokens)
        assert np.isnan(values[1]).all() and np.isfinite(values[[0, 2]]).all()


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(width=15), "width=15 must be a multiple of heads=2"),
        (dict(heads=(1, 2)), "head_width=None: expected a number for each block, and head_width"),
        (dict(heads=(1, 2, 3), head_width=4), "expected a number for each block"),
        (dict(heads=0), "heads=0 must be at least 1"),
        (dict(layers=1.5), "layers=1.5"),
        (dict(mlp_width=0), "mlp_width=0"),
        (dict(dropout=1.5), "dropout=1.5"),
        (dict(vocabulary=7), "'vocabulary'"),
        (dict(hidden=7), "'hidden'"),
        (dict(activation="gelo"), "Did you mean 'gelu'"),
    ],
)
def test_bad_settings_of_a_transformer(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("transformer", VOCABULARY, **{**TINY, **options})


@pytest.mark.parametrize(
    "tokens, message",
    [
        (np.ones((2, 11), np.int32), "11 positions; the transformer has max_length=10"),
        (np.ones((2, 9), np.float32), "type float32; a transformer takes integers"),
        (np.ones((2, 9, 1), np.int32), r"shape \(2, 9, 1\)"),
    ],
)
def test_bad_tokens(tokens, message):
    model, variables = tiny()
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.apply, variables, jnp.asarray(tokens))
