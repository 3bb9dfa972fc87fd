"""The layout of an ensemble on the machine, chosen from the backend and the model, never by the caller.

Measured reasons (CPU time, 2 x86 cores): one scan an epoch is 3 to 20 times faster than a Python loop of steps on small
dense networks. A vmap wider than 4 models does not fit the cache. `lax.conv` is 4 times slower in a scan than outside,
and 9 times under vmap, but the same convolution as a matrix product over patches is not. On an accelerator a wide vmap
is what fills the device; the form of its convolutions is measured there (`convolution_form`).


Over several processes all devices of all of them work on one program: models side by side first; what is left divides
the rows of each model's batch, whose gradients are then summed over devices in every step. Devices that neither needs
repeat what others do.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import jax

from gecko_jax import hosts
from gecko_jax.models import Call, convolutions_as_matmul, trace, ungrouped_convolutions
from gecko_jax.trees import row_count
from gecko_jax.types import Array, Model, Variables

MAX_MODELS_PER_CPU = 4  # of dense layers
MAX_MODELS_PER_ACCELERATOR = 128
CONVOLUTIONS, WINDOWS = FORMS = ("convolutions", "windows")
MIN_ROWS_PER_DEVICE = 4  # of a divided batch: below, a sum over devices costs more than the rows do


class Layout(NamedTuple):
    """How the models of an ensemble are laid out in programs.

    Attributes:
      width: models side by side in one program, a multiple of `devices`.
      devices: devices that the model axis is sharded over.
      scan: one program an epoch; else one a step, in a Python loop.
      matmul: convolutions as matrix products over patches.
      form: of convolutions on an accelerator, one of FORMS; see `convolution_form`.
      split: devices that the rows of each model's batch are divided among.
      copies: devices that do the same.
    """

    width: int
    devices: int
    scan: bool
    matmul: bool
    form: str = CONVOLUTIONS
    split: int = 1
    copies: int = 1

    @property
    def width_of_device(self) -> int:
        """Returns how many models one device trains side by side."""
        return self.width // self.devices

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the context in which a step of this layout is traced."""
        if self.matmul:
            return convolutions_as_matmul()
        return ungrouped_convolutions() if self.form == WINDOWS else contextlib.nullcontext()


def choose(model: Model, variables: Variables, x: Array, models: int, pads: bool = False) -> Layout:
    """Chooses the layout of `models` copies of a model on the default backend.

    Args:
      model: the model.
      variables: its variables or their shapes.
      x: one batch of inputs, a pytree, or its shapes.
      models: how many are trained.
      pads: whether rows of weight 0 may be added to a batch, so that its rows can be divided.
    """
    if hosts.count() == 1:
        return _on_devices(model, variables, x, models, min(jax.local_device_count(), models))
    total, rows = jax.device_count(), row_count("x", x)
    one = _on_devices(model, variables, x, models, model_devices(total, models))
    rest = total // one.devices  # all of them for a model that a Python loop trains alone
    split = split_of(rest, rows, pads)
    return one._replace(split=split, copies=rest // split)


def model_devices(total: int, models: int) -> int:
    """Returns how many of all devices stand side by side: the smallest divisor with room for all models, or all.

    >>> model_devices(8, 1), model_devices(8, 3), model_devices(8, 20), model_devices(6, 4)
    (1, 4, 8, 6)
    """
    return next((each for each in range(1, total) if total % each == 0 and each >= models), total)


def split_of(devices: int, rows: int, pads: bool) -> int:
    """Returns how many of the devices a batch's rows are divided among: the largest divisor with rows enough for each.

    Args:
      devices: that are left for each model.
      rows: of a batch.
      pads: see `choose`; if not, the divisor must divide the rows as well.

    >>> split_of(8, 64, pads=False), split_of(8, 20, pads=False), split_of(8, 399, pads=False), split_of(8, 399, True)
    (8, 4, 1, 8)
    """
    fits = (each for each in range(devices, 1, -1) if devices % each == 0 and rows >= MIN_ROWS_PER_DEVICE * each)
    return next((each for each in fits if pads or rows % each == 0), 1)


def _on_devices(model: Model, variables: Variables, x: Array, models: int, devices: int) -> Layout:
    """Returns the layout of some models over a number of devices."""
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
