"""The form of convolutions in an ensemble on an accelerator: XLA's, or products over windows, whichever is faster.

`vmap` over models makes one convolution with a group of features for each model, depthwise ones included. How fast that
is depends on the device, the shapes and the libraries. So both forms of one gradient are timed, once: the answer stays
beside JAX's compilation cache (`jax_compilation_cache_dir`), or with the process if there is none. The forms round
differently. The form is part of a run's record, and a run that continues takes the form that it began with.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import devices, json_values
from gecko_jax.digests import sha256
from gecko_jax.files import write_atomic
from gecko_jax.models import trace
from gecko_jax.privacy.chacha import KEY_WORDS
from gecko_jax.privacy.cipher_keys import wrap_key
from gecko_jax.programs import every_step, flatten
from gecko_jax.training.checkpoints import stored_record
from gecko_jax.training.layout import CONVOLUTIONS, FORMS, WINDOWS, Layout
from gecko_jax.training.run_identity import FORM
from gecko_jax.training.step import UpdateRule
from gecko_jax.types import Batch, Model, Variables

TIMED_RUNS = 3  # of each form, by turns; the fastest counts

_ANSWERS: dict[str, str] = {}  # what this process knows, by the question's digest


class Example(NamedTuple):
    """What a step of one model is called with, as shapes.

    Attributes:
      variables: of one model.
      batch: of one step.
      ciphers: whether the step's key is ChaCha20's.
    """

    variables: Variables
    batch: Batch
    ciphers: bool


def with_form(layout: Layout, rule: UpdateRule, example: Example, folder: str | os.PathLike[str] | None) -> Layout:
    """Chooses the form of convolutions: that of the run in `folder`, the one remembered, or the faster one.

    Args:
      layout: of the models.
      rule: for its model and its gradients.
      example: what a step is called with.
      folder: of the run; None: it has none.

    Returns:
      The layout with its form; as it is on a CPU, or for a model without a convolution.
    """
    if not devices.is_accelerator() or not _convolves(rule.model, example):
        return layout
    record = stored_record(folder)
    form = record.get(FORM, CONVOLUTIONS) if record is not None else _chosen(layout, rule, example)
    return layout._replace(form=_agreed(form if form in FORMS else CONVOLUTIONS))


def _convolves(model: Model, example: Example) -> bool:
    return any(call.kind.startswith("Conv") for call in trace(model, example.variables, example.batch.x))


def _agreed(form: str) -> str:
    """Returns the form of process 0, because all processes run one program."""
    if jax.process_count() == 1:
        return form
    from jax.experimental import multihost_utils

    return FORMS[int(multihost_utils.broadcast_one_to_all(np.int32(FORMS.index(form))))]


def _chosen(layout: Layout, rule: UpdateRule, example: Example) -> str:
    models = layout.width_of_device
    if models == 1:
        return CONVOLUTIONS
    traced = {form: traced_gradient(layout._replace(form=form), rule, example) for form in FORMS}
    if _has_convolution(traced[WINDOWS]):  # one that is not an nn.Conv's: it has only this form
        return CONVOLUTIONS
    question = {
        "device": jax.local_devices()[0].device_kind,
        "jax": jax.__version__,
        "models": models,
        "program": sha256(traced[CONVOLUTIONS].lower().as_text().encode()),
    }
    return remembered(
        question, lambda: faster({form: each.lower() for form, each in traced.items()}, _zeros(models, example))
    )


def traced_gradient(layout: Layout, rule: UpdateRule, example: Example) -> Any:
    """Traces one gradient of the models that one device trains side by side.

    Args:
      layout: with the form to trace.
      rule, example: as of `with_form`.

    Returns:
      What `jax.jit(...).trace` returns.
    """

    def one(variables, batch, words):
        return rule.gradients(variables, batch, wrap_key(words))[0]

    def several(*arguments):
        with layout.context(), devices.side_by_side(layout.width_of_device):
            return jax.vmap(one)(*arguments)

    return jax.jit(several).trace(*jax.eval_shape(lambda: _zeros(layout.width_of_device, example)))


def _zeros(models: int, example: Example) -> tuple[Variables, Batch, Any]:
    """Returns arguments of a gradient for several models; its time does not depend on what they hold."""
    words = KEY_WORDS if example.ciphers else jax.random.key_data(jax.random.key(0)).size
    one = (example.variables, example.batch, jax.ShapeDtypeStruct((words,), jnp.uint32))
    return jax.tree.map(lambda leaf: jnp.zeros((models, *leaf.shape), leaf.dtype), one)


def _has_convolution(traced: Any) -> bool:
    return any(step.name == "conv_general_dilated" for step in every_step(flatten(traced.jaxpr)))


def remembered(question: Mapping[str, Any], answer: Callable[[], Mapping[str, float]]) -> str:
    """Returns the form that was the faster one when this question was first asked on this machine.

    Args:
      question: what the answer depends on, in JSON's types.
      answer: () -> {form: seconds}, asked at most once.
    """
    digest = sha256(json_values.dumps(question, sort_keys=True).encode())[:32]
    config: Any = jax.config
    folder = config.jax_compilation_cache_dir
    path = Path(folder) / "gecko_jax" / f"form-{digest}.json" if folder and "://" not in folder else None
    form = _ANSWERS.get(digest) or _stored(path)
    if form is None:
        seconds = answer()
        form = WINDOWS if seconds[WINDOWS] < seconds[CONVOLUTIONS] else CONVOLUTIONS
        _store(path, {**question, "form": form, "seconds": dict(seconds)})
    _ANSWERS[digest] = form
    return form


def _stored(path: Path | None) -> str | None:
    try:
        form = None if path is None else json.loads(path.read_text())["form"]
    except (OSError, ValueError, TypeError, KeyError):  # absent, or damaged: measured again
        return None
    return form if form in FORMS else None


def _store(path: Path | None, content: Mapping[str, Any]) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json_values.dumps(content, indent=1))
    except OSError as error:
        warnings.warn(f"the form of convolutions is not kept, and measured again next time: {error}.", stacklevel=2)


def faster(
    lowered: Mapping[str, Any], arguments: tuple[Any, ...], clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Times the forms by turns.

    Args:
      lowered: {form: a gradient that can be compiled}.
      arguments: of the gradient.
      clock: returns seconds.

    Returns:
      {form: seconds of its fastest run}; infinite if the windows do not fit the device's memory.
    """
    seconds = dict.fromkeys(lowered, float("inf"))
    programs = {}
    for form, each in lowered.items():
        try:
            programs[form] = each.compile()
            jax.block_until_ready(programs[form](*arguments))
        except jax.errors.JaxRuntimeError as error:
            if form == CONVOLUTIONS or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            del programs[form]
    for _ in range(TIMED_RUNS):
        for form, program in programs.items():
            start = clock()
            jax.block_until_ready(program(*arguments))
            seconds[form] = min(seconds[form], clock() - start)
    return seconds
