"""A transformer in NumPy, in float64, written from the formulas; heads are computed one by one."""

from __future__ import annotations

import numpy as np


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def gelu_new(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def layer_norm(x, scale, bias, epsilon=1e-5):
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon) * scale + bias


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def norm(x, layer):
    return layer_norm(x, layer["scale"], layer["bias"])


def attend(x, layer, head_width, visible, gates):
    query, key, value = (dense(x, layer[name]) for name in ("query", "key", "value"))
    heads = []
    for i, gate in enumerate(gates):
        part = slice(i * head_width, (i + 1) * head_width)
        scores = query[:, part] @ key[:, part].T / np.sqrt(head_width)
        heads.append(gate * softmax(np.where(visible, scores, -1e300)) @ value[:, part])
    return dense(np.concatenate(heads, -1), layer["output"])


def transformer(params, tokens, *, head_width, causal=True, padding=0, gates=None):
    """Logits [b, t, vocabulary] of token rows; `gates` [blocks][heads] multiplies what each head gives."""
    params = {name: part for name, part in params.items()}
    rows = []
    for row in np.asarray(tokens):
        x = params["embed"]["embedding"][row].astype(np.float64) + params["positions"]["embedding"][: len(row)]
        visible = np.tri(len(row), dtype=bool) if causal else np.tile(row != padding, (len(row), 1))
        for i in range(sum(name.startswith("block") for name in params)):
            block = params[f"block{i}"]
            if "attention" in block:
                heads = block["attention"]["query"]["kernel"].shape[1] // head_width
                gate = np.ones(heads) if gates is None else gates[i]
                x = x + attend(norm(x, block["norm1"]), block["attention"], head_width, visible, gate)
            x = x + dense(gelu_new(dense(norm(x, block["norm2"]), block["mlp"]["up"])), block["mlp"]["down"])
        table = params["head"]["kernel"] if "head" in params else params["embed"]["embedding"].T
        rows.append(norm(x, params["final_norm"]) @ table)
    return np.stack(rows)


def random_params(shapes, seed=0, scale=0.4):
    """Normal values of the given shapes, around 1 for a norm's scale."""
    rng = np.random.default_rng(seed)

    def draw(tree):
        return {
            name: draw(leaf)
            if isinstance(leaf, dict)
            else (rng.normal(size=leaf.shape) * scale + (name == "scale")).astype(np.float32)
            for name, leaf in tree.items()
        }

    return draw(shapes)
