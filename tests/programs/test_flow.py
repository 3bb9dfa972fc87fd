"""What depends on what in a traced function, against what the functions say."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gecko_jax import programs

ZEROS = (jnp.zeros(2),) * 4


def union(*sets):
    return frozenset().union(*sets)


def of_outputs(function, *given):
    """For each output the numbers of the inputs that it depends on."""
    marks = [frozenset({i}) for i in range(len(given))]
    return [sorted(labels) for labels in programs.flow(programs.trace(function, *given)[0], marks, union).outputs]


@jax.custom_vjp
def halves(a, b):
    return a / 2, b / 2


halves.defvjp(lambda a, b: (halves(a, b), None), lambda _, g: g)


def shifted(a, b, c, d):
    """The first input moves along the carry one place in each turn."""
    return lax.scan(lambda carry, _: ((carry[1], carry[2], carry[2]), carry[0]), (a, b, c), None, length=5)


def until(a, b, c, d):
    return lax.while_loop(lambda s: jnp.sum(s[0]) < jnp.sum(c), lambda s: (s[0] + 1, s[1] + d), (a, b))


def written(a, b, c, d):
    """A mutable reference carries `b` out of where it is written."""
    cell = jax.new_ref(a)
    cell[...] = jnp.sin(b)
    return cell[...], c


def written_in_a_loop(a, b, c, d):
    """Each turn reads what the turn before has written into another reference: c reaches the first one at last."""
    first, second = jax.new_ref(a), jax.new_ref(b)

    def turn(carry, _):
        first[...] = second[...] + 1
        second[...] = c * 1
        return carry, None

    lax.scan(turn, (), None, length=3)
    return first[...], d


def read_in_a_loop(a, b, c, d):
    """Each turn gives what the first reference holds as it begins: a, then b + 1, then c + 1."""
    first, second = jax.new_ref(a), jax.new_ref(b)

    def turn(carry, _):
        before = first[...] * 1
        first[...] = second[...] + 1
        second[...] = c * 1
        return carry, before

    return lax.scan(turn, (), None, length=3)[1], d


CASES = {
    "shifted": (shifted, [[0, 1, 2], [1, 2], [2], [0, 1, 2]]),
    "unchanged": (lambda a, b, c, d: lax.scan(lambda s, x: (s, x + c), a, b), [[0], [1, 2]]),
    "constant": (lambda a, b, c, d: lax.scan(lambda s, x: (2 * s, x + c), a, b), [[0], [1, 2]]),
    "until": (until, [[0, 2], [0, 1, 2, 3]]),
    "cond": (
        lambda a, b, c, d: lax.cond(jnp.sum(a) > 0, lambda: (b, c), lambda: (2 * b, d)), [[0, 1], [0, 2, 3]],
    ),
    "jit": (lambda a, b, c, d: jax.jit(jax.checkpoint(lambda a, b: (a, jnp.sin(b))))(a, b), [[0], [1]]),
    "custom_vjp": (lambda a, b, c, d: halves(a, b), [[0], [1]]),
    "zeros": (lambda a, b, c, d: (jnp.zeros_like(a), jax.nn.relu(b) + a @ c), [[], [0, 1, 2]]),
    "written": (written, [[0, 1], [2]]),
    "written_in_a_loop": (written_in_a_loop, [[0, 1, 2], [3]]),
    "read_in_a_loop": (read_in_a_loop, [[0, 1, 2], [3]]),
}  # fmt: skip


def check_dependence(name):
    function, expected = CASES[name]
    assert of_outputs(function, *ZEROS) == expected


@pytest.mark.parametrize("name", CASES)
def test_dependence_is_told_apart_through_loops_branches_and_references(name):
    check_dependence(name)


def test_what_no_result_needs_is_dead():
    program, _ = programs.trace(lambda a, b: (jnp.sin(a), jnp.cos(b))[0], *ZEROS[:2])
    live = programs.needed(program.steps, program.outputs)
    assert [step.name for step in program.steps if live.intersection(step.outputs)] == ["sin"]
    assert live == {program.inputs[0], program.outputs[0]}
