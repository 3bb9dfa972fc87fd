"""The walk of HopSkipJump: the compiled part of `hopskipjump`, on a block of records side by side.

Settings are arrays, so two compiled programs, for the beginning and for a stretch of the walk, serve all blocks and all
models of one architecture.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax import checks, surroundings
from gecko_jax.types import Array, Tree

MIN_LENGTH = 1e-30  # of a vector whose length divides
GROUP = 16  # inputs of one record in a call of classify: directions asked about, and inputs to begin from
STEP_SIZES = 12  # asked about: distance / sqrt(t) / 2^0, 2^1, ...
CONTENDERS = 4  # walks of one record through the first iterations, of which the nearest continues
CONTENDER_ITERATIONS = 3


class Plan(NamedTuple):
    """The settings of a walk, as arrays: other settings do not need another program.

    Attributes:
      groups: int32 [iterations], of GROUP directions in each gradient estimate.
      search: int32, halvings of a bisection.
      gamma: see `boundary_distance`.
      low, high: bounds of the inputs.
    """

    groups: np.ndarray
    search: np.integer
    gamma: np.floating
    low: np.floating
    high: np.floating


class Walks(NamedTuple):
    """The walks of r records, side by side.

    Attributes:
      variables: of `boundary_distance`.
      plan: the settings.
      x: the records [r, d].
      y: their labels [r].
    """

    variables: Tree
    plan: Plan
    x: Array
    y: Array


def plan_of(d: int, iterations: int, queries: int, begins: int, gamma: float, bounds: tuple[float, float]) -> Plan:
    """Returns the settings that spend one record's queries; its `begins` inputs to begin from are asked about first."""
    search = max(1, math.ceil(math.log2(d**1.5 / checks.positive("gamma", gamma))))
    number = np.arange(1, checks.integer("iterations", iterations, 1) + 1)
    walks = np.where(number <= CONTENDER_ITERATIONS, CONTENDERS, 1)
    fixed = 1 + begins + min(begins, GROUP) * search + walks.sum() * (search + STEP_SIZES)

    def shared(unit: float) -> np.ndarray:
        return np.maximum(1, np.floor(unit * np.sqrt(number) / walks)).astype(int)

    def cost(unit: float) -> int:
        return int(fixed + GROUP * (walks * shared(unit)).sum())

    if checks.integer("queries", queries, 1) < cost(0):
        raise ValueError(
            f"queries={queries} must be at least {cost(0)} for iterations={iterations} and {begins} inputs to begin "
            f"from: {fixed} go to searches. Ask for more queries, or fewer iterations."
        )
    low, high = 0.0, float(queries)  # the largest unit that the queries pay for
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= queries else (low, middle)
    return Plan(shared(low).astype(np.int32), np.int32(search), *np.array([gamma, *bounds], np.float32))


@functools.partial(surroundings.jit, static_argnums=0)
def ask_model(classify: Callable, variables: Tree, x: Array) -> Array:
    """Returns the output of classify on x [b, ...], by a compiled program."""
    return classify(x) if variables is None else classify(variables, x)


def walk(
    classify: Callable, shape: tuple[int, ...], walks: Walks, begin: np.ndarray, labels: np.ndarray, drawn: Array
) -> np.ndarray:
    """Returns the distances [r] that walks of r records end at.

    Args:
      classify: of `boundary_distance`.
      shape: of one input.
      walks: the records, whose labels classify gives too.
      begin, labels: inputs [r, k, d] to begin from, k <= GROUP, and their labels [r, k], none of them the record's.
      drawn: unit vectors [GROUP * sum of groups or more, d].
    """
    iterations = len(walks.plan.groups)
    together = min(CONTENDER_ITERATIONS, iterations)
    contenders = _contenders(classify, shape, walks, begin, labels)
    early = [_stretch(classify, shape, walks, drawn, state, 0, together) for state in contenders]
    early = [np.stack(part) for part in zip(*jax.device_get(early), strict=True)]
    nearest = early[2][..., 0].argmin(0)
    state = tuple(part[nearest, np.arange(len(walks.x))] for part in early)
    return np.asarray(_stretch(classify, shape, walks, drawn, state, together, iterations)[2])[:, 0]


