"""SHAPr against Shapley's own definition: every subset of seven training records, with ties everywhere."""

from __future__ import annotations

import importlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import metrics


def utility(subset, distance, right, k):
    """Share of K votes for the label, on average over the orders of equal distances."""
    votes, left = 0.0, k
    for d in sorted({distance[i] for i in subset}):
        group = [right[i] for i in subset if distance[i] == d]
        taken = min(left, len(group))
        votes, left = votes + taken * np.mean(group), left - taken
    return votes / k


def brute_force(train, train_y, test, test_y, k):
    n, total = len(train), np.zeros(len(train))
    for point, label in zip(test, test_y, strict=True):
        distance, right = ((train - point[None]) ** 2).sum(-1), train_y == label
        value = {
            subset: utility(subset, distance, right, k)
            for size in range(n + 1)
            for subset in itertools.combinations(range(n), size)
        }
        for i in range(n):
            for subset in value:
                if i not in subset:
                    chance = math.factorial(len(subset)) * math.factorial(n - 1 - len(subset)) / math.factorial(n)
                    total[i] += chance * (value[tuple(sorted((*subset, i)))] - value[subset])
    return total * n / len(test)


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 3, 9]), st.sampled_from([1, 3, 1000]))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_it_is_shapleys_definition(seed, k, values):
    """With outputs of 1 value all are equal, with 3 many are, with 1000 none."""
    rng = np.random.default_rng(seed)
    train, test = rng.integers(0, values, (7, 2)).astype(float), rng.integers(0, values, (2, 2)).astype(float)
    train_y, test_y = rng.integers(0, 3, 7), rng.integers(0, 3, 2)
    expected = brute_force(train, train_y, test, test_y, k)
    np.testing.assert_allclose(metrics.shapr(train, train_y, test, test_y, k), expected, atol=1e-9)


@pytest.mark.parametrize("k", [1, 5])
def test_scores_sum_to_the_accuracy(k):
    rng = np.random.default_rng(0)
    train_y, test_y = rng.integers(0, 4, 200), rng.integers(0, 4, 60)
    train = rng.normal(size=(200, 4)) + 2 * np.eye(4)[train_y]
    test = rng.normal(size=(60, 4)) + 2 * np.eye(4)[test_y]
    nearest = np.argsort(np.linalg.norm(test[:, None] - train[None], axis=-1), -1)[:, :k]
    votes = (train_y[nearest] == test_y[:, None]).mean()
    assert metrics.shapr(train, train_y, test, test_y, k).sum() == pytest.approx(200 * votes)


def recursion(train, train_y, test, test_y):
    """K = 1 without ties, as the paper has it."""
    n, total = len(train), np.zeros(len(train))
    for point, label in zip(test, test_y, strict=True):
        order = np.argsort(((train - point[None]) ** 2).sum(-1))
        right = (train_y[order] == label).astype(float)
        s = right[-1] / n
        total[order[-1]] += s
        for i in range(n - 1, 0, -1):
            s += (right[i - 1] - right[i]) / i
            total[order[i - 1]] += s
    return total * n / len(test)


def test_it_is_the_papers_recursion_in_blocks_of_any_size(monkeypatch):
    rng = np.random.default_rng(1)
    train, test = rng.normal(size=(150, 3)), rng.normal(size=(40, 3))
    train_y, test_y = rng.integers(0, 3, 150), rng.integers(0, 3, 40)
    expected = recursion(train, train_y, test, test_y)
    for block in (1, 150 * 7, 2**20):
        monkeypatch.setattr(importlib.import_module("gecko_jax.metrics.shapr"), "MAX_DISTANCES", block)
        np.testing.assert_allclose(metrics.shapr(train, train_y, test, test_y), expected, atol=1e-9)


def test_equal_records_get_equal_scores_whatever_their_order():
    rng = np.random.default_rng(2)
    train = np.eye(3)[rng.integers(0, 3, 90)]  # saturated outputs
    train_y, test, test_y = rng.integers(0, 3, 90), np.eye(3)[rng.integers(0, 3, 20)], rng.integers(0, 3, 20)
    scores = metrics.shapr(train, train_y, test, test_y, 3)
    order = rng.permutation(90)
    np.testing.assert_allclose(metrics.shapr(train[order], train_y[order], test, test_y, 3), scores[order], atol=1e-9)
    for kind in range(9):
        same = scores[train.argmax(-1) * 3 + train_y == kind]
        np.testing.assert_allclose(same, same[0], atol=1e-9)


def test_one_record_alone():
    assert metrics.shapr([[0.5]], [1], [[0.0], [1.0]], [1, 0]).tolist() == [0.5]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"neighbors": 0}, "neighbors=0"),
        ({"neighbors": 1.5}, "neighbors=1.5"),
        ({"train_outputs": np.zeros((0, 2)), "train_y": np.zeros(0, int)}, "train_outputs is empty"),
        ({"test_outputs": np.zeros(2)}, "test_outputs has shape"),
        ({"test_outputs": np.zeros((1, 3))}, "test_outputs has shape"),
        ({"train_outputs": [[0.0, np.nan], [0.0, 1.0]]}, "train_outputs holds 1 entr"),
        ({"train_y": [0.0, 1.0]}, "train_y has dtype"),
        ({"test_y": [0, 1]}, "test_y has shape"),
    ],
)
def test_bad_input_is_named(setting, words):
    good = {"train_outputs": np.eye(2), "train_y": [0, 1], "test_outputs": np.eye(2)[:1], "test_y": [0]}
    with pytest.raises(ValueError, match=words):
        metrics.shapr(**{**good, **setting})
