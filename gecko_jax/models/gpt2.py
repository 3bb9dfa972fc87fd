"""Loads weights in GPT-2's published layout, from a file that the user has, into a `Transformer`.

  wte, wpe                                   embed, positions
  h.0.ln_1, h.0.ln_2, ln_f                   block0/norm1, block0/norm2, final_norm
  h.0.attn.c_attn [width, 3 width]           block0/attention/query, key, value, side by side
  h.0.attn.c_proj, h.0.mlp.c_fc, c_proj      block0/attention/output, block0/mlp/up, down
  lm_head, if it is not wte again            head

Its dense weights are stored [inputs, outputs], as Flax stores them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.checks import integer, listed
from gecko_jax.files import read_safetensors
from gecko_jax.models.saving import SavedModel
from gecko_jax.trees import named_leaves

_BUFFERS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # the causal mask, stored with the weights
_LAYERS = {
    "attn.c_proj": "attention/output",
    "mlp.c_fc": "mlp/up",
    "mlp.c_proj": "mlp/down",
    "ln_1": "norm1",
    "ln_2": "norm2",
}
_ACTIVATIONS = {"gelu_new": {"approximate": True}, "gelu_pytorch_tanh": {"approximate": True}}
_ACTIVATIONS |= {"gelu": {"approximate": False}}
_REFUSED = ("scale_attn_by_inverse_layer_idx", "add_cross_attention")  # settings of another computation


def load_gpt2(
    path: str | os.PathLike[str],
    heads: int | None = None,
    config: Mapping[str, Any] | None = None,
    dropout: float = 0.0,
) -> SavedModel:
    """Loads a GPT-2 model, of any size, with Hugging Face's names of tensors.

    Args:
      path: model.safetensors, or an .npz of the same names. Both may call the tensors "transformer.wte.weight" or
        "wte.weight".
      heads: attention heads of each block, which the weights do not tell; None: of the config.
      config: what config.json holds; None: that of the file of this name beside the weights, if there is one. Settings
        that it lacks are GPT-2's: "gelu_new", a layer_norm_epsilon of 1e-5.
      dropout: as of `models.Transformer`, for fine-tuning.

    Returns:
      A SavedModel: the model, built by `models.create` so that `models.save` saves it, its variables, and the config as
      settings. GPT-2's token 0 is a word; its rows take `padding=None` in `models.generate`.

    Raises:
      ValueError: an unknown file format, tensors that are missing, superfluous or of another shape, a number of heads
        that is not told, or settings that change the computation.
      OSError: a file that cannot be read.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights.npz"
    >>> np.savez(path, **{"wte.weight": np.ones((5, 4)), "wpe.weight": np.ones((3, 4)), "ln_f.weight": np.ones(4)})
    >>> load_gpt2(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: heads=None: the weights do not tell the number of heads. Put config.json beside them, or pass heads; ...
    """
    path = Path(path)
    config = _config_beside(path) if config is None else dict(config)
    tensors = {name.removeprefix("transformer."): array for name, array in _tensors(path).items()}
    tensors = {name: array for name, array in tensors.items() if not _BUFFERS.fullmatch(name)}
    if missing := {"wte.weight", "wpe.weight", "ln_f.weight"} - tensors.keys():
        raise ValueError(
            f"{str(path)!r} lacks {', '.join(sorted(missing))}; expected GPT-2's tensors, it holds "
            f"{listed(sorted(tensors))}."
        )
    from gecko_jax.models import create  # here: it imports this file

    head = tensors.pop("lm_head.weight", None)
    tied = head is None or np.array_equal(head, tensors["wte.weight"])
    model = create("transformer", **_options(tensors, heads, config), tied=tied, dropout=dropout)
    params = _params(tensors)
    if head is not None and not tied:
        params["head/kernel"] = head.T
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    _check_shapes(path, {name: leaf.shape for name, leaf in named_leaves(shapes["params"])}, params)
    nested: dict[str, Any] = {}
    for name, array in params.items():
        *parents, leaf = name.split("/")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = np.ascontiguousarray(array, np.float32)
    return SavedModel(model, {"params": nested}, config, {})


def _options(tensors: Mapping[str, np.ndarray], heads: int | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `models.create` that shapes and config tell."""
    if refused := [name for name in _REFUSED if config.get(name)]:
        raise ValueError(f"the config sets {', '.join(refused)}, which this transformer does not compute.")
    if config.get("scale_attn_weights", True) is False:
        raise ValueError("the config sets scale_attn_weights to false, which this transformer does not compute.")
    activation = config.get("activation_function", "gelu_new")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"the config's activation_function={activation!r} is not one of {', '.join(_ACTIVATIONS)}.")
    told = config.get("n_head")
    if heads is None and told is None:
        raise ValueError(
            "heads=None: the weights do not tell the number of heads. Put config.json beside them, or pass heads; "
            "GPT-2 small has 12, medium 16, large 20, XL 25."
        )
    if heads is not None and told is not None and heads != told:
        raise ValueError(f"heads={heads!r} differs from the config's n_head={told}; leave heads out.")
    blocks = {int(match[1]) for name in tensors if (match := re.match(r"h\.(\d+)\.", name))}
    up = tensors.get("h.0.mlp.c_fc.weight")
    return {
        "num_classes": tensors["wte.weight"].shape[0],
        "width": tensors["wte.weight"].shape[1],
        "max_length": tensors["wpe.weight"].shape[0],
        "layers": max(blocks, default=0) + 1,
        "heads": integer("heads", told if heads is None else heads, 1),
        "mlp_width": None if up is None else up.shape[-1],
        "activation_options": _ACTIVATIONS[activation],
        "norm_epsilon": float(config.get("layer_norm_epsilon", 1e-5)),
    }


def _params(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns {path in our tree: array}; names without a place keep their own, so that the check names them."""
    params: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        layer, _, kind = name.rpartition(".")
        match = re.fullmatch(r"h\.(\d+)\.(.+)", layer)
        if layer in ("wte", "wpe"):
            params[f"{'embed' if layer == 'wte' else 'positions'}/embedding"] = array
        elif layer == "ln_f":
            params[f"final_norm/{'scale' if kind == 'weight' else kind}"] = array
        elif match and match[2] == "attn.c_attn" and array.shape[-1] % 3 == 0:
            for part, piece in zip(("query", "key", "value"), np.split(array, 3, axis=-1), strict=True):
                params[f"block{match[1]}/attention/{part}/{'kernel' if kind == 'weight' else kind}"] = piece
        elif match and match[2] in _LAYERS:
            weight = "scale" if match[2].startswith("ln") else "kernel"
            params[f"block{match[1]}/{_LAYERS[match[2]]}/{weight if kind == 'weight' else kind}"] = array
        else:
            params[name] = array
    return params


def _check_shapes(path: Path, expected: Mapping[str, tuple[int, ...]], params: Mapping[str, np.ndarray]) -> None:
    actual = {name: array.shape for name, array in params.items()}
    if wrong := sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)):
        parts = (f"{name}: {actual.get(name, 'absent')} in place of {expected.get(name, 'nothing')}" for name in wrong)
        raise ValueError(f"{str(path)!r} does not hold a GPT-2 of these settings: {listed(parts)}.")


def _config_beside(path: Path) -> dict[str, Any]:
    beside = path.with_name("config.json")
    return json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}


def _tensors(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    raise ValueError(
        f"{str(path)!r} is neither .safetensors nor .npz. A pickled .bin file can execute code: convert it where you "
        "trust it, np.savez(path, **{name: tensor.numpy() for name, tensor in state_dict.items()})."
    )