def by_label(labels: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Returns an order [k]: the nearest of every label, by distance, then the second nearest of each, and so on."""
    order = np.argsort(distance, kind="stable")
    runs = order[np.argsort(labels[order], kind="stable")]  # label by label, each by distance
    _, first, count = np.unique(labels[runs], return_index=True, return_counts=True)
    rank = np.empty(len(labels), int)
    rank[runs] = np.arange(len(runs)) - np.repeat(first, count)
    return order[np.argsort(rank[order], kind="stable")]


def _contenders(
    classify: Callable, shape: tuple[int, ...], walks: Walks, begin: np.ndarray, labels: np.ndarray
) -> list[tuple[np.ndarray, ...]]:
    """Returns states (point, reach, best) of CONTENDERS walks: the nearest at the boundary of every label.

    The boundary with the nearest other class is not found by a walk along the boundary with another one.
    """
    x, points = walks.x[:, None], np.asarray(_at_boundary(classify, shape, walks, begin))
    reach, far = (np.linalg.norm(ends - x, axis=-1, keepdims=True) for ends in (begin, points))
    order = np.array([by_label(*one) for one in zip(labels, far[..., 0], strict=True)])
    order = order[:, np.arange(CONTENDERS) % order.shape[1]]
    rows = np.arange(len(order))
    return [tuple(part[rows, order[:, place]] for part in (points, reach, far)) for place in range(CONTENDERS)]


@functools.partial(surroundings.jit, static_argnums=(0, 1))
def _at_boundary(classify, shape, walks, points):
    return _to_boundary(_is_other_label(classify, shape, walks), walks.plan, walks.x, points)


@functools.partial(surroundings.jit, static_argnums=(0, 1))
def _stretch(classify, shape, walks, drawn, state, first, last):
    """Returns the state after iterations first..last-1: (x_t, |x'_t - x|, the smallest distance so far)."""
    ask, plan, x = _is_other_label(classify, shape, walks), walks.plan, walks.x
    until = jnp.cumsum(plan.groups)

    def normal(point, radius, number):
        """Returns the unit normal [r, d] at `point`, towards the other label."""

        def add(turn, sums):
            along = lax.dynamic_slice_in_dim(drawn, turn * GROUP, GROUP)
            asked = jnp.clip(point[:, None] + radius[:, None] * along[None], plan.low, plan.high)
            moved = (asked - point[:, None]) / radius[:, None]  # what remains of the direction within the bounds
            sign = jnp.where(ask(asked)[..., None], 1.0, -1.0)
            signed, plain, total = sums
            return signed + jnp.sum(sign * moved, 1), plain + jnp.sum(moved, 1), total + jnp.sum(sign, 1)

        nothing = jnp.zeros_like(x), jnp.zeros_like(x), jnp.zeros((len(x), 1))
        groups = plan.groups[number]
        signed, plain, total = lax.fori_loop(until[number] - groups, until[number], add, nothing)
        mean = total / (GROUP * groups)
        # The mean as a baseline removes variance; if all labels agree it would remove everything.
        estimate = signed - jnp.where(jnp.abs(mean) < 1, mean, 0) * plain
        return estimate / _length(estimate)

    def step(number, state):
        point, reach, best = state
        # Above 0 even if a model with random outputs let a walk begin at the record itself.
        radius = jnp.maximum(plan.gamma * reach / x.shape[1], MIN_LENGTH)
        ahead = normal(point, radius, number)
        sizes = _length(point - x) / jnp.sqrt(number + 1) * 0.5 ** jnp.arange(STEP_SIZES, dtype=x.dtype)[None]
        tried = jnp.clip(point[:, None] + sizes[..., None] * ahead[:, None], plan.low, plan.high)
        out = ask(tried)
        begin = jnp.where(out.any(1)[:, None], _pick(tried, jnp.argmax(out, 1)), point)
        point = _to_boundary(ask, plan, x, begin[:, None])[:, 0]
        return point, _length(begin - x), jnp.minimum(best, _length(point - x))

    return lax.fori_loop(first, last, step, state)


def _is_other_label(classify, shape, walks):
    """Returns points [r, k, d] -> [r, k], whether they have another label than their record."""

    def ask(points):
        outputs = ask_model(classify, walks.variables, points.reshape(-1, *shape))
        answers = outputs if outputs.ndim == 1 else jnp.argmax(outputs, -1)
        return answers.reshape(points.shape[:2]) != walks.y[:, None]

    return ask


def _to_boundary(ask, plan, x, points):
    """Returns points [r, k, d] of another label, moved towards x as far as they keep one."""

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        out = ask(x[:, None] + middle * (points - x[:, None]))[..., None]
        return jnp.where(out, low, middle), jnp.where(out, middle, high)

    ends = jnp.zeros((*points.shape[:2], 1)), jnp.ones((*points.shape[:2], 1))
    return x[:, None] + lax.fori_loop(0, plan.search, halve, ends)[1] * (points - x[:, None])


def _pick(rows: Array, index: Array) -> Array:
    """Returns rows [r, k, d] at index [r], as [r, d]."""
    return jnp.take_along_axis(rows, index[:, None, None], 1)[:, 0]


def _length(vectors: Array) -> Array:
    """Returns L2 norms over the last axis, which stays; never 0, because they divide."""
    return jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), MIN_LENGTH)
