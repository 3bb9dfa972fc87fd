"""Small pools and models that the training tests share, so that they share compiled programs too."""

import jax
import numpy as np
import pytest

from gecko_jax import datasets, models
from gecko_jax.types import Examples

COMPILED = []  # names of what XLA was asked to compile, whether or not it stood in the cache on disk


def _note(event, seconds, **info):
    if event.endswith("/backend_compile_duration"):
        COMPILED.append(info.get("fun_name", event))


jax.monitoring.register_event_duration_secs_listener(_note)


@pytest.fixture
def compiled():
    """The programs compiled since the test began; .clear() begins again."""
    COMPILED.clear()
    return COMPILED


@pytest.fixture(scope="session")
def images():
    """60 digits [60, 8, 8, 1]."""
    pool = datasets.load("digits").train
    return Examples(*(part[:60] for part in pool))


@pytest.fixture(scope="session")
def pool(images):
    """The same 60 digits as rows [60, 64]."""
    return images._replace(x=images.x.reshape(60, 64))


@pytest.fixture(scope="session")
def mlp():
    return models.create("mlp", 10, hidden=(8,))


@pytest.fixture(scope="session")
def member():
    """Memberships [5, 60] of 20, 40, 30, 20 and 40 rows: in batches of ten, some models skip steps."""
    rng = np.random.default_rng(1)
    return np.stack([rng.permutation(60) < count for count in (20, 40, 30, 20, 40)])
