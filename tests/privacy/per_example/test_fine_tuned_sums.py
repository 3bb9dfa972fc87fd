"""Private fine-tuning: exact for every method, and without work on what is frozen."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_clipped_sum import compiled

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.models import fine_tuning
from gecko_jax.programs import trace
from gecko_jax.trees import map_named, named_leaves, select_leaves, trainable_leaves
from gecko_jax.types import Batch

VOCABULARY, WIDTH, LENGTH, ROWS = 20, 16, 6, 4
LOSS = losses.sequence_cross_entropy(padding=-1)


def methods_of(tied):
    settings = {"adapter": {"reduction": 4}, "lora": {"rank": 2}, "prefix": {"length": 2}}
    settings |= {"head": {"tied": tied}, "embedding": {"tied": tied}}
    return {name: make(**settings.get(name, {})) for name, make in fine_tuning.FINE_TUNINGS.items()}


def tuned(kind, methods, **settings):
    """A transformer with the parts of these methods, and its variables: nothing at 0, where gradients hide."""
    model = models.create(kind, VOCABULARY, **{"layers": 1, "heads": 2, "max_length": LENGTH, **settings})
    for method in methods:
        model = method.apply(model)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.ones((1, LENGTH), np.int32))

    def draw(name, leaf):
        return (rng.normal(size=leaf.shape) / 4 + name.endswith("scale")).astype(np.float32)

    return model, map_named(draw, dict(shapes))


def batch_of(kind):
    """Rows of several lengths, padded; of a masked model a few tokens of each count."""
    rng = np.random.default_rng(2)
    x, y = rng.integers(2, VOCABULARY, (2, ROWS, LENGTH)).astype(np.int32)
    for row, length in enumerate(range(LENGTH, LENGTH - ROWS, -1)):
        x[row, length:], y[row, length:] = 0, -1
    if kind == "masked_transformer":
        y[:, 1::2] = -1
    return Batch(x, y, np.ones(ROWS, np.float32))


def check_close(total, wanted):
    """Each leaf to 1e-5 of its largest entry; one of rounding alone (a key's bias moves no softmax), of the sum's."""
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted))
    for (name, leaf), other in zip(named_leaves(total), jax.tree.leaves(wanted), strict=True):
        error = np.abs(np.asarray(leaf, np.float64) - other).max()
        assert error <= 1e-5 * max(np.abs(other).max(), scale / 100), name


@pytest.mark.parametrize("kind, tied", [("transformer", True), ("masked_transformer", False)])
def test_every_method_is_exact(kind, tied):
    """Against one gradient after another, clipped and summed by NumPy in float64, at a norm that clips some rows."""
    methods = methods_of(tied)
    model, variables = tuned(kind, methods.values(), width=WIDTH, tied=tied)
    batch, params = batch_of(kind), variables["params"]
    of_one = privacy.example_loss(model, LOSS)
    trainable = {name: method.trainable for name, method in methods.items()}

    @compiled
    def gradient(params, example):
        return jax.grad(lambda params: of_one({**variables, "params": params}, example)[0])(params)

    each = [gradient(params, jax.tree.map(lambda leaf: leaf[i], batch)) for i in range(ROWS)]  # noqa: B023
    wanted, bounds = {}, {}
    for name, patterns in trainable.items():
        keep = trainable_leaves(params, patterns)
        leaves = [jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), select_leaves(g, keep)) for g in each]
        norms = [np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(g))) for g in leaves]
        bounds[name] = float(np.median(norms))
        factors = [min(1.0, bounds[name] / norm) for norm in norms]
        wanted[name] = jax.tree.map(lambda *rows: sum(f * row for f, row in zip(factors, rows, strict=True)), *leaves)  # noqa: B023

    def no_noise(key, tree, std):
        return jax.tree.map(jnp.zeros_like, tree)

    @compiled
    def sums(variables, batch):
        rules = {name: clippings.flat(bound) for name, bound in bounds.items()}
        return {
            name: privacy.private_gradients(of_one, rules[name], 0.0, 1.0, trainable=patterns, noise=no_noise)(
                variables, batch, jax.random.key(0)
            )[0]
            for name, patterns in trainable.items()
        }

    for name, total in sums(variables, batch).items():
        check_close(select_leaves(total, trainable_leaves(params, trainable[name])), wanted[name])


def numbers(program):
    """(multiplications of all products, size of the largest array) of a traced program without loops."""
    products, largest = 0, 0
    for step in program.steps:
        largest = max(largest, *(math.prod(aval.shape) for aval in step.avals))
        if step.name == "dot_general":
            shape = program.avals[step.inputs[0]].shape
            (contracted, _), _ = step.params["dimension_numbers"]
            products += math.prod(step.avals[0].shape) * math.prod(shape[axis] for axis in contracted)
        inner = [numbers(body) for body in step.bodies]  # branches, of which one runs
        products, largest = products + max([p for p, _ in inner], default=0), max([largest, *(n for _, n in inner)])
    return products, largest


@pytest.mark.parametrize("name", ["adapter", "lora"])
def test_a_frozen_base_costs_nothing_of_each_example(name):
    """Counted in the traced programs: no array of a weight's size for each row, and hardly more multiplications."""
    rows, width = 8, 64
    method = methods_of(False)[name]
    model, variables = tuned("transformer", [method], width=width)
    batch = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), batch_of("transformer"))
    of_one, rule = privacy.example_loss(model, LOSS), clippings.flat(1.0)
    private = privacy.private_gradients(of_one, rule, 1.0, rows, method="bookkeeping", trainable=method.trainable)
    plain = training.batch_gradients(model, LOSS, method.trainable)
    arguments = (variables, batch, jax.random.key(0))
    products, largest = numbers(trace(private, *arguments)[0])
    assert largest < rows * width * width
    assert products <= 1.15 * numbers(trace(plain, *arguments)[0])[0]
