"""Extraction probes: one forward pass against real generation, draws against their closed form, windows by a loop."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from gecko_jax import metrics, models, probes

VOCABULARY, LENGTH = 7, 9


class Causal(nn.Module):
    """Tokens [b, t] -> logits that depend on the last token and on the mean of all before; padding looks likeliest."""

    @nn.compact
    def __call__(self, x):
        embedded = nn.Embed(VOCABULARY, 8, name="embed")(x)
        mean = jnp.cumsum(embedded, 1) / jnp.arange(1, x.shape[1] + 1)[None, :, None]
        logits = nn.Dense(VOCABULARY, name="head")(jnp.tanh(jnp.concatenate([embedded, mean], -1)))
        return 4 * logits + 2 * jax.nn.one_hot(0, VOCABULARY)[None, None]


class Seeing(Causal):
    """The same from right to left."""

    @nn.compact
    def __call__(self, x):
        return Causal(name="inner")(x[:, ::-1])[:, ::-1]


MODEL = models.from_linen(Causal())
RNG = np.random.default_rng(0)
PROMPTS = np.where(np.arange(4) < RNG.integers(1, 5, (30, 1)), RNG.integers(1, VOCABULARY, (30, 4)), 0)
SEVERAL = jax.vmap(lambda key: MODEL.init(key, PROMPTS[:1]))(jax.random.split(jax.random.key(0), 2))
VARIABLES = jax.tree.map(lambda leaf: leaf[0], SEVERAL)


def decoded(prompt, steps):
    """Greedy decoding of the first model in NumPy and float64, one row and one token at a time."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), VARIABLES["params"])
    tokens = [token for token in prompt if token]
    for _ in range(steps):
        embedded = p["embed"]["embedding"][tokens]
        seen = np.tanh(np.concatenate([embedded[-1], embedded.mean(0)]))
        logits = 4 * (seen @ p["head"]["kernel"] + p["head"]["bias"])
        tokens.append(1 + int(logits[1:].argmax()))  # padding is never generated
    return tokens[-steps:]


def texts():
    """Rows with true continuations of 1 to 5 tokens: greedy ones, and some with another token at a random place."""
    generated = [np.array(decoded(prompt, 5)) for prompt in PROMPTS]
    lengths = RNG.integers(1, 6, 30)
    rows, y = np.zeros((30, LENGTH), np.int32), np.full((30, LENGTH), -1, np.int32)
    for i, prompt in enumerate(PROMPTS):
        tokens, truth = prompt[prompt > 0], generated[i][: lengths[i]].copy()
        if i % 2:
            truth[RNG.integers(lengths[i])] = RNG.integers(1, VOCABULARY)
        rows[i, : len(tokens) + len(truth)] = np.concatenate([tokens, truth])
        y[i, len(tokens) : len(tokens) + len(truth)] = truth
    return rows[:, :-1], y[:, 1:]


X, Y = texts()


def test_one_forward_pass_gives_what_generation_gives():
    counts = probes.greedy_extraction(MODEL, SEVERAL, X, Y, ensemble=True, batch_size=8)
    prompts, truth = probes.prompts_of(X, Y)
    np.testing.assert_array_equal(prompts, PROMPTS)
    for model in range(2):
        generated = models.generate(MODEL, jax.tree.map(lambda leaf, m=model: leaf[m], SEVERAL), prompts, 5)
        expected = []
        for made, wanted in zip(generated, truth, strict=True):
            same = [a == b for a, b in zip(made, wanted[wanted >= 0], strict=False)]
            expected.append(same.index(False) if False in same else len(same))
        assert counts[model].tolist() == expected
    extracted = counts[0] == (Y >= 0).sum(1)
    assert extracted[::2].all() and (~extracted[1::2]).sum() > 3 and not (counts[1] == counts[0]).all()


