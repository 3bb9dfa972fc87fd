"""What a defended model releases: its logits, or what the defense answers instead."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import checks, training
from gecko_jax.datasets.batches import as_members, check_members
from gecko_jax.defenses.defense import Defense, check_reference
from gecko_jax.trees import row_count, take
from gecko_jax.types import Array, Examples, Model


def released(
    defense: Defense,
    model: Model,
    variables: Any,
    data: Examples,
    member: Array,
    *,
    reference: Examples | None = None,
    rows: Examples | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Returns what m defended models answer to some rows, [m, n, classes].

    A defense that learns its answers from a model (MemGuard) learns them from that model's own members and from the
    reference rows: for shadow models as for targets.

    Args:
      defense: of `DEFENSES`.
      model: the architecture.
      variables: of `defense.train`, with a leading axis m.
      data: the pool that was trained on.
      member: bool [m, n], who trained on what.
      reference: rows that the defense reads; see `Defense.reads`.
      rows: what is asked; None: the pool.
      seed: of the defense's own draws.

    Returns:
      Logits of a defense without answers of its own, else log-probabilities.

    Raises:
      ValueError: no reference rows, or members that are not bool [m, n], and the defense learns from them.

    >>> from gecko_jax import models
    >>> from gecko_jax.defenses import temperature
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]))
    >>> model, member = models.create("mlp", 2, hidden=()), np.ones((1, 4), bool)
    >>> defense = temperature(20.0)
    >>> fitted = defense.train(model, data, member, epochs=1)
    >>> released(defense, model, fitted.variables, data, member).shape
    (1, 4, 2)
    """
    asked = data if rows is None else rows
    logits = training.predict_ensemble(model, variables, asked.x)
    if defense.fit_answer is None:
        if defense.answer is None:
            return logits
        return np.stack([defense.answer(one, asked.id) for one in logits])
    known, is_member = check_reference(defense.name, reference, data), as_members(member)
    checks.shape("member", is_member, (len(logits), row_count("data", data)))
    check_members(is_member)  # numbers 0 and 1 would select two rows
    answers = []
    for i, (one, mine) in enumerate(zip(logits, is_member, strict=True)):
        of = take(variables, i)
        members = training.predict(model, of, take(data.x, mine)) if rows is not None else one[mine]
        answers.append(defense.fit_answer(members, training.predict(model, of, known.x), seed)(one, asked.id))
    return np.stack(answers)
