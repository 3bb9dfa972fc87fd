"""What every listed attack promises; a new one is tested by being listed."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax.attacks import ATTACKS, SIGNALS, Attack
from gecko_jax.attacks.signals import VECTORS
from gecko_jax.types import Signals

EVERY = pytest.mark.parametrize("name", sorted(ATTACKS))
SHADOWS = 8


def coins(rng, m, n):
    return rng.random((m, n)) < 0.5


def balanced(rng, m, n):
    """Complementary pairs of shadows (each record in half of them), and a target held out of the pairing."""
    half = np.array([rng.permutation(n) < n // 2 for _ in range((m - 1) // 2)])
    return np.concatenate([rng.permutation(n)[None] < n // 2, half, ~half])


def draw(rng, attack, member, leak):
    """Signals of one target and its shadows: records of different hardness, members `leak` surer of their label."""
    m, n = member.shape
    y = rng.integers(0, 3, n)
    logits = rng.normal(size=(m, n, 3)) + rng.normal(size=(n, 3))
    logits += (1.0 + leak * member)[..., None] * np.eye(3)[y]
    values = SIGNALS[attack.signal](logits, y)
    return Signals(values[1:], member[1:], values[0])


def auc(scores, member):
    """By counting every pair, ties half."""
    gap = scores[member][:, None] - scores[~member]
    return (gap > 0).mean() + (gap == 0).mean() / 2


@EVERY
def test_it_carries_the_name_it_is_listed_under(name):
    attack = ATTACKS[name]()
    assert isinstance(attack, Attack)
    assert (attack.name, attack.signal in SIGNALS) == (name, True)


@EVERY
def test_larger_means_member(name):
    rng, attack = np.random.default_rng(0), ATTACKS[name]()
    member = coins(rng, SHADOWS + 1, 300 if attack.signal in VECTORS else 2000)
    assert auc(attack(draw(rng, attack, member, leak=3.0)), member[0]) > 0.6


@EVERY
def test_order_of_records_does_not_matter(name):
    rng, attack = np.random.default_rng(1), ATTACKS[name]()
    values, member, target = draw(rng, attack, coins(rng, SHADOWS + 1, 50), leak=1.0)
    order = rng.permutation(50)
    shuffled = attack(Signals(values[:, order], member[:, order], target[order]))
    np.testing.assert_allclose(shuffled, attack(Signals(values, member, target))[order])


@EVERY
def test_its_arguments_are_left_alone(name):
    rng, attack = np.random.default_rng(2), ATTACKS[name]()
    signals = draw(rng, attack, coins(rng, SHADOWS + 1, 20), leak=1.0)
    before = [array.copy() for array in signals]
    attack(signals)[:] = 7.0
    for array, copy in zip(signals, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@EVERY
@pytest.mark.parametrize("design", [coins, balanced])
def test_it_learns_nothing_where_there_is_nothing(name, design):
    rng, attack = np.random.default_rng(3), ATTACKS[name]()
    repeats = 5 if attack.signal in VECTORS else 200  # a network is trained in each
    aucs = []
    for _ in range(repeats):
        member = design(rng, SHADOWS + 1, 60)
        aucs.append(auc(attack(draw(rng, attack, member, leak=0.0)), member[0]))
    # Four standard errors: a null AUC of 30 + 30 has sd sqrt(61 / (12 * 30 * 30)) = .075, less with ties.
    assert abs(np.mean(aucs) - 0.5) < 4 * 0.076 / np.sqrt(repeats)


@EVERY
def test_the_fewest_shadows_suffice_and_fewer_are_refused(name):
    rng, attack = np.random.default_rng(4), ATTACKS[name]()
    values, member, target = draw(rng, attack, coins(rng, attack.shadows + 1, 30), leak=1.0)
    assert attack(Signals(values, member, target)).shape == (30,)
    if attack.shadows:
        with pytest.raises(ValueError, match="shadow models"):
            attack(Signals(values[1:], member[1:], target))
    else:
        assert len(values) == 0


def test_a_refused_attack_says_why():
    needy = Attack("needy", "phi", lambda signals: signals.target, shadows=2)
    flat = Attack("flat", "phi", lambda signals: 1.0)
    broken = Attack("broken", "phi", lambda signals: signals.target * np.nan)
    none = Signals(np.zeros((0, 3)), np.zeros((0, 3), bool), np.zeros(3))
    for attack, signals, words in (
        (needy, none, "needs at least 2"),
        (flat, none, "scores has shape"),
        (broken, none, "scores of attack 'broken' holds 3 NaN"),
        (flat, none._replace(target=np.full(3, np.nan)), "signals.target"),
        (flat, none._replace(values=np.zeros((1, 3))), "signals.member"),
        (flat, none._replace(values=np.zeros((0, 4))), "signals.values"),
        (flat, none._replace(member=np.zeros((0, 3))), "dtype"),
    ):
        with pytest.raises(ValueError, match=words):
            attack(signals)
    with pytest.raises(ValueError, match="Did you mean 'phi'"):
        Attack("typo", "phii", lambda signals: signals.target)
    with pytest.raises(ValueError, match="shadows"):
        Attack("negative", "phi", lambda signals: signals.target, shadows=-1)
