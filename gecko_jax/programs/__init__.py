"""A traced function as flat steps: the one reader of JAX's programs, for gradients, costs, and whatever comes.

    program, structure = trace(function, *arguments)         steps in order; wrappers such as jit and remat are opened
    marks = flow(program, inputs, join)                      which inputs each value depends on, through loops, branches
    needed(program.steps, program.outputs)                   what a result depends on: everything else is dead
    values = execute(program.steps, values)                  runs it, step by step

`wrappers.py` holds the one list of primitives that only run another program. A reader that differentiates leaves those
with a derivative of their own closed (`differentiable=True`); every other reader sees through them as well. A layer's
name stands in the scope of each step (`scopes.py`): steps are told apart by it, never by their order or their size.
"""

from gecko_jax.programs.flatten import Call, Constant, Program, Step, every_step, flatten, trace
from gecko_jax.programs.flow import Marks, bodies, flow
from gecko_jax.programs.liveness import Lifetime, needed, peak_bytes
from gecko_jax.programs.loops import scan_counts
from gecko_jax.programs.run import execute, read, run_step
from gecko_jax.programs.scopes import layer_of, layer_path, layer_scopes
from gecko_jax.programs.wrappers import CUSTOM, LOOPS, MAPPED, TRANSPARENT, inner_programs, opened

__all__ = [
    "CUSTOM",
    "LOOPS",
    "MAPPED",
    "TRANSPARENT",
    "Call",
    "Constant",
    "Lifetime",
    "Marks",
    "Program",
    "Step",
    "bodies",
    "every_step",
    "execute",
    "flatten",
    "flow",
    "inner_programs",
    "layer_of",
    "layer_path",
    "layer_scopes",
    "needed",
    "opened",
    "peak_bytes",
    "read",
    "run_step",
    "scan_counts",
    "trace",
]
