"""Sequences [n, t], one loss a sequence: a language model of one's own, through every way of training."""

import jax
import numpy as np
import pytest
from scipy.special import log_softmax
from toy_language_model import LanguageModel, token_rows, train_all

from gecko_jax import audit, clippings, losses, models, privacy, training
from gecko_jax.types import Batch

MODEL = models.from_linen(LanguageModel(8))
DATA = token_rows(n=12, steps=7)
VARIABLES = MODEL.init(jax.random.key(3), DATA.x[:1])


def test_a_language_model_trains_in_every_way():
    data = token_rows()
    evaluation, member = train_all(data)
    assert {name: one.losses.shape for name, one in evaluation.items()} == {
        "plain": (96,), "quantized": (96,), "private": (96,), "shadows": (4, 96)
    }  # fmt: skip
    for name in ("plain", "quantized"):  # a token says the next one with probability 3/4 + 1/32
        assert evaluation[name].losses.mean() < 1.1 and evaluation[name].metrics["token_accuracy"] > 0.74, name
    assert evaluation["private"].losses.mean() < 0.95 * np.log(8)
    values = evaluation["shadows"].losses
    assert values[member].mean() < values[~member].mean()  # members' sequences have the smaller losses
    report = audit.from_signals({"sequence_loss": values}, member, attacks=["lira", "rmia"])
    for name in ("lira", "rmia"):
        assert report.rows[name]["auc"].value > 0.55, print(report)
    assert report.performance["mean sequence loss"]["members"].value == pytest.approx(
        np.mean([row[inside].mean() for row, inside in zip(values, member, strict=True)]), rel=1e-6
    )


def test_evaluation_is_the_mean_over_tokens():
    data = DATA._replace(y=np.where(np.arange(6)[None] < np.arange(12)[:, None] % 6 + 1, DATA.y, -1))
    evaluation = training.evaluate(MODEL, VARIABLES, data, losses.sequence_cross_entropy(padding=-1), batch_size=5)
    logits = training.predict(MODEL, VARIABLES, data.x).astype(np.float64)
    real = data.y >= 0
    each = -np.take_along_axis(log_softmax(logits, -1), np.maximum(data.y, 0)[..., None], -1)[..., 0]
    np.testing.assert_allclose(evaluation.losses, (each * real).sum(1) / real.sum(1), rtol=1e-5)
    assert evaluation.metrics["token_accuracy"] == pytest.approx((logits.argmax(-1) == data.y)[real].mean(), rel=1e-6)


def clipped_by_loop(batch, loss, clip_norm):
    """The clipped sum of each example's gradient, and the norms, in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), VARIABLES["params"])
        total, norms = jax.tree.map(np.zeros_like, params), []
        gradient = jax.jit(
            jax.grad(lambda params, x, y: loss.apply(MODEL.apply({"params": params}, x[None])[0][0], Batch(x, y, None)))
        )
        for x, y, weight in zip(batch.x, batch.y, batch.weight, strict=True):
            slope = jax.tree.map(np.asarray, gradient(params, x, y))
            norms.append(weight * np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(slope))))
            factor = weight * min(1, clip_norm / norms[-1]) if weight else 0
            total = jax.tree.map(lambda old, leaf, f=factor: old + f * leaf, total, slope)
    return total, np.array(norms)


@pytest.mark.parametrize(
    "options", [dict(method="vmap"), dict(method="bookkeeping"), dict(), dict(microbatch=5)], ids=lambda o: str(o)
)
def test_clipped_sums_of_sequences_are_a_loop_over_examples(options):
    """With padding inside the sequences, and rows of weight 0."""
    y = np.where(np.arange(6)[None] < np.arange(12)[:, None] % 6 + 1, DATA.y, -1).astype(np.int32)
    batch, loss = Batch(DATA.x, y, (np.arange(12) != 4).astype(np.float32)), losses.sequence_cross_entropy(padding=-1)
    summed = jax.jit(privacy.clipped_sum(privacy.example_loss(MODEL, loss), clippings.flat(1.0), **options))
    total, norms = summed(VARIABLES, batch)
    expected, lengths = clipped_by_loop(batch, loss, 1.0)
    np.testing.assert_allclose(norms, lengths, rtol=2e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), total, dict(expected))
    assert (lengths > 1).any() and (lengths[lengths > 0] < 1).any()


SAYS = {
    "a vocabulary too small": (dict(data=DATA._replace(y=DATA.y + 1)), "data.y holds tokens 1 to 8; .* 0 to 7"),
    "one label a sequence": (dict(data=DATA._replace(y=DATA.y[:, 0])), "reads 6 class numbers.*y has shape"),
    "classes' loss": (dict(loss=losses.cross_entropy()), r"cross_entropy reads one array of outputs \(classes\)"),
    "other steps": (dict(data=DATA._replace(y=DATA.y[:, 1:])), r"reads 6 class numbers.*y has shape \(5,\)"),
}


@pytest.mark.parametrize("case", SAYS)
def test_what_does_not_fit_is_refused_before_a_folder_is_claimed(case, tmp_path):
    options, says = SAYS[case]
    with pytest.raises(ValueError, match=says):
        training.fit(MODEL, **(dict(data=DATA, loss=losses.sequence_cross_entropy(), folder=tmp_path / "a") | options))
    assert not (tmp_path / "a").exists()


def test_masks_and_teachers_of_sequences_are_extras():
    """A mask, and a teacher's logits [n, t, words], which no rank mistakes for one of several models."""
    real = np.arange(6)[None] < np.arange(12)[:, None] % 6 + 1
    masked, padded = losses.sequence_cross_entropy(mask="mask"), losses.sequence_cross_entropy(padding=-1)
    options = dict(epochs=2, batch_size=4, seed=0)
    fits = [
        training.fit(MODEL, DATA, loss=masked, extra={"mask": real}, **options),
        training.fit(MODEL, DATA._replace(y=np.where(real, DATA.y, -1)), loss=padded, **options),
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *fits)
    recipe = training.Recipe(MODEL, DATA, loss=masked, extra={"mask": real}, epochs=1, batch_size=4)
    shadow, pair = recipe(range(6), jax.random.key(0)), recipe.ensemble(np.eye(2, 12, dtype=bool), jax.random.key(0))
    assert jax.tree.map(np.shape, pair) == jax.tree.map(lambda leaf: (2, *leaf.shape), shadow)
    evaluation = training.evaluate(MODEL, VARIABLES, DATA, masked, extra={"mask": real})
    other = training.evaluate(MODEL, VARIABLES, DATA._replace(y=np.where(real, DATA.y, -1)), padded)
    np.testing.assert_allclose(evaluation.losses, other.losses, rtol=1e-6)
    with pytest.raises(ValueError, match=r"reads extra\['mask'\]: pass extra=\{'mask'"):
        training.evaluate(MODEL, VARIABLES, DATA, masked)
    teacher = 8 * training.predict(MODEL, VARIABLES, DATA.x)
    student = training.distill(MODEL, DATA, np.ones((1, 12), bool), teacher, optimizer=training.optimizer("adam", 0.05),
                               **(options | {"epochs": 15}))  # fmt: skip
    assert student.loss[-1] < 0.9 * student.loss[0]
