"""Searches for attention heads that a transformer can lose while its accuracy stays above a floor.

A state is a set of removed heads. A* expands the state with the largest bound f(S) = |S| + h(S) first. h(S) counts the
heads whose removal from S keeps the floor: if the removal of a further head never raises the accuracy again, no other
head can be removed later, so that h never underestimates and the first complete state has the most heads removed. That
assumption is not always true; it only decides what is searched. The floor itself is measured, on rows that the search
has not seen.

Source: Parnami, Singh and Joshi 2021, "Pruning attention heads of transformer models using A* search" (arXiv
2110.15225), which prunes by A* under a limit on the loss of accuracy. The bound and the certificate are ours.
"""

from __future__ import annotations

import heapq
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.checks import in_range, integer
from gecko_jax.models.head_accuracy import HeadAccuracy, Removed, head_accuracy
from gecko_jax.models.head_bounds import accuracy_without, certified, drop_without
from gecko_jax.models.heads import heads_of, without_heads
from gecko_jax.types import Estimate, Examples, Model, Variables


class PrunedHeads(NamedTuple):
    """A transformer that lost as many heads as its accuracy allows.

    Attributes:
      model, variables: the smaller transformer.
      removed: {block: numbers of the removed heads}.
      accuracy: share of the held-out rows' tokens that it predicts, with a one-sided lower bound, measured.
      full_accuracy: the same of the model with all heads.
      drop: the second minus the first, with a one-sided upper bound from the rows' own differences, measured.
      share: removed heads over all heads.
      at_most: no more heads could be removed on the search's rows, if the search's assumption holds.
      evaluations: how many sets of heads were evaluated.
    """

    model: Model
    variables: Variables
    removed: dict[str, tuple[int, ...]]
    accuracy: Estimate
    full_accuracy: Estimate
    drop: Estimate
    share: float
    at_most: int
    evaluations: int


def prune_heads(
    model: Model,
    variables: Variables,
    data: Examples,
    held_out: Examples,
    *,
    floor: float | None = None,
    max_drop: float | None = None,
    confidence: float = 0.95,
    max_evaluations: int = 400,
    batch_size: int = 64,
) -> PrunedHeads:
    """Removes as many attention heads as an accuracy floor allows, found by A* search.

    The accuracy is the share of tokens y >= 0 whose logit is the largest. Of the sets of heads on the way to the best
    one, each is tested on `held_out`, the smallest first, until the bound of one breaks the floor; the last that passed
    is removed. This order needs no correction for several tests. A floor on the accuracy itself needs many rows,
    because rows differ in how predictable they are; a limit on the drop compares each row with itself, and needs few.

    Args:
      model: a transformer of `models.create`.
      variables: its variables.
      data: rows of the search: x int [n, t], y int [n, t] with -1 where a token does not count.
      held_out: further rows, by which the floor is certified. No id is in both.
      floor: the accuracy to keep, in 0..1; below that of the whole model. Give this or max_drop.
      max_drop: the largest drop of the accuracy below that of the whole model, in 0..1, such as 0.01.
      confidence: of the one-sided bounds, which take rows as independent and their tokens as they are (Student's t of
        the linearized ratio).
      max_evaluations: sets of heads to evaluate at most; after that the best set so far is taken.
      batch_size: rows of one call.

    Returns:
      A PrunedHeads; nothing is removed if no set passes.

    Raises:
      ValueError: both or neither of floor and max_drop; a floor that the whole model does not reach on `data`, or that
        cannot be certified for it on `held_out`; ids in both sets; data of other shapes; a model whose heads cannot be
        removed.

    >>> from gecko_jax import models
    >>> model = models.create("transformer", 9, layers=1, width=8, heads=2, max_length=4)
    >>> rows = np.arange(1, 9).reshape(2, 4)
    >>> variables = jax.jit(model.init)(jax.random.key(0), rows)
    >>> halves = [Examples(rows[i : i + 1], rows[i : i + 1], np.array([i])) for i in (0, 1)]
    >>> prune_heads(model, variables, *halves, floor=0.0).removed  # any accuracy will do
    {'block0': (0, 1)}
    """
    if (floor is None) == (max_drop is None):
        raise ValueError(f"floor={floor!r} and max_drop={max_drop!r}: give one of the two.")
    for name, limit in (("floor", floor), ("max_drop", max_drop)):
        if limit is not None:
            in_range(name, limit, 0, 1)
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence={confidence!r} must be at least 0.5 and below 1.")
    _check_rows(data, held_out)
    without_heads(model, variables, {})  # refuses before the search what cannot be built after it
    heads = heads_of(model, variables, jax.ShapeDtypeStruct(np.shape(data.x), jnp.int32))
    places = [(block, head) for block, number in heads.items() for head in range(number)]
    search, test = (head_accuracy(model, variables, rows, heads, batch_size) for rows in (data, held_out))
    lowest = floor if floor is not None else float(search.accuracy([Removed()])[0]) - (max_drop or 0.0)
    budget = integer("max_evaluations", max_evaluations, 1)
    chain, at_most, evaluations = _search(search, len(places), lowest, budget)
    passed = certified(test, chain, (floor, max_drop), confidence)
    removed = {block: tuple(h for b, h in (places[i] for i in sorted(passed)) if b == block) for block in heads}
    smaller = without_heads(model, variables, removed)
    full, accuracy = (accuracy_without(test, state, confidence) for state in (Removed(), passed))
    share = len(passed) / len(places)
    drop = drop_without(test, passed, confidence)
    return PrunedHeads(*smaller, removed, accuracy, full, drop, share, at_most, evaluations)


