"""MemGuard's search: logits near a model's own, of which the defender's attacker cannot tell a member."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


class Search(NamedTuple):
    """Settings of the search; the paper's by default.

    Attributes:
      label_weight: c2, of the hinge that keeps the label.
      weights: c3, of the distance to the model's posteriors, one after the other, as long as they succeed.
      steps: of gradient descent for each of them, at most.
      step_size: length of a step.
    """

    label_weight: float = 10.0
    weights: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
    steps: int = 300
    step_size: float = 0.1


def check_search(search: Search) -> Search:
    """Returns the settings, hashable; raises ValueError for those under which no noise would be sought.

    Args:
      search: settings.

    >>> check_search(Search(weights=[0.1])).weights
    (0.1,)
    """
    weights = checks.not_empty("search.weights", tuple(search.weights))
    for weight in weights:
        checks.positive("search.weights", weight)
    checks.at_least("search.label_weight", checks.finite("search.label_weight", search.label_weight), 0)
    checks.positive("search.step_size", search.step_size)
    return search._replace(weights=weights, steps=checks.integer("search.steps", search.steps, 1))


def attacker_logits(params: Any, log_posteriors: Array) -> Array:
    """Returns the attacker's logits [n] of membership for sorted log-posteriors [n, classes].

    Args:
      params: its layers [(kernel, bias), ...].
      log_posteriors: [n, classes], each row from small to large.
    """
    seen = jnp.exp(log_posteriors)
    for kernel, bias in params[:-1]:
        seen = jax.nn.relu(seen @ kernel + bias[None])
    kernel, bias = params[-1]
    return (seen @ kernel)[:, 0] + bias[0]


def find_logits(params: Any, own: np.ndarray, search: Search) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns logits to release, and the attacker's logits of membership before and after.

        |h(z)| + c2 relu(max of the others' z - z_label) + c3 |softmax(z) - softmax(own)|_1

    is descended from z = own by steps of one length until the attacker's side has changed and the label has not. Each
    larger c3 that succeeds too gives logits nearer to the model's own. A record without success keeps its own.

    Args:
      params: of the attacker.
      own: the model's log-probabilities [n, classes].
      search: its settings.
    """
    order = np.argsort(own, axis=1, kind="stable")
    start = jnp.float32(np.take_along_axis(own, order, 1))
    best, before, after = map(np.asarray, _descend(search)(params, start))
    logits = np.empty_like(own)
    np.put_along_axis(logits, order, best.astype(own.dtype), 1)
    moved = (best != np.asarray(start)).any(1)
    return np.where(moved[:, None], logits, own), before, after


@functools.lru_cache(maxsize=16)
def _descend(search: Search) -> Any:
    """Builds (params, sorted log-posteriors [n, classes]) -> (logits, the attacker's before, after)."""

    def objective(z, start, weight, params):
        gap = jnp.max(z[:, :-1], axis=1) - z[:, -1]  # sorted: the label is the last one
        away = jnp.abs(jax.nn.softmax(z) - jax.nn.softmax(start)).sum(1)
        member = attacker_logits(params, jax.nn.log_softmax(jnp.sort(z, axis=1)))
        return jnp.sum(jnp.abs(member) + search.label_weight * jax.nn.relu(gap) + weight * away)

    def run(params, start):
        before = attacker_logits(params, jax.nn.log_softmax(start))

        def succeeded(z):
            member = attacker_logits(params, jax.nn.log_softmax(jnp.sort(z, axis=1)))
            return (jnp.max(z[:, :-1], axis=1) < z[:, -1]) & (member * before <= 0)

        def try_weight(carry, weight):
            best, going = carry

            def unfinished(state):
                return (state[1] < search.steps) & jnp.any(going & ~succeeded(state[0]))

            def step(state):
                z, number = state
                slope = jax.grad(objective)(z, start, weight, params)
                slope = slope / jnp.maximum(jnp.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
                return jnp.where(succeeded(z)[:, None], z, z - search.step_size * slope), number + 1

            z, _ = jax.lax.while_loop(unfinished, step, (start, 0))
            going = going & succeeded(z)
            return (jnp.where(going[:, None], z, best), going), None

        first = (start, jnp.ones(len(start), bool))
        (best, _), _ = jax.lax.scan(try_weight, first, jnp.float32(search.weights))
        after = attacker_logits(params, jax.nn.log_softmax(jnp.sort(best, axis=1)))
        return best, before, after

    return jax.jit(run)
