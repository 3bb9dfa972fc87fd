"""Losses with derivatives of their own, some of them of constants: whatever works under vmap(grad) works here.

NumPy constants stay NumPy in a traced program, and reach the user's backward function, which may index them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental.ode import odeint
from one_by_one import check_every_method

TIMES = np.linspace(0.0, 1.0, 3)


def by_ode(params, x, key):
    return jnp.sum(odeint(lambda y, t, w: jnp.tanh(w @ y), x, TIMES, params)[-1] ** 2)


def by_checkpointed_ode(params, x, key):
    return jax.checkpoint(lambda params: by_ode(params, x, key))(params)


@jax.custom_vjp
def weighted_rows(w, table):
    return w @ table[0]


# The backward function indexes its constant by a traced number, which NumPy cannot.
weighted_rows.defvjp(
    lambda w, table: (weighted_rows(w, table), table),
    lambda table, g: (g[:, None] * jax.vmap(lambda i: table[0, i])(jnp.arange(3))[None], jnp.zeros(table.shape)),
)


def by_indexed_constant(params, x, key):
    return jnp.sum(jax.jit(weighted_rows)(params, np.ones((2, 3), np.float32)) * x)


@jax.custom_vjp
def scaled(w, factor):
    return w * factor


scaled.defvjp(lambda w, f: (scaled(w, f), f), lambda f, g: (g * f.astype(jnp.float32), jnp.zeros_like(f)))


def by_scalar_constant(params, x, key):
    return jnp.sum(jnp.sin(scaled(params, np.float32(2.0)) @ x))


@jax.custom_jvp
def wave(w, x):
    return jnp.sin(w @ x)


wave.defjvp(lambda given, moved: (wave(*given), jnp.cos(given[0] @ given[1]) * (moved[0] @ given[1])))


def by_forward_rule(params, x, key):
    return jnp.sum(wave(params, np.ones(3, np.float32)) * x)


def by_root(params, x, key):
    """The fixed point of y = 0.3 tanh(w y + x), differentiated implicitly; the search is a while loop."""

    def solve(function, start):
        return lax.while_loop(lambda c: c[0] < 30, lambda c: (c[0] + 1, c[1] - function(c[1])), (0, start))[1]

    def tangent(linear, y):
        return jnp.linalg.solve(jax.jacobian(linear)(y), y)

    return jnp.sum(lax.custom_root(lambda y: y - 0.3 * jnp.tanh(params @ y + x), jnp.zeros(3), solve, tangent) ** 2)


def by_linear_algebra(params, x, key):
    matrix = params @ params.T + jnp.eye(3) + jnp.outer(x, x)
    solved = lax.custom_linear_solve(lambda v: matrix @ v, x, lambda _, b: jnp.linalg.solve(matrix, b), symmetric=True)
    return jnp.linalg.slogdet(matrix)[1] + jnp.sum(solved**2) + jnp.sum(jnp.linalg.cholesky(matrix))


LOSSES = [by_ode, by_checkpointed_ode, by_indexed_constant, by_scalar_constant, by_forward_rule, by_root]


@pytest.mark.parametrize("loss", [*LOSSES, by_linear_algebra])
def test_a_loss_with_a_derivative_of_its_own(loss):
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 3)).astype(np.float32), rng.normal(size=(3, 3)).astype(np.float32)
    ways = (("vmap", None), ("auto", 2)) if loss is by_ode else (("bookkeeping", None),)
    check_every_method(loss, w, x, ways)
