"""A privacy claim against what attacks show: held where the noise is as accounted for, refuted where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit, metrics, privacy
from gecko_jax.audit.report.privacy_claim import ClaimCheck, check_claim, claim_attack
from gecko_jax.privacy import Epsilon

N = 2000


def claimed(value, adjacency="add_or_remove"):
    return Epsilon(value, 1e-5, adjacency, "pld", ())


def released(seed, sigma, n=N):
    """(scores, member): each record's coin, released with Gaussian noise of its own; sensitivity 1."""
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.5
    return member + sigma * rng.normal(size=n), member


def test_an_honest_claim_holds_and_the_bound_is_that_of_the_metrics():
    true = metrics.gaussian_epsilon(1 / 2.0, 1e-5)
    for seed in range(5):
        scores, member = released(seed, sigma=2.0)
        actual = check_claim(claimed(true), "loss", [scores], member[None])
        wanted = metrics.one_run_epsilon_from_scores(scores, member, [40, 200, 1000], 1e-5, 0.95)
        assert isinstance(actual, ClaimCheck) and actual.empirical_lower_bound.value == wanted.value <= true
        assert (actual.empirical_lower_bound.kind, actual.claimed_epsilon.kind) == ("measured", "modeled")


def test_too_little_noise_is_found_out():
    """A tenth of the noise that was accounted for."""
    true = metrics.gaussian_epsilon(1 / 2.0, 1e-5)
    scores, member = released(0, sigma=0.2)
    with pytest.raises(audit.ClaimRefuted, match="accounted epsilon 1.9.*Check that the noise is on the sum"):
        check_claim(claimed(true), "loss", [scores], member[None])


def test_nothing_is_refuted_by_chance():
    """At epsilon 0 in fact, and 0 claimed, of several targets: at most one audit in twenty is wrong."""
    refuted = 0
    for seed in range(60):
        drawn = [released(100 * seed + k, sigma=1e9, n=200) for k in range(3)]
        try:
            check_claim(claimed(0.0), "loss", [one for one, _ in drawn], np.stack([row for _, row in drawn]))
        except audit.ClaimRefuted:
            refuted += 1
    assert refuted <= 8  # of 60 at 5 %: more than 8 once in 500 suites, were the error the full 5 %


def outputs(leak, models=3, n=600):
    rng = np.random.default_rng(0)
    member, y = rng.random((models, n)) < 0.5, rng.integers(0, 3, n)
    logits = rng.normal(size=(models, n, 3)) + (leak * member)[..., None] * np.eye(3)[y]
    return logits, y, member


def test_an_audit_prints_the_claim_above_the_bound_and_raises():
    logits, y, member = outputs(leak=3.0)
    report = audit.audit_models(logits, y, member, [attacks.loss()], claimed_epsilon=claimed(8.0))
    lines = report.table().splitlines()
    above = next(i for i, line in enumerate(lines) if line.startswith("Accounted: epsilon 8 at delta 1e-05, modeled"))
    bound = report.claim.empirical_lower_bound.value
    assert lines[above + 1].startswith(f"Empirical lower bound: epsilon >= {bound:.3f} at the same delta, measured")
    assert "the largest of 3 targets" in lines[above + 1] and 0.5 < bound < 8
    assert '"claim"' in report.to_json()
    with pytest.raises(audit.ClaimRefuted, match="the claim is refuted: accounted epsilon 0.100"):
        audit.audit_models(logits, y, member, [attacks.loss()], claimed_epsilon=claimed(0.1))
    one = audit.audit_model(logits[0], y, member[0], claimed_epsilon=claimed(8.0))
    assert one.claim.how.startswith("loss guessed") and audit.audit_model(logits[0], y, member[0]).claim is None


def test_the_judge_is_named_beforehand():
    assert claim_attack(["confidence", "loss", "rmia", "lira"]) == "lira"
    assert claim_attack(["gap", "confidence"]) == "gap"


def test_what_the_bound_cannot_speak_of_is_refused():
    scores, member = released(0, 1.0)
    with pytest.raises(ValueError, match="adjacency 'replace_one'.*add_or_remove"):
        check_claim(claimed(1.0, "replace_one"), "loss", [scores], member[None])
    with pytest.raises(ValueError, match="fair coins do not"):
        check_claim(claimed(1.0), "loss", [scores], (np.arange(N) < 100)[None])


def test_an_accountants_own_epsilon_is_taken():
    sampling = privacy.poisson(1000, 100, 50)
    accounted = privacy.epsilon(sampling, 1.0, 1e-5)
    scores, member = released(0, 1e3)
    assert "noise multiplier 1" in check_claim(accounted, "loss", [scores], member[None]).lines()[0]
