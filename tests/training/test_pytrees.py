"""Inputs, labels and outputs that are pytrees: the same training as with the arrays that they are made of."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.types import Examples, Loss

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 5)).astype(np.float32), RNG.integers(0, 3, 24).astype(np.int32)
TARGETS = RNG.normal(size=(24, 2)).astype(np.float32)
TREE = Examples({"left": X[:, :2], "right": (X[:, 2:],)}, {"class": Y, "numbers": TARGETS}, np.arange(24))


class Heads(nn.Module):
    """Outputs {"logits": [b, 3], "numbers": [b, 2]} of inputs {"left", "right"}."""

    @nn.compact
    def __call__(self, x):
        hidden = nn.tanh(nn.Dense(6)(jnp.concatenate([x["left"], *x["right"]], axis=-1)))
        outputs = nn.Dense(5)(hidden)
        return {"logits": outputs[:, :3], "numbers": outputs[:, 3:]}


class Flat(nn.Module):
    """The same network of arrays: inputs [b, 5], outputs [b, 5]."""

    @nn.compact
    def __call__(self, x):
        hidden = nn.tanh(nn.Dense(6)(x))
        return nn.Dense(5)(hidden)


def both(logits, numbers, label, targets):
    return -jax.nn.log_softmax(logits)[label] + jnp.sum((numbers - targets) ** 2)


def of_tree(outputs, example):
    return both(outputs["logits"], outputs["numbers"], example.y["class"], example.y["numbers"])


def of_arrays(outputs, example):
    return both(outputs[:3], outputs[3:], example.y[0].astype(int), example.y[1:])


HEADS, TREE_LOSS = models.from_linen(Heads()), Loss("both", of_tree)
FLAT, FLAT_LOSS = models.from_linen(Flat()), Loss("both", of_arrays)
ARRAYS = Examples(X, np.column_stack([Y, TARGETS]).astype(np.float32), np.arange(24))
OPTIONS = dict(epochs=2, batch_size=8, optimizer=training.optimizer("adam", 0.05))


def private(model, loss):
    budget = dict(n=24, batch_size=24, epochs=2, delta=1e-3, noise_multiplier=0.0)
    return privacy.private_training(model, loss, clippings.flat(0.5), **budget).options


@pytest.mark.parametrize("way", ["plain", "private"])
def test_a_tree_trains_like_its_arrays(way):
    fits = []
    for model, data, loss in ((HEADS, TREE, TREE_LOSS), (FLAT, ARRAYS, FLAT_LOSS)):
        options = OPTIONS | (private(model, loss) if way == "private" else {"loss": loss})
        fits.append(training.fit(model, data, seed=0, **options))
    for one, other in zip(*map(jax.tree.leaves, fits), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fits[0].metrics["loss"], fits[0].loss, rtol=1e-6)  # of a loss without a metric


def test_predictions_and_evaluations_of_trees():
    variables = HEADS.init(jax.random.key(0), jax.tree.map(lambda leaf: leaf[:1], TREE.x))
    outputs = training.predict(HEADS, variables, TREE.x, batch_size=7)
    expected = training.predict(FLAT, variables, X)
    np.testing.assert_allclose(np.column_stack([outputs["logits"], outputs["numbers"]]), expected, rtol=1e-5, atol=1e-6)
    tree = training.evaluate(HEADS, variables, TREE, TREE_LOSS)
    arrays = training.evaluate(FLAT, variables, ARRAYS, FLAT_LOSS)
    np.testing.assert_allclose(tree.losses, arrays.losses, rtol=1e-5)
    assert tree.metrics["loss"] == pytest.approx(tree.losses.mean(dtype=np.float64))


def test_a_run_of_trees_goes_on_and_another_one_is_refused(tmp_path):
    first = training.fit(HEADS, TREE, loss=TREE_LOSS, folder=tmp_path, **OPTIONS)
    again = training.fit(HEADS, TREE, loss=TREE_LOSS, folder=tmp_path, **OPTIONS)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert [sorted(json.loads(line)) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        ["epoch", "loss"], ["epoch", "loss"]
    ]  # fmt: skip
    moved = TREE._replace(y={**TREE.y, "numbers": TARGETS + 1})
    with pytest.raises(ValueError, match="holds another run .data was"):
        training.fit(HEADS, moved, loss=TREE_LOSS, folder=tmp_path, **OPTIONS)


def test_leaves_of_other_rows_are_named():
    with pytest.raises(ValueError, match=r"data.x\['right'\]\[0\] has 23 rows, data.x\['left'\] has 24"):
        training.fit(HEADS, TREE._replace(x={"left": X[:, :2], "right": (X[1:, 2:],)}), loss=TREE_LOSS)
    masked = np.ma.array(TARGETS, mask=np.arange(48).reshape(24, 2) == 3)
    with pytest.raises(ValueError, match=r"data.y\['numbers'\] hides 1 entry behind a mask"):
        training.fit(HEADS, TREE._replace(y={**TREE.y, "numbers": masked}), loss=TREE_LOSS)


def test_the_loss_of_the_gradients_is_the_loss():
    options = private(HEADS, TREE_LOSS)
    with pytest.raises(ValueError, match="loss='cross_entropy' is not the loss of the gradients, which descend 'both'"):
        training.fit(HEADS, TREE, loss=losses.cross_entropy(), **options)
    other = Loss("both", lambda outputs, example: 0.0)
    with pytest.raises(ValueError, match="descend 'both' with other settings"):
        training.fit(HEADS, TREE, loss=other, **options)


@pytest.mark.parametrize(
    "batch_size, members, says", [(12, 24, "steps of 12 rows.*=8: .* 1.5 times"), (8, 6, "steps of 6 rows")]
)
def test_private_steps_without_a_sampling_have_the_rows_that_they_divide_by(batch_size, members, says, tmp_path):
    gradients = privacy.private_gradients(privacy.example_loss(HEADS, TREE_LOSS), clippings.flat(1.0), 1.0, 8)
    member = np.arange(24) < members
    with pytest.raises(ValueError, match=says + ".*Pass batch_size=8"):
        training.fit(HEADS, TREE, member, gradients=gradients, batch_size=batch_size, folder=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert np.isfinite(training.fit(HEADS, TREE, gradients=gradients, batch_size=8, epochs=1).loss).all()


def test_several_numbers_need_a_metric_that_combines_them():
    def loss(variables, example, key):
        outputs, _ = HEADS.apply(variables, jax.tree.map(lambda leaf: leaf[None], example.x))
        return jnp.sum(outputs["numbers"]), TARGETS[0]

    gradients = privacy.private_gradients(loss, clippings.flat(1.0), 1.0, 24)
    with pytest.raises(ValueError, match=r"gradients report a metric of shape \(2,\); expected a scalar"):
        training.fit(HEADS, TREE, gradients=gradients, batch_size=24)


def test_what_cannot_be_evaluated_is_refused():
    variables = HEADS.init(jax.random.key(0), jax.tree.map(lambda leaf: leaf[:1], TREE.x))
    with pytest.raises(ValueError, match="cross_entropy reads one array .* the model returns a dict of 2 entries"):
        training.evaluate(HEADS, variables, TREE)
    each = Loss("each", lambda outputs, example: outputs["numbers"])
    with pytest.raises(ValueError, match=r"loss 'each' gave an array of shape \(2,\) for one example"):
        training.evaluate(HEADS, variables, TREE, each)
    masked = np.ma.array(X, mask=X > 2)
    with pytest.raises(ValueError, match="data.x hides .* behind a mask"):
        training.evaluate(FLAT, variables, ARRAYS._replace(x=masked), FLAT_LOSS)
    with pytest.raises(ValueError, match="data.y holds labels 1 to 5; the model has logits for 0 to 4"):
        training.evaluate(FLAT, variables, ARRAYS._replace(y=np.arange(24) % 5 + 1))
