"""Attacks that read the model itself, against planted leaks, closed forms and loops."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_signals import auc, coins, drawn

from gecko_jax import attacks
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Signals


def of_records(x, hinge, population=None):
    """Signals without shadows of records x [n, d] with these hinges [n], and of a population [z, 1 + d]."""
    target = np.concatenate([hinge[:, None], x], 1)
    unseen = None if population is None else (np.zeros((0, *population.shape)), population)
    return Signals(np.zeros((0, *target.shape)), np.zeros((0, len(x)), bool), target, unseen)


def hard_and_easy(rng, n, leak):
    """(x, hinge, member): what a hinge means depends on x: its mean on x[0], its deviation on x[1]."""
    x, member = rng.normal(size=(n, 3)), rng.random(n) < 0.5
    return x, 3 * x[:, 0] + np.exp(0.7 * x[:, 1]) * (rng.normal(size=n) + leak * member), member


def test_quantile_regression_beats_the_hinge_where_hardness_depends_on_the_record():
    rng = np.random.default_rng(0)
    others, their_hinge, _ = hard_and_easy(rng, 2000, leak=0.0)
    x, hinge, member = hard_and_easy(rng, 2000, leak=1.5)
    attack = attacks.quantile_regression()
    score = attack(of_records(x, hinge, of_records(others, their_hinge).target))
    best = (hinge - 3 * x[:, 0]) / np.exp(0.7 * x[:, 1])
    assert auc(hinge, member) + 0.1 < auc(score, member) < auc(best, member) + 0.01
    # The score is a normal deviate, whatever the record: 5 % of non-members, easy or hard, lie above 1.645.
    for part in (x[:, 1] < 0, x[:, 1] > 0):
        assert 0.02 < (score[part & ~member] > 1.645).mean() < 0.1


def test_quantile_regression_of_records_that_are_alike_is_a_standard_score():
    rng = np.random.default_rng(1)
    known, hinge = rng.normal(3.0, 2.0, 50), rng.normal(size=20)
    for width in (0, 1):
        others = of_records(np.ones((50, width)), known).target
        score = attacks.quantile_regression()(of_records(np.ones((20, width)), hinge, others))
        np.testing.assert_allclose(score, (hinge - known.mean()) / known.std(), rtol=1e-5)


def test_quantile_regression_reads_the_shadows_where_there_is_no_population():
    """Those of them that had not the record: the others' values may be anything."""
    rng = np.random.default_rng(2)
    member = coins(rng, 5, 300)
    values = drawn(rng, "hinge_on_record", member, leak=4.0)
    attack, moved = attacks.quantile_regression(), values[1:].copy()
    moved[member[1:]] = 99.0
    scores = attack(Signals(values[1:], member[1:], values[0]))
    np.testing.assert_array_equal(scores, attack(Signals(moved, member[1:], values[0])))
    assert auc(scores, member[0]) > 0.8
    with pytest.raises(ValueError, match="0 values of non-members"):
        attack(Signals(values[1:], np.ones_like(member[1:]), values[0]))
    other = np.zeros((4, 9, 8)), np.ones((9, 8))
    with pytest.raises(ValueError, match=r"signals.population\[1\] has shape \(9, 8\)"):
        attack(Signals(values[1:], member[1:], values[0], other))


def test_infinite_hinges_are_the_largest():
    rng = np.random.default_rng(3)
    x, hinge, _ = hard_and_easy(rng, 200, leak=0.0)
    infinite = hinge.copy()
    infinite[:5] = np.inf
    score = attacks.quantile_regression()(of_records(x, infinite, of_records(x, infinite).target))
    assert np.isfinite(score).all() and (score[:5] > 0).all()


def without(values, parts):
    """Values [m, n, parts, w] with some parts told of nothing."""
    values = values.copy()
    values[:, :, parts] = 0.0
    return values


@pytest.mark.parametrize("name, hidden", [("nasr", [0, 2]), ("samia", [0])])
def test_a_network_finds_what_only_gradients_or_sensitivities_tell(name, hidden):
    rng, attack = np.random.default_rng(4), attacks.ATTACKS[name]()
    member = coins(rng, 3, 120)
    values = without(drawn(rng, attack.signal.name, member, leak=2.0), hidden)
    assert auc(attack(Signals(values[1:], member[1:], values[0])), member[0]) > 0.7
    told = without(values, [3 if name == "nasr" else 1])  # the label alone: nothing
    assert len(np.unique(attack(Signals(told[1:], member[1:], told[0])))) <= 3


