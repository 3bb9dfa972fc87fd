"""The most exposed records, by naive ranks; histograms of scores, by naive counts."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import audit
from gecko_jax.audit.report import figures
from gecko_jax.audit.report.most_exposed import most_exposed


def test_one_target_gives_its_highest_scores_with_their_false_positive_rates():
    rng = np.random.default_rng(0)
    scores, member = np.round(rng.normal(size=200), 1), rng.random(200) < 0.5
    y, names, x = rng.integers(0, 5, 200), rng.permutation(200) + 1000, rng.random((200, 3, 3, 1))
    actual = most_exposed(scores, member, 12, attack="loss", y=y, id=names, x=x)
    ranked = sorted(np.flatnonzero(member).tolist(), key=lambda i: (-scores[i], i))
    assert actual.rows.tolist() == ranked[:12] and actual.attack == "loss"
    outside = scores[~member]
    for row, score, fpr in zip(actual.rows, actual.score, actual.fpr, strict=True):
        assert score == scores[row] and np.isclose(fpr, sum(outside >= score) / len(outside))
    assert actual.label.tolist() == y[actual.rows].tolist() and actual.id.tolist() == names[actual.rows].tolist()
    np.testing.assert_array_equal(actual.x, x[actual.rows])
    assert actual.targets.tolist() == [1] * 12
    assert len(most_exposed(scores, member, 1000).rows) == member.sum()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 4), st.booleans())
def test_several_targets_by_the_mean_rate_of_those_that_had_it(seed, m, infinite):
    rng = np.random.default_rng(seed)
    scores, member = rng.integers(0, 6, (m, 12)).astype(float), rng.random((m, 12)) < 0.5
    member[:, 0], member[:, 1] = True, False
    if infinite:
        scores[rng.random(scores.shape) < 0.1] = np.inf
        scores[rng.random(scores.shape) < 0.1] = -np.inf
    expected = []
    for row in range(12):
        had = [k for k in range(m) if member[k, row]]
        if not had:
            continue
        above = {
            kind: np.mean([np.mean([s >= scores[k, row] for s in scores[k, member[k] == kind]]) for k in had])
            for kind in (False, True)
        }
        value = sorted(scores[k, row] for k in had)[(len(had) - 1) // 2]
        expected.append((round(above[False], 9), round(above[True], 9), -len(had), row, value))
    expected = sorted(expected)[:5]
    actual = most_exposed(scores, member, 5)
    np.testing.assert_allclose(actual.fpr, [e[0] for e in expected], atol=1e-8)
    assert actual.targets.tolist() == [-e[2] for e in expected]
    assert actual.rows.tolist() == [e[3] for e in expected]
    assert actual.score.tolist() == [e[4] for e in expected]


def test_scores_of_several_targets_are_not_compared():
    rng = np.random.default_rng(1)
    scores, member = rng.normal(size=(3, 60)), rng.random((3, 60)) < 0.5
    plain = most_exposed(scores, member)
    scaled = most_exposed(scores * np.array([[1.0], [1e3], [1e-3]]) + np.array([[0.0], [5.0], [-9.0]]), member)
    np.testing.assert_array_equal(plain.rows, scaled.rows)
    np.testing.assert_array_equal(plain.fpr, scaled.fpr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((1, 1, 1)), np.zeros((1, 1, 1), bool)), "expected .records,. or .targets, records."),
        ((np.array([0.0, np.nan]), np.array([True, False])), "scores holds 1 NaN of 2"),
        ((np.zeros(2), np.ones(2, bool)), "without members or without non-members"),
        ((np.zeros(2), np.array([True, False]), 0), "count=0 must be at least 1"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        most_exposed(*arguments)
    with pytest.raises(ValueError, match="id has 3 rows; expected one for each of 2 records"):
        most_exposed(np.zeros(2), np.array([True, False]), id=np.arange(3))


def reported(**fields):
    rng = np.random.default_rng(2)
    member, y = rng.random(300) < 0.5, rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) + (1.0 + member)[:, None] * np.eye(3)[y]
    return dataclasses.replace(audit.audit_model(logits, y, member), **fields)


def test_json_has_the_rows_and_not_the_records():
    scores, member = np.array([np.inf, 1.0, 0.0, 2.0]), np.array([True, True, False, True])
    x = np.full((4, 32, 32, 3), 0.7654321)
    actual = most_exposed(scores, member, attack="loss", id=np.array([7, 8, 9, 10]), x=x)
    text = reported(most_exposed=actual).to_json()
    plain = json.loads(text, parse_constant=pytest.fail)["most_exposed"]
    assert plain == {
        "attack": "loss",
        "rows": [0, 3, 1],
        "score": ["inf", 2.0, 1.0],
        "fpr": [0.0, 0.0, 0.0],
        "targets": [1, 1, 1],
        "label": None,
        "id": [7, 10, 8],
    }
    assert "0.7654321" not in text
    assert json.loads(reported(most_exposed=None).to_json())["most_exposed"] is None


def naive_bins(edges, values):
    counts = np.zeros(len(edges) - 1, int)
    for value in values:
        inside = [i for i in range(len(counts)) if value >= edges[i]]
        counts[max(inside, default=0)] += 1
    return counts


HEAVY = np.random.default_rng(3).standard_cauchy(500) * 1e6
SCORES = {
    "normal": np.random.default_rng(4).normal(size=500),
    "heavy tails": HEAVY,
    "infinite ends": np.where(np.arange(500) % 50 == 0, np.inf, np.where(np.arange(500) % 49 == 0, -np.inf, HEAVY)),
    "one bit": (np.arange(500) % 3 == 0).astype(float),
    "one score": np.full(500, 3.0),
    "nearly one score": np.where(np.arange(500) == 7, 9.0, 3.0),
    "one large score": np.full(500, 1e30),
    "nothing finite": np.where(np.arange(500) % 2 == 0, np.inf, -np.inf),
    "the largest numbers": np.where(np.arange(500) % 2 == 0, 1.7e308, -1.7e308),
}


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_counted_once_whatever_its_tails(name):
    scores, member = SCORES[name], np.random.default_rng(5).random(500) < 0.4
    actual = figures.score_histogram([scores], member[None])
    assert np.isfinite(actual.edges).all() and (np.diff(actual.edges) > 0).all()
    np.testing.assert_allclose(np.diff(actual.edges), np.diff(actual.edges).mean(), rtol=1e-6)
    np.testing.assert_array_equal(actual.members[0], naive_bins(actual.edges, scores[member]))
    np.testing.assert_array_equal(actual.nonmembers[0], naive_bins(actual.edges, scores[~member]))
    assert actual.clipped == sum(not actual.edges[0] <= score <= actual.edges[-1] for score in scores)
    finite = scores[np.isfinite(scores)]
    if len(finite) and np.abs(finite).max() < 1e300:
        assert max((finite < actual.edges[0]).sum(), (finite > actual.edges[-1]).sum()) <= np.ceil(0.01 * len(finite))


def test_targets_share_their_bins():
    rng = np.random.default_rng(6)
    scores, member = rng.normal(size=(3, 200)), rng.random((3, 200)) < 0.5
    actual = figures.score_histogram(list(scores), member)
    assert actual.members.shape == actual.nonmembers.shape == (3, figures.BINS)
    assert (actual.members + actual.nonmembers).sum() == 600
    assert actual.members.sum(1).tolist() == member.sum(1).tolist()
