"""MixACM: mixed inputs, on which the student's channel maps follow the teacher's."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.checks import at_least, finite, listed, one_of, positive
from gecko_jax.hooks import refuse_collection
from gecko_jax.keys import stream
from gecko_jax.losses import accuracy
from gecko_jax.losses.cross_entropy import check_classes, label_cross_entropy
from gecko_jax.losses.distillation import teacher_logits
from gecko_jax.losses.shapes import class_numbers
from gecko_jax.programs import layer_path
from gecko_jax.training.distillations.beside import beside, fit_beside
from gecko_jax.training.distillations.distillation import Distillation, Teacher, check_options, check_teacher
from gecko_jax.training.ensemble import Fit
from gecko_jax.training.objectives import GradFn, mean_loss, mean_over, objective_gradients
from gecko_jax.trees import example_shapes, trainable_patterns
from gecko_jax.types import Array, Batch, Examples, Loss, Model, Variables

TEACHER = "teacher"  # the collection that holds the teacher's variables beside each student's
TINY = 1e-12  # added to a squared norm, because a map of zeros has no direction


class _Settings(NamedTuple):
    layers: tuple[tuple[str, str], ...]
    mixing: float
    temperature: float
    weights: tuple[float, float, float]


def mixacm(
    layers: Sequence[str] | Mapping[str, str],
    mixing: float = 1.0,
    temperature: float = 1.0,
    label_weight: float = 1.0,
    teacher_weight: float = 1.0,
    map_weight: float = 1.0,
) -> Distillation:
    """Builds the distillation of channel maps on mixed inputs, which hands a robust teacher's robustness on.

      x = r x_i + (1 - r) x_j,   r ~ Beta(mixing, mixing) for each batch, j a random partner of i among its real rows
      label_weight * (r CE(s, y_i) + (1 - r) CE(s, y_j)) + teacher_weight * T^2 KL(t_T || s_T)
        + map_weight * sum over layers of |g(a_s) - g(a_t)|^2,   g(a) = m / |m|, m: mean of a over its positions

    The teacher sees the mixed inputs, too, in evaluation mode. The accuracy that training reports is that of the mixed
    inputs for y_i.

    Args:
      layers: paths of modules whose outputs are compared, such as ("block1", "block2"), or {student's: teacher's}.
      mixing: of the Beta distribution, above 0; 1: every share is as likely.
      temperature: T, above 0.
      label_weight, teacher_weight, map_weight: of the three terms, at least 0. The defaults are ours.

    Raises:
      ValueError: settings out of bounds; when trained, a layer that is not there, is called several times or has
        another number of channels in the two networks, inputs that are not floats, and options that are fixed.

    Source: Muhammad et al., "MixACM" (NeurIPS 2021, arXiv 2111.05073). The form of the maps is our reading.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> model = models.create("mlp", 2, hidden=(3,))
    >>> teacher = Teacher(model, model.init(jax.random.key(0), data.x))
    >>> mixacm(["block1"]).train(model, data, np.ones((1, 4), bool), teacher, epochs=1).loss.shape
    (1, 1)
    """
    pairs = tuple(layers.items()) if isinstance(layers, Mapping) else tuple((name, name) for name in layers)
    if isinstance(layers, str) or not pairs:
        raise ValueError(f"layers={layers!r} must name at least one module, such as ('block1', 'block2').")
    weights = {"label_weight": label_weight, "teacher_weight": teacher_weight, "map_weight": map_weight}
    for name, weight in weights.items():
        at_least(name, finite(name, weight), 0)
    if not any(weights.values()):
        raise ValueError(f"{listed(weights)} are all 0: the objective would be 0. Give one of its terms a weight.")
    three = (float(label_weight), float(teacher_weight), float(map_weight))
    settings = _Settings(pairs, positive("mixing", mixing), positive("temperature", temperature), three)

    def train(student: Model, data: Examples, member: Any, teacher: Teacher, **options: Any) -> Fit:
        check_options("mixacm", options)
        refuse_collection("mixacm", TEACHER, options)
        check_teacher("teacher", teacher)
        start = teacher.for_each(len(np.atleast_2d(member)))
        model = beside(student, TEACHER, example_shapes(start))
        trainable = trainable_patterns(options.get("trainable"))
        options["gradients"] = _gradients(model, teacher.model, settings, trainable)
        return fit_beside(TEACHER, start, student, data, member, **options)

    return Distillation("mixacm", train)


def channel_map(activations: Array) -> Array:
    """Returns the mean over positions of each channel, scaled to length 1: [b, channels].

    Args:
      activations: [b, ..., channels].

    >>> [round(float(each), 3) for each in channel_map(jnp.array([[[3.0, 0.0], [3.0, 8.0]]]))[0]]
    [0.6, 0.8]
    """
    # In float32 at least: TINY is 0 in half precision.
    activations = activations.astype(jnp.promote_types(activations.dtype, jnp.float32))
    means = jnp.mean(activations.reshape(activations.shape[0], -1, activations.shape[-1]), 1)
    return means * jax.lax.rsqrt(jnp.sum(means**2, -1, keepdims=True) + TINY)


def mixed(batch: Batch, real: Any, mixing: float, key: Any) -> tuple[Any, Any, Any]:
    """Returns (r, partner of each row [b], mixed inputs); partners are a permutation of the real rows.

    Args:
      batch: the rows; x are floats.
      real: bool [b]; padding is mixed with itself.
      mixing: of the Beta distribution.
      key: of this step.

    Raises:
      ValueError: inputs that are not floats.
    """
    shares, order = jax.random.split(stream(key, "mixacm"))
    # Beta(1, 1) is uniform, and a general Beta takes seconds to compile.
    r = jax.random.uniform(shares) if mixing == 1 else jax.random.beta(shares, mixing, mixing)
    chances = jnp.where(real, jax.random.uniform(order, real.shape), 2.0)
    place = jnp.maximum(jnp.cumsum(real) - 1, 0)  # of a real row among the real ones
    partner = jnp.where(real, jnp.argsort(chances)[place], jnp.arange(len(real)))
    for leaf in jax.tree.leaves(batch.x):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"mixacm mixes inputs, and x holds {leaf.dtype}; expected floats. Embed tokens first.")
    return r, partner, jax.tree.map(lambda leaf: r * leaf + (1 - r) * leaf[partner], batch.x)


@functools.lru_cache(maxsize=64)
def _gradients(model: Model, teacher: Model, settings: _Settings, trainable: tuple[str, ...] | None) -> GradFn:
    of_label, of_teacher, of_maps = settings.weights
    temperature = settings.temperature

    def apply(logits, example: Batch):
        extra: Any = example.extra
        labels = [class_numbers("mixacm", y) for y in (example.y, extra["other"])]
        hard = sum(
            r * label_cross_entropy(logits, y) for r, y in zip((extra["r"], 1 - extra["r"]), labels, strict=True)
        )
        taught = jax.nn.log_softmax(teacher_logits(logits, example) / temperature)
        soft = jnp.sum(jnp.exp(taught) * (taught - jax.nn.log_softmax(logits / temperature)))
        return of_label * hard + of_teacher * temperature**2 * soft

    def objective(variables, batch, real, key):
        r, partner, x = mixed(batch, real, settings.mixing, key)
        ours, theirs = zip(*settings.layers, strict=True)
        (outputs, updates), of_student = _with_layers(model, variables, x, ours, key=key, train=True)
        (logits, _), of_teacher_maps = _with_layers(teacher, variables[TEACHER], x, theirs)
        extra = {"teacher": jax.lax.stop_gradient(logits), "other": batch.y[partner], "r": jnp.full(real.shape, r)}
        value = mean_loss(Loss("mixacm", apply), outputs, batch._replace(extra=extra), real)
        for names, a, b in zip(settings.layers, of_student, of_teacher_maps, strict=True):
            if a.shape[-1] != b.shape[-1]:
                raise ValueError(
                    f"layer {names[0]!r} of the student has {a.shape[-1]} channels, {names[1]!r} of the teacher "
                    f"{b.shape[-1]}; expected the same number. Name other layers, or take a teacher of that width."
                )
            distance = jnp.sum((channel_map(a) - jax.lax.stop_gradient(channel_map(b))) ** 2, -1)
            value = value + of_maps * mean_over(real, distance)
        return value, outputs, updates

    return objective_gradients(objective, Loss("mixacm", apply, accuracy(), check=check_classes), trainable)


def _with_layers(model: Model, variables: Variables, x: Any, layers: Sequence[str], **options: Any) -> Any:
    """Returns (what model.apply returns, outputs of these layers)."""
    outputs: dict[str, list[Any]] = {}

    def note(next_fun, args, kwargs, context):
        output = next_fun(*args, **kwargs)
        if context.method_name == "__call__":
            outputs.setdefault(layer_path(context.module), []).append(output)
        return output

    with nn.intercept_methods(note):
        result = model.apply(variables, x, **options)
    for layer in layers:
        one_of("layer", layer, outputs)
        if len(outputs[layer]) > 1:
            raise ValueError(f"layer {layer!r} is called {len(outputs[layer])} times; name one that is called once.")
    return result, [outputs[layer][0] for layer in layers]
