"""Generation against a loop that calls a NumPy transformer on the real tokens alone, one row at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transformer_by_hand import random_params, transformer

from gecko_jax import models
from gecko_jax.keys import stream

VOCABULARY = 32
MODEL = models.create("transformer", VOCABULARY, layers=1, width=16, heads=2, max_length=10)
PROMPTS = np.array([[5, 9, 3, 7, 2], [8, 1, 0, 0, 0], [4, 4, 6, 0, 0]], np.int32)
SHAPES = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.asarray(PROMPTS))
VARIABLES = {"params": random_params(SHAPES["params"], seed=12)}


def by_loop(variables, prompts, steps, choose, padding=0):
    """Continuations [n, steps]; `choose` is given (float64 logits, row, step)."""
    results = []
    for number, prompt in enumerate(prompts):
        tokens = [t for t in prompt if t != padding]
        for step in range(steps):
            logits = transformer(variables["params"], [tokens], head_width=8)[0, -1]
            if padding is not None:
                logits[padding] = -np.inf
            tokens.append(choose(logits, number, step))
        results.append(tokens[-steps:])
    return np.array(results)


def test_greedy_is_the_naive_loop():
    expected = by_loop(VARIABLES, PROMPTS, 5, lambda logits, *_: int(logits.argmax()))
    actual = models.generate(MODEL, VARIABLES, PROMPTS, 5)
    assert actual.dtype == np.int32 and len(np.unique(expected)) > 3
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("temperature, top_k", [(0.7, None), (2.0, 3)])
def test_a_draw_is_the_naive_loop_s_with_the_same_noise(temperature, top_k):
    """A categorical draw is the argmax of the logits plus Gumbel noise; the noise is drawn here, the rest is NumPy."""
    root = jax.random.key(7)

    def choose(logits, number, step):
        key = jax.random.fold_in(jax.random.fold_in(stream(root, "generate"), number), step)
        if top_k is not None:
            logits = np.where(logits < np.sort(logits)[-top_k], -np.inf, logits)
        return int((logits / temperature + np.asarray(jax.random.gumbel(key, logits.shape))).argmax())

    expected = by_loop(VARIABLES, PROMPTS, 5, choose)
    actual = models.generate(MODEL, VARIABLES, PROMPTS, 5, key=root, temperature=temperature, top_k=top_k)
    np.testing.assert_array_equal(actual, expected)


def test_draws_follow_the_distribution():
    """4,000 draws of one token against the softmax: no count is further than 4.5 standard deviations from its mean."""
    n, temperature = 4000, 1.5
    logits = transformer(VARIABLES["params"], PROMPTS[:1], head_width=8)[0, -1] / temperature
    logits[0] = -np.inf
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    drawn = models.generate(
        MODEL, VARIABLES, np.repeat(PROMPTS[:1], n, 0), 1, key=0, temperature=temperature, batch_size=500
    )
    counts = np.bincount(drawn[:, 0], minlength=VOCABULARY)
    deviations = (counts - n * chances)[chances > 0] / np.sqrt(n * chances * (1 - chances))[chances > 0]
    assert counts[0] == 0 and np.abs(deviations).max() < 4.5


def test_rows_batches_and_models_are_apart():
    together = models.generate(MODEL, VARIABLES, PROMPTS, 3, key=1)
    np.testing.assert_array_equal(models.generate(MODEL, VARIABLES, PROMPTS, 3, key=1, batch_size=2), together)
    np.testing.assert_array_equal(models.generate(MODEL, VARIABLES, PROMPTS[:2], 3, key=1), together[:2])
    other = {"params": random_params(SHAPES["params"], seed=4)}
    both = jax.tree.map(lambda *leaves: np.stack(leaves), VARIABLES, other)
    several = models.generate(MODEL, both, PROMPTS, 3, key=1, ensemble=True)
    np.testing.assert_array_equal(several[0], together)
    np.testing.assert_array_equal(several[1], models.generate(MODEL, other, PROMPTS, 3, key=1))


def test_a_model_that_sees_later_tokens_is_refused():
    encoder = models.create("transformer", VOCABULARY, layers=1, width=16, heads=2, max_length=10, causal=False)
    for steps in (1, 4):
        with pytest.raises(ValueError, match="takes a causal model"):
            models.generate(encoder, VARIABLES, PROMPTS, steps)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(prompts=PROMPTS[0]), r"prompts have shape \(5,\)"),
        (dict(prompts=PROMPTS.astype(np.float32)), "type float32"),
        (dict(prompts=PROMPTS[:, ::-1]), r"prompts\[1\] has 2 tokens, and padding=0 before one"),
        (dict(prompts=np.zeros((1, 2), int)), r"prompts\[0\] has 0 tokens"),
        (dict(prompts=PROMPTS + 30), "prompts hold tokens 0 to 39; the model has logits for 0 to 31"),
        (dict(prompts=PROMPTS - 3, padding=None), "prompts hold tokens -3"),
        (dict(steps=6), "11 positions; the transformer has max_length=10"),
        (dict(steps=0), "steps=0"),
        (dict(temperature=0.5), "temperature=0.5 and top_k=None need a key"),
        (dict(temperature=0.0, key=0), "temperature=0.0 must be"),
        (dict(top_k=32, key=0), "top_k=32 must not exceed"),
        (dict(key="seed"), "neither a seed nor one JAX key"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(variables=jax.tree.map(lambda leaf: leaf * np.nan, VARIABLES)), "after prompt 0 hold NaN"),
        (dict(model=models.create("mlp", 3, hidden=()), variables=None), "gives outputs of shape"),
    ],
)
def test_bad_arguments_of_generate(change, message):
    arguments = dict(model=MODEL, variables=VARIABLES, prompts=PROMPTS, steps=2, padding=0) | change
    if arguments["variables"] is None:
        arguments["variables"] = arguments["model"].init(jax.random.key(0), jnp.zeros((1, 7)))
    with pytest.raises(ValueError, match=message):
        models.generate(**arguments)


def test_full_rows_without_padding():
    full = PROMPTS[:1] * (np.arange(5) > 0)  # token 0 is a word like any other
    expected = by_loop(VARIABLES, full, 3, lambda logits, *_: int(logits.argmax()), padding=None)
    np.testing.assert_array_equal(models.generate(MODEL, VARIABLES, full, 3, padding=None), expected)
