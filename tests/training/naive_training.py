"""The oracle of the training tests: what one writes first, a Python loop over epochs and batches with optax.

It shares with the library the model's forward pass, the rows of each step (`datasets.batches`) and the names of the
random streams; the loss of the real rows, their mean, the update and all schedules are written out here.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import numpy as np
import optax

from gecko_jax import datasets, keys


class Trained(NamedTuple):
    variables: dict
    loss: np.ndarray
    accuracy: np.ndarray
    losses: list  # of each step, in order


def start_of(model, x, seed=0):
    """Some values to start from, drawn by NumPy: to compile an initializer takes longer than to train."""
    rng = np.random.default_rng(seed)
    fixed = {"mean": np.zeros, "var": np.ones, "scale": np.ones, "r": np.ones, "b": np.ones}

    def draw(path, leaf):
        value_of = fixed.get(jax.tree_util.keystr(path[-1:], simple=True), lambda shape: 0.3 * rng.normal(size=shape))
        return np.asarray(value_of(leaf.shape), np.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(model.init, jax.random.key(0), x[:1]))


def starts_of(model, x, count):
    """Those of several models, with a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(start_of(model, x, seed=i) for i in range(count)))


def label_loss(logits, y, teacher):
    del teacher
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


@functools.cache
def _step(model, tx, loss, project):
    # Not optimized: another program than the library's, and compiled in a third of the time.
    @functools.partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
    def step(real, variables, state, x, y, seen, key, scale, rates):
        def objective(params):
            logits, updates = model.apply({**variables, "params": params}, x, key=key, train=True)
            taught = None if seen is None else seen[:real]
            right = (logits[:real].argmax(-1) == y[:real]).sum()
            return loss(logits[:real], y[:real], taught).sum() / real, (updates, right)

        (mean, (updates, right)), grads = jax.value_and_grad(objective, has_aux=True)(variables["params"])
        changes, state = tx.update(grads, state, variables["params"])
        changes = jax.tree.map(lambda change: change * scale, changes)
        if rates is not None:
            changes = jax.tree.map(lambda change, rate: change * rate, changes, rates)
        params = jax.tree.map(lambda old, change: old + change, variables["params"], changes)
        return {**variables, **updates, "params": project(params) if project else params}, state, mean, right

    return step


def naive_fit(
    model, data, rows, start, tx, *, epochs, batch_size, seed=0, name=0,
    loss=label_loss, teacher=None, factor=lambda epoch: 1.0, r=None, rates=None, project=None,
):  # fmt: skip
    """Trains on the rows where bool `rows` [n] is True; `factor` and `r` are functions of the epoch."""
    step = _step(model, tx, loss, project)
    variables, state = start, tx.init(start["params"])
    losses, loss_of, accuracy_of = [], [], []
    for epoch in range(epochs):
        if r is not None:
            variables = {**variables, "transition": _filled(start["transition"], r(epoch))}
        order = datasets.batches(rows[None], batch_size, seed, epoch, model_ids=[name])
        epoch_key = jax.random.fold_in(keys.stream(seed, "steps", epoch), np.uint32(name))
        total = hits = 0.0
        for number, (index, weight) in enumerate(zip(order.indices[0], order.weight[0], strict=True)):
            real = int(weight.sum())
            seen = None if teacher is None else teacher[index]
            key, scale = jax.random.fold_in(epoch_key, number), np.float32(factor(epoch))
            variables, state, mean, right = step(
                real, variables, state, data.x[index], data.y[index], seen, key, scale, rates
            )
            losses.append(float(mean))
            total, hits = total + real * float(mean), hits + int(right)
        loss_of.append(total / rows.sum())
        accuracy_of.append(hits / rows.sum())
    return Trained(variables, np.array(loss_of), np.array(accuracy_of), losses)


def _filled(tree, value):
    return jax.tree.map(lambda leaf: np.full_like(leaf, value), tree)


def assert_close(actual, expected, rtol=2e-5, atol=2e-6):
    """Equal trees, leaf by leaf, with the leaf's name where they are not."""
    left, right = (dict(jax.tree_util.tree_leaves_with_path(tree)) for tree in (actual, expected))
    assert left.keys() == right.keys()
    for path in left:
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(left[path], right[path], rtol=rtol, atol=atol, err_msg=name)


def assert_same_bits(actual, expected):
    """Trees equal to the last bit."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for left, right in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(left, right)
