"""Attacks with shadow models against loops over records that follow the papers' formulae, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from population_signals import beside, drawn, unseen
from scipy import stats

from gecko_jax import attacks
from gecko_jax.attacks.rmia import DEFAULT_A, GRID, best_a
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Signals

N = 40


def of_side(signals, i, inside):
    """The values of record i under the models of one side."""
    return [signals.values[k, i] for k in range(len(signals.values)) if signals.member[k, i] == inside]


def everything(signals, inside):
    """(mean of all values of a side, their variance, the variance within a record) by plain loops."""
    records = [of_side(signals, i, inside) for i in range(signals.values.shape[1])]
    flat = [value for record in records for value in record]
    mean = math.fsum(flat) / len(flat)
    within = math.fsum((v - math.fsum(r) / len(r)) ** 2 for r in records for v in r)
    return mean, math.fsum((v - mean) ** 2 for v in flat) / len(flat), within / sum(max(len(r) - 1, 0) for r in records)


def distribution(signals, i, inside, variance, totals):
    """The distribution of record i's signal on one side, as scipy has it; totals of `everything` on that side."""
    values, (mean, total, pooled) = of_side(signals, i, inside), totals
    c = len(values)
    mu = math.fsum(values) / c if c else mean
    squares = math.fsum((v - mu) ** 2 for v in values)
    if variance == "student":
        a, b = 4 + c / 2, 4 * pooled + squares / 2
        scale = math.sqrt(b * (c + 1) / (a * c)) if c else math.sqrt(total)
        return stats.t(2 * a, mu, scale)
    of_record = squares / (c - 1) if variance == "example" and c > 1 else pooled
    return stats.norm(mu, math.sqrt(of_record if c else total))


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("variance", ["global", "example", "student"])
@pytest.mark.parametrize("online", [True, False])
def test_lira_is_the_papers(online, variance, queries):
    """Eight variants and more: with one query and several, the mean over them."""
    each = [drawn("phi", seed)[0] for seed in range(queries)]
    each = [query._replace(member=each[0].member) for query in each]
    wanted = np.zeros(N)
    for signals in each:
        outer, inner = everything(signals, False), everything(signals, True)
        for i in range(N):
            outside = distribution(signals, i, False, variance, outer)
            if online:
                inside = distribution(signals, i, True, variance, inner)
                wanted[i] += inside.logpdf(signals.target[i]) - outside.logpdf(signals.target[i])
            else:
                wanted[i] += outside.logcdf(signals.target[i])
    attack = attacks.lira(online, variance)
    results = attack(each[0] if queries == 1 else each)
    np.testing.assert_allclose(results, wanted / queries, rtol=1e-9, atol=1e-12)
    listed = attacks.ATTACKS[attack.name]()
    np.testing.assert_array_equal(listed(each[0]), attack(each[0]))


def test_lira_keeps_the_order_of_far_records():
    """Offline, a signal 30 deviations above OUT's is a member before one of 25: neither is rounded to certainty."""
    values = np.tile(np.arange(4.0)[:, None], (1, 3))
    signals = Signals(values, np.zeros((4, 3), bool), np.array([25.0, 30.0, -30.0]))
    for variance in ("global", "student"):
        low, high, never = attacks.lira(online=False, variance=variance)(signals)
        assert never < low < high <= 0


def test_lira_takes_infinite_and_equal_signals():
    """phi of rounded probabilities is infinite, and saturated models agree to the last bit."""
    signals, _ = drawn("phi")
    values = signals.values.copy()
    values[0, 5], values[:, 6] = np.inf, 3.0
    target = signals.target.copy()
    target[7] = -np.inf
    for name in attacks.ATTACKS:
        attack = attacks.ATTACKS[name]()
        if attack.signal.name == "phi":
            assert np.isfinite(attack(Signals(values, signals.member, target))).all()


def chances(signals, i, a):
    """p(x) of RMIA: a mean over references, offline with a."""
    p = [math.exp(-v) for v in signals.values[:, i]]
    if a is None:
        return math.fsum(p) / len(p)
    outside = [v for v, inside in zip(p, signals.member[:, i], strict=True) if not inside] or p
    return ((1 + a) * math.fsum(outside) / len(outside) + 1 - a) / 2


@pytest.mark.parametrize("a", [None, 0.0, 0.3, 1.0])
def test_rmia_is_the_papers(a):
    signals, _ = drawn("loss")
    population = unseen("loss", seed=1, records=25)
    settings = dict(online=a is None, a=a, signal=SIGNALS["loss"])
    ratio = [math.exp(-signals.target[i]) / chances(signals, i, a) for i in range(N)]
    others = [math.exp(-population.target[z]) / chances(population, z, a) for z in range(25)]
    np.testing.assert_allclose(attacks.rmia(**settings)(signals), np.log(ratio), rtol=1e-9, atol=1e-12)
    share = [np.mean([x / z >= 1 for z in others]) for x in ratio]
    results = attacks.rmia(**settings, ties="counted")(beside(signals, population))
    np.testing.assert_allclose(results, share, atol=1e-12)
    # Broken ties change no order that the shares have, and leave none.
    broken = attacks.rmia(**settings)(beside(signals, population))
    assert len(np.unique(broken)) == len(np.unique(ratio)) and len(np.unique(share)) < 26
    assert [broken[i] > broken[j] for i in range(N) for j in range(N)] == [x > z for x in ratio for z in ratio]
    np.testing.assert_allclose(np.floor(broken * 26 + 1e-9) / 25, share)


