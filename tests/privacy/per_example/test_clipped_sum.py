"""Clipped sums against one gradient after another, clipped and summed by NumPy, for every kind of model in the zoo."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo
from one_by_one import OPTIONS

from gecko_jax import clippings
from gecko_jax.privacy.per_example import microbatch
from gecko_jax.privacy.per_example.clipped import clipped_sum
from gecko_jax.privacy.per_example.looped import with_windows
from gecko_jax.trees import named_leaves

KEY = jax.random.key(3)
FLAT = clippings.quantile(1.0)  # `at` any threshold it is flat clipping


def compiled(function):
    """The function jitted; a new function, so that nothing is reused that was traced with other parts."""
    return jax.jit(lambda *args: function(*args), compiler_options=OPTIONS)


def params_of(variables):
    return variables["params"] if isinstance(variables, Mapping) and "params" in variables else variables


@functools.cache
def case_of(name):
    return zoo.CASES[name]()


@functools.cache
def gradients_of(name):
    """Each example's gradient by itself, float64: a list of trees; their norms [b]."""
    case = case_of(name)
    nested = params_of(case.variables) is not case.variables

    def loss(params, example, key):
        result = case.loss({**case.variables, "params": params} if nested else params, example, key)
        return result[0] if isinstance(result, tuple) else result

    one, params, found = compiled(jax.grad(loss)), params_of(case.variables), []
    for i in range(len(case.batch.y)):
        tree = one(params, jax.tree.map(lambda leaf: leaf[i], case.batch), jax.random.fold_in(KEY, i))  # noqa: B023
        found.append(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree))
    return found, np.asarray([np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(tree))) for tree in found])


def by_hand(name, clip_norm, rows=None):
    """The flatly clipped sum over some rows, or over all if None."""
    gradients, norms = gradients_of(name)
    total = jax.tree.map(np.zeros_like, gradients[0])
    for i in range(len(gradients)) if rows is None else rows:
        factor = min(1.0, clip_norm / norms[i])
        total = jax.tree.map(lambda so_far, leaf: so_far + factor * leaf, total, gradients[i])  # noqa: B023
    return total


def middle(name):
    """A clip norm that shortens half of the examples."""
    return float(np.median(gradients_of(name)[1]))


def run(name, clip_norm, method="bookkeeping", microbatch=None, batch=None):
    """The library's sum and norms."""
    case = case_of(name)

    def total(clip_norm, variables, batch, key):
        return clipped_sum(case.loss, FLAT.at(clip_norm), method, microbatch)(variables, batch, key)

    return compiled(total)(np.float32(clip_norm), case.variables, case.batch if batch is None else batch, KEY)


def check_equal(got, wanted, tolerance=1e-5):
    """Each leaf to a share of its largest entry."""
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for (name, leaf), other in zip(named_leaves(got), jax.tree.leaves(wanted), strict=True):
        assert leaf.shape == other.shape, name
        error = np.abs(np.asarray(leaf, np.float64) - other).max()
        assert error <= tolerance * np.abs(other).max(), f"{name} is off by {error:.2e} of {np.abs(other).max():.2e}"


def check_exact(name, method="bookkeeping", microbatch=None):
    total, norms = run(name, middle(name), method, microbatch)
    check_equal(total, by_hand(name, middle(name)))
    np.testing.assert_allclose(norms, gradients_of(name)[1], rtol=1e-5)


@pytest.mark.parametrize("name", zoo.CASES)
def test_it_is_the_sum_of_clipped_gradients(name):
    check_exact(name)


# Methods and microbatches wrap the model: a few of different steps are enough. 2 and 3 do not divide the five rows.
@pytest.mark.parametrize(
    "name, method, microbatch",
    [("dropout", "auto", None), ("dropout", "auto", 2), ("dropout", "vmap", None), ("dropout", "bookkeeping", 5)]
    + [("ghosts", "bookkeeping", 3), ("twice", "auto", 2), ("odds", "bookkeeping", 2), ("odds", "vmap", 2)]
    + [("by_index", "bookkeeping", 1), ("lora", "vmap", 3), ("student", "bookkeeping", 7)]
    # In a loop on a CPU convolutions are products over windows: strided, dilated, grouped, of one and of three axes.
    + [("conv_1d", "bookkeeping", 2), ("conv_2d", "bookkeeping", 2), ("wide_residual", "auto", 4)],
)
def test_every_method_and_microbatch_gives_the_same(name, method, microbatch):
    check_exact(name, method, microbatch)


