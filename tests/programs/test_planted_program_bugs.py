"""Bugs of the reader of programs, planted one at a time: each must fail the check that is named for it.

Costs, freezing, encryption and the clipped sums of private training read programs. A dependence that is missed here is
a gradient without noise there.
"""

from __future__ import annotations

import sys

import pytest
import test_flow as flows
import test_scopes_and_liveness as steps
import test_wrappers as wrappers
from planting import plant

import gecko_jax.programs  # noqa: F401, so that sys.modules holds its files

flatten, flow, liveness, opening, scopes = (
    sys.modules[f"gecko_jax.programs.{name}"] for name in ("flatten", "flow", "liveness", "wrappers", "scopes")
)  # the room shows functions of these names


def dependence(name):
    return lambda: flows.check_dependence(name)


# name -> (module, function, line, planted, check that must fail)
BUGS = {
    # flatten
    "a wrapper's own scope alone": (
        flatten, "_Walk", "for part in (scope, str(", "for part in (str(", steps.check_scopes,
    ),
    "the body of a loop without a scope": (
        flatten, "_Walk", "scope=scope) for body in bodies", 'scope="") for body in bodies', steps.check_scopes,
    ),
    "a derivative opened in a loop": (
        flatten, "_Walk", "flatten(body, differentiable=self.differentiable,", "flatten(body,",
        steps.check_closed_in_a_loop,
    ),
    "a mapped program counted once": (
        flatten, "_Walk", "repeats * _devices(name, equation.params)", "repeats", steps.check_devices,
    ),
    "the first branch alone": (
        flatten, "every_step", "in step.bodies", "in step.bodies[:1]", steps.check_every_step,
    ),
    # wrappers
    "a derivative of its own opened": (
        opening, "opened", "(not differentiable and name in CUSTOM | MAPPED)", "name in CUSTOM | MAPPED",
        steps.check_closed_in_a_loop,
    ),
    "a mapped program closed": (opening, "opened", "CUSTOM | MAPPED", "CUSTOM", steps.check_devices),
    "a program that does not fit opened": (
        opening, "body_of", "if inner == (", "if True or inner == (",
        wrappers.test_a_wrapper_whose_program_does_not_fit_its_arguments_stays_closed,
    ),
    # flow
    "a loop walked once": (flow, "_scan", "if grown == inputs:", "if True:", dependence("shifted")),
    "constants of a scan taken for its carry": (
        flow, "_grown", "zip(written[first:], ends", "zip(written, ends", dependence("constant")),
    "a branch without what chose it": (flow, "_branches", "join(index, *column)", "join(*column)", dependence("cond")),
    "a loop without what ends it": (flow, "_while", "join(end, *tested.outputs)", "end", dependence("until")),
    "a reference that is only read": (flow, "flow", "known[atom] = join(*inputs)", "pass", dependence("written")),
    "a reference forgotten by the next run": (
        flow, "_grown", "join(mark, inside.values[number]) if", "mark if", dependence("read_in_a_loop"),
    ),
    # liveness
    "the last step alone needed": (liveness, "needed", "in reversed(steps)", "in steps", steps.check_needed),
    "an array dead when it is read": (liveness, "peak_bytes", "step <= t.read", "step < t.read", steps.check_peak),
    # scopes
    "the outermost layer": (scopes, "layer_of", "names[-1]", "names[0]", steps.check_scopes),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug, monkeypatch):
    module, name, line, planted, check = BUGS[bug]
    check()
    plant(monkeypatch, module, name, line, planted)
    with pytest.raises((AssertionError, ValueError)):  # a wrong answer, or values that no longer fit together
        check()
