"""Saves a trained model to a folder, completely or not at all, and loads the same model or refuses.

    models.save("runs/net", model, fitted.variables, data.test.x)
    saved = models.load("runs/net")
    logits, _ = saved.model.apply(saved.variables, x)

The folder holds model.msgpack (variables and the caller's arrays) and model.json (how the model is built, the caller's
settings, and the SHA-256 of every file). model.json is written last and serves as the commit marker: a folder that a
killed process left has none, and files of two runs do not match it.

`create`, `quantized` and `without_batch_norm` record how a model is built. Your own Flax module is code, which is not
saved, so `load` takes it as an argument. Because code changes, the outputs on some random rows are saved as well, and a
model that computes other outputs is refused. No training record is in the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import __version__, files
from gecko_jax.json_values import dumps, plain
from gecko_jax.models.blueprint import build, from_json, to_json
from gecko_jax.models.linen import from_linen
from gecko_jax.models.random_rows import draw_rows, row_spec
from gecko_jax.trees import named_leaves, take
from gecko_jax.types import Array, Model, Variables

FORMAT, VERSION = "gecko_jax model", 1
ARRAYS_FILE, MARKER_FILE = "model.msgpack", "model.json"
CHECKED_ROWS = 8
RELATIVE_TOLERANCE = 1e-3  # of an output's largest magnitude; another processor rounds otherwise


class SavedModel(NamedTuple):
    """A model that was read from a folder.

    Attributes:
      model: the network.
      variables: its variables as NumPy arrays, with a leading axis if they are of several models.
      settings: the caller's settings, in JSON's types.
      arrays: {name: array}, the caller's arrays.
    """

    model: Model
    variables: Variables
    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save(
    folder: str | os.PathLike[str],
    model: Model,
    variables: Variables,
    x: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    arrays: Mapping[str, Array] | None = None,
    extra_files: Mapping[str, bytes | str] | None = None,
) -> Path:
    """Saves a trained model to a folder, and replaces one that is there.

    Args:
      folder: the folder, created if absent.
      model: any model: float, quantized, averaged, private.
      variables: its variables, or those of m models with a leading axis (`training.fit_ensemble`).
      x: inputs [b, ...], any pytree of dicts, tuples and lists. Only shapes and types are read; nothing of x is stored.
      settings: values that JSON can hold (see `json_values.plain`), such as the flags of the run.
      arrays: further arrays by name, such as the membership bool[m, n].
      extra_files: {file name: content} of files that belong to the model, such as its packed weights:
        {"model.packed": integer.encode(integer.pack(model, variables, x))}. `load` checks those that are present.

    Returns:
      The path of model.json.

    Raises:
      ValueError: variables whose names or shapes differ from the model's, a random key among them, or a file name that
        is taken.
      TypeError: settings that JSON cannot hold.
      OSError: see `files.write_atomic`.

    >>> import tempfile
    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 3, hidden=(4,)), np.ones((2, 5), np.float32)
    >>> variables = model.init(jax.random.key(0), x)
    >>> folder = tempfile.mkdtemp()
    >>> path = models.save(folder, model, variables, x, settings={"epochs": 20})
    >>> saved = models.load(folder)
    >>> saved.settings, bool((saved.model.apply(saved.variables, x)[0] == model.apply(variables, x)[0]).all())
    ({'epochs': 20}, True)
    """
    spec = row_spec(x)
    variables = jax.tree.map(_host, variables)
    count = _count(model, spec, variables, "variables")
    state = {
        "variables": flax.serialization.to_state_dict(variables),
        "arrays": {name: np.asarray(array) for name, array in (arrays or {}).items()},
        "outputs": _outputs(model, spec, variables if count is None else take(variables, 0)),
    }
    contents = {ARRAYS_FILE: flax.serialization.msgpack_serialize(state), **(extra_files or {})}
    if MARKER_FILE in contents or ARRAYS_FILE in (extra_files or {}):
        raise ValueError(f"extra_files names {MARKER_FILE} or {ARRAYS_FILE}, which save writes itself; rename it.")
    head = {"format": FORMAT, "version": VERSION, "gecko_jax": __version__, "jax": jax.__version__}
    head |= {"model": to_json(model.blueprint), "hooks": _hooks(model), "models": count, "x": spec}
    head["settings"] = plain(dict(settings or {}), "settings")

    def describe(digests):
        return dumps(head | {"files": digests}, indent=1)

    return files.write_together(folder, contents, MARKER_FILE, describe)


def load(folder: str | os.PathLike[str], model: Model | nn.Module | None = None) -> SavedModel:
    """Loads a model that `save` wrote.

    Args:
      folder: the folder.
      model: None for a model of `models.create`, quantized or not. If you saved your own Flax module, pass the module,
        or the model as it was saved or as it was before `models.quantized`; the saved rules are then applied again.
        Pass a model with a further collection (`training.with_average`, `privacy.with_threshold`) as it was saved.

    Returns:
      A SavedModel.

    Raises:
      ValueError: a folder without a saved model, a damaged file, files of two runs, a missing `model` that is
        needed, or one whose parameters or outputs differ from the saved model's.

    >>> import tempfile
    >>> from gecko_jax import models
    >>> module, x, folder = nn.Dense(2), np.ones((1, 3), np.float32), tempfile.mkdtemp()
    >>> _ = models.save(folder, models.from_linen(module), module.init(jax.random.key(0), x), x)
    >>> models.load(folder, nn.Dense(2)).variables["params"]["kernel"].shape
    (3, 2)
    """
    folder = Path(folder)
    try:
        head, state = _read(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{str(folder)!r} holds no saved model ({error}); models.save writes one.") from error
    model = build(from_json(head["model"]), from_linen(model) if isinstance(model, nn.Module) else model)
    if _hooks(model) != head["hooks"]:
        raise ValueError(
            f"the model saved in {str(folder)!r} has hooks {head['hooks']}, the one built again {_hooks(model)}: pass "
            "models.load the model as it was saved, with what was hung on it by hand."
        )
    template = _shapes(model, head["x"])
    count = _count(model, head["x"], state["variables"], f"{str(folder)!r} holds variables that")
    if count != head["models"]:
        raise ValueError(f"{str(folder)!r} names {head['models']} models and holds {count}: it is damaged.")
    variables = flax.serialization.from_state_dict(template, state["variables"])
    first = variables if count is None else take(variables, 0)
    if not _agree(state["outputs"], _outputs(model, head["x"], first)):
        raise ValueError(
            f"model computes other outputs than the one saved in {str(folder)!r}, whose parameters have the same "
            "shapes. Pass the module with the settings and the code that it had when it was saved."
        )
    return SavedModel(model, variables, head["settings"], state["arrays"])


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the marker and the arrays of a folder, and checks that all files are of one run."""
    head = json.loads((folder / MARKER_FILE).read_text(encoding="utf-8"))
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ValueError(f"{MARKER_FILE} was not written by models.save")
    if head["version"] != VERSION:
        raise ValueError(f"it has version {head['version']}; this library reads version {VERSION}")
    digests = dict(head["files"])
    content = files.read_checked(folder / ARRAYS_FILE, digests.pop(ARRAYS_FILE))
    files.check_present(folder, digests)
    state: Any = flax.serialization.msgpack_restore(content)
    return head, state