@pytest.mark.parametrize("method", ["bookkeeping", "vmap"])
def test_parameters_that_the_loss_does_not_read_get_zeros(method):
    total, _ = run("unused", 1.0, method)
    assert not total["unread"].any() and not total["seen"].any() and total["used"].any()
    assert total["unread"].shape == (2, 2) and total["seen"].shape == (zoo.CLASSES,)


def test_auto_takes_as_many_examples_at_a_time_as_fit(monkeypatch):
    case = case_of("ghosts")
    params, loss = case.variables["params"], lambda params, row: case.loss({"params": params}, row, None)
    floats = microbatch.floats_of_one(with_windows(loss), params, case.batch)
    assert floats.windows and not floats.convolutions
    monkeypatch.setattr(microbatch, "MIN_FLOATS_PER_PARAMETER", 0)
    monkeypatch.setattr(microbatch, "MAX_FLOATS_OF_WINDOWS", 3 * floats.count)
    text = str(jax.make_jaxpr(clipped_sum(case.loss, FLAT.at(1.0)))(case.variables, case.batch))
    assert "while" in text and "f32[2,1,4,3,3]" in text and "conv_general_dilated" not in text  # two at a time
    check_exact("ghosts", "auto")
    monkeypatch.setattr(microbatch, "MAX_FLOATS_OF_WINDOWS", 5 * floats.count)
    one_batch = str(jax.make_jaxpr(clipped_sum(case.loss, FLAT.at(1.0)))(case.variables, case.batch))
    assert "while" not in one_batch and "conv_general_dilated" in one_batch


def check_half_precision(dtype, method="bookkeeping", microbatch=None):
    """Parameters of 16 bits: the gradients are what they are, but norms and sums are not rounded again."""
    rng = np.random.default_rng(4)
    x = jnp.asarray(rng.normal(size=(5, 300)) * 30, dtype)
    wide = np.asarray(x, np.float64)

    def total(x):
        return clipped_sum(lambda w, row, key: row @ w, FLAT.at(1.0), method, microbatch)(jnp.zeros(300, dtype), x)

    gradient_sum, norms = compiled(total)(x)
    lengths = np.linalg.norm(wide, axis=1)
    np.testing.assert_allclose(norms, lengths, rtol=1e-5)
    assert gradient_sum.dtype == jnp.float32
    check_equal(gradient_sum, (wide / lengths[:, None]).sum(axis=0))


@pytest.mark.parametrize(
    "dtype, method, microbatch",
    [("bfloat16", "bookkeeping", None), ("float16", "bookkeeping", 2), ("bfloat16", "vmap", 2)],
)
def test_half_precision(dtype, method, microbatch):
    check_half_precision(dtype, method, microbatch)


def check_groups():
    """per_layer: each group by its own norm, against NumPy."""
    bounds = {"bias": 0.05, "layers_0": 0.1, ".": 0.2}
    gradients, _ = gradients_of("mlp")
    case = case_of("mlp")
    total, norms = compiled(clipped_sum(case.loss, clippings.per_layer(bounds)))(case.variables, case.batch, KEY)
    names = [name for name, _ in named_leaves(gradients[0])]
    of = {name: next(i for i, group in enumerate(bounds) if group in name or group == ".") for name in names}
    lengths = np.zeros((5, 3))
    for i, tree in enumerate(gradients):
        for name, leaf in named_leaves(tree):
            lengths[i, of[name]] += np.sum(leaf**2)
    lengths = np.sqrt(lengths)
    factors = np.minimum(1, np.asarray(list(bounds.values()))[None] / lengths)
    assert norms.shape == (5, 3) and set(of.values()) == {0, 1, 2}
    np.testing.assert_allclose(norms, lengths, rtol=1e-5)
    for j, (name, leaf) in enumerate(named_leaves(total)):
        wanted = sum(factors[i, of[name]] * jax.tree.leaves(tree)[j] for i, tree in enumerate(gradients))
        check_equal(leaf, wanted)


def test_groups_are_clipped_by_their_own_norms():
    check_groups()
