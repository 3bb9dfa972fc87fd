"""Masks that change at each step: what they hide, and that plain and private training see them."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.keys import stream
from gecko_jax.types import Batch, Examples

ROWS = np.random.default_rng(0).integers(2, 32, (6, 12)).astype(np.int32)
ROWS[1, 7:], ROWS[2, 1:] = 0, 0
LABELS = np.where(ROWS > 0, ROWS, -1)
LOSS = losses.sequence_cross_entropy(padding=-1)


class Words(nn.Module):
    """Logits of each place from its own token, which compile quickly."""

    @nn.compact
    def __call__(self, tokens):
        return nn.Dense(32)(nn.Embed(32, 4)(tokens))


MODEL = models.from_linen(Words())


@functools.cache
def of_rows(augment):
    return jax.jit(jax.vmap(augment))


def hidden(augment, seed=0, rows=ROWS, labels=LABELS):
    keys = jax.random.split(jax.random.key(seed), len(rows))
    return jax.tree.map(np.asarray, of_rows(augment)(keys, Batch(rows, labels, None)))


def test_what_is_hidden_and_what_is_told():
    augment = training.fresh_masks(mask=1, rate=0.25)
    batches = [hidden(augment, seed) for seed in range(200)]
    for x, y, _, *_ in batches:
        np.testing.assert_array_equal((y >= 0).sum(1), [3, 2, 1, 3, 3, 3])  # of 12, 7, 1 and 12 tokens
        np.testing.assert_array_equal(x[y >= 0], 1)
        np.testing.assert_array_equal(np.where(y >= 0, y, x), ROWS)
    often = np.mean([y[0] >= 0 for _, y, *_ in batches], 0)  # each position with a chance of 1/4
    assert np.abs(often - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 200)


def test_words_that_are_kept_or_replaced():
    rows = np.full((1, 20_000), 9, np.int32)
    augment = training.fresh_masks(mask=1, rate=0.5, keep=0.2, random=0.3, words=(20, 30))
    x, y = (part[0] for part in hidden(augment, 0, rows, rows)[:2])
    chosen = y >= 0
    assert chosen.sum() == 10_000 and (x[~chosen] == 9).all()
    shares = [(x[chosen] == 9).mean(), (x[chosen] == 1).mean(), (x[chosen] >= 20).mean()]
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=0.02)
    assert set(np.unique(x[chosen])) == {1, 9, *range(20, 30)}


def test_plain_gradients_are_those_of_the_hidden_rows():
    augment = training.fresh_masks(mask=1, rate=0.25)
    gradients = training.batch_gradients(MODEL, LOSS, augment=augment)
    variables = jax.jit(MODEL.init)(jax.random.key(0), ROWS)
    key, batch = jax.random.key(5), Batch(jnp.asarray(ROWS), jnp.asarray(LABELS), jnp.ones(6))
    slopes, metrics = jax.jit(gradients)(variables, batch, key)
    masked = jax.vmap(augment)(jax.random.split(stream(key, "augment"), 6), batch)
    expected, _ = jax.jit(training.batch_gradients(MODEL, LOSS))(variables, masked, key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), slopes, expected)
    other, _ = jax.jit(gradients)(variables, batch, jax.random.key(6))
    assert np.abs(other["Dense_0"]["kernel"] - slopes["Dense_0"]["kernel"]).max() > 1e-4
    with pytest.raises(ValueError, match="key=None: an augmentation draws"):
        gradients(variables, batch, None)


def test_a_private_step_averages_the_masks_of_a_row_before_it_clips():
    augment, variables = training.fresh_masks(mask=1, rate=0.25), jax.jit(MODEL.init)(jax.random.key(0), ROWS)
    of_one, key = privacy.example_loss(MODEL, LOSS), jax.random.key(3)
    row = Batch(jnp.asarray(ROWS[0]), jnp.asarray(LABELS[0]), None)
    value, _ = jax.jit(privacy.augmented(of_one, augment, 3))(variables, row, key)
    keys = [stream(jax.random.fold_in(key, i), "augment") for i in range(3)]
    once = jax.jit(lambda key: of_one(variables, augment(key, row), None)[0])
    by_hand = [float(once(each)) for each in keys]
    np.testing.assert_allclose(value, np.mean(by_hand), rtol=1e-5)
    assert np.ptp(by_hand) > 1e-3


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(rate=0), "rate=0 must be above 0"),
        (dict(rate=1.5), "rate=1.5"),
        (dict(mask=-1), "mask=-1"),
        (dict(keep=0.6, random=0.6, words=(2, 9)), "expected a sum of 1"),
        (dict(random=0.1), "with words=None"),
        (dict(random=0.1, words=(5, 5)), r"words=\(5, 5\)"),
        (dict(keep=2), "keep=2"),
    ],
)
def test_bad_settings_of_masks(options, message):
    with pytest.raises(ValueError, match=message):
        training.fresh_masks(**{"mask": 1, **options})


def test_rows_that_cannot_be_hidden():
    augment = training.fresh_masks(mask=1)
    with pytest.raises(ValueError, match="expected tokens"):
        augment(jax.random.key(0), Batch(jnp.zeros(3, int), jnp.zeros(2, int), None))
    with pytest.raises(ValueError, match="not chained"):
        privacy.chained(augment, augment)(jax.random.key(0), jnp.zeros(3, int))


@pytest.mark.parametrize("make", [
    lambda augment: dict(gradients=training.batch_gradients(MODEL, LOSS, augment=augment), epochs=1, batch_size=5),
    lambda augment: privacy.private_training(MODEL, LOSS, clippings.flat(1.0), n=5, batch_size=5, epochs=1, delta=0.1,
                                             noise_multiplier=1.0, augment=augment, x=ROWS).options,
])  # fmt: skip
def test_rows_of_next_tokens_stop_the_training(make):
    rows = Examples(np.delete(ROWS, 2, 0)[:, :-1], np.delete(LABELS, 2, 0)[:, 1:])  # the third has a single token
    with pytest.raises((ValueError, FloatingPointError), match="nan|finite"):
        training.fit(MODEL, rows, **make(training.fresh_masks(mask=1, rate=0.5)))
