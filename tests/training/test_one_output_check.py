"""Outputs and labels of one kind for all: plain, private, distilled and predicting refuse the same, before any work."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings, losses, models, privacy, quantizers, training
from gecko_jax.types import Batch, Examples

RNG = np.random.default_rng(0)
DATA = Examples(RNG.normal(size=(24, 5)).astype(np.float32), np.arange(24) % 3, np.arange(24))


class Net(nn.Module):
    """A classifier that returns what `kind` says."""

    kind: str

    @nn.compact
    def __call__(self, x):
        logits = nn.Dense(3)(nn.Dense(4)(nn.Dense(4)(x)))
        return {
            "right": lambda: logits,
            "a sequence": lambda: jnp.stack([logits] * 4, axis=1),
            "a picture": lambda: logits[:, None, None],
            "one axis": lambda: logits[:, 0],
            "a tuple": lambda: (logits, logits),
            "a list": lambda: [logits],
            "a dict": lambda: {"logits": logits},
            "nothing": lambda: None,
            "rows of other rows": lambda: jnp.concatenate([logits, logits]),
            "classes before rows": lambda: logits.T,
            "classes": lambda: (100 * logits).astype(jnp.int32),
        }[self.kind]()


TAUGHT = r"extra\['teacher'\] has shape \(3,\); expected \(.*, 3\)"  # distillation reads sequences, too
SAYS = {
    "a sequence": r"reads one array of outputs \(classes\) .* returns shape \(4, 3\) for one example. Reduce|" + TAUGHT,
    "a picture": r"returns shape \(1, 1, 3\) for one example|" + TAUGHT,
    "one axis": r"returns shape \(\) for one example.*outputs\[:, None\]",
    "a tuple": r"one array of outputs \(.*classes\) for each example; the model returns a tuple of 2 entries",
    "a list": "the model returns a list of 1 entries",
    "a dict": "the model returns a dict of 1 entries",
    "nothing": r"model returns a NoneType without an array; expected outputs \(\d+, ...\)",
    "rows of other rows": r"model returns outputs of shape \(\d+, 3\) for \d+ rows; expected \(\d+, ...\)",
    "classes before rows": r"model returns outputs of shape \(3, \d+\) for \d+ rows|logits for 0 to \d|logits a row",
    "classes": "reads floating-point outputs; the model returns dtype int32",
}

def private_options(model, loss=None, **options):
    return privacy.private_training(
        model, loss or losses.cross_entropy(), clippings.flat(1.0), n=24, batch_size=8, epochs=2, delta=1e-3,
        noise_multiplier=1.0, **options,
    ).options  # fmt: skip


WAYS = {
    "plain": lambda model, **more: training.fit(model, DATA, epochs=1, **more),
    "private": lambda model, **more: training.fit(model, DATA, **private_options(model), **more),
    "augmented": lambda model, **more: training.fit(
        model, DATA, **private_options(model, augment=lambda key, x: x, multiplicity=2), **more
    ),
    "distilled": lambda model, **more: training.distill(
        model, DATA, np.ones((1, 24), bool), np.zeros((24, 3), np.float32), epochs=1, **more
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", SAYS)
def test_outputs_that_are_no_logits_are_refused_before_a_folder_is_claimed(kind, way, tmp_path):
    with pytest.raises(ValueError, match=SAYS[kind]):
        WAYS[way](models.from_linen(Net(kind)), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["nothing", "rows of other rows"])
def test_prediction_refuses_outputs_without_a_row_for_each_input(kind):
    model = models.from_linen(Net(kind))
    variables = model.init(jax.random.key(0), DATA.x[:1])
    with pytest.raises(ValueError, match=SAYS[kind]):
        training.predict(model, variables, DATA.x)
    with pytest.raises(ValueError, match=SAYS[kind]):
        training.predict_ensemble(model, jax.tree.map(lambda leaf: leaf[None], variables), DATA.x)


@pytest.mark.parametrize("kind", ["a sequence", "one axis", "a tuple", "a dict", "classes"])
def test_prediction_returns_any_pytree_with_a_row_for_each_input(kind):
    model = models.from_linen(Net(kind))
    variables = model.init(jax.random.key(0), DATA.x[:1])
    expected = model.apply(variables, DATA.x)[0]
    outputs = training.predict(model, variables, DATA.x, batch_size=7)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), outputs, expected)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), variables)
    jax.tree.map(lambda one, two: np.testing.assert_array_equal(two, np.stack([one, one])), outputs,
                 training.predict_ensemble(model, both, DATA.x, batch_size=7))  # fmt: skip


def test_quantized_models_refuse_the_same():
    model = models.quantized(models.from_linen(Net("right")), [("", quantizers.binary(), None)])
    broken = model._replace(apply=lambda *args, **kw: ((out := model.apply(*args, **kw))[0][:, None], out[1]))
    for way in ("plain", "private"):
        with pytest.raises(ValueError, match=r"returns shape \(1, 3\) for one example"):
            WAYS[way](broken)


LABELS = {
    "a column": (DATA.y[:, None], r"y has shape \(1,\) for one example.*y\[:, 0\]"),
    "one-hot": (np.eye(3, dtype=np.int32)[DATA.y], r"y has shape \(3,\) for one example.*y.argmax\(-1\)"),
    "one-hot, real": (np.eye(3, dtype=np.float32)[DATA.y], r"y has shape \(3,\) for one example.*y.argmax\(-1\)"),
    "a label a place": (np.stack([DATA.y] * 4, axis=1), "y has shape"),
    "real numbers": (DATA.y.astype(np.float32), r"reads class numbers; y has dtype float32.*losses.squared_error\(\)"),
    "past the last": (DATA.y + 1, "data.y holds labels 1 to 3; the model has logits for 0 to 2"),
    "below 0": (DATA.y - 1, "data.y holds labels -1 to 1; the model has logits for 0 to 2"),
}


@pytest.mark.parametrize("y, says", LABELS.values(), ids=LABELS)
def test_labels_of_another_shape_or_range_are_refused_by_both(y, says):
    model = models.from_linen(Net("right"))
    for options in (dict(epochs=1), private_options(model)):
        with pytest.raises(ValueError, match=says):
            training.fit(model, DATA._replace(y=y), **options)


@pytest.mark.parametrize("label", [-1, 3, -(2**31)])
def test_a_label_without_a_logit_has_no_loss_in_a_loop_of_ones_own(label):
    """-1 would count from the end and train the last class."""
    value = losses.cross_entropy().apply(jnp.zeros(3), Examples(None, jnp.int32(label), None))
    assert np.isnan(value)


def test_a_loss_of_ones_own_on_sequences_trains_privately():
    """`private_gradients` asks for one scalar an example; what the loss reads of the outputs is its own."""
    model = models.from_linen(Net("a sequence"))
    y = np.stack([DATA.y] * 4, axis=1)

    def loss(variables, example, key):
        logits = model.apply(variables, example.x[None])[0][0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - jnp.take_along_axis(logits, example.y[:, None], 1)[:, 0])

    gradients = privacy.private_gradients(loss, clippings.flat(1.0), 1.0, 8, method="vmap")
    data, sampling = DATA._replace(y=y), privacy.poisson(24, 8, 3)
    assert np.isfinite(training.fit(model, data, gradients=gradients, sampling=sampling, epochs=1).loss).all()


def test_teachers_of_another_shape_are_refused():
    model = models.from_linen(Net("right"))
    for shape in ((24,), (24, 4, 3), (2, 24, 3), (24, 7)):
        with pytest.raises(ValueError, match="teacher"):
            training.distill(model, DATA, np.ones((1, 24), bool), np.zeros(shape, np.float32), epochs=1)


def test_half_precision_logits_are_logits():
    for dtype in (jnp.bfloat16, jnp.float16):
        assert losses.cross_entropy().apply(jnp.zeros(3, dtype), Batch(None, 1, None)).dtype == dtype