@pytest.mark.parametrize("name", ["nasr", "samia"])
def test_a_score_is_of_its_record_alone(name):
    """Not of those that stand beside it, nor of the block in which it is scored; infinities have one too."""
    rng, attack = np.random.default_rng(5), attacks.ATTACKS[name]()
    member = np.arange(1100)[None] < 120  # of the one shadow: 240 rows are trained on
    values = drawn(rng, attack.signal.name, np.concatenate([member, member]), leak=1.0)
    values[0, 600, 0, 0], values[1, 7, 1, 1] = np.inf, -np.inf
    scores = attack(Signals(values[1:], member, values[0]))
    assert np.isfinite(scores).all()
    others = np.concatenate([values[1, :550], values[0, 550:]])
    np.testing.assert_allclose(attack(Signals(values[1:], member, others))[550:], scores[550:], rtol=1e-4, atol=1e-5)


def test_lira_on_gradients_is_the_mean_over_leaves():
    rng = np.random.default_rng(6)
    member = coins(rng, 9, 50)
    values = drawn(rng, "layer_gradients", member, leak=1.0)
    for online in (True, False):
        for variance in ("global", "example", "student"):
            attack = attacks.lira(online, variance, SIGNALS["layer_gradients"])
            results = attack(Signals(values[1:], member[1:], values[0]))
            each = [
                attacks.lira(online, variance)(Signals(values[1:, :, leaf], member[1:], values[0, :, leaf]))
                for leaf in range(values.shape[-1])
            ]
            np.testing.assert_allclose(results, np.mean(each, axis=0), rtol=1e-12)


def test_lira_knows_which_way_a_signal_points():
    rng = np.random.default_rng(7)
    member = coins(rng, 9, 400)
    for signal in SIGNALS.values():
        if len(signal.axes) > 1:
            continue
        values = drawn(rng, signal.name, member, leak=3.0)
        signals = Signals(values[1:], member[1:], values[0])
        assert auc(attacks.lira(signal=signal)(signals), member[0]) > 0.6, signal
        if signal.larger == "neither":
            with pytest.raises(ValueError, match="neither larger nor smaller"):
                attacks.lira(online=False, signal=signal)
        else:
            assert auc(attacks.lira(online=False, signal=signal)(signals), member[0]) > 0.6, signal


def test_lira_is_named_after_its_signal():
    names = [
        attacks.lira(*settings).name
        for settings in (
            (True, "global", SIGNALS["phi"]),
            (True, "global", SIGNALS["loss"]),
            (False, "student", SIGNALS["small_gradient"]),
            (True, "example", SIGNALS["layer_gradients"]),
        )
    ]
    assert names == ["lira", "lira_loss", "lira_offline_student_small_gradient", "lira_example_gradients"]
    with pytest.raises(ValueError, match="signal 'white_box' has the axes"):
        attacks.lira(signal=SIGNALS["white_box"])


@pytest.mark.parametrize(
    "attack, signal",
    [
        (attacks.label_only(), "label_robustness"),
        (attacks.boundary(), "boundary_distance"),
        (attacks.small_gradient(), "small_gradient"),
    ],
)
def test_a_probe_is_its_own_score(attack, signal):
    assert (attack.signal.name, attack.shadows) == (signal, 0)
    target = np.array([0.3, -1.0, 7.0])
    np.testing.assert_array_equal(attack(Signals(np.zeros((0, 3)), np.zeros((0, 3), bool), target)), target)


def test_thresholds_for_each_class():
    signals = Signals(np.zeros((0, 3)), np.zeros((0, 3), bool), np.arange(3.0))
    changed = attacks.per_class(attacks.loss())
    assert (changed.name, changed.signal.name, changed.per_class) == ("loss_per_class", "loss", True)
    np.testing.assert_array_equal(changed(signals), attacks.loss()(signals))
    mine = attacks.modified_entropy()
    assert attacks.per_class(mine) is mine and not attacks.loss().per_class


def test_leaving_one_out_by_a_loop():
    rng = np.random.default_rng(8)
    member = coins(rng, 4, 30)
    values = drawn(rng, "layer_gradients", member, leak=1.0)
    attack = attacks.ATTACKS["lira_gradients"]()
    scores = attacks.leave_one_out(attack, values, member)
    for k in range(4):
        rest = [j for j in range(4) if j != k]
        np.testing.assert_array_equal(scores[k], attack(Signals(values[rest], member[rest], values[k])))
    with pytest.raises(ValueError, match="number of models for attack 'lira_gradients'=2 must be at least 3"):
        attacks.leave_one_out(attack, values[:2], member[:2])