def test_draws_follow_the_closed_form():
    logits = np.asarray(MODEL.apply(VARIABLES, X)[0], np.float64) / 0.8
    logits[..., 0] = -np.inf  # padding is never drawn
    losses = -np.take_along_axis(special.log_softmax(logits, -1), np.maximum(Y, 0)[..., None], -1)[..., 0]
    chances = metrics.sampled_extraction(losses, Y)
    hits = probes.sampled_draws(MODEL, VARIABLES, X, Y, key=3, draws=60, temperature=0.8)
    assert hits.shape == (30,) and 200 < hits.sum() < 1600
    surprises = [stats.binomtest(int(hit), 60, chance).pvalue for hit, chance in zip(hits, chances, strict=True)]
    deviation = np.sqrt(60 * (chances * (1 - chances)).sum())
    assert min(surprises) > 1e-4 and abs(hits.sum() - 60 * chances.sum()) < 4 * deviation


def test_a_longer_prompt_is_read_as_the_loop_reads_it():
    tokens = np.array([[prompt[0], *decoded(prompt[:1], 6)] for prompt in PROMPTS])
    tokens[::3, 4] = 1 + tokens[::3, 4] % (VOCABULARY - 1)
    tokens[5:9, 6] = 0  # too short
    rates = probes.discoverable(MODEL, VARIABLES, tokens, (4, 1, 2), continuation=3)
    long_rows = np.delete(tokens, range(5, 9), 0)
    assert list(rates) == [1, 2, 4] and all(rate.n == 26 for rate in rates.values())
    shares = set()
    for length, rate in rates.items():
        hits = [decoded(row[4 - length : 4], 3) == row[4:7].tolist() for row in long_rows]
        assert rate.value == pytest.approx(np.mean(hits))
        shares.add(rate.value)
    assert len(shares) > 1


def test_what_cannot_be_extracted_is_named():
    seeing = models.from_linen(Seeing())
    other = {"params": {"inner": VARIABLES["params"]}}
    diverged = jax.tree.map(lambda leaf: leaf * jnp.nan, VARIABLES)
    pooled = MODEL._replace(apply=lambda *args, **options: (MODEL.apply(*args, **options)[0][:, 0], {}))
    beyond, tokens = (X + 7, Y + 7 * (Y >= 0)), np.array([[3, 4, 5]])
    gap = np.array([[3, -1, 4]])  # with the tokens that they follow
    for call, words in (
        (lambda: probes.greedy_extraction(MODEL, VARIABLES, X, Y[:, :-1]), "x has shape"),
        (lambda: probes.greedy_extraction(MODEL, VARIABLES, X, Y * 0 - 1), r"y\[0\] has no token that counts"),
        (lambda: probes.greedy_extraction(MODEL, VARIABLES, *beyond), "the model has logits for 0 to 6"),
        (lambda: probes.greedy_extraction(MODEL, VARIABLES, tokens, tokens), r"y\[0, 0\] is 3, and x\[0, 1\] is 4"),
        (lambda: probes.greedy_extraction(MODEL, diverged, X, Y), "the logits of row 0 hold NaN"),
        (lambda: probes.greedy_extraction(seeing, other, X, Y), "expected a causal model"),
        (lambda: probes.greedy_extraction(pooled, VARIABLES, X, Y), r"outputs of shape \(30, 7\)"),
        (lambda: probes.prompts_of(gap, gap), r"y\[0\] has a gap"),
        (lambda: probes.sampled_draws(MODEL, VARIABLES, X, Y, 0, draws=0), "draws=0"),
        (lambda: probes.discoverable(MODEL, VARIABLES, X, (6,), 3), "no row of 30 has 9 tokens"),
        (lambda: probes.discoverable(MODEL, VARIABLES, X, (), 3), "prefix_lengths is empty"),
        (lambda: probes.discoverable(MODEL, VARIABLES, X, (0,), 3), r"prefix_lengths=\(0,\) must hold"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
