"""Weights of classes in the losses, and macro-F1 beside them, against scikit-learn and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

from gecko_jax import losses, models, training
from gecko_jax.types import Batch, Examples

RNG = np.random.default_rng(0)
LOGITS = (2 * RNG.normal(size=(40, 3))).astype(np.float32)
TEACHER = RNG.normal(size=(40, 3)).astype(np.float32)
Y = RNG.choice(3, 40, p=[0.7, 0.2, 0.1]).astype(np.int32)
WEIGHTS = (0.5, 1.0, 4.0)


def every_example(loss):
    batch = Batch(jnp.zeros((40, 1)), jnp.asarray(Y), jnp.ones(40), {"teacher": jnp.asarray(TEACHER)})
    return np.asarray(jax.vmap(loss.apply)(jnp.asarray(LOGITS), batch))


def test_balanced_weights_are_scikit_learns_and_average_to_one():
    weights = losses.balanced_class_weights(Y, 3)
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=Y))
    assert np.mean(np.array(weights)[Y]) == pytest.approx(1)


def test_a_row_s_loss_is_multiplied_by_the_weight_of_its_class():
    expected = -log_softmax(LOGITS.astype(np.float64), -1)[np.arange(40), Y] * np.array(WEIGHTS)[Y]
    np.testing.assert_allclose(every_example(losses.cross_entropy(WEIGHTS)), expected, rtol=1e-5)
    assert losses.cross_entropy(list(WEIGHTS)) is losses.cross_entropy(np.array(WEIGHTS))
    assert losses.cross_entropy(WEIGHTS) is not losses.cross_entropy()


def test_distillation_as_for_he_friendly_students():
    """Cross-entropy with class weights + alpha T^2 KL at T = 10 and alpha = 0.1; the teacher's term has no weights."""
    loss = losses.kullback_leibler(10.0, 0.1, label_weight=1.0, class_weights=WEIGHTS)
    teacher, student = (log_softmax(z.astype(np.float64) / 10, -1) for z in (TEACHER, LOGITS))
    label = -log_softmax(LOGITS.astype(np.float64), -1)[np.arange(40), Y] * np.array(WEIGHTS)[Y]
    expected = label + 0.1 * 100 * (np.exp(teacher) * (teacher - student)).sum(-1)
    np.testing.assert_allclose(every_example(loss), expected, rtol=1e-4, atol=1e-5)


def test_one_step_of_training_follows_the_weights():
    model, data = models.create("mlp", 3, hidden=()), Examples(LOGITS, Y)
    start = {"params": {"logits": {"kernel": np.eye(3, dtype=np.float32), "bias": np.zeros(3, np.float32)}}}
    fitted = training.fit(
        model, data, loss=losses.cross_entropy(WEIGHTS), epochs=1, batch_size=40, optimizer=optax.sgd(1.0), init=start
    )
    posteriors = np.exp(log_softmax(LOGITS.astype(np.float64), -1))
    slopes = (np.array(WEIGHTS)[Y, None] * (posteriors - np.eye(3)[Y])).mean(0)
    np.testing.assert_allclose(fitted.variables["params"]["logits"]["bias"], -slopes, rtol=1e-4, atol=1e-6)


def test_macro_f1_is_reported_by_training_and_evaluation():
    model, data = models.create("mlp", 3, hidden=()), Examples(LOGITS, Y)
    loss = losses.cross_entropy()._replace(metric=losses.macro_f1())
    fitted = training.fit(model, data, loss=loss, epochs=2, batch_size=16, optimizer=optax.sgd(0.0))
    expected = f1_score(Y, training.predict(model, fitted.variables, data.x).argmax(-1), average="macro")
    np.testing.assert_allclose(fitted.metrics["macro_f1"], expected, rtol=1e-6)
    evaluation = training.evaluate(model, fitted.variables, data, loss)
    assert evaluation.metrics == {"macro_f1": pytest.approx(expected)}
    assert np.isnan(losses.macro_f1().summary(np.zeros(12)))


def test_examples_without_a_prediction_count_against_their_class():
    logits = np.array([[1, 0, 0], [0, 1, 0], [np.nan, 0, 0], [0, np.nan, 2], [0, 0, np.nan]], np.float32)
    y, nothing = np.array([0, 1, 0, 1, 2]), 3
    predicted = np.where(np.isnan(logits).any(1), nothing, np.nan_to_num(logits).argmax(1))
    means = np.mean(
        [losses.macro_f1().apply(jnp.array(row), Batch(None, k, None)) for row, k in zip(logits, y, strict=True)],
        axis=0,
    )
    expected = f1_score(y, predicted, labels=[0, 1, 2], average="macro", zero_division=0)
    assert losses.macro_f1().summary(means) == pytest.approx(expected)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.balanced_class_weights(Y, 4), r"no row of class 3, whose weight would be infinite"),
        (lambda: losses.balanced_class_weights(Y, 2), r"y.max\(\)=2 must lie between 0 and 1"),
        (lambda: losses.balanced_class_weights(Y + 0.0, 3), "y has dtype float64; expected integers"),
        (lambda: losses.balanced_class_weights(Y[None], 3), r"y has shape \(1, 40\)"),
        (lambda: losses.cross_entropy((1.0, -1.0)), "must be at least 0 each"),
        (lambda: losses.cross_entropy((0.0, 0.0)), "one of them above 0"),
        (lambda: losses.cross_entropy((1.0, np.inf)), "class_weights holds 1 entry that is NaN or infinite"),
        (lambda: losses.cross_entropy(3.0), r"class_weights has shape \(\)"),
        (lambda: every_example(losses.cross_entropy((1.0, 2.0))), "2 entries and the model has 3 logits"),
        (lambda: every_example(losses.kullback_leibler(class_weights=(1.0,) * 4)), "4 entries and the model has 3"),
        (lambda: losses.kullback_leibler(label_weight=-1.0), "label_weight=-1.0 must be at least 0"),
        (lambda: losses.kullback_leibler(label_weight=np.nan), "label_weight holds 1 entry that is NaN"),
        (lambda: losses.kullback_leibler(weight=0, label_weight=0), "the loss would be 0"),
    ],
)
def test_bad_weights_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
