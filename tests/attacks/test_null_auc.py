"""Where nothing leaks, the mean AUC of many small audits is 1/2: no attack, design or area under a curve adds to it.

The area under the convex hull of a curve, say, is .577 on 50 + 50 records of noise.
"""

from __future__ import annotations

import numpy as np
import pytest
from drawn_signals import balanced, coins
from scipy import stats

from gecko_jax import attacks, metrics
from gecko_jax.types import Signals

REPEATS, RECORDS, MODELS = 2500, 100, 9
WITHIN = 0.005  # more than four standard errors: .058 of one audit of 50 + 50, over the root of 2500, is .0012


def noise(name):
    """[models, repeats * records]: records of different hardness, and nothing of who was a member."""
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(MODELS, REPEATS * RECORDS)) + 2 * rng.normal(size=REPEATS * RECORDS)[None]
    return phi if name == "phi" else np.log1p(np.exp(-phi))


def halves(rng, records):
    """[repeats * records]: exactly half of each audit's records are members."""
    return (rng.random((REPEATS, records)).argsort(1) < records // 2).reshape(-1)


def mean_auc(scores, member):
    """Over audits of RECORDS records that stand behind one another."""
    scores, member = scores.reshape(-1, RECORDS), member.reshape(-1, RECORDS)
    inside, outside = member.sum(1), (~member).sum(1)
    ranks = (stats.rankdata(scores, axis=1) * member).sum(1)
    aucs = (ranks - inside * (inside + 1) / 2) / (inside * outside)
    few = [metrics.roc_auc(*one) for one in zip(scores[:200], member[:200], strict=True)]
    np.testing.assert_allclose(few, aucs[:200])
    return aucs.mean()


@pytest.mark.parametrize("design", [coins, balanced])
@pytest.mark.parametrize("name", ["loss", "lira", "lira_example", "lira_offline"])
def test_a_target_beside_its_shadows(name, design):
    attack, rng = attacks.ATTACKS[name](), np.random.default_rng(1)
    values, member = noise(attack.signal.name), design(rng, MODELS, REPEATS * RECORDS)
    scores = attack(Signals(values[1:], member[1:], values[0]))
    assert abs(mean_auc(scores, halves(rng, RECORDS)) - 0.5) < WITHIN


@pytest.mark.parametrize("name", ["loss", "lira"])
def test_every_model_a_target_over_coins(name):
    attack = attacks.ATTACKS[name]()
    values, member = noise(attack.signal.name), coins(np.random.default_rng(2), MODELS, REPEATS * RECORDS)
    scores = attacks.leave_one_out(attack, values, member)
    assert abs(mean_auc(scores[:3], member[:3]) - 0.5) < WITHIN


def test_every_model_a_target_over_pairs_is_biased():
    """Why members are drawn by coins: of complementary pairs, the other models tell a target's members."""
    half = coins(np.random.default_rng(3), MODELS // 2, REPEATS * RECORDS)
    values, member = noise("phi")[1:], np.concatenate([half, ~half])
    scores = attacks.leave_one_out(attacks.lira(), values, member)
    assert mean_auc(scores[:2], member[:2]) < 0.49


@pytest.mark.parametrize("name", ["rmia", "base"])
def test_where_something_leaks_pairs_flatter_attacks_on_a_ratio(name):
    """Upwards: fewer of the others had a target's member than had its non-member, and so their mean chance is lower."""
    attack, rng, n, models = attacks.ATTACKS[name](), np.random.default_rng(4), 10_000, 8
    half = coins(rng, models // 2, n)
    member, apart = np.concatenate([half, ~half]), coins(rng, models, n)
    hardness, y = 1.5 * rng.normal(size=n), np.zeros(n, int)

    def signal(inside):
        logits = np.zeros((models, n, 3))
        logits[..., 0] = hardness[None] + rng.normal(size=(models, n)) + inside
        return attack.signal(logits, y)

    values, targets = signal(member), signal(apart)
    of_the_design = attacks.leave_one_out(attack, values, member)
    independent = [attack(Signals(values, member, target)) for target in targets]
    results = [
        np.mean([metrics.roc_auc(*one) for one in zip(scores, truth, strict=True)])
        for scores, truth in ((of_the_design, member), (independent, apart))
    ]
    # The standard error of each is .005 / sqrt(8) or so.
    assert results[0] - results[1] > 0.01
