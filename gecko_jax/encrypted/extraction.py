"""Extracts a circuit from a model: exactly, by following the data through the traced program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from gecko_jax import checks, programs
from gecko_jax.encrypted.builder import Builder
from gecko_jax.encrypted.circuit import Affine, Circuit, evaluate
from gecko_jax.encrypted.interpreter import Interpreter
from gecko_jax.encrypted.values import NotPolynomial, Value, over
from gecko_jax.programs import layer_scopes
from gecko_jax.trees import first_not_finite, named_leaves
from gecko_jax.types import Array, Model, Variables

MAX_CHECKED_ROWS = 8
MAX_SCALE_ROWS = 256  # of x, which show how large values become
TOLERANCE = 1e-3  # of the largest output, between the circuit and the model in its own precision


def extract(model: Model, variables: Variables, x: Array) -> Circuit:
    """Extracts the polynomial that a network computes, as affine maps and elementwise products.

    Layers that are linear in the data become sparse matrices, and adjacent ones are merged; a x^2 + b x + c becomes
    one square +-(s x + t)^2 with s = sqrt|a|, whose sign and constant move into the next map. Weights are those that
    the model computes with, quantized or not; BatchNorm and dropout are in evaluation.

    Args:
      model: any model of linear layers and polynomials: Dense, Conv, BatchNorm, average pools, residual sums, products.
      variables: its variables.
      x: inputs [b, ...], floats: up to 256 rows show how large values become, so that powers are scaled; on up to 8 the
        circuit is compared with the model.

    Returns:
      The Circuit.

    Raises:
      ValueError: inputs that are not one array of floats; a model whose outputs depend on something other than a
        polynomial of one example: the message names the layer and the way out; a circuit that departs from the model.

    Source: Baruch et al., "A methodology for training homomorphic encryption friendly neural networks", 2021
    (arXiv 2111.03362).

    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 3, hidden=(4,), activation="square"), np.ones((2, 5), np.float32)
    >>> circuit = extract(model, model.init(jax.random.key(0), x), x)
    >>> [len(product.left.bias) for product in circuit.products], circuit.output.terms[1].shape
    ([4], (3, 4))
    """
    circuit = follow(model, variables, x, Interpreter)
    compare(circuit, model, variables, x, evaluate)
    return circuit


def follow(model: Model, variables: Variables, x: Array, interpreter: type[Interpreter]) -> Circuit:
    """Returns the circuit of a model, not compared with it; see `extract` for the arguments and refusals.

    Args:
      model, variables, x: see `extract`.
      interpreter: what reads the program; a subclass may know more nodes than products.
    """
    x = _checked(x)
    if not isinstance(model, Model):
        raise ValueError(f"model is a {type(model).__name__}; expected a Model, such as models.from_linen(module).")
    if not isinstance(variables, Mapping) or (variables and "params" not in variables):
        collections = sorted(variables) if isinstance(variables, Mapping) else f"a {type(variables).__name__}"
        raise ValueError(
            f"variables are {collections}; expected what model.init or fit(...).variables is: {{'params': ...}}."
        )
    if (name := first_not_finite(variables)) is not None:
        raise ValueError(f"variables hold a NaN or an infinity in {name}; train the model again, or load another one.")
    with layer_scopes() as kinds:
        program, shapes = programs.trace(lambda row: model.apply(variables, row)[0], x[:1])
    if not isinstance(shapes, jax.ShapeDtypeStruct) or shapes.shape[:1] != (1,):
        raise ValueError(
            f"model returns {jax.tree.map(lambda leaf: leaf.shape, shapes)} for one example; expected one array "
            "[1, ...]. Return the logits alone, with the examples along the first axis."
        )
    builder = Builder(x[:MAX_SCALE_ROWS].reshape(min(len(x), MAX_SCALE_ROWS), -1))
    size = int(np.prod(x.shape[1:]))
    data = over(Affine({0: sparse.csr_array(sparse.eye_array(size))}, np.zeros(size)), (1, *x.shape[1:]))
    [result] = interpreter(builder, kinds).run(program, [data])
    if isinstance(result, NotPolynomial):
        raise ValueError(result.message + _unfinished(variables))
    if not isinstance(result, Value):
        raise ValueError(
            "model returns the same outputs for every example that is alone in its batch; there is nothing to compute. "
            "Look for weights that are zero, and for statistics over the batch."
        )
    output = builder.affine(result)
    return Circuit(x.shape[1:], shapes.shape[1:], tuple(builder.products), output, tuple(builder.layers))


def _checked(x: Any) -> np.ndarray:
    leaves = jax.tree.leaves(x)
    if len(leaves) != 1 or not hasattr(x, "shape"):
        raise ValueError(
            f"x is a {type(x).__name__} of {len(leaves)} arrays; a circuit takes one array [b, ...]. Concatenate the "
            "inputs, and split them within the model."
        )
    x = np.asarray(checks.unmasked("x", x))
    if x.ndim < 2 or x.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"x has shape {x.shape} and dtype {x.dtype}; expected float32 numbers [b, ...]. Convert with "
            "x.astype('float32'); tokens do not run under encryption."
        )
    return checks.finite("x", checks.not_empty("x", x))


def _unfinished(variables: Variables) -> str:
    """Names the transitions from ReLU that variables stand in the middle of."""
    shares = {name: float(np.ravel(leaf)[0]) for name, leaf in named_leaves(variables.get("transition", {}))}
    shares = [f"{name}={share:g}" for name, share in shares.items() if share != 1]
    return f" The transition is not at its end: {checks.listed(shares)}; train on, to 1." if shares else ""


def compare(
    circuit: Circuit, model: Model, variables: Variables, x: Array, oracle: Callable[[Circuit, Array], np.ndarray]
) -> None:
    """Compares a circuit with the model on a batch, in which an example that sees another one shows, too.

    Args:
      circuit: from `follow`.
      model, variables, x: see `extract`.
      oracle: computes the circuit's outputs in float64.

    Raises:
      ValueError: a circuit that departs from the model.
    """
    x = np.asarray(x)[:MAX_CHECKED_ROWS]
    x = x if len(x) > 1 else np.concatenate([x, x * x.dtype.type(0.5)])
    expected = np.asarray(model.apply(variables, jnp.asarray(x))[0], np.float64)
    if not np.all(np.isfinite(expected)):
        raise ValueError(
            "model has outputs that are not finite on x: its values overflow. Train it with smaller ranges."
        )
    outputs = oracle(circuit, x)
    worst, scale = float(np.max(np.abs(outputs - expected))), float(np.max(np.abs(expected)))
    if not worst <= TOLERANCE * scale + 1e-6:
        raise ValueError(
            f"the extracted circuit departs from the model by {worst:.3g} on {len(x)} rows of x, whose largest output "
            f"is {scale:.3g}; expected at most {TOLERANCE:g} of it. Either an example's output depends on the other "
            "examples of its batch, or the network's values are so large that float32 loses them."
        )
