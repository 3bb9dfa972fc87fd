"""Indices and labels of narrow types: the same gradients as of the same numbers in int32, whatever is compared to them.

The oracle is a loop over the examples: `jax.grad` of each one by itself, in which no Python int meets a batch.
"""

from __future__ import annotations

import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_by_one import OPTIONS, check_every_method, clipped_by_hand
from test_clipped_sum import check_equal, compiled

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.privacy import gradients
from gecko_jax.privacy.per_example.clipped import clipped_sum
from gecko_jax.privacy.per_example.table_site import as_index
from gecko_jax.types import Batch

TYPES = ("int8", "uint8", "int16", "uint16", "uint32")
# Rows of the tables: as many as the type has numbers, one that it can and one that it cannot write.
ROWS = {"int8": (128, 200, 100), "uint8": (256, 300, 255), "int16": (32768,), "uint16": (65536, 70000), "uint32": (7,)}
MODES = ("fill", "clip")


@pytest.fixture(autouse=True, scope="module")
def emitters():
    """XLA's old emitters, with which the other tests are compiled where there are any, abort on narrow indices."""
    flag = "xla_cpu_use_fusion_emitters"
    with pytest.MonkeyPatch.context() as patch:
        if flag in os.environ["XLA_FLAGS"]:
            patch.setitem(OPTIONS, flag, True)
        yield


def indices(dtype, rows, rng, b=5):
    """Some within the table, the type's ends, and, where it has them, negative ones and ones past the end."""
    ends = np.iinfo(dtype)
    some = rng.integers(0, min(rows, ends.max), (b, 3), endpoint=True)
    some[0, 0], some[1, 0], some[2, 0] = ends.max, max(ends.min, -rows - 3), max(ends.min, -1)
    some[3] = some[3, 0]  # the same row three times
    return some.astype(dtype)


def read_tables(params, example, key):
    """Every table read once, at its example's indices: a table that is read twice has another rule."""
    total = 0.0
    for name, table in params.items():
        mode, rows = name.split()
        entries = jnp.nan_to_num(jnp.take(table, example[rows], axis=0, mode=mode))
        total += jnp.sum(jnp.sin(jnp.sum(entries, axis=0)))
    return total


@pytest.mark.parametrize("dtype", TYPES)
def test_a_table_is_read_at_indices_of_any_type(dtype):
    rng = np.random.default_rng(1)
    params = {f"{mode} {rows}": rng.normal(size=(rows, 2)).astype(np.float32) for rows in ROWS[dtype] for mode in MODES}
    check_every_method(read_tables, params, {str(rows): indices(dtype, rows, rng) for rows in ROWS[dtype]})


def test_an_embedding_of_256_rows_learns_from_uint8():
    """`index < len(table)` wraps to `index < 0`: the gradient was 0, without a word."""
    embed = nn.Embed(256, 3)
    tokens = np.asarray([[0, 255, 255], [7, 8, 9], [128, 0, 0]], np.uint8)
    params = embed.init(jax.random.key(0), tokens[0])["params"]

    def loss(params, tokens, key):
        return jnp.sum(jnp.sin(embed.apply({"params": params}, tokens)))

    check_every_method(loss, params, tokens)


@given(st.sampled_from(("int8", "uint8", "int16", "uint16", "int32", "uint32")), st.integers(1, 2**31 - 1), st.data())
@settings(derandomize=True, deadline=None, max_examples=60)
def test_an_index_stays_on_its_side_of_the_table(dtype, size, data):
    ends = np.iinfo(dtype)
    given_index = np.asarray(data.draw(st.lists(st.integers(int(ends.min), int(ends.max)), min_size=1)), dtype)
    index = np.asarray(as_index(jnp.asarray(given_index), size), np.int64)
    wide = given_index.astype(object)
    assert ((index >= 0) == (wide >= 0)).all() and ((index < size) == (wide < size)).all()
    inside = (wide >= 0) & (wide < size)
    assert (index[inside] == wide[inside]).all()


B, CLASSES = 300, 270  # more examples, and more classes, than a byte counts


def scattered(params, example, key):
    """Counts by index, rows of the data chosen by index, and a row of a parameter: narrow indices of each example."""
    counts = jnp.zeros(CLASSES).at[example["at"]].add(params["w"])
    chosen = jnp.take_along_axis(example["x"], example["at"], 0) @ params["w"]
    return jnp.sum(counts**2) + jnp.tanh(chosen) + jnp.sum(jax.nn.one_hot(example["at"], CLASSES) @ params["v"])


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_more_examples_than_the_type_can_count(dtype):
    rng = np.random.default_rng(2)
    batch = {"x": rng.normal(size=(B, CLASSES)), "at": rng.integers(0, 256, (B, 4)).astype(dtype)}
    params = {"w": rng.normal(size=4), "v": rng.normal(size=CLASSES)}
    batch["x"], params = batch["x"].astype(np.float32), jax.tree.map(np.float32, params)
    check_every_method(scattered, params, batch, (("bookkeeping", None), ("vmap", np.uint8(200))))


def labeled(dtype, b=6):
    rng = np.random.default_rng(3)
    ends = np.iinfo(dtype)
    y = rng.integers(0, min(CLASSES, ends.max), b).astype(dtype)
    y[0] = min(CLASSES - 1, ends.max)
    extra = {"teacher": rng.normal(size=(b, CLASSES))}
    return Batch(rng.normal(size=(b, 4)).astype(np.float32), y, np.ones(b, np.float32), extra)


MODEL = models.from_linen(nn.Dense(CLASSES))
VARIABLES = {"params": {"kernel": np.float32(np.random.default_rng(4).normal(size=(4, CLASSES)))}}
VARIABLES["params"]["bias"] = np.zeros(CLASSES, np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32"])
def test_labels_of_any_type_give_the_same_gradients(dtype):
    """Private and plain; the rows that are right are those of NumPy's arg-max."""
    batch, loss = labeled(dtype), losses.kullback_leibler()
    logits = batch.x @ VARIABLES["params"]["kernel"]
    batch.y[1:3] = np.minimum(logits[1:3].argmax(1), np.iinfo(dtype).max)
    wanted = int((logits.argmax(1) == batch.y.astype(np.int64)).sum())
    wide = batch._replace(y=batch.y.astype(np.int32))
    of_one = privacy.example_loss(MODEL, loss)
    total, _ = clipped_by_hand(lambda params, row, key: of_one({"params": params}, row)[0], VARIABLES["params"], wide)
    private = compiled(gradients.private_gradients(of_one, clippings.flat(1.0), 0.0, 1.0))
    step, metrics = private(VARIABLES, batch, jax.random.key(0))
    check_equal(step, total)
    assert metrics.metric == wanted and metrics.count == 6
    plain = compiled(training.batch_gradients(MODEL, loss))
    (one, of_narrow), (other, of_wide) = (plain(VARIABLES, each, jax.random.key(0)) for each in (batch, wide))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert of_narrow.metric == of_wide.metric == wanted and of_narrow.loss == of_wide.loss


def test_a_microbatch_may_be_a_narrow_integer():
    x = np.ones((300, 2), np.float32)
    total, _ = clipped_sum(lambda w, row, key: row @ w, clippings.flat(1.0), microbatch=np.uint8(7))(jnp.zeros(2), x)
    np.testing.assert_allclose(total, 300 / np.sqrt(2), rtol=1e-5)
