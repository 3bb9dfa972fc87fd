"""A regression on scikit-learn's diabetes, trained in every way; its figures are scikit-learn's."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, root_mean_squared_error

from gecko_jax import clippings, datasets, losses, models, privacy, quantizers, training
from gecko_jax.types import Examples

X, Y = load_diabetes(return_X_y=True)
X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
Y = ((Y - Y.mean()) / Y.std()).astype(np.float32)
TRAIN, TEST = (Examples(X[rows], Y[rows], np.arange(442)[rows]) for rows in (slice(0, 350), slice(350, 442)))
LINE = models.create("mlp", 1, hidden=())
LOSS = losses.squared_error(losses.r2())
OPTIONS = dict(epochs=20, batch_size=35, optimizer=training.optimizer("adam", 0.02), seed=0)


def check(model, variables, least):
    """R2 on the test rows is scikit-learn's, and at least so much; losses are the half squared errors."""
    evaluation = training.evaluate(model, variables, TEST, LOSS)
    outputs = training.predict(model, variables, TEST.x)[:, 0]
    assert evaluation.metrics["r2"] == pytest.approx(r2_score(TEST.y, outputs), rel=1e-4)
    np.testing.assert_allclose(evaluation.losses, (outputs - TEST.y) ** 2 / 2, rtol=1e-5, atol=1e-7)
    rmse = training.evaluate(model, variables, TEST, losses.squared_error()).metrics["rmse"]
    assert rmse == pytest.approx(root_mean_squared_error(TEST.y, outputs), rel=1e-5)
    assert evaluation.metrics["r2"] > least


BEST = LinearRegression().fit(TRAIN.x, TRAIN.y).score(TEST.x, TEST.y)


def test_plainly():
    fitted = training.fit(LINE, TRAIN, loss=LOSS, **OPTIONS)
    assert fitted.metrics["r2"][-1] == pytest.approx(1 - 2 * fitted.loss[-1] / TRAIN.y.var(), abs=1e-3)
    check(LINE, fitted.variables, BEST - 0.05)


def test_quantized():
    quantized = models.quantized(models.create("mlp", 1, hidden=(8, 8)), [("", quantizers.uniform(4), None)])
    check(quantized, training.fit(quantized, TRAIN, loss=LOSS, **OPTIONS).variables, BEST - 0.15)


def test_privately():
    budget = dict(n=350, batch_size=35, epochs=20, delta=1e-3, target_epsilon=8.0)
    run = privacy.private_training(LINE, LOSS, clippings.flat(1.0), **budget)
    fitted = training.fit(run.model, TRAIN, **(OPTIONS | run.options))
    assert set(fitted.metrics) == {"r2"}
    check(run.model, fitted.variables, 0.25)


def test_as_an_ensemble():
    member = datasets.coins(TRAIN.id, 3, seed=0)
    shadows = training.fit_ensemble(LINE, TRAIN, member, loss=LOSS, **OPTIONS)
    evaluation = training.evaluate_ensemble(LINE, shadows.variables, TRAIN, LOSS)
    outputs = training.predict_ensemble(LINE, shadows.variables, TRAIN.x)[..., 0]
    np.testing.assert_allclose(evaluation.losses, (outputs - TRAIN.y[None]) ** 2 / 2, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(evaluation.metrics["r2"], [r2_score(TRAIN.y, row) for row in outputs], rtol=1e-4)
