"""Which exit of a multi-exit model answers: the first whose largest probability reaches a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gecko_jax import checks
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.module_outputs import Reached, changed_outputs
from gecko_jax.models.multi_exit import EXITS, exit_paths
from gecko_jax.types import Array, Model


class Answers(NamedTuple):
    """What a multi-exit model releases.

    Attributes:
      logits: [..., classes] of the exit that answers.
      exit: int32 [...], its number from 0.
    """

    logits: Array
    exit: Array


def answers(exits: Array, threshold: float) -> Answers:
    """Returns the answer of the first exit whose largest probability is at least the threshold, else of the last.

    Args:
      exits: logits [..., exits, classes], such as a model of `multi_exit` returns under "exits".
      threshold: above 0, at most 1.

    Returns:
      The released logits [..., classes] and the number of the exit [...].

    Raises:
      ValueError: logits without an axis of exits, a threshold out of bounds, NaN or infinity.

    Source: Teerapittayanon, McDanel and Kung, "BranchyNet", ICPR 2016, with the largest probability in the place of the
    entropy, as in Kaya et al. 2019 (arXiv 1810.07052), section 4.

    >>> logits = jnp.array([[[0.1, 0.0], [9.0, 0.0], [8.0, 0.0]], [[0.0, 0.1], [0.2, 0.0], [0.0, 0.3]]])
    >>> answers(logits, threshold=0.9).exit.tolist()
    [1, 2]
    """
    checks.in_range("threshold", checks.positive("threshold", threshold), 0, 1)
    if isinstance(exits, Mapping):
        raise ValueError(f"exits is a dict of {checks.listed(exits)}; pass one array of logits: outputs[{EXITS!r}].")
    if jnp.ndim(exits) < 2:
        raise ValueError(f"exits has shape {jnp.shape(exits)}; expected logits [..., exits, classes].")
    if not isinstance(exits, Tracer):
        checks.finite("exits", exits)
    logits = jnp.asarray(exits)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    confidence = jnp.exp(logits.max(-1) - jax.nn.logsumexp(logits, axis=-1))
    sure = (confidence >= threshold).at[..., -1].set(True)
    number = jnp.argmax(sure, axis=-1).astype(jnp.int32)
    chosen = jnp.take_along_axis(jnp.asarray(exits), number[..., None, None], axis=-2)[..., 0, :]
    return Answers(chosen, number)


def early_exit(model: Model, threshold: float) -> Model:
    """Returns the classifier that a multi-exit model is to its users: the logits of the exit that answers.

    Every attack, defense of answers and report works on it as on any other classifier. It computes all exits and
    selects, as a batch on an accelerator does; what a device saves is counted by `costs.exit_costs`.

    Args:
      model: of `multi_exit`, quantized or not, with the same variables.
      threshold: see `answers`.

    Returns:
      A model with outputs [b, classes]. In training it is the multi-exit model itself, because training through the
      selection would leave the other exits untrained: train either with `losses.over_exits()`. A `training.Recipe` of
      this one therefore makes targets and shadow models that an audit can ask.

    Raises:
      ValueError: a threshold out of bounds; when called, a model without exits.

    >>> from gecko_jax import models
    >>> net, x = models.multi_exit(models.create("mlp", 3, hidden=(8, 8)), "block"), jnp.ones((5, 4))
    >>> early_exit(net, threshold=0.9).apply(net.init(jax.random.key(0), x), x)[0].shape
    (5, 3)
    """
    checks.in_range("threshold", checks.positive("threshold", threshold), 0, 1)

    def apply(variables, x, *, key=None, train=False):
        outputs, updates = model.apply(variables, x, key=key, train=train)
        if train:
            return outputs, updates
        return answers(exits_of(outputs), threshold).logits, updates

    changed = model._replace(apply=apply)
    return with_step(changed, "early_exit", {"threshold": threshold}, before=model.blueprint)


def until_exit(model: Model, variables: Any, x: Any, number: int) -> Model:
    """Returns the part of a multi-exit model that runs until an exit answers, such as to measure its time and cost.

    Args:
      model: of `multi_exit`, quantized or not.
      variables, x: its variables and a batch of inputs [b, ...], or their shapes.
      number: of the exit, from 0; the last one is the whole model.

    Returns:
      A model with the same variables and the outputs [b, number + 1, classes] under "exits". It is not trained.

    Raises:
      ValueError: a number out of bounds, a model without exits.

    >>> from gecko_jax import models
    >>> net, x = models.multi_exit(models.create("mlp", 3, hidden=(8, 8)), "block"), jnp.ones((5, 4))
    >>> variables = net.init(jax.random.key(0), x)
    >>> until_exit(net, variables, x, 0).apply(variables, x)[0]["exits"].shape
    (5, 1, 3)
    """
    paths = [f"{EXITS}/{path}" for path in exit_paths(model, variables, x)]
    checks.in_range("number", checks.integer("number", number, 0), 0, len(paths))
    wanted = paths[: number + 1]

    def apply(variables, x, *, key=None, train=False):
        if train or number == len(paths):
            return model.apply(variables, x, key=key, train=train)
        logits: list[Array] = []

        def note(path, output):
            logits.append(output)
            if path == wanted[-1]:
                raise Reached({EXITS: jnp.stack(logits, axis=1)})
            return output

        try:
            with changed_outputs(wanted.__contains__, note):
                model.apply(variables, x, key=key)
        except Reached as reached:
            return reached.outputs, {}
        raise ValueError(f"the exit {wanted[-1]!r} was not reached on these inputs.")

    return model._replace(apply=apply, blueprint=())


def exits_of(outputs: Any) -> Array:
    """Returns the logits [b, exits, classes] of a multi-exit model's outputs.

    Args:
      outputs: what the model returned.

    Raises:
      ValueError: outputs of another model.

    >>> exits_of({"exits": jnp.zeros((2, 3, 4))}).shape
    (2, 3, 4)
    """
    if not isinstance(outputs, dict) or list(outputs) != [EXITS]:
        shape = getattr(outputs, "shape", None)
        what = type(outputs).__name__ if shape is None else f"shape {shape}"
        raise ValueError(
            f"the model's outputs are {what}; expected {{'exits': logits [b, exits, classes]}} of models.multi_exit."
        )
    return outputs[EXITS]
