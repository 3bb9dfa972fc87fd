"""A bound below a claimed epsilon needs members by fair coins; of a fixed split none is shown, and that is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from gecko_jax import audit
from gecko_jax.audit.report.privacy_claim import evidence_of_fixed_split
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Examples

CLAIM = Epsilon(8.0, 1e-5, "add_or_remove", "pld", ())
N = 400


def audited(member, leak=0.0, epsilon=CLAIM, **settings):
    """By `audit`, whose records come as members and non-members, known by their ids alone."""
    rng = np.random.default_rng(0)
    ids, y = np.arange(len(member)), rng.integers(0, 3, len(member))
    x = np.column_stack([rng.normal(size=(len(member), 3)) + leak * member[:, None] * np.eye(3)[y], ids])
    parts = (Examples(x[rows], y[rows], ids[rows]) for rows in (member, ~member))
    return audit.audit(lambda x: x[:, :3], *parts, claimed_epsilon=epsilon, **settings)


SPLITS = {
    "the first half": np.arange(N) < N // 2,
    "the last half": np.arange(N) >= N // 2,
    "every second": np.arange(N) % 2 == 0,
    "blocks of twenty": np.arange(N) // 20 % 2 == 0,
    "three of four": np.random.default_rng(1).random(N) < 0.75,
}


@pytest.mark.parametrize("name", SPLITS)
def test_a_fixed_split_shows_nothing_about_epsilon(name, tmp_path):
    report = audited(SPLITS[name])
    assert report.claim.empirical_lower_bound is None
    assert json.loads(report.to_json())["claim"]["empirical_lower_bound"] is None
    page = report.html(tmp_path / "page.html").read_text()
    for text in (report.table(), page):
        assert "bound: none, because members " in text and "a fixed split" in text
        assert "by fair coins;" not in text and "in by fair coins" not in text and "coins=True" in text
    assert report.ceilings["auc"] > 0.99  # the claim stands, and what it allows


def test_no_claim_is_refuted_by_a_fixed_split_that_differs():
    tiny = CLAIM._replace(value=0.01)
    assert audited(SPLITS["the first half"], leak=5.0, epsilon=tiny).claim.empirical_lower_bound is None
    with pytest.raises(audit.ClaimRefuted):
        audited(SPLITS["the first half"], leak=5.0, epsilon=tiny, coins=True)


def test_coins_are_confirmed_or_assumed():
    member = np.random.default_rng(2).random(N) < 0.5
    silent, confirmed, denied = (audited(member, coins=coins) for coins in (None, True, False))
    assert "assumed to have been in by a fair coin (coins=True confirms it)" in silent.claim.how
    assert "400 records in by fair coins" in confirmed.claim.how
    assert denied.claim.empirical_lower_bound is None and "coins=False" in denied.claim.how
    assert silent.claim.empirical_lower_bound == confirmed.claim.empirical_lower_bound


def test_fair_coins_are_hardly_ever_doubted_and_numbers_alone_can_be():
    rng = np.random.default_rng(3)
    assert not any(evidence_of_fixed_split(rng.random((4, 60)) < 0.5, np.arange(60)) for _ in range(300))
    # A share of members is doubted as a two-sided binomial test does.
    for count in range(120, 201, 5):
        member = np.random.default_rng(4).permutation(400) < count
        assert bool(evidence_of_fixed_split(member[None])) == (stats.binomtest(count, 400).pvalue < 1e-6)
    # Runs are counted in the order of the ids, whatever the order of the rows, and of names as well.
    order = rng.permutation(N)
    first = SPLITS["the first half"]
    for ids in (order, np.array([f"{i:05d}" for i in order]), order - 10**6):
        assert "change between members and non-members 1 times" in evidence_of_fixed_split((order < N // 2)[None], ids)
    assert evidence_of_fixed_split(first[None]) == "" and evidence_of_fixed_split(first[None], rng.permutation(N)) == ""


@pytest.mark.parametrize("epsilon", [8.0, "8", {"epsilon": 8}, CLAIM._replace(adjacency="replace_one")])
def test_a_claim_that_cannot_be_held_is_refused_before_any_work(epsilon):
    def predict(x):
        raise AssertionError("work was done")

    members = Examples(np.zeros((4, 2)), np.zeros(4, int), np.arange(4))
    others = Examples(np.ones((4, 2)), np.zeros(4, int), np.arange(4, 8))
    with pytest.raises(ValueError, match="epsilon"):
        audit.audit(predict, members, others, claimed_epsilon=epsilon)
    with pytest.raises(ValueError, match="coins='fair'"):
        audit.audit(predict, members, others, coins="fair")
    with pytest.raises(ValueError, match="epsilon"):
        audit.audit_model(None, None, None, claimed_epsilon=epsilon)
    with pytest.raises(ValueError, match="epsilon"):
        audit.audit_models(None, None, None, claimed_epsilon=epsilon)
