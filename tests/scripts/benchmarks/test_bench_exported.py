"""The benchmark of exported networks counts products and compares outputs."""

import flax.linen as nn
import pytest

from scripts.benchmarks import exported


def test_a_small_network_is_measured():
    products, instructions, flash, ram, equal = exported.measure(nn.Dense(3), None, None, (4,))
    assert (products, equal) == (12, True)
    assert 12 < instructions < 2000 and 12 < flash < 4000 and ram == 4 + 3


def test_a_wrong_argument_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["exported", "--seconds", "3"])
    with pytest.raises(SystemExit):
        exported.main()
