"""One number of rows for all leaves of a batch and its weights, asked at the entrance of whatever takes a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.privacy import gradients
from gecko_jax.privacy.per_example import microbatch
from gecko_jax.privacy.per_example.clipped import METHODS, clipped_sum
from gecko_jax.trees import row_count
from gecko_jax.types import Batch, Examples

RULE = clippings.flat(1.0)
WAYS = [(method, several) for method in METHODS for several in (None, 1, 4)]


class Nested(NamedTuple):
    x: Any
    more: dict


def loss(params, row, key):
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(row)) * params


@given(st.lists(st.integers(1, 4), min_size=3, max_size=3), st.sampled_from(WAYS), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_leaves_of_different_lengths_are_refused_by_name(lengths, way, traced):
    names = ("batch.x", "batch.more['a']", "batch.more['b'][0]")
    a, b, c = (np.ones((length, 2), np.float32) for length in lengths)
    total = clipped_sum(loss, RULE, *way)
    run = (lambda: jax.eval_shape(total, 1.0, Nested(a, {"a": b, "b": (c,)}))) if traced else None
    run = run or (lambda: total(1.0, Nested(a, {"a": b, "b": (c,)})))
    if len(set(lengths)) == 1:
        if traced:  # compiling what is right is the business of other tests
            run()
        return
    wrong = next(i for i in range(3) if lengths[i] != lengths[0])
    with pytest.raises(ValueError) as error:
        run()
    told = f"{names[wrong]} has {lengths[wrong]} rows, batch.x has {lengths[0]}; every leaf of batch has one row"
    assert str(error.value).startswith(told)


@pytest.mark.parametrize("way", WAYS)
def test_ten_rows_with_seven_labels(way, monkeypatch):
    monkeypatch.setattr(microbatch, "MAX_FLOATS", 1)  # "auto" takes a microbatch, in which slices of any leaf fit
    batch = Batch(np.ones((10, 2), np.float32), np.zeros(7, np.int32), np.ones(10, np.float32))
    model = models.from_linen(nn.Dense(3))
    of_one = privacy.example_loss(model, losses.cross_entropy())
    variables = model.init(jax.random.key(0), batch.x)
    with pytest.raises(ValueError, match="batch.y has 7 rows, batch.x has 10"):
        clipped_sum(of_one, RULE, *way)(variables, batch)
    private = gradients.private_gradients(of_one, RULE, 1.0, 10.0, method=way[0], microbatch=way[1])
    with pytest.raises(ValueError, match="batch.y has 7 rows, batch.x has 10"):
        private(variables, batch, jax.random.key(0))
    right = batch._replace(y=np.zeros(10, np.int32))
    for weight, told in ((np.ones(7), r"\(7,\); expected \(10\)"), (np.ones((10, 1)), r"\(10, 1\); expected \(10\)")):
        with pytest.raises(ValueError, match=f"^weight has shape {told}"):
            clipped_sum(of_one, RULE, *way)(variables, right, None, weight)
    with pytest.raises(ValueError, match=r"batch.weight has shape \(10, 1\); expected \(10\)"):
        private(variables, right._replace(weight=np.ones((10, 1))), jax.random.key(0))
    with pytest.raises(ValueError, match=r"batch.extra\['teacher'\] has 9 rows, batch.x has 10"):
        private(variables, right._replace(extra={"teacher": np.ones((9, 3))}), jax.random.key(0))


def test_a_leaf_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"batch\['scale'\] has shape \(\); every leaf of batch has one row"):
        clipped_sum(loss, RULE)(1.0, {"scale": np.float32(2), "x": np.ones((3, 2))})
    with pytest.raises(ValueError, match="batch holds no arrays; expected at least one"):
        clipped_sum(loss, RULE)(1.0, {"x": None})


def test_plain_training_asks_the_same():
    model = models.from_linen(nn.Dense(3))
    plain = training.batch_gradients(model, losses.cross_entropy())
    batch = Batch(np.ones((10, 2), np.float32), np.zeros(10, np.int32), np.ones(10, np.float32))
    variables = model.init(jax.random.key(0), batch.x)
    for name in ("y", "weight"):
        with pytest.raises(ValueError, match=f"batch.{name} has 7 rows, batch.x has 10"):
            plain(variables, batch._replace(**{name: getattr(batch, name)[:7]}), None)
    data = Examples(batch.x, batch.y, np.arange(9))
    with pytest.raises(ValueError, match="data.id has 9 rows, data.x has 10"):
        training.fit(model, data, epochs=1)
    several = jax.tree.map(lambda leaf: np.stack([leaf] * 3), variables)
    several["params"]["kernel"] = several["params"]["kernel"][:2]
    with pytest.raises(ValueError, match=r"variables\['params'\]\['kernel'\] has 2 rows, .*\['bias'\] has 3"):
        training.predict_ensemble(model, several, batch.x)


def test_shapes_are_counted_as_arrays_are():
    assert row_count("batch", jax.ShapeDtypeStruct((4, 2), float)) == 4
    assert row_count("keys", jax.random.split(jax.random.key(0), 3)) == 3
