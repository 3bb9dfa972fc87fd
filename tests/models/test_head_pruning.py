"""Heads that are switched off or removed against NumPy; the A* search against all 16 sets of four heads."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ttest_1samp
from transformer_by_hand import random_params, transformer

from gecko_jax import models, quantizers
from gecko_jax.types import Examples

MODEL = models.create("transformer", 32, layers=2, width=12, heads=2, max_length=8, mlp_width=8)
ROWS = np.random.default_rng(1).integers(1, 32, (40, 8)).astype(np.int32)
SHAPES = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.asarray(ROWS))
VARIABLES = {"params": random_params(SHAPES["params"], seed=8)}
ALL = [("block0", 0), ("block0", 1), ("block1", 0), ("block1", 1)]
SETS = [set(removed) for k in range(5) for removed in itertools.combinations(range(4), k)]


def gates_of(removed):
    return np.array([i not in removed for i in range(4)], float).reshape(2, 2)


@pytest.fixture(scope="module")
def by_hand():
    """Logits [40, 8, 32] with each set of heads removed, and labels that the whole model predicts where they count."""
    logits = {tuple(s): transformer(VARIABLES["params"], ROWS, head_width=6, gates=gates_of(s)) for s in SETS}
    labels = logits[()].argmax(-1).astype(np.int32)
    labels[::3, 5:] = -1
    return logits, labels


def halves(labels):
    return [Examples(ROWS[part], labels[part], np.arange(40)[part]) for part in (slice(0, 20), slice(20, 40))]


def accuracy(logits, labels, part):
    counts = labels[part] >= 0
    return ((logits[part].argmax(-1) == labels[part]) & counts).sum() / counts.sum()


gated = jax.jit(lambda variables, x, gates: models.apply_gated(MODEL, variables, x, gates))


@pytest.mark.parametrize("removed", [{"block0": [0, 1], "block1": [0]}, {"block0": [0], "block1": [0, 1]}])
def test_what_is_removed_is_what_is_switched_off(removed, by_hand):
    numbers = {i for i, (block, head) in enumerate(ALL) if head in removed.get(block, ())}
    expected = by_hand[0][tuple(numbers)]
    gates = {f"block{i}": jnp.asarray(row) for i, row in enumerate(gates_of(numbers).astype(np.float32))}
    np.testing.assert_allclose(gated(VARIABLES, ROWS, gates), expected, rtol=2e-3, atol=2e-3)
    smaller = models.without_heads(MODEL, VARIABLES, removed)
    np.testing.assert_allclose(jax.jit(smaller.model.apply)(smaller.variables, ROWS)[0], expected, rtol=2e-3, atol=2e-3)
    left = models.heads_of(smaller.model, smaller.variables, ROWS)
    assert left == {b: n for b in ("block0", "block1") if (n := 2 - len(removed.get(b, ())))}
    before, after = (sum(leaf.size for leaf in jax.tree.leaves(v)) for v in (VARIABLES, smaller.variables))
    bare = sum(len(heads) == 2 for heads in removed.values())  # blocks without attention lose a norm and a bias as well
    assert before - after == len(numbers) * (4 * 12 * 6 + 3 * 6) + bare * 3 * 12
    again = models.without_heads(*smaller, {})
    assert jax.tree.map(jnp.shape, again.variables) == jax.tree.map(jnp.shape, smaller.variables)


@pytest.mark.parametrize("floor", [0.1, 0.6, 0.7, 0.95])
def test_the_search_finds_the_largest_set_that_keeps_the_floor(floor, by_hand):
    logits, labels = by_hand
    data, held_out = halves(labels)
    family = [s for s in SETS if accuracy(logits[tuple(s)], labels, slice(0, 20)) >= floor]
    assert all(s - {head} in family for s in family for head in s)  # what the search assumes holds here
    largest = max(map(len, family))
    pruned = models.prune_heads(MODEL, VARIABLES, data, held_out, floor=floor, confidence=0.5)
    assert pruned.at_most == largest and pruned.full_accuracy.value == 1.0
    numbers = {i for i, (block, head) in enumerate(ALL) if head in pruned.removed[block]}
    expected = accuracy(logits[tuple(numbers)], labels, slice(20, 40))
    assert pruned.share == len(numbers) / 4 and pruned.evaluations <= 16
    np.testing.assert_allclose(pruned.accuracy.value, expected, atol=1e-9)
    assert floor <= pruned.accuracy.low <= pruned.accuracy.value
    predicted = pruned.model.apply(pruned.variables, held_out.x)[0].argmax(-1)
    counts = held_out.y >= 0
    np.testing.assert_allclose(((predicted == held_out.y) & counts).sum() / counts.sum(), expected, atol=1e-9)


def test_the_lower_bound_is_the_ratio_s():
    """On rows of equal length the ratio is the mean of the rows' accuracies, and the bound Student's t of them."""


    labels = np.random.default_rng(5).integers(0, 32, ROWS.shape).astype(np.int32)
    truth = transformer(VARIABLES["params"], ROWS, head_width=6).argmax(-1)
    labels[:, :5] = truth[:, :5]
    labels[::4, :2] = 0
    data, held_out = halves(labels)
    pruned = models.prune_heads(MODEL, VARIABLES, data, held_out, floor=0.5, confidence=0.9)
    rows = (truth[20:] == labels[20:]).mean(1)
    interval = ttest_1samp(rows, 0.0, alternative="greater").confidence_interval(0.9)
    np.testing.assert_allclose(pruned.full_accuracy[:2], [rows.mean(), interval.low], rtol=1e-6)
    assert pruned.full_accuracy.n == 20


def test_a_limit_on_the_drop_compares_rows_with_themselves(by_hand):
    logits, labels = by_hand
    labels = np.where(labels >= 0, labels, 0)
    labels[:, 6:] = (labels[:, 6:] + 1) % 32  # never predicted, with or without heads
    data, held_out = halves(labels)
    pruned = models.prune_heads(MODEL, VARIABLES, data, held_out, max_drop=0.3, confidence=0.9)
    numbers = {i for i, (block, head) in enumerate(ALL) if head in pruned.removed[block]}
    hits = {s: (logits[s][20:].argmax(-1) == labels[20:]).mean(1) for s in ((), tuple(sorted(numbers)))}
    drops = hits[()] - hits[tuple(sorted(numbers))]
    interval = ttest_1samp(drops, 0.0, alternative="less").confidence_interval(0.9)
    assert 0 < len(numbers) < 4 and pruned.drop.n == 20
    np.testing.assert_allclose([pruned.drop.value, pruned.drop.high], [drops.mean(), interval.high], rtol=1e-6)
    assert pruned.drop.high <= 0.3 and pruned.accuracy.value == pytest.approx(hits[tuple(sorted(numbers))].mean())
    strict = models.prune_heads(MODEL, VARIABLES, data, held_out, max_drop=0.01)
    assert strict.share == 0 and strict.drop.high == 0 and strict.accuracy == strict.full_accuracy


def test_a_budget_ends_the_search_and_says_what_is_left(by_hand):
    data, held_out = halves(by_hand[1])
    pruned = models.prune_heads(MODEL, VARIABLES, data, held_out, floor=0.3, max_evaluations=5)
    assert pruned.evaluations == 5 and sum(map(len, pruned.removed.values())) <= 1 <= pruned.at_most


def test_bad_arguments_of_head_pruning(by_hand):
    data, held_out = halves(by_hand[1])
    wrong = data._replace(y=(data.y + 1) % 32)
    quantized = models.quantized(MODEL, [("mlp", quantizers.uniform(4), None)])
    for arguments, options, message in (
        ((MODEL, VARIABLES, wrong, held_out), dict(floor=0.9), "the whole model has an accuracy of 0.0"),
        ((MODEL, VARIABLES, data, wrong._replace(id=held_out.id)), dict(floor=0.9), "cannot be certified even with"),
        ((MODEL, VARIABLES, data, data), dict(floor=0.5), "20 ids are in data and in held_out"),
        ((MODEL, VARIABLES, data, held_out), dict(floor=1.5), "floor=1.5"),
        ((MODEL, VARIABLES, data, held_out), dict(max_drop=-1), "max_drop=-1"),
        ((MODEL, VARIABLES, data, held_out), dict(), "floor=None and max_drop=None: give one"),
        ((MODEL, VARIABLES, data, held_out), dict(floor=0.5, max_drop=0.1), "give one of the two"),
        ((MODEL, VARIABLES, data, held_out), dict(floor=0.5, confidence=1.0), "confidence=1.0"),
        ((MODEL, VARIABLES, data._replace(y=data.y[:, :3]), held_out), dict(floor=0.5), r"y \(20, 3\)"),
        ((quantized, VARIABLES, data, held_out), dict(floor=0.5), "built by create, then quantized"),
    ):
        with pytest.raises(ValueError, match=message):
            models.prune_heads(*arguments, **options)
    with pytest.raises(ValueError, match=r"removed\['block2'\]"):
        models.without_heads(MODEL, VARIABLES, {"block2": [0]})
    with pytest.raises(ValueError, match=r"removed\['block0'\]=\[2\]"):
        models.without_heads(MODEL, VARIABLES, {"block0": [2]})
    mlp = models.create("mlp", 2, hidden=())
    with pytest.raises(ValueError, match="calls no attention of models.Transformer"):
        models.heads_of(mlp, mlp.init(jax.random.key(0), jnp.ones((1, 3))), jnp.ones((1, 3)))
