"""What a defense is: a way of training, a way of answering, or both. Targets and shadow models share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, training
from gecko_jax.trees import named_leaves, row_count
from gecko_jax.types import Array, Examples, Model

Train = Callable[..., training.Fit]
Answer = Callable[[Array, Array], Array]
Delay = Callable[[Array, Array], Array]
FitAnswer = Callable[..., Answer]


def train_plainly(
    model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options: Any
) -> training.Fit:
    """Trains m models without a defense: `training.fit_ensemble`.

    Args:
      model: the architecture.
      data: the pool of examples, n rows.
      member: bool [m, n], who trains on what.
      reference: rows that some defenses read; they are not used here.
      **options: of `fit_ensemble`.
    """
    del reference
    return training.fit_ensemble(model, data, member, **options)


class Defense(NamedTuple):
    """A defense against membership inference.

    Attributes:
      name: as listed in `DEFENSES`.
      train: (model, data, member, *, reference=None, **options of fit_ensemble) -> Fit of m models, whose variables are
        those of `model` itself. An attacker who knows the defense trains shadow models by the same function.
      answer: (outputs [n, classes], ids [n]) -> what is released instead, log-probabilities [n, classes]: a function of
        one model's logits and of the records' ids alone, so that repeated queries cannot average its noise out. None:
        the logits are released as they are.
      reads: what it needs beside the pool: "reference" for rows that are neither members nor evaluated.
      delay: (seconds [n] that one model takes, inputs [n, ...]) -> seconds [n] after which it answers. None: at once.
      fit_answer: (logits of one model's members [a, classes], of reference rows [b, classes], seed) -> its `answer`,
        for a defense that learns it from the model. See `released`.

    >>> Defense("none").reads
    ()
    """

    name: str
    train: Train = train_plainly
    answer: Answer | None = None
    reads: tuple[str, ...] = ()
    delay: Delay | None = None
    fit_answer: FitAnswer | None = None


def refuse_options(defense: str, options: Mapping[str, Any], names: tuple[str, ...], way: str) -> None:
    """Raises ValueError for an option of `fit_ensemble` that a defense sets itself, and would ignore.

    Args:
      defense: its name.
      options: of the call.
      names: the options that it sets.
      way: a sentence that says what to do instead; the message ends with it.
    """
    for name in names:
        if options.get(name) is not None:
            raise ValueError(f"defense {defense!r} sets {name} itself, and yours would be ignored. {way}.")


PRIVATE_WAY = (
    "The two do not compose: leave gradients out to train with the defense, or train privately "
    "by training.fit_ensemble(gradients=...) without it"
)


def check_reference(defense: str, reference: Examples | None, data: Examples) -> Examples:
    """Returns the reference rows of a defense that reads some.

    Args:
      defense: its name.
      reference: rows that are neither members nor evaluated.
      data: the pool that is trained on and evaluated.

    Raises:
      ValueError: no reference rows, or rows whose ids are in the pool; inputs of other names or types than the pool's,
        or that are NaN or infinite.
    """
    if reference is None:
        raise ValueError(
            f"defense {defense!r} reads reference rows, and reference=None. Pass rows that are neither members nor "
            "evaluated: reference=Examples(x, y, id)."
        )
    checks.not_empty("reference.id", reference.id)
    row_count("reference", reference)
    ours, theirs = (dict(named_leaves(rows.x)) for rows in (data, reference))
    if set(ours) != set(theirs):
        raise ValueError(f"reference.x holds {sorted(theirs)} and data.x {sorted(ours)}; expected the same names.")
    for name, leaf in theirs.items():
        label = f"reference.x[{name!r}]" if name else "reference.x"
        is_real, was_real = (jnp.issubdtype(np.asarray(each).dtype, jnp.floating) for each in (leaf, ours[name]))
        if is_real != was_real:
            raise ValueError(
                f"{label} has dtype {np.asarray(leaf).dtype}, and that of the pool {np.asarray(ours[name]).dtype}: "
                "unprepared rows would pass for other ones. Prepare both alike."
            )
        if is_real:
            checks.finite(label, leaf)
    shared = sorted(set(map(int, data.id)) & set(map(int, reference.id)))
    if shared:
        raise ValueError(
            f"reference shares {len(shared):,} ids with the pool ({checks.listed(shared)}): a defense that is fitted "
            "on evaluated rows looks better than it is. Pass other rows; number them apart if their ids are places."
        )
    return reference
