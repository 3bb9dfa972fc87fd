"""What does not run under encryption is refused: the layer, what it computes, and the way out."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from extracted_circuits import Function, circuit_of, draws, variables_of

from gecko_jax import models, quantizers
from gecko_jax.encrypted import extract
from gecko_jax.types import Rule

FUNCTIONS = {  # a function of x [b, 4, 4], and what the message says of it
    "relu": (nn.relu, 'activation="quadratic"'),
    "leaky relu": (nn.leaky_relu, "by data"),
    "maximum of data": (lambda x: jnp.maximum(x, x[:, ::-1]), 'activation="quadratic"'),
    "clip": (lambda x: jnp.clip(x, -1, 1), 'activation="quadratic"'),
    "softmax": (nn.softmax, "return the logits"),
    "log softmax": (nn.log_softmax, "return the logits"),
    "max pool": (lambda x: nn.max_pool(x[..., None], (2, 2), (2, 2)), "average pool"),
    "maximum over an axis": (lambda x: x.max(1), "average pool"),
    "gelu": (nn.gelu, "fitted to it on an interval"),
    "sigmoid": (nn.sigmoid, "fitted to it on an interval"),
    "tanh": (jnp.tanh, "fitted to it on an interval"),
    "absolute": (jnp.abs, 'activation="quadratic"'),
    "division by data": (lambda x: x / (x.sum((1, 2), keepdims=True) + 9), "nn.BatchNorm"),
    "reciprocal": (lambda x: x**-1, "not a polynomial"),
    "root": (lambda x: (x + 9) ** 0.5, "BatchNorm|not a polynomial|smooth"),
    "exponent": (lambda x: 2.0**x, "fitted to it on an interval"),
    "comparison": (lambda x: jnp.where(x > 0, x, 0.0), "whose outcome nobody sees"),
    "arg-max": (lambda x: jax.nn.one_hot(x.argmax(1), 4), "that the data choose"),
    "sort": (lambda x: jnp.sort(x, 1), "that the data choose"),
    "rounding": (jnp.round, "leave the rules' `inputs` out"),
    "integers": (lambda x: x.astype(jnp.int32).astype(jnp.float32), "leave the rules' `inputs` out"),
    "look-up": (lambda x: jnp.arange(9.0)[jnp.clip(x.astype(jnp.int32), 0, 8)], "leave the rules' `inputs` out"),
    "half precision": (lambda x: (x.astype(jnp.bfloat16) * 2).astype(jnp.float32), "less than float32"),
    "a loop over data": (lambda x: jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c * 1.5 + 1, x), "fixed length"),
    "a branch on data": (lambda x: jax.lax.cond(x.sum() > 0, lambda x: x, lambda x: -x, x), "fixed length"),
    "a kernel of data": (lambda x: jax.vmap(lambda r: jnp.convolve(r[0], r[1]))(x), "not a polynomial"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_refused_with_the_way_out(name):
    function, way = FUNCTIONS[name]
    with pytest.raises(ValueError, match=f"the network itself .Function. computes '.*does not run under.*({way})"):
        circuit_of(Function(function), (4, 4))


def refusal(model, shape, variables=None):
    x = draws((2, *shape))
    with pytest.raises(ValueError) as caught:
        extract(model, variables or variables_of(model, x), x)
    return str(caught.value)


def test_the_layer_is_named():
    assert "layer 'block1/Relu_0' (Relu) computes 'max'" in refusal(models.create("mlp", 3, hidden=(4,)), (5,))
    net = models.create("lenet", 3, channels=(2, 2), hidden=4, activation="square")
    assert "layer 'block2' (Block) computes 'reduce_max'" in refusal(net, (8, 8, 1))
    assert "layer 'LayerNorm_0' (LayerNorm)" in refusal(models.from_linen(Normalized()), (6,))


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.LayerNorm()(x))


@pytest.mark.parametrize("name", ["binary", "uniform8"])
def test_a_quantized_input_is_refused(name):
    rule = Rule(path="dense2", input=quantizers.binary() if name == "binary" else quantizers.uniform(8, max_abs=1.0))
    net = models.quantized(models.create("mlp", 3, hidden=(4, 4), activation="square"), [rule], float_layers=())
    assert "leave the rules' `inputs` out" in refusal(net, (5,))


def test_a_transition_that_is_under_way_is_refused():
    net, x = models.create("mlp", 3, hidden=(4,), activation="quadratic"), draws((2, 5))
    variables = variables_of(net, x)
    variables["transition"] = jax.tree.map(lambda r: np.float32(0.75) * r, variables["transition"])
    assert "The transition is not at its end: block1/Quadratic_0/r=0.75; train on, to 1." in refusal(
        net, (5,), variables
    )


def test_a_relu_whose_share_is_zero_is_no_obstacle():
    share = np.zeros((1, 1), np.float32)
    circuit = circuit_of(Function(lambda x: x * x + share * nn.relu(x) + jnp.where(share == 0, x, jnp.tanh(x))), (4,))
    assert len(circuit.products) == 1


def test_examples_that_see_each_other_are_refused():
    for rows in (1, 4):
        x = draws((rows, 5))
        with pytest.raises(ValueError, match="departs from the model by .* other examples of its batch"):
            extract(models.from_linen(Function(lambda x: x - 0.5 * x.mean(0, keepdims=True))), {}, x)


@pytest.mark.parametrize(
    "x, message",
    [
        ({"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)}, "x is a dict of 2 arrays"),
        ((np.ones((2, 3), np.float32),) * 2, "x is a tuple of 2 arrays; .* Concatenate"),
        (np.ones((2, 3), np.int32), r"dtype int32; expected float32"),
        (np.ones(3, np.float32), r"x has shape \(3,\)"),
        (np.ones((0, 3), np.float32), "x is empty"),
        (np.full((2, 3), np.nan, np.float32), "x holds 6 entries that are NaN"),
    ],
)
def test_inputs_are_checked(x, message):
    with pytest.raises(ValueError, match=message):
        extract(models.from_linen(Function(lambda x: x)), {}, x)


def test_variables_that_are_not_finite_are_refused():
    model, x = models.from_linen(nn.Dense(2)), draws((2, 3))
    variables = {"params": {"kernel": np.full((3, 2), np.inf, np.float32), "bias": np.zeros(2, np.float32)}}
    with pytest.raises(ValueError, match="NaN or an infinity in params/kernel"):
        extract(model, variables, x)


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda x: (x, x), "returns .* for one example; expected one array"),
        (lambda x: x.sum(), "expected one array"),
        (lambda x: x - x.mean(0, keepdims=True), "same outputs for every example .* statistics over the batch"),
        (lambda x: x * 0 + 1, "the same outputs for every example"),
    ],
)
def test_outputs_are_one_array_of_the_inputs(function, message):
    with pytest.raises(ValueError, match=message):
        extract(models.from_linen(Function(function)), {}, draws((2, 3)))


def test_values_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="outputs that are not finite"):
        extract(models.from_linen(Function(lambda x: (1e12 * x) ** 4)), {}, draws((2, 3)))


@pytest.mark.parametrize(
    "model, variables, message",
    [
        ("mlp", {}, "model is a str; expected a Model"),
        (models.from_linen(nn.Dense(2)), None, "variables are a NoneType; expected what model.init"),
        (models.from_linen(nn.Dense(2)), {"kernel": np.ones((3, 2))}, r"variables are \['kernel'\]; expected"),
    ],
)
def test_what_is_not_a_model_with_its_variables_is_refused(model, variables, message):
    with pytest.raises(ValueError, match=message):
        extract(model, variables, draws((2, 3)))
