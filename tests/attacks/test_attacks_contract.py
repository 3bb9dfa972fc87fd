"""What every listed attack promises; a new one is tested by being listed."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_signals import auc, balanced, coins, draw, drawn, null_sd

from gecko_jax.attacks import ATTACKS, Attack, augment, leave_one_out, per_class
from gecko_jax.signals import SIGNALS, loss
from gecko_jax.types import Signals

EVERY = pytest.mark.parametrize("name", sorted(ATTACKS))
# A network or trees in every call.
TRAINED = ("hybrid", "nasr", "quantile_regression", "salem", "samia", "server", "shokri")


def sizes(name):
    """(shadows, records): those that train get 240 rows in all, for which one compiled program serves all tests."""
    return (2, 120) if name in TRAINED else (8, 60)


@EVERY
def test_it_carries_the_name_it_is_listed_under(name):
    attack = ATTACKS[name]()
    assert isinstance(attack, Attack)
    assert (attack.name, SIGNALS[attack.signal.name]) == (name, attack.signal)


@EVERY
def test_larger_means_member(name):
    rng, attack = np.random.default_rng(0), ATTACKS[name]()
    shadows, records = sizes(name)
    member = coins(rng, shadows + 1, records if name in TRAINED else 500)
    assert auc(attack(draw(rng, attack, member, leak=3.0)), member[0]) > 0.6


@EVERY
def test_order_of_records_does_not_matter(name):
    rng, attack = np.random.default_rng(1), ATTACKS[name]()
    shadows, records = sizes(name)
    values, member, target, _ = draw(rng, attack, coins(rng, shadows + 1, records), leak=1.0)
    order = rng.permutation(records)
    before = [array.copy() for array in (values, member, target)]
    scores = attack(Signals(values, member, target))
    shuffled = attack(Signals(values[:, order], member[:, order], target[order]))
    np.testing.assert_allclose(shuffled, scores[order])
    scores[:] = 7.0  # its own, not the signal
    for array, copy in zip((values, member, target), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@EVERY
@pytest.mark.parametrize("design", ["coins", "balanced", "leave one out over coins"])
def test_it_learns_nothing_where_there_is_nothing(name, design):
    rng, attack = np.random.default_rng(3), ATTACKS[name]()
    shadows, records = sizes(name)
    repeats = 2 if name in TRAINED else 100
    if design.startswith("leave"):
        shadows, repeats = min(shadows, 3), max(repeats // 3, 1)
    aucs, deviations = [], []
    for _ in range(repeats):
        member = (balanced if design == "balanced" else coins)(rng, shadows + 1, records)
        if design.startswith("leave"):
            scores = leave_one_out(attack, drawn(rng, attack.signal.name, member, leak=0.0), member)
        else:
            scores, member = [attack(draw(rng, attack, member, leak=0.0))], member[:1]
        aucs.append(np.mean([auc(one, row) for one, row in zip(scores, member, strict=True)]))
        # Of a mean over targets it is at most the mean of theirs, however they hang together.
        deviations.append(np.mean([null_sd(row) for row in member]))
    assert abs(np.mean(aucs) - 0.5) < 4 * np.sqrt(np.sum(np.square(deviations))) / repeats


@EVERY
def test_the_fewest_shadows_suffice_and_fewer_are_refused(name):
    rng, attack = np.random.default_rng(4), ATTACKS[name]()
    values, member, target, _ = draw(rng, attack, coins(rng, attack.shadows + 1, 120), leak=1.0)
    assert attack(Signals(values, member, target)).shape == (120,)
    if attack.shadows:
        with pytest.raises(ValueError, match="shadow models"):
            attack(Signals(values[1:], member[1:], target))
    else:
        assert len(values) == 0


@EVERY
def test_of_no_record_there_are_no_scores(name):
    attack = ATTACKS[name]()
    values, member, target, _ = draw(np.random.default_rng(5), attack, coins(np.random.default_rng(5), 5, 9), leak=1.0)
    assert attack(Signals(values[:, :0], member[:, :0], target[:0])).shape == (0,)


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - set(TRAINED)))
def test_augmented_copies_are_averaged(name):
    """`augment` keeps what the attack promises, of three queries as of one."""
    rng, attack = np.random.default_rng(6), ATTACKS[name]()
    augmented, member = augment(attack), coins(rng, 9, 500)
    queries = [draw(rng, attack, member, leak=2.0) for _ in range(3)]
    each = [attack(query) for query in queries]
    np.testing.assert_array_equal(augmented(queries[0]), each[0])
    np.testing.assert_array_equal(augmented(queries[:1]), each[0])
    scores = augmented(queries)
    np.testing.assert_allclose(scores, (each[0] + each[1] + each[2]) / 3)
    order = rng.permutation(500)
    shuffled = [Signals(v[:, order], m[:, order], t[order]) for v, m, t, _ in queries]
    np.testing.assert_allclose(augmented(shuffled), scores[order])
    np.testing.assert_allclose(augmented(queries[::-1]), scores)
    assert auc(scores, member[0]) > max(0.6, np.mean([auc(one, member[0]) for one in each]))
    assert (augmented.name, augmented.signal, augmented.shadows) == (f"{name}_augmented", attack.signal, attack.shadows)
    assert augmented.per_class == attack.per_class and augment(augmented) is augmented


def test_queries_that_have_no_mean_are_refused():
    three, none = np.zeros(3), Signals(np.zeros((0, 3)), np.zeros((0, 3), bool), np.zeros(3))
    attack = augment(Attack("mine", loss, lambda signals: -signals.target))
    with pytest.raises(ValueError, match="mean scores over queries of attack 'mine_augmented' holds 3 NaN"):
        attack([none._replace(target=three + np.inf), none._replace(target=three - np.inf)])
    with pytest.raises(ValueError, match=r"signals\[1\].target has shape \(2,\); expected \(3\)"):
        attack([none, Signals(np.zeros((0, 2)), np.zeros((0, 2), bool), np.zeros(2))])


def test_a_refused_attack_says_why():
    needy = Attack("needy", SIGNALS["phi"], lambda signals: signals.target, shadows=2)
    flat = Attack("flat", SIGNALS["phi"], lambda signals: 1.0)
    broken = Attack("broken", SIGNALS["phi"], lambda signals: signals.target * np.nan)
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
    with pytest.raises(ValueError, match="signal of attack 'named'='phi' is a name; expected a Signal"):
        Attack("named", "phi", lambda signals: signals.target)
    with pytest.raises(ValueError, match="shadows"):
        Attack("negative", SIGNALS["phi"], lambda signals: signals.target, shadows=-1)


@EVERY
def test_on_another_signal_it_is_the_same_attack(name):
    """One that reads other signals says which it reads, keeps its settings, and stays what was made of it."""
    attack = ATTACKS[name]()
    if attack.on is None:
        return
    other = attack.on(loss)
    assert other.signal is loss and (other.shadows, other.slow) == (attack.shadows, attack.slow)
    assert other.on(attack.signal).name == name
    assert augment(attack).on(loss).name == f"{other.name}_augmented"
    assert per_class(attack).on(loss).per_class and not other.per_class
    with pytest.raises(ValueError, match="'loss' is a name; expected a Signal"):
        attack.on("loss")