def _search(rows: HeadAccuracy, total: int, floor: float, limit: int) -> tuple[list[Removed], int, int]:
    """Returns the sets on the way to the best one, the smallest first, the bound on its size, and evaluations used."""
    start, order = Removed(), itertools.count()
    if (full := float(rows.accuracy([start])[0])) < floor:
        raise ValueError(
            f"floor={floor!r}: the whole model has an accuracy of {full:.4f} on data; expected a floor below that."
        )
    parent: dict[Removed, Removed | None] = {start: None}
    known = {start: full}
    waiting = [(-total, 0, -full, next(order), start, tuple(range(total)))]
    best = start
    while waiting and -waiting[0][0] > len(best):
        removed, candidates = waiting[0][-2:]
        children = [removed | {head} for head in candidates]
        fresh = [child for child in children if child not in known]
        if len(known) + len(fresh) > limit:
            break
        heapq.heappop(waiting)
        known |= dict(zip(fresh, rows.accuracy(fresh).tolist(), strict=True)) if fresh else {}
        allowed = [(child, known[child]) for child in children if known[child] >= floor]
        remaining = Removed().union(*(child - removed for child, _ in allowed))
        for child, accuracy in sorted(allowed, key=lambda pair: -pair[1]):
            if child not in parent:
                parent[child] = removed
                bound = len(removed) + len(allowed)
                further = tuple(sorted(remaining - child))
                heapq.heappush(waiting, (-bound, -len(child), -accuracy, next(order), child, further))
                best = child if len(child) > len(best) else best
    chain, state = [], best
    while state is not None:
        chain.append(state)
        state = parent[state]
    return chain[::-1], max([len(best), *(-entry[0] for entry in waiting)]), len(known)


def _check_rows(data: Examples, held_out: Examples) -> None:
    for name, rows in (("data", data), ("held_out", held_out)):
        x, y = np.asarray(rows.x), np.asarray(rows.y)
        if x.ndim != 2 or x.shape != y.shape or not x.size or not (y >= 0).any(1).all():
            raise ValueError(
                f"{name} has x {x.shape} and y {y.shape}; expected tokens [n, t] in both, and in each row of y one "
                "that counts (-1 does not)."
            )
    if common := np.intersect1d(np.asarray(data.id), np.asarray(held_out.id)).size:
        raise ValueError(
            f"{common} ids are in data and in held_out; the floor is certified on rows that the search has not seen. "
            "Split by document."
        )
