"""The layout of an ensemble on the machine, chosen from the backend and the model, never by the caller.

Measured reasons (CPU time, 2 x86 cores): one scan an epoch is 3 to 20 times faster than a Python loop of steps on small
dense networks. A vmap wider than 4 models does not fit the cache. `lax.conv` is 4 times slower in a scan than outside,
and 9 times under vmap, but the same convolution as a matrix product over patches is not. On an accelerator a wide vmap
is what fills the device; the form of its convolutions is measured there (`convolution_form`).
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import jax

from gecko_jax.models import Call, convolutions_as_matmul, trace, ungrouped_convolutions
from gecko_jax.types import Array, Model, Variables

MAX_MODELS_PER_CPU = 4  # of dense layers
MAX_MODELS_PER_ACCELERATOR = 128
CONVOLUTIONS, WINDOWS = FORMS = ("convolutions", "windows")


class Layout(NamedTuple):
    """How the models of an ensemble are laid out in programs.

    Attributes:
      width: models side by side in one program, a multiple of `devices`.
      devices: devices that the model axis is sharded over.
      scan: one program an epoch; else one a step, in a Python loop.
      matmul: convolutions as matrix products over patches.
      form: of convolutions on an accelerator, one of FORMS; see `convolution_form`.
    """

    width: int
    devices: int
    scan: bool
    matmul: bool
    form: str = CONVOLUTIONS

    @property
    def width_of_device(self) -> int:
        """Returns how many models one device trains side by side."""
        return self.width // self.devices

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the context in which a step of this layout is traced."""
        if self.matmul:
            return convolutions_as_matmul()
        return ungrouped_convolutions() if self.form == WINDOWS else contextlib.nullcontext()


def choose(model: Model, variables: Variables, x: Array, models: int) -> Layout:
    """Chooses the layout of `models` copies of a model on the default backend.

    Args:
      model: the model.
      variables: its variables or their shapes.
      x: one batch of inputs, a pytree, or its shapes.
      models: how many are trained.
    """
    devices = min(jax.local_device_count(), models)
    convolutions = [call for call in trace(model, variables, x) if call.kind.startswith("Conv")]
    if jax.default_backend() != "cpu":
        width = min(-(-models // devices), MAX_MODELS_PER_ACCELERATOR)
        return Layout(width * devices, devices, scan=True, matmul=False)
    if not convolutions:
        return Layout(min(-(-models // devices), MAX_MODELS_PER_CPU) * devices, devices, scan=True, matmul=False)
    if all(_is_plain(call) for call in convolutions):
        return Layout(devices, devices, scan=True, matmul=True)
    return Layout(1, 1, scan=False, matmul=False)


def _is_plain(call: Call) -> bool:
    """Returns whether a convolution has two spatial axes and one group, as a matrix product over patches needs."""
    return call.kind == "Conv" and len(call.kernel) == 4 and call.kernel[-2] == call.input[-1]
