"""What attacks read of a population, and the sign and the unit of a signal."""

from __future__ import annotations

import numpy as np
import pytest
from population_signals import beside, drawn, unseen

from gecko_jax import attacks
from gecko_jax.signals import SIGNALS, Signal
from gecko_jax.types import Signals


@pytest.mark.parametrize("attack", [attacks.rmia(), attacks.population_rank(), attacks.loss()])
def test_a_population_is_checked(attack):
    good, (signals, _) = unseen("loss", records=5), drawn("loss")
    holed = good.values.copy()
    holed[2, 3] = np.nan
    assert np.isfinite(attack(beside(signals, good))).all()
    for bad, words in (
        (good._replace(target=good.target * np.nan), r"signals.population\[1\] holds 5 NaN of 5"),
        (good._replace(values=holed), r"signals.population\[0\] holds 1 NaN of 45"),
        (good._replace(values=good.values[:, :4]), r"signals.population\[0\] has shape \(9, 4\)"),
        (good._replace(values=good.values[:7]), r"signals.population\[0\] has 7 shadows and signals.values 9"),
        (Signals(good.values[:, :0], None, good.target[:0]), r"signals.population\[1\] is empty"),
    ):
        with pytest.raises(ValueError, match=words):
            attack(beside(signals, bad))


def test_attack_p_and_quantile_regression_need_no_shadows_beside_a_population():
    good, (signals, _) = unseen("loss", records=5), drawn("loss")
    alone = Signals(signals.values[:0], signals.member[:0], signals.target, (good.values[:0], good.target))
    results = [attacks.population_rank()(each) for each in (beside(signals, good), alone)]
    np.testing.assert_array_equal(*results)
    for attack in (attacks.population_rank(), attacks.quantile_regression()):
        assert "shadows" in attack.needs
        assert not {"shadows", "time"} & set(attack.with_population().needs)
    with pytest.raises(ValueError, match="needs at least 1 shadow models"):
        attacks.population_rank()(alone._replace(population=None))
    assert (same := attacks.rmia()).with_population() is same
    with pytest.raises(ValueError, match="attack 'rmia' needs signals.population"):
        attacks.rmia(ties="counted")(signals)


def test_counted_ties_need_a_population_and_say_so():
    assert attacks.rmia(ties="counted").needs == ("shadows", "population")


@pytest.mark.parametrize("name", ["rmia", "rmia_offline", "base", "base_offline"])
def test_the_unit_of_a_regression_does_not_matter(name):
    """Squared errors in dollars or in cents: p is a normal density with the variance of unseen records."""
    signals, _ = drawn("loss")
    signals = beside(signals, unseen("loss", records=7))
    cents = Signals(1e4 * signals.values, signals.member, 1e4 * signals.target,
                    tuple(1e4 * one for one in signals.population))  # fmt: skip
    error = SIGNALS["squared_error"]
    attack = attacks.ATTACKS[name]().on(error)
    np.testing.assert_allclose(attack(cents), attack(signals), rtol=1e-9, atol=1e-12)
    variance = signals.values[~signals.member].mean()
    normal = signals._replace(population=None)
    scaled = [array / (2 * variance) for array in (normal.values, normal.target)]
    plain = attacks.ATTACKS[name]().on(SIGNALS["loss"])(Signals(scaled[0], normal.member, scaled[1]))
    np.testing.assert_allclose(attack(normal), plain, rtol=1e-9, atol=1e-12)


def test_a_sign_is_the_signals_own():
    """Attacks that read any number give one score for a signal and for its negative, told to point the other way."""
    signals, _ = drawn("loss")
    signals = beside(signals, unseen("loss", records=7))
    turned = Signals(-signals.values, signals.member, -signals.target, tuple(-one for one in signals.population))
    fall, rise = SIGNALS["loss"], Signal("rise", larger="members")
    for factory in (attacks.loss, attacks.calibrated_loss, attacks.reference_rank, attacks.population_rank):
        np.testing.assert_array_equal(factory(signal=fall)(signals), factory(signal=rise)(turned))
        assert factory(signal=rise).name == f"{factory.__name__}_rise" and factory().on(rise).signal is rise
    for factory in (attacks.rmia, attacks.base):
        with pytest.raises(ValueError, match="signal 'rise' is larger for members; expected a negative log-likelihood"):
            factory(signal=rise)
    with pytest.raises(ValueError, match="'top_posteriors' has the axes"):
        attacks.loss(SIGNALS["top_posteriors"])
    with pytest.raises(ValueError, match="'mixed' is neither larger nor smaller"):
        attacks.loss(Signal("mixed", larger="neither"))
