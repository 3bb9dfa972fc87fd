"""One matrix in several steps, such as a tied embedding: exact, and without a table of every example."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from one_by_one import check_every_method, clipped_by_hand
from test_clipped_sum import check_equal, compiled

from gecko_jax import clippings
from gecko_jax.privacy.per_example import bookkeeping
from gecko_jax.privacy.per_example.clipped import clipped_sum
from gecko_jax.programs import every_step, trace

RNG = np.random.default_rng(6)
VOCABULARY, WIDTH, EXAMPLES = 40, 16, 4


def tied(table, tokens):
    """Logits of the next tokens through `nn.Embed.attend`."""
    embed = nn.Embed(*table.shape)
    variables = {"params": {"embedding": table}}
    hidden = jnp.tanh(embed.apply(variables, tokens))
    hidden = jnp.cumsum(hidden, axis=0)
    return embed.apply(variables, hidden, method="attend")


def next_tokens(params, tokens, key):
    scores = jax.nn.log_softmax(tied(params["table"], tokens[:-1]))
    return -jnp.mean(jnp.take_along_axis(scores, tokens[1:, None], axis=1))


def both_sides(params, x, key):
    w = params["table"]
    return jnp.sum(jnp.sin(w.T @ jnp.tanh(w @ x)) * jnp.tanh(x @ w.T))


def read_twice(params, index, key):
    """At indices within, below and past the table, by two ways to treat those outside."""
    filled = jnp.nan_to_num(jnp.take(params["table"], index, axis=0, mode="fill"))
    clipped = jnp.take(params["table"], index[::-1] * 2, axis=0, mode="clip")
    return jnp.sum(jnp.sin(filled.sum(axis=0) * clipped.sum(axis=0)))


def tokens(length):
    """The second half of each row repeats the first."""
    drawn = RNG.integers(0, VOCABULARY, (EXAMPLES, length))
    drawn[:, length // 2 :] = drawn[:, : length - length // 2]
    return drawn.astype(np.int32)


def table(*shape):
    return {"table": RNG.normal(size=shape).astype(np.float32) / 4}


CASES = {
    "few tokens": (next_tokens, table(VOCABULARY, WIDTH), tokens(4)),
    "many tokens": (next_tokens, table(VOCABULARY, WIDTH), tokens(16)),
    "a small vocabulary": (next_tokens, table(VOCABULARY, 2 * VOCABULARY), tokens(16)),
    "from both sides": (both_sides, table(WIDTH, WIDTH), RNG.normal(size=(EXAMPLES, WIDTH)).astype(np.float32)),
    "read twice": (read_twice, table(VOCABULARY, WIDTH), RNG.integers(-50, 50, (EXAMPLES, 3)).astype(np.int32)),
}


def fail(*_):
    pytest.fail("the generic way")


def check_exact(name):
    check_every_method(*CASES[name], ways=[("bookkeeping", None)])


@pytest.mark.parametrize("name", CASES)
def test_one_matrix_in_several_steps_is_exact_by_its_rule(name, monkeypatch):
    monkeypatch.setattr(bookkeeping, "_generic", fail)
    check_exact(name)


def largest(loss, params, batch):
    """Numbers in the largest array of the traced clipped sum."""
    program, _ = trace(clipped_sum(loss, clippings.flat(1.0), "bookkeeping"), params, batch)
    return max(np.prod(aval.shape) for step in every_step(program) for aval in step.avals)


def test_a_tied_table_of_few_tokens_is_not_made_for_every_example():
    """Nothing is as large as a table for each of the examples, which the generic way would form."""
    assert largest(*CASES["few tokens"]) < EXAMPLES * VOCABULARY * WIDTH / 2
    assert largest(*CASES["many tokens"]) == EXAMPLES * VOCABULARY * WIDTH  # cheaper there than pairs of positions


@pytest.mark.parametrize("scale", [1e-22, 1e22])
def test_factors_too_small_or_too_large_to_be_squared(scale):
    """The inputs of a product are tiny and its cotangents huge, or the other way around; their products are not."""
    x = RNG.normal(size=(EXAMPLES, 2, VOCABULARY)).astype(np.float32)

    def loss(params, x, key):
        read = params["table"][jnp.array([1, 1, 3])[: x.shape[0] + 1] + jnp.int32(x[0, 0] > 0)]
        return jnp.sum(jnp.sin((x * scale) @ params["table"] / scale)) + jnp.sum(jnp.cos(read))

    params = table(VOCABULARY, WIDTH)
    wanted, lengths = clipped_by_hand(loss, params, x)
    total, norms = compiled(clipped_sum(loss, clippings.flat(1.0), "bookkeeping"))(params, x)
    np.testing.assert_allclose(norms, lengths, rtol=1e-5)
    check_equal(total, wanted)


def test_an_example_that_is_not_finite_leaves_the_others_sum():
    loss, params, batch = CASES["few tokens"]
    factors = np.ones(EXAMPLES, np.float32)
    factors[1] = np.inf
    scaled = lambda params, example, key: loss(params, example[0], key) * example[1]  # noqa: E731
    total, norms = compiled(clipped_sum(scaled, clippings.flat(1.0), "bookkeeping"))(params, (batch, factors))
    wanted, _ = clipped_by_hand(loss, params, np.delete(batch, 1, axis=0))
    check_equal(total, wanted)
    assert not np.isfinite(norms[1]) and np.isfinite(norms).sum() == EXAMPLES - 1
