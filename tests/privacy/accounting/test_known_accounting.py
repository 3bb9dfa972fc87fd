"""Known answers of other accountants' papers, tutorials and test suites; each with its source."""

from __future__ import annotations

import pytest

from gecko_jax.privacy.accounting import epsilon as accounting
from gecko_jax.privacy.sampling import poisson, truncated_poisson

ABADI = poisson(10_000, 100, 10_000)


@pytest.mark.parametrize("accountant, expected", [("rdp", 1.0355), ("pld", 0.9470), ("clt", 0.9424)])
def test_abadi_2016_subsampled_gaussian(accountant, expected):
    """Abadi et al. 2016, section 4: q = .01, z = 4, T = 10,000; its 1.26 is the conversion of 2017."""
    assert float(accounting.epsilon(ABADI, 4.0, 1e-5, accountant)) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    "noise, epochs, pld, rdp", [(1.3, 15, 0.8645, 0.9544), (1.1, 60, 2.3817, 2.5966), (0.7, 45, 5.6394, 6.3195)]
)
def test_tutorial_on_mnist(noise, epochs, pld, rdp):
    """TensorFlow Privacy's tutorial, batches of 256; its 1.19, 3.01 and 7.10 are the conversion of 2017."""
    run = poisson(60_000, 256, epochs * 60_000 // 256)
    assert float(accounting.epsilon(run, noise, 1e-5)) == pytest.approx(pld, abs=2e-4)
    assert float(accounting.epsilon(run, noise, 1e-5, "rdp")) == pytest.approx(rdp, abs=2e-4)


def test_a_huge_data_set_with_little_noise():
    """TensorFlow Privacy, compute_dp_sgd_privacy tests: n = 1e8, batches of 1,024, z = .1, 10 epochs, delta 1e-7."""
    run = poisson(10**8, 1024, 10 * 10**8 // 1024)
    with pytest.warns(UserWarning, match="not below 1/n"):
        assert float(accounting.epsilon(run, 0.1, 1e-7)) == pytest.approx(1200.1, abs=0.5)


def test_truncated_poisson_of_two_phases():
    """dp_accounting, pld_privacy_accountant_test: n = 4 three times, then n = 3 twice, each cut at 2."""
    runs = [truncated_poisson(4, 2, 3, cap=2), truncated_poisson(3, 1.5, 2, cap=2)]
    assert float(accounting.epsilon(runs, 1.0, 1e-6)) == pytest.approx(17.904330, abs=1e-5)
    assert accounting.delta(runs, 1.0, 17.904330) == pytest.approx(1e-6, abs=1e-11)


def test_fourier_accountant():
    """Koskela, Jaelkoe, Honkela (arXiv 1906.03049), the package's example: q = .01, z = 4, T = 10,000."""
    assert float(accounting.epsilon(ABADI, 4.0, 4.243484012034273e-06)) == pytest.approx(1.0, abs=2e-4)
    assert accounting.delta(ABADI, 4.0, 1.0) == pytest.approx(4.243484e-06, rel=5e-3)  # the grid's
    substituted = accounting.epsilon(ABADI, 4.0, 1e-5, adjacency="replace_one")
    assert float(substituted) == pytest.approx(1.99312, abs=1e-3)


@pytest.mark.parametrize("noise, epochs, clt, pld", [(1.06, 20, 1.3411, 1.408), (0.638, 70, 8.6971, 9.477)])
def test_the_central_limit_theorem_is_no_bound(noise, epochs, clt, pld):
    """Bu, Dong, Long, Su (arXiv 1911.11607), MNIST in batches of 256."""
    run = poisson(60_000, 256, epochs * 60_000 // 256)
    assert float(accounting.epsilon(run, noise, 1e-5, "clt")) == pytest.approx(clt, abs=2e-3)
    assert float(accounting.epsilon(run, noise, 1e-5)) == pytest.approx(pld, abs=2e-3)
