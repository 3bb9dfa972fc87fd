"""Known answers of published audits: one run with many canaries, and many runs with one; each with its source."""

from __future__ import annotations

import pytest

from gecko_jax import metrics


@pytest.mark.parametrize(
    "canaries, guesses, correct, delta, expected",
    [
        (100, 100, 75, 0.0, 0.702214),
        (100, 100, 75, 1e-4, 0.699467),
        (1000, 100, 75, 1e-4, 0.672985),
        (100_000, 1510, 1439, 1e-5, 2.675851),
    ],
)
def test_steinke_2023_one_run(canaries, guesses, correct, delta, expected):
    """Steinke, Nasr, Jagielski (arXiv 2305.08846), appendix D's program, at 95 %."""
    assert metrics.one_run_epsilon(correct, guesses, canaries, delta) == pytest.approx(expected, abs=2e-6)


def test_jagielski_2020_perfect_trials():
    """Jagielski, Ullman, Oprea (2020), 500 runs with the canary and 500 without, all told right, at 99 %."""
    actual = metrics.clopper_pearson_epsilon(500, 500, 0, 500, confidence=0.99)
    assert actual == pytest.approx(4.541915810224092, rel=1e-9)
    assert metrics.clopper_pearson(500, 500, 0.99)[0] == pytest.approx(0.9894593118113243, rel=1e-9)
