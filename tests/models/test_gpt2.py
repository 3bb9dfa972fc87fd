"""GPT-2's layout: a small model in it, computed in NumPy from its own names, against the one that is loaded."""

from __future__ import annotations

import json
import struct

import jax
import numpy as np
import pytest
from transformer_by_hand import gelu_new, layer_norm, softmax

from gecko_jax import models

WIDTH, HEADS, LAYERS, VOCABULARY, LENGTH = 12, 3, 2, 32, 8
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 7))


def state_dict(seed=0, prefix="", head=False):
    """Random tensors with Hugging Face's names for GPT-2."""
    rng = np.random.default_rng(seed)
    shapes = {"wte.weight": (VOCABULARY, WIDTH), "wpe.weight": (LENGTH, WIDTH)}
    shapes |= {"ln_f.weight": (WIDTH,), "ln_f.bias": (WIDTH,)}
    for i in range(LAYERS):
        for name, shape in {
            "ln_1.weight": (WIDTH,), "ln_1.bias": (WIDTH,), "ln_2.weight": (WIDTH,), "ln_2.bias": (WIDTH,),
            "attn.c_attn.weight": (WIDTH, 3 * WIDTH), "attn.c_attn.bias": (3 * WIDTH,),
            "attn.c_proj.weight": (WIDTH, WIDTH), "attn.c_proj.bias": (WIDTH,),
            "mlp.c_fc.weight": (WIDTH, 4 * WIDTH), "mlp.c_fc.bias": (4 * WIDTH,),
            "mlp.c_proj.weight": (4 * WIDTH, WIDTH), "mlp.c_proj.bias": (WIDTH,),
        }.items():  # fmt: skip
            shapes[f"h.{i}.{name}"] = shape
    if head:
        shapes["lm_head.weight"] = (VOCABULARY, WIDTH)
    tensors = {name: rng.normal(scale=0.4, size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors |= {f"h.{i}.attn.bias": np.tri(LENGTH)[None, None].astype(np.float32) for i in range(LAYERS)}
    return {name if name == "lm_head.weight" else prefix + name: tensor for name, tensor in tensors.items()}


def gpt2(tensors, tokens):
    """Logits of one row, as "Language models are unsupervised multitask learners" has it, all heads in one array."""
    t = len(tokens)
    x = tensors["wte.weight"][tokens].astype(np.float64) + tensors["wpe.weight"][:t]
    for i in range(LAYERS):
        block = {name.removeprefix(f"h.{i}."): tensor for name, tensor in tensors.items()}
        h = layer_norm(x, block["ln_1.weight"], block["ln_1.bias"])
        q, k, v = np.split(h @ block["attn.c_attn.weight"] + block["attn.c_attn.bias"], 3, axis=1)
        q, k, v = (part.reshape(t, HEADS, -1).swapaxes(0, 1) for part in (q, k, v))
        scores = np.where(np.tri(t, dtype=bool), q @ k.swapaxes(1, 2) / np.sqrt(WIDTH / HEADS), -1e300)
        values = (softmax(scores) @ v).swapaxes(0, 1).reshape(t, WIDTH)
        x = x + values @ block["attn.c_proj.weight"] + block["attn.c_proj.bias"]
        h = layer_norm(x, block["ln_2.weight"], block["ln_2.bias"])
        hidden = gelu_new(h @ block["mlp.c_fc.weight"] + block["mlp.c_fc.bias"])
        x = x + hidden @ block["mlp.c_proj.weight"] + block["mlp.c_proj.bias"]
    table = tensors.get("lm_head.weight", tensors["wte.weight"])
    return layer_norm(x, tensors["ln_f.weight"], tensors["ln_f.bias"]) @ table.T


def write_safetensors(path, tensors):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(body), len(body) + tensor.nbytes]}
        body += tensor.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_a_loaded_model_computes_gpt2(form, tmp_path):
    tensors = state_dict(prefix="transformer.", head=form == "npz")
    if form == "npz":
        np.savez(tmp_path / "model.npz", **tensors)
    else:
        write_safetensors(tmp_path / "model.safetensors", tensors)
        (tmp_path / "config.json").write_text(json.dumps({"n_head": HEADS, "activation_function": "gelu_new"}))
    saved = models.load_gpt2(tmp_path / f"model.{form}", heads=HEADS if form == "npz" else None)
    assert ("head" in saved.variables["params"]) == (form == "npz")
    actual = jax.jit(saved.model.apply)(saved.variables, TOKENS)[0]
    plain = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    np.testing.assert_allclose(actual, [gpt2(plain, row) for row in TOKENS], rtol=2e-4, atol=2e-4)
    assert [builder for builder, _ in saved.model.blueprint] == ["create"]  # so that `models.save` needs no code


def test_a_stored_copy_of_the_table_is_a_tied_head(tmp_path):
    tensors = state_dict()
    np.savez(tmp_path / "model.npz", **tensors, **{"lm_head.weight": tensors["wte.weight"]})
    assert "head" not in models.load_gpt2(tmp_path / "model.npz", heads=HEADS).variables["params"]


def without(name):
    return {key: value for key, value in state_dict().items() if key != name}


@pytest.mark.parametrize(
    "tensors, options, message",
    [
        (state_dict(), {}, "heads=None: the weights do not tell"),
        (state_dict(), dict(heads=5), "width=12 must be a multiple of heads=5"),
        (state_dict(), dict(heads=2, config={"n_head": 3}), "heads=2 differs from the config's n_head=3"),
        (state_dict(), dict(heads=3, config={"activation_function": "relu"}), "activation_function='relu'"),
        (state_dict(), dict(heads=3, config={"scale_attn_weights": False}), "scale_attn_weights"),
        (state_dict(), dict(heads=3, config={"add_cross_attention": True}), "add_cross_attention"),
        (without("wpe.weight"), dict(heads=3), "lacks wpe.weight"),
        (without("h.1.attn.c_proj.bias"), dict(heads=3), "block1/attention/output/bias: absent in place of"),
        (state_dict() | {"h.0.new.weight": np.ones(2)}, dict(heads=3), r"h.0.new.weight: \(2,\) in place of nothing"),
        (state_dict() | {"h.0.ln_1.bias": np.ones(2)}, dict(heads=3), r"block0/norm1/bias: \(2,\) in place of \(12,\)"),
    ],
)
def test_bad_weights_of_gpt2(tensors, options, message, tmp_path):
    np.savez(tmp_path / "model.npz", **tensors)
    with pytest.raises(ValueError, match=message):
        models.load_gpt2(tmp_path / "model.npz", **options)


def test_bad_files_of_gpt2(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, state_dict())
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="does not fit its .* bytes, or they are missing"):
        models.load_gpt2(path, heads=HEADS)
    path.write_bytes(b"\xff" * 30)
    with pytest.raises(ValueError, match="not a readable .safetensors file"):
        models.load_gpt2(path, heads=HEADS)
    with pytest.raises(ValueError, match="A pickled .bin file can execute code"):
        models.load_gpt2(tmp_path / "pytorch_model.bin", heads=HEADS)
