"""BaVarIA and the ladder BASE2 to BASE4 against loops over records with scipy's distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from population_signals import drawn
from scipy import stats

from gecko_jax import attacks
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Signals

N = 30


def of_side(signals, i, inside):
    return signals.values[signals.member[:, i] == inside, i]


def predictive(signals, i, inside, form, seen=True):
    """The published normal-inverse-gamma update, in its textbook form, of record i on one side."""
    every = signals.values[signals.member == inside]
    a0 = 2.0 if form == "t" else 1.0
    mu0, b0 = np.mean(every), np.var(every) * (a0 - 1 if a0 > 1 else 1)
    values = of_side(signals, i, inside) if seen else np.zeros(0)
    n, mean = len(values), np.mean(values) if len(values) else mu0
    kappa, a = 1 + n, a0 + n / 2
    b = b0 + 0.5 * np.sum((values - mean) ** 2) + n * (mean - mu0) ** 2 / (2 * kappa)
    if form == "t":
        return stats.t(2 * a, (mu0 + np.sum(values)) / kappa, math.sqrt(b * (kappa + 1) / (a * kappa)))
    return stats.norm(mean, math.sqrt(b / (a - 1) if a > 1 else b))


@pytest.mark.parametrize("form", ["t", "n"])
@pytest.mark.parametrize("online", [True, False])
def test_bavaria_is_the_published_update(form, online):
    signals, _ = drawn("phi")
    signals.member[:, 0], signals.member[:, 1] = True, False  # records with one side alone
    wanted = [
        predictive(signals, i, True, form, online).logpdf(signals.target[i])
        - predictive(signals, i, False, form).logpdf(signals.target[i])
        for i in range(signals.values.shape[1])
    ]
    attack = attacks.bavaria(online, form)
    np.testing.assert_allclose(attack(signals), wanted, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(attacks.ATTACKS[attack.name]()(signals), attack(signals))


def test_offline_bavaria_does_not_read_a_records_own_members():
    """Two members' values change places: the mean and variance of all members stay, and so does every score."""
    signals, _ = drawn("phi")
    moved, (a, b) = signals.values.copy(), (np.flatnonzero(signals.member[:, i])[0] for i in (5, 6))
    moved[a, 5], moved[b, 6] = signals.values[b, 6], signals.values[a, 5]
    for form in ("t", "n"):
        for online in (False, True):
            attack = attacks.bavaria(online, form)
            same = np.isclose(attack(signals), attack(signals._replace(values=moved)), rtol=1e-9)
            assert same.all() != online


def test_the_ladder_is_its_formulae():
    signals, _ = drawn("phi")
    for i in range(signals.values.shape[1]):  # both sides have two models or more
        signals.member[:4, i] = [True, False, True, False]
    x = signals.target
    inner, outer = ([of_side(signals, i, side) for i in range(len(x))] for side in (True, False))
    mean = {side: np.array(list(map(np.mean, rows))) for side, rows in (("in", inner), ("out", outer))}
    var = {side: np.array(list(map(np.var, rows))) for side, rows in (("in", inner), ("out", outer))}
    every = signals.values
    np.testing.assert_allclose(attacks.base_gaussian(2)(signals), (x - every.mean(0)) / every.var(0))
    np.testing.assert_allclose(attacks.base_gaussian(2, online=False)(signals), (x - mean["out"]) / var["out"])
    pooled = (np.array(list(map(len, inner))) * var["in"] + np.array(list(map(len, outer))) * var["out"]) / len(every)
    middle = (mean["in"] + mean["out"]) / 2
    np.testing.assert_allclose(attacks.base_gaussian(3)(signals), (mean["in"] - mean["out"]) / pooled * (x - middle))
    inside, outside = (stats.norm(mean[side], np.sqrt(var[side])) for side in ("in", "out"))
    np.testing.assert_allclose(attacks.base_gaussian(4)(signals), inside.logpdf(x) - outside.logpdf(x), atol=1e-12)


def test_base4_is_lira_with_each_records_own_variance():
    """With as many models on each side of every record, they divide one sum of squares by c and by c - 1."""
    rng = np.random.default_rng(0)
    values, target = rng.normal(size=(8, N)), rng.normal(size=N)
    member = np.tile(np.arange(8)[:, None] % 2 == 0, (1, N))
    scores = attacks.base_gaussian(4)(Signals(values, member, target))
    halves = values[member[:, 0]], values[~member[:, 0]]
    means = [half.mean(0) for half in halves]
    shrunk = np.where(member, means[0][None], means[1][None]) + np.sqrt(3 / 4) * (
        values - np.where(member, means[0][None], means[1][None])
    )
    np.testing.assert_allclose(scores, attacks.lira(variance="example")(Signals(shrunk, member, target)), rtol=1e-9)


def test_base2_of_a_smaller_signal_is_negated():
    signals, _ = drawn("loss")
    attack = attacks.base_gaussian(2, signal=SIGNALS["loss"])
    negated = Signals(-signals.values, signals.member, -signals.target)
    np.testing.assert_allclose(attack(signals), attacks.base_gaussian(2)(negated))


def test_what_the_new_attacks_refuse():
    alone = Signals(np.zeros((2, 5)), np.zeros((2, 5), bool), np.zeros(5))
    for call, words in (
        (lambda: attacks.bavaria(form="z"), "form='z' is not known"),
        (lambda: attacks.bavaria(signal=SIGNALS["white_box"]), "expected one number"),
        (lambda: attacks.bavaria(online=False)(alone), "the shadows had no record"),
        (lambda: attacks.bavaria()(alone._replace(member=~alone.member)), "the shadows had every record"),
        (lambda: attacks.base_gaussian(3)(alone), "needs values of members and of non-members, and the .* had no rec"),
        (lambda: attacks.base_gaussian(4)(alone._replace(member=~alone.member)), "the shadows had every record"),
        (lambda: attacks.base_gaussian(2, False)(alone._replace(member=~alone.member)), "values of non-members, and"),
        (lambda: attacks.lira()(alone), "'lira' needs values of members and of non-members, and the .* had no record"),
        (lambda: attacks.lira(variance="student")(alone._replace(member=~alone.member)), "had every record"),
        (lambda: attacks.lira(online=False)(alone._replace(member=~alone.member)), "needs values of non-members, and"),
        (lambda: attacks.base_gaussian(5), "parameters=5 is not known"),
        (lambda: attacks.base_gaussian(3, online=False), "base3 reads the shadows' members and has no offline form"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    rng = np.random.default_rng(0)
    offline = Signals(rng.normal(size=(4, 5)), np.zeros((4, 5), bool), rng.normal(size=5))
    for attack in (attacks.lira(online=False), attacks.base_gaussian(2, False), attacks.base_gaussian(2)):
        assert np.ptp(attack(offline)) > 0  # shadows that had nothing are what an offline attack has
