"""How an ensemble is laid out on the machine: chosen here from the backend and the model, never by the caller.

Facts behind the choice (CPU time, 2 x86 cores): one scan an epoch beats a Python loop of steps 3 to 20 times on small
dense nets; a vmap wider than 4 models falls out of the cache; `lax.conv` in a scan is 4 times slower than outside, and
under vmap 9 times, while the same convolution as a matrix product over patches is not. On an accelerator the wide vmap
is the point.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from gecko_jax.models import Call, trace
from gecko_jax.types import Array, Model, Variables

CPU_DENSE_WIDTH = 4
ACCELERATOR_WIDTH = 128


class Layout(NamedTuple):
    """Attributes:
    width: models side by side in one program, a multiple of `devices`.
    devices: devices that the model axis is sharded over.
    scan: one program an epoch; else one a step, in a Python loop.
    matmul: convolutions as matrix products over patches.
    """

    width: int
    devices: int
    scan: bool
    matmul: bool


def choose(model: Model, variables: Variables, x: Array, models: int) -> Layout:
    """The layout for `models` copies of a model on the default backend.

    Args:
      model: the model.
      variables: its variables or their shapes.
      x: one batch of inputs or its shape.
      models: how many are trained.
    """
    devices = min(jax.local_device_count(), models)
    convolutions = [call for call in trace(model, variables, x) if call.kind.startswith("Conv")]
    if jax.default_backend() != "cpu":
        width = min(-(-models // devices), ACCELERATOR_WIDTH)
        return Layout(width * devices, devices, scan=True, matmul=False)
    if not convolutions:
        return Layout(min(-(-models // devices), CPU_DENSE_WIDTH) * devices, devices, scan=True, matmul=False)
    if all(_is_plain(call) for call in convolutions):
        return Layout(devices, devices, scan=True, matmul=True)
    return Layout(1, 1, scan=False, matmul=False)


def _is_plain(call: Call) -> bool:
    """Whether a convolution has two spatial axes and one group, as `models.convolution.as_matmul` needs."""
    return call.kind == "Conv" and len(call.kernel) == 4 and call.kernel[-2] == call.input[-1]