def test_rmia_chooses_a_on_its_references():
    """By the mean AUC over references that play the target; the target itself has no say."""
    signals, _ = drawn("loss", models=4)
    by_hand = []
    for a in GRID:
        aucs = []
        for k in range(4):
            others = [j for j in range(4) if j != k]
            fake = Signals(signals.values[others], signals.member[others], signals.values[k])
            ratio = np.array([-fake.target[i] - math.log(chances(fake, i, a)) for i in range(N)])
            stored = np.array([not all(fake.member[:, i]) for i in range(N)])
            gap = ratio[stored & signals.member[k]][:, None] - ratio[stored & ~signals.member[k]]
            aucs.append((gap > 0).mean() + (gap == 0).mean() / 2)
        by_hand.append(np.mean(aucs))
    assert by_hand[round(10 * best_a(signals))] == pytest.approx(max(by_hand))
    assert best_a(signals._replace(target=-signals.target)) == best_a(signals)
    assert best_a(Signals(signals.values[:1], signals.member[:1], signals.target)) == DEFAULT_A
    pair = signals.member[:2].copy()
    pair[1] = ~pair[0]  # who the one has not seen the other has: the fake target's members would be known
    assert best_a(Signals(signals.values[:2], pair, signals.target)) == DEFAULT_A
    chosen, results = attacks.rmia(online=False, a=best_a(signals)), attacks.rmia(online=False)
    np.testing.assert_array_equal(chosen(signals), results(signals))


@pytest.mark.parametrize("online", [True, False])
def test_base_is_the_papers(online):
    signals, _ = drawn("loss")
    wanted = []
    for i in range(N):
        p = [math.exp(-v) for v, m in zip(signals.values[:, i], signals.member[:, i], strict=True) if online or not m]
        p = p or [math.exp(-v) for v in signals.values[:, i]]
        wanted.append(-signals.target[i] - math.log(math.fsum(p) / len(p)))
    np.testing.assert_allclose(attacks.base(online)(signals), wanted, rtol=1e-9, atol=1e-12)


def test_certain_records_keep_their_order():
    """p is 1 in float64 where the loss is below 1e-16; the losses themselves still differ."""
    losses = np.array([1e-20, 1e-25, 1e-30])
    signals = Signals(np.full((2, 3), 2e-20), np.array([[True] * 3, [False] * 3]), losses)
    for attack in (attacks.rmia(), attacks.base(), attacks.base(online=False), attacks.rmia(online=False, a=1.0)):
        scores = attack(signals)
        np.testing.assert_allclose(scores, 2e-20 - losses, rtol=1e-6)
        assert (np.diff(scores) > 0).all()


def test_ranks_and_differences_by_loops():
    signals, _ = drawn("loss")
    seen = unseen("loss", seed=2)
    population = seen.target
    outside = [of_side(signals, i, False) or list(signals.values[:, i]) for i in range(N)]
    half = lambda x, others: np.mean([(o > x) + (o == x) / 2 for o in others])  # noqa: E731
    wanted = [half(signals.target[i], outside[i]) for i in range(N)]
    np.testing.assert_allclose(attacks.reference_rank()(signals), wanted, atol=1e-12)
    wanted = [np.mean(outside[i]) - signals.target[i] for i in range(N)]
    np.testing.assert_allclose(attacks.calibrated_loss()(signals), wanted, atol=1e-12)
    wanted = [half(x, population) for x in signals.target]
    np.testing.assert_allclose(attacks.population_rank()(beside(signals, seen)), wanted, atol=1e-12)
    assert attacks.population_rank()(beside(signals, seen)._replace(target=population)) == pytest.approx(
        [half(x, population) for x in population]
    )


def test_shokri_has_a_network_for_each_class():
    """Members are surer in class 0 and less sure in class 1: only one network for each can tell both."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 200)
    member = rng.random((4, 400)) < 0.5
    sure = np.where(y == 0, 1.0, -1.0) * np.where(member, 1.0, -1.0) + 0.3 * rng.normal(size=member.shape)
    logits = np.stack([sure, -sure], -1)
    logits[:, y == 1] = logits[:, y == 1][..., ::-1]
    scores = {}
    for name in ("salem", "shokri"):
        attack = attacks.ATTACKS[name]()
        values = attack.signal(logits + 2 * np.eye(2)[y], y)
        scores[name] = attack(Signals(values[1:], member[1:], values[0]))
    right = {name: ((results > 0) == member[0]).mean() for name, results in scores.items()}
    assert right["shokri"] > 0.95 > 0.8 > right["salem"]


def test_what_cannot_be_asked_is_refused():
    one_kind = Signals(np.zeros((2, 5, 3)), np.ones((2, 5), bool), np.zeros((5, 3)))
    for call, words in (
        (lambda: attacks.lira(variance="fixed"), "variance='fixed' is not known"),
        (lambda: attacks.rmia(a=0.5), "belongs to the offline form"),
        (lambda: attacks.rmia(online=False, a=1.5), "a=1.5 must lie between 0.0 and 1.0"),
        (lambda: attacks.rmia(ties="kept"), "ties='kept' is not known"),
        (lambda: attacks.rmia(signal=SIGNALS["phi"]), "signal 'phi' is larger for members"),
        (lambda: attacks.salem()(one_kind), "all members or all not"),
        (lambda: attacks.lira()([]), "signals is empty"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
