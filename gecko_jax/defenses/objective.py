"""What defenses with an objective of the whole batch share: state beside the parameters, and paired reference rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import checks, losses, training
from gecko_jax.datasets.hashing import ranks
from gecko_jax.defenses.defense import PRIVATE_WAY, refuse_options
from gecko_jax.hooks import refuse_collection, with_collection
from gecko_jax.trees import take, trainable_patterns
from gecko_jax.types import Array, Batch, Examples, Loss, Model, Variables

REFERENCE = "reference"  # what an objective calls the reference rows: batch.extra["reference"] = {"x": ..., "y": ...}


class Trained(NamedTuple):
    """What a defense trains.

    Attributes:
      model: the network with the collections beside its parameters.
      gradients: of `training.objective_gradients`.
      starts: {name of a collection: variables of the network -> its first value}.
      schedules: {name of a collection: its value by the share of the run that is done}.
    """

    model: Model
    gradients: training.GradFn
    starts: Mapping[str, Callable[[Variables], Any]]
    schedules: Mapping[str, Callable[[float], float]] | None = None


def with_state(model: Model, starts: Mapping[str, Callable[[Variables], Any]]) -> Model:
    """Returns the model with collections that its own functions never see, and that an objective reads and changes."""
    for name, start in starts.items():
        model = with_collection(model, name, start)
    return model


def fit_objective(
    defense: str,
    build: Callable[[Model, Loss, tuple[str, ...] | None], Trained],
    pool: tuple[Model, Examples, Array],
    options: Mapping[str, Any],
    paired: Mapping[str, Any] | None = None,
) -> training.Fit:
    """Trains with an objective, and returns models of the network itself, without the collections.

    Args:
      defense: its name, for messages.
      build: (model, loss, trainable) -> Trained; cached, so that fits with equal settings share a program.
      pool: (model, data, member) of the call.
      options: of `fit_ensemble`.
      paired: of `pair_rows`, which the objective reads; None: it reads none.

    Raises:
      ValueError: gradients of the caller's; a schedule or a start of a collection of the defense's; extras of each
        model's own beside reference rows, or that go by their name.
    """
    (model, data, member), options = pool, dict(options)
    refuse_options(defense, options, ("gradients",), PRIVATE_WAY)
    loss = options.pop("loss", None) or losses.cross_entropy()
    trained = build(model, loss, trainable_patterns(options.get("trainable")))
    for name in trained.starts:
        refuse_collection(defense, name, options)
    if trained.schedules:
        options["schedules"] = {**(options.get("schedules") or {}), **trained.schedules}
    if options.get("init") is not None:
        begun = jax.jit(jax.vmap(lambda each: {name: start(each) for name, start in trained.starts.items()}))
        options["init"] = {**options["init"], **jax.tree.map(np.asarray, begun(options["init"]))}
    if paired is not None:
        if options.get("extra_per_model"):
            raise ValueError(
                f"extra_per_model=True does not go with defense {defense!r}, whose reference rows all models share. "
                "Train the models one by one, each with extras that are shared."
            )
        extra = options.pop("extra", None) or {}
        if REFERENCE in extra:
            raise ValueError(
                f"extra holds {REFERENCE!r}, which defense {defense!r} sets itself, and yours would be overwritten; "
                "give that entry another name."
            )
        options["extra"] = {**extra, REFERENCE: paired}
    options["gradients"] = trained.gradients
    fitted = training.fit_ensemble(trained.model, data, member, **options)
    variables = {name: tree for name, tree in fitted.variables.items() if name not in trained.starts}
    return fitted._replace(variables=variables)


def reference_of(batch: Batch) -> Mapping[str, Any]:
    """Returns the reference rows {"x": ..., "y": ...} that came along with a batch."""
    return (batch.extra or {})[REFERENCE]


def reading_reference(loss: Loss) -> Loss:
    """Returns the loss of an objective that reads reference rows beside the batch."""
    return loss._replace(reads=(*loss.reads, REFERENCE))


def pair_rows(reference: Examples, data: Examples, by_class: bool = False) -> dict[str, Any]:
    """Pairs each row of the pool with a reference row, drawn at random by their ids.

    Each reference row serves about equally many rows. A batch of members therefore brings as many reference rows along,
    and no reference row is ever trained on as a member.

    Args:
      reference: k rows.
      data: the pool, n rows.
      by_class: whether the two have the same class.

    Returns:
      {"x": ..., "y": ...} with n rows.

    Raises:
      ValueError: by_class, and a class of the pool without a reference row.

    >>> pool = Examples(np.zeros((4, 1)), np.array([0, 1, 0, 1]))
    >>> pair_rows(Examples(np.arange(3.0)[:, None], np.array([1, 0, 1])), pool, by_class=True)["y"].tolist()
    [0, 1, 0, 1]
    """
    order = np.argsort(ranks(reference.id, 0, "paired reference rows"))
    place = ranks(data.id, 0, "paired rows")
    if not by_class:
        chosen = order[place % len(order)]
    else:
        ours, theirs = np.asarray(data.y), np.asarray(reference.y)
        if absent := sorted(set(ours.tolist()) - set(theirs.tolist())):
            raise ValueError(
                f"reference has no row of class {checks.listed(absent)}, and every class of the pool needs one. Pass "
                "reference rows of all classes."
            )
        chosen = np.zeros(len(ours), int)
        for label in np.unique(ours):
            rows, of_class = np.flatnonzero(ours == label), order[theirs[order] == label]
            chosen[rows[np.argsort(place[rows])]] = np.resize(of_class, len(rows))
    return {"x": take(jax.tree.map(np.asarray, reference.x), chosen), "y": np.asarray(reference.y)[chosen]}


def count_classes(model: Model, data: Examples) -> int:
    """Returns the number of classes of a classifier, by the shape of its outputs.

    Args:
      model: any model.
      data: rows that it takes.

    Raises:
      ValueError: outputs that are not logits [b, classes] of two classes or more.
    """
    first = jax.tree.map(lambda leaf: np.asarray(leaf[:1]), data.x)
    outputs = jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), first), first)[0])
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            f"model returns outputs of shape {shape}; expected logits (rows, classes) of two classes or more, whose "
            "posteriors the defense reads."
        )
    return shape[1]
