"""Which exit answered, from times and from answers, against times whose exits are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal, stats

from gecko_jax import probes, signals

RNG = np.random.default_rng(0)
EXITS = RNG.integers(0, 3, 300)
TIMES = np.array([2.0, 4.0, 7.0])[EXITS] + 0.2 * RNG.normal(size=300)


def test_times_are_cut_at_the_valleys_of_their_density():
    np.testing.assert_array_equal(probes.exits_from_times(TIMES, count=3), EXITS)
    # SciPy's density and its minima, on a grid as fine
    grid = np.linspace(TIMES.min() - 1, TIMES.max() + 1, 4001)
    density = stats.gaussian_kde(TIMES, bw_method=0.15 / TIMES.std(ddof=1))(grid)
    cuts = grid[signal.argrelextrema(density, np.less)[0]]
    np.testing.assert_array_equal(probes.exits_from_times(TIMES, count=99), np.searchsorted(cuts, TIMES))


@pytest.mark.parametrize("unit", [1e-6, 1e3])
def test_the_unit_of_time_does_not_matter_beside_its_bandwidth(unit):
    np.testing.assert_array_equal(probes.exits_from_times(unit * TIMES, 3, bandwidth=0.15 * unit), EXITS)


def test_of_more_valleys_the_deepest_count():
    near = np.concatenate([TIMES, TIMES.min() - 0.8 + np.zeros(1)])  # a stray time makes a valley of its own
    assert len(np.unique(probes.exits_from_times(near, count=99))) == 4
    one_cut = probes.exits_from_times(TIMES, count=2)
    assert len(np.unique(one_cut)) == 2 and set(one_cut[EXITS == 2]) == {1}
    assert (probes.exits_from_times(TIMES, count=1) == 0).all()
    assert (probes.exits_from_times(np.full(4, 1.5), count=3) == 0).all()


def test_answers_of_another_confidence_tell_the_exit():
    y, exits = RNG.integers(0, 4, (2, 400)), RNG.integers(0, 2, (2, 400))
    logits = RNG.normal(size=(2, 400, 4)) + np.where(exits, 2.0, 9.0)[..., None] * np.eye(4)[y]
    guessed = probes.exits_from_posteriors(logits[:1], exits[:1] + 1, logits[1])
    assert guessed.shape == (400,) and (guessed == exits[1] + 1).mean() > 0.9
    assert (probes.exits_from_posteriors(logits[:1], np.full((1, 400), 2), logits) == 2).all()


def test_the_signal_holds_the_three_largest_and_the_exit():
    values = signals.posteriors_and_exit(np.log([[0.1, 0.2, 0.4, 0.3]] * 2), [2, 0], count=3)
    np.testing.assert_allclose(values, [[0.4, 0.3, 0.2, 0, 0, 1], [0.4, 0.3, 0.2, 1, 0, 0]])


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (lambda: probes.exits_from_times(TIMES, 0), "count=0"),
        (lambda: probes.exits_from_times(TIMES, 3, bandwidth=0.0), "bandwidth=0.0"),
        (lambda: probes.exits_from_times(TIMES * np.nan, 3), "times"),
        (lambda: probes.exits_from_times([], 3), "times"),
        (lambda: probes.exits_from_times(1e6 * TIMES, 3), "bandwidth=0.15 is 2e-08 of the range of times"),
        (
            lambda: probes.exits_from_posteriors(np.zeros((1, 4, 2)), np.arange(4)[None] % 2, np.zeros((4, 3))),
            "logits has 3 classes, seen 2",
        ),
        (
            lambda: probes.exits_from_posteriors(np.zeros((1, 4, 3)), np.arange(4.0)[None], np.zeros((4, 3))),
            "seen_exits has dtype float64",
        ),
        (
            lambda: probes.exits_from_posteriors(np.zeros((1, 4, 3)), np.zeros((1, 5), int), np.zeros((4, 3))),
            "seen_exits",
        ),
        (lambda: signals.posteriors_and_exit(np.zeros((2, 3)), [0, 3], 3), "exits runs from 0 to 3; expected 0..2"),
        (lambda: signals.posteriors_and_exit(np.zeros((2, 3)), [0.0, 1.0], 3), "dtype float64"),
        (lambda: signals.posteriors_and_exit(np.zeros((2, 3)), [0], 3), "exits"),
    ],
)
def test_what_cannot_be_is_refused(refused, words):
    with pytest.raises(ValueError, match=words):
        refused()
