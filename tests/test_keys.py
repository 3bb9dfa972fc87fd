"""Named streams: the same words give the same numbers, other words others, in JAX and in NumPy."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax.keys import MAX_SEED, checked_key, generator, stream

WORDS = st.lists(st.one_of(st.integers(0, MAX_SEED), st.sampled_from(["init", "batches", ""])), max_size=4).map(tuple)
ADDRESS = st.tuples(st.integers(0, MAX_SEED), WORDS)


def jax_bits(seed, words):
    return tuple(np.asarray(jax.random.key_data(stream(seed, *words))).tolist())


def numpy_bits(seed, words):
    return tuple(generator(seed, *words).integers(2**63, size=2).tolist())


@pytest.mark.parametrize("bits", [jax_bits, numpy_bits])
@settings(derandomize=True, deadline=None, max_examples=40)
@given(one=ADDRESS, other=ADDRESS)
def test_two_purposes_share_a_stream_only_if_they_are_one(bits, one, other):
    assert bits(*one) == bits(*one)
    assert (bits(*one) == bits(*other)) == (one == other)


@pytest.mark.parametrize("bits", [jax_bits, numpy_bits])
def test_neighbors_differ(bits):
    """Counters at 0, and longer lists of words: NumPy alone takes [5], [5, 0] and [5, 0, 0] for the same entropy."""
    lists = [(), (0,), (0, 0), (0, 0, 0), (0, 0, 0, 0), (1,), (0, 1), (1, 0), ("a",), ("a", 0), ("a", "b"), ("b", "a")]
    drawn = {bits(seed, words) for seed, words in itertools.product((0, 1, 5), lists)}
    assert len(drawn) == 3 * len(lists)


def test_a_key_branches_as_its_seed_does():
    at_once, half = stream(7, "audit", "shadow", 3), stream(stream(7, "audit"), "shadow", 3)
    assert (jax.random.key_data(at_once) == jax.random.key_data(half)).all()


def test_a_stream_is_jax_fold_in():
    by_hand = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 17), 4)
    assert stream(3, 17, 4) == by_hand
    assert stream(np.int64(3), np.uint32(17), 4) == by_hand


def test_a_traced_key_branches_too():
    inside = jax.jit(lambda key: jax.random.key_data(stream(key, "step", 2)))(jax.random.key(1))
    assert (inside == jax.random.key_data(stream(1, "step", 2))).all()


@pytest.mark.parametrize("key", ["a", 1.5, True, -1, 2**32, [1, 2], jax.random.split(jax.random.key(0)), None])
def test_what_is_no_key_is_named(key):
    with pytest.raises(ValueError, match="^key="):
        checked_key("key", key)


@pytest.mark.parametrize("key", [0, np.int64(3), MAX_SEED, 2**127 + 5, jax.random.key(1), jax.random.PRNGKey(1)])
def test_what_is_a_key_passes(key):
    assert (stream(checked_key("key", key)) == stream(key)).all()


@pytest.mark.parametrize("make", [stream, generator])
@pytest.mark.parametrize("bad", [-1, 2**32])
def test_numbers_past_32_bits_are_refused(make, bad):
    with pytest.raises(ValueError, match=rf"seed={bad} must lie between 0 and {MAX_SEED}"):
        make(bad)
    with pytest.raises(ValueError, match=rf"word={bad} must lie between 0 and {MAX_SEED}"):
        make(0, "epoch", bad)
