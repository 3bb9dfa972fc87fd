"""Epochs of sampled batches in segments, as a GPU runs them: the same training in fewer slots."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from naive_training import assert_close

from gecko_jax import models, privacy, training
from gecko_jax.training import segments
from gecko_jax.training.batch_plan import BatchPlan, plan_epoch
from gecko_jax.training.layout import Layout
from gecko_jax.training.schedules import tabulate
from gecko_jax.training.segments import Segmentation, segmentation
from gecko_jax.training.step import Epoch
from gecko_jax.types import StepMetrics

MEMBER = np.stack([np.arange(60) % 3 != 0, np.arange(60) % 2 == 0])  # 40 and 30 members


@pytest.fixture
def gpu(monkeypatch):
    """The choices that are made for a GPU; the programs run on the CPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(segments, "MIN_STEPS_OF_RUN", 1)


def plan_of(sampling, epochs, member):
    ids = tuple(range(len(member)))
    return BatchPlan(member, ids, (3,) * len(ids), epochs, 0, sampling, tabulate(None, epochs))


def weights(rows, slots=30):
    """[1, steps, slots]: a batch of each number of rows."""
    return (np.arange(slots) < np.array(rows)[:, None]).astype(np.float32)[None]


def test_a_segment_has_the_fewest_slots_that_hold_all_of_its_rows():
    division = Segmentation(2, (8, 16, 30))
    cut = list(segments.segments(weights([8, 3, 9, 0, 16, 17, 0, 0, 1]), division))
    assert cut == [(0, 2, 8), (2, 4, 16), (4, 6, 30), (6, 8, 8), (8, 9, 30)]  # the rest has all slots
    both = np.concatenate([weights([8, 3]), weights([0, 12])])  # the largest of all models
    assert list(segments.segments(both, division)) == [(0, 2, 16)]


@pytest.mark.parametrize("batch_size, models", [(256, 1), (64, 1), (32, 1), (256, 4)])
def test_slots_stay_within_the_promise(gpu, batch_size, models):
    """Counted on drawn batches, not modeled."""
    steps = 100
    sampling = privacy.poisson(6000, batch_size, steps=3 * steps)
    division = segmentation(sampling, steps, models)
    plan = plan_of(sampling, 3, np.ones((models, 6000), bool))
    slots = rows = 0
    for epoch in range(3):
        weight = plan_epoch(plan, epoch).weight
        for first, last, size in segments.segments(weight, division):
            slots += (last - first) * size * models
            assert not weight[:, first:last, size:].any()  # nobody is left out
        rows += weight.sum()
    assert slots / rows <= 1.15
    assert sampling.cap * 3 * steps * models / rows > 1.4  # in one program of all slots


def test_many_models_and_odd_epochs(gpu):
    sampling = privacy.poisson(60_000, 256, steps=1000)
    assert segmentation(sampling, 234, 1) == Segmentation(6, (256, 272, 288, 304, 320, sampling.cap))  # 39 times 6
    assert segmentation(sampling, 233, 1).steps == 8  # a prime: one step is left over
    assert segmentation(sampling, 3, 1).steps == 3
    assert segmentation(privacy.poisson(60_000, 32, 1000), 234, 1).steps == 1


def test_what_is_not_divided(gpu, monkeypatch):
    sampling = privacy.poisson(60_000, 256, steps=1000)
    assert segmentation(None, 10, 1) is None and segmentation(privacy.shuffled(100, 10, 2), 10, 1) is None
    monkeypatch.setattr(segments, "MIN_STEPS_OF_RUN", 1001)
    assert segmentation(sampling, 10, 1) is None
    monkeypatch.undo()
    assert segmentation(sampling, 10, 1) is None  # a CPU


def test_training_in_segments_is_training_in_one_program(gpu, monkeypatch, pool, compiled):
    """The same draws and the same noise, step by step; a program for each size, compiled once for all epochs."""
    model, sampling = models.create("mlp", 10, hidden=()), privacy.poisson(60, 6, steps=22)

    def gradients(variables, batch, key):
        """The sum of the inputs and noise: all of a step that its slots and its number can change."""
        params = variables["params"]["logits"]
        kernel = jnp.repeat((batch.x * batch.weight[:, None]).sum(0)[:, None], 10, 1)
        noise = jax.random.normal(key, params["kernel"].shape)
        count = batch.weight.sum()
        grads = {"logits": {"kernel": kernel + noise + params["kernel"], "bias": params["bias"]}}
        return grads, StepMetrics(count / 4, count / 2, count, {})

    options = dict(gradients=gradients, optimizer=optax.sgd(0.1), epochs=2, sampling=sampling, seed=7)
    division = Segmentation(4, (8, sampling.cap))
    monkeypatch.setattr(segments, "segmentation", lambda *unused: division)
    cut = training.fit(model, pool, **options)
    assert compiled.count("jit(traced)") == 3  # both sizes, and the steps that are left over
    monkeypatch.setattr(segments, "segmentation", lambda *unused: None)
    at_once = training.fit(model, pool, **options)
    assert compiled.count("jit(traced)") == 4
    assert_close(cut.variables, at_once.variables)
    np.testing.assert_array_equal(cut.loss, at_once.loss)


def test_models_side_by_side_and_a_portion_of_an_epoch():
    """Each model's step is given the rows, the key's data and the number that it has in the whole epoch."""
    counts = np.array([[2, 9, 4, 0, 1], [3, 1, 8, 8, 0]])
    weight = (np.arange(12) < counts[:, :, None]).astype(np.float32)
    indices = np.arange(120, dtype=np.int32).reshape(2, 5, 12)
    seen = []

    def run_epoch(states, data, epochs):
        length = epochs.indices.shape[1]
        seen.append((int(epochs.first), length, epochs.indices.shape[2]))
        assert epochs.indices.shape == epochs.weight.shape and epochs.key == "key"
        return states + 1, (epochs.indices.max(2), (epochs.indices * epochs.weight).sum(2))

    plan = plan_of(privacy.poisson(60, 4, steps=5), 1, MEMBER)
    epochs = Epoch(indices, weight, "key", {}, first=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "segmentation", lambda *of: Segmentation(2, (8, 12)))
        run = segments.by_segments(run_epoch, lambda tree: tree, plan, Layout(2, 1, scan=True, matmul=False))
    states, (_, sums) = run(0, None, epochs)
    assert states == 3 and seen == [(10, 2, 12), (12, 2, 8), (14, 1, 12)]
    np.testing.assert_array_equal(sums, (indices * weight).sum(2))
