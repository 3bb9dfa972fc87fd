"""Dropout of layers that run in a program of their own: masks are those of layers written out, or it is refused."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models

X = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


class Layer(nn.Module):
    @nn.compact
    def __call__(self, carry, _=None):
        return nn.Dense(6, name="dense")(carry), None


class Stack(nn.Module):
    """A layer that is called by itself, and one that is lifted."""

    kind: str

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6, name="first")(x)
        if self.kind == "scan":
            lifted = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        elif self.kind == "time":  # a recurrent network: one layer, at every step
            lifted = nn.scan(Layer, variable_broadcast="params", split_rngs={"params": False}, length=3)
        elif self.kind == "vmap":
            lifted = nn.vmap(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=0, axis_size=4)
        elif self.kind == "examples":
            lifted = nn.vmap(Layer, variable_axes={"params": None}, split_rngs={"params": False}, in_axes=0)
        else:
            lifted = {"remat": nn.remat, "jit": nn.jit, "none": lambda layer: layer}[self.kind](Layer)
        return nn.Dense(2, name="logits")(lifted(name="inner")(x)[0])


def dropped(kind, path=""):
    return models.with_dropout(models.from_linen(Stack(kind)), 0.5, path)


def outputs_of(model):
    return lambda variables: model.apply(variables, X, key=jax.random.key(1), train=True)[0]


@pytest.mark.parametrize("kind", ["scan", "time", "vmap", "examples"])
def test_a_layer_that_is_repeated_is_refused(filled, kind):
    model = dropped(kind)
    with pytest.raises(ValueError, match="repeats the layers inner/dense, .* one mask for all"):
        jax.eval_shape(outputs_of(model), filled(model, X))


def test_a_layer_beside_those_that_are_repeated_drops(filled):
    model = dropped("scan", "logits")
    params = filled(model, X)["params"]
    params["logits"] = {"kernel": np.eye(6, 2, dtype=np.float32), "bias": np.zeros(2, np.float32)}
    outputs, whole = jax.jit(lambda v: (outputs_of(model)(v), model.apply(v, X)[0]))({"params": params})
    ratios = np.asarray(outputs) / np.asarray(whole)
    np.testing.assert_allclose(ratios, np.where(np.asarray(outputs) == 0, 0.0, 2.0), rtol=1e-5)
    assert {0.0, 2.0} == set(ratios.round(3).ravel().tolist())


@pytest.mark.parametrize("kind", ["remat", "jit"])
def test_a_layer_in_a_program_of_its_own_drops_as_one_outside(filled, kind):
    variables = filled(dropped("none"), X)

    def slopes(kind, variables):
        return jax.value_and_grad(lambda v: jnp.sum(jnp.square(outputs_of(dropped(kind))(v))))(variables)

    several = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), variables)  # as an ensemble is trained
    wanted, ours = jax.jit(lambda one, both: (slopes("none", one), jax.vmap(lambda v: slopes(kind, v))(both)))(
        variables, several
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-4), ours, wanted)
