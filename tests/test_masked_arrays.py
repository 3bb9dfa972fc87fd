"""A masked entry is never read as the number behind its mask, by whatever door it comes in."""

import numpy as np
import pytest

from gecko_jax import audit, datasets, metrics, models, training
from gecko_jax.types import Examples

MODEL = models.create("mlp", 2, hidden=(3,))
X, Y, IDS = np.zeros((6, 4), np.float32), np.array([0, 1] * 3), np.arange(6)
MEMBER = np.array([True, False] * 3)


def masked(array):
    return np.ma.array(array, mask=np.arange(array.size).reshape(array.shape) == 1)


DOORS = {
    "fit, inputs": lambda: training.fit(MODEL, Examples(masked(X), Y, IDS)),
    "fit, labels": lambda: training.fit(MODEL, Examples(X, masked(Y), IDS)),
    "fit, members": lambda: training.fit(MODEL, Examples(X, Y, IDS), masked(MEMBER)),
    "fit_ensemble, members": lambda: training.fit_ensemble(MODEL, Examples(X, Y, IDS), masked(MEMBER[None])),
    "predict": lambda: training.predict(MODEL, {}, masked(X)),
    "datasets.dataset": lambda: datasets.dataset("d", masked(X), Y, X, Y),
    "scores": lambda: metrics.roc_auc(masked(np.arange(6.0)), MEMBER),
    "members of scores": lambda: metrics.roc_auc(np.arange(6.0), masked(MEMBER)),
    "audit_models, labels": lambda: audit.audit_models(np.zeros((2, 6, 2)), masked(Y), np.stack([MEMBER, ~MEMBER])),
    "audit_model, outputs": lambda: audit.audit_model(masked(np.zeros((6, 2))), Y, MEMBER),
    "audit_model, members": lambda: audit.audit_model(np.zeros((6, 2)), Y, masked(MEMBER)),
    "audit, outputs": lambda: audit.audit(
        lambda x: masked(np.zeros((len(x), 2))), Examples(X, Y, IDS), Examples(X + 1, Y, IDS + 6)
    ),
    "audit, records": lambda: audit.audit(
        lambda x: np.zeros((len(x), 2)), Examples(masked(X), Y, IDS), Examples(X + 1, Y, IDS + 6)
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_masked_entries_are_refused(door):
    with pytest.raises(ValueError, match="mask"):
        DOORS[door]()


def test_a_mask_that_hides_nothing_passes():
    assert metrics.roc_auc(np.ma.array(np.arange(6.0), mask=False), MEMBER) == metrics.roc_auc(np.arange(6.0), MEMBER)
