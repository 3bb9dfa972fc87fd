"""Hierarchical LiRA against a loop that conditions each record's joint normal distribution on what was seen of it."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_signals import auc, coins
from population_signals import drawn
from scipy import stats

from gecko_jax import attacks
from gecko_jax.types import Signals

SHARES = (0.01, 0.99)


def between(values, member, inside, other):
    """Variance of a side's values that lies between records: all of it but that within, by loops; `other` if unseen."""
    records = [row[seen == inside] for row, seen in zip(values.T, member.T, strict=True)]
    every = np.concatenate(records)
    free = sum(max(len(record) - 1, 0) for record in records)
    total = np.mean((every - every.mean()) ** 2)
    if free:
        other = total - sum(np.sum((record - record.mean()) ** 2) for record in records if len(record)) / free
    return np.clip(other, SHARES[0] * total, SHARES[1] * total), total, every.mean(), records


def by_conditioning(signals, online):
    """Scores by the textbook: of (w, u, the record's models) the joint covariance, conditioned by its inverse."""
    scale = signals.values[~signals.member].std()
    values, target = np.arctan(signals.values / scale), np.arctan(signals.target / scale)
    member, n = signals.member, len(target)
    q = member.mean()
    centered = target - target.mean()
    sides = []
    for inside in (True, False):
        every = values[member == inside]
        pairs = [
            ((values[:, i][member[:, i] == inside].mean() - every.mean()), centered[i])
            for i in range(n)
            if (member[:, i] == inside).any()
        ]
        sides.append(np.mean([a * b for a, b in pairs]))
    both = [i for i in range(n) if member[:, i].any() and not member[:, i].all()]
    mean_in, mean_out = values[member].mean(), values[~member].mean()
    if both:
        shared = np.mean(
            [
                (values[:, i][member[:, i]].mean() - mean_in) * (values[:, i][~member[:, i]].mean() - mean_out)
                for i in both
            ]
        )
        unseen = (sides[0] - (1 - q) * shared) / q, (sides[1] - q * shared) / (1 - q)
    else:
        ratio = sides[0] / sides[1]  # s_in / s_out, as both multiply one number
        s_out = np.sqrt(sides[1] / ((1 - q) + q * ratio))
        unseen, shared = ((ratio * s_out) ** 2, s_out**2), ratio * s_out**2
    (b_in, t_in, _, inner), (b_out, t_out, _, outer) = (
        between(values, member, inside, other) for inside, other in ((True, unseen[0]), (False, unseen[1]))
    )
    limit = 0.99 * np.sqrt(b_in * b_out)
    shared = np.clip(shared, -limit, limit)
    noise_in, noise_out = t_in - b_in, t_out - b_out
    scores = np.empty(n)
    for i in range(n):
        members = inner[i] if online else np.zeros(0)
        seen, c = np.concatenate([members, outer[i]]), len(members)
        loads = np.zeros((len(seen) + 2, 2))  # of w and u on (w, u, models)
        loads[0, 0] = loads[1, 1] = loads[2 : 2 + c, 0] = loads[2 + c :, 1] = 1.0
        covariance = loads @ np.array([[b_in, shared], [shared, b_out]]) @ loads.T
        covariance[2:, 2:] += np.diag([noise_in] * c + [noise_out] * len(outer[i]))
        center = loads @ np.array([mean_in, mean_out])
        gain = covariance[:2, 2:] @ np.linalg.inv(covariance[2:, 2:])
        mean = center[:2] + gain @ (seen - center[2:])
        variance = np.diag(covariance[:2, :2] - gain @ covariance[2:, :2])
        parts = []
        for k, (noise, of_side) in enumerate(((noise_in, members), (noise_out, outer[i]))):
            squares = np.sum((of_side - of_side.mean()) ** 2) if len(of_side) else 0.0
            freedom = 8 + len(of_side)
            record_noise = (8 * noise + squares) / freedom
            spread = np.sqrt(record_noise * (1 + variance[k] / noise))
            parts.append(stats.t(freedom, mean[k], spread).logpdf(target[i]))
        scores[i] = parts[0] - parts[1]
    return scores


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("shadows", [1, 2, 9])
def test_it_is_the_conditioned_normal_distribution(shadows, online):
    signals, _ = drawn("phi", seed=4)
    some = Signals(signals.values[-shadows:], signals.member[-shadows:], signals.target)
    attack = attacks.hierarchical_lira(online)
    np.testing.assert_allclose(attack(some), by_conditioning(some, online), rtol=1e-7, atol=1e-9)


def test_a_complementary_pair_is_completed_by_the_target():
    """No record has two models on a side, and every record has one on each."""
    signals, _ = drawn("phi", seed=5)
    pair = Signals(signals.values[:2], np.stack([signals.member[4], ~signals.member[4]]), signals.target)
    np.testing.assert_allclose(attacks.hierarchical_lira()(pair), by_conditioning(pair, True), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shadows", [1, 2, 4])
def test_with_few_shadows_it_finds_more_than_published_attacks(shadows):
    """Records of unlike hardness, of which hard ones gain most by training: what the prior is made for."""
    rng = np.random.default_rng(shadows)
    member, hardness = coins(rng, shadows + 1, 4000), 6 * rng.normal(size=4000)
    gain = np.where(hardness < 0, 4.0, 1.0)
    phi = hardness + gain * member + 2 * rng.normal(size=member.shape)
    aucs = {}
    for name in ("hierarchical_lira", "bavaria_t", "lira_student", "rmia"):
        attack = attacks.ATTACKS[name]()
        values = phi if attack.signal.name == "phi" else np.logaddexp(0, -phi / 2)
        if shadows >= attack.shadows:
            aucs[name] = auc(attack(Signals(values[1:], member[1:], values[0])), member[0])
    assert max(aucs, key=aucs.get) == "hierarchical_lira"


def test_without_one_side_there_is_no_prior():
    alone = Signals(np.zeros((2, 5)), np.zeros((2, 5), bool), np.zeros(5))
    for member, words in ((alone.member, "had no record"), (~alone.member, "had every record")):
        with pytest.raises(ValueError, match=words):
            attacks.hierarchical_lira()(alone._replace(member=member))


def test_models_that_agree_to_the_bit_are_scored():
    same = Signals(np.ones((4, 6)), np.arange(24).reshape(4, 6) % 5 < 2, np.ones(6))
    assert np.isfinite(attacks.hierarchical_lira()(same)).all()