def _hooks(model: Model) -> dict[str, int]:
    """Counts the functions that training calls for the model, because those added by hand are in no blueprint."""
    return {"after_update": len(model.after_update), "rates": len(model.rates)}


def _host(leaf: Array) -> np.ndarray:
    dtype: Any = getattr(leaf, "dtype", None)
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        raise ValueError(f"variables hold an array of type {dtype}. Save jax.random.key_data of it.")
    return np.asarray(leaf)


def _shapes(model: Model, spec: Any) -> Variables:
    return jax.eval_shape(model.init, jax.random.key(0), draw_rows(spec, 1))


def _count(model: Model, spec: Any, variables: Variables, who: str) -> int | None:
    """Returns the length of the leading axis of several models' variables; None for the variables of one model."""
    expected = {name: leaf.shape for name, leaf in named_leaves(flax.serialization.to_state_dict(_shapes(model, spec)))}
    actual = {name: np.shape(leaf) for name, leaf in named_leaves(flax.serialization.to_state_dict(variables))}
    if expected == actual:
        return None
    counts = {shape[0] for name, shape in actual.items() if shape[1:] == expected.get(name) and shape}
    if expected.keys() == actual.keys() and len(counts) == 1:
        [count] = counts
        if all(shape == (count, *expected[name]) for name, shape in actual.items()):
            return count
    name = next(n for n in sorted({*expected, *actual}) if expected.get(n) != actual.get(n))
    raise ValueError(
        f"{who} do not fit the model: {name} has shape {actual.get(name, 'none: it is absent')}, the model's has "
        f"{expected.get(name, 'none: it has no such leaf')}. Pass the model that these variables were trained with."
    )


def _outputs(model: Model, spec: Any, variables: Variables) -> list[np.ndarray]:
    outputs = jax.jit(lambda variables, rows: model.apply(variables, rows)[0])(variables, draw_rows(spec, CHECKED_ROWS))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(outputs)]


def _agree(saved: list[np.ndarray], now: list[np.ndarray]) -> bool:
    """Tells whether most rows have the saved outputs; a value at a threshold may round to the other side elsewhere."""
    if [leaf.shape for leaf in saved] != [leaf.shape for leaf in now]:
        return False
    agreeing = np.ones(CHECKED_ROWS, bool)
    for old, new in zip(saved, now, strict=True):
        old, new = (leaf.astype(complex if leaf.dtype.kind == "c" else float) for leaf in (old, new))
        scale = np.max(np.abs(old), initial=0.0, where=np.isfinite(old))
        close = np.isclose(new, old, rtol=0, atol=RELATIVE_TOLERANCE * scale, equal_nan=True)
        agreeing &= close.reshape(CHECKED_ROWS, -1).all(1)
    return agreeing.sum() > CHECKED_ROWS // 2
