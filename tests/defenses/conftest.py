"""A small pool, members and a model that the tests of defenses share, so that they share compiled programs too."""

import numpy as np
import pytest

from gecko_jax import models
from gecko_jax.types import Examples


def draw(rows, first_id, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows).astype(np.int32)
    x = (rng.normal(size=(rows, 6)) + 1.5 * np.eye(3, 6)[y]).astype(np.float32)
    return Examples(x, y, np.arange(first_id, first_id + rows))


@pytest.fixture(scope="session")
def rows():
    return draw(24, 0, 0)


@pytest.fixture(scope="session")
def reference():
    return draw(16, 1000, 1)


@pytest.fixture(scope="session")
def members():
    """12 and 16 of 24: the second model has a step more an epoch of eight rows, and the first a padded one."""
    return np.stack([np.arange(24) < 12, np.arange(24) >= 8])


@pytest.fixture(scope="session")
def network():
    return models.create("mlp", 3, hidden=(5,))
