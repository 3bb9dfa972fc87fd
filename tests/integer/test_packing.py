"""Packed integers and packed files: exact round trips, every byte accounted for."""

import json
import struct
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import integer, models, quantizers
from gecko_jax.integer.codes import grid
from gecko_jax.trees import named_leaves

X = jnp.zeros((2, 9, 9, 1))
SCHEMES = {
    "float": None,
    "binary": quantizers.binary(),
    "xnor": quantizers.xnor(),
    "ternary": quantizers.ternary(),
    "uniform3": quantizers.uniform(3),
    "uniform8": quantizers.uniform(8),
}


def example(filled, scheme, float_layers=("first", "last")):
    model = models.create("lenet", 5, channels=(3, 7), hidden=13, normalize=True)
    if SCHEMES[scheme] is not None:
        model = models.quantized(model, [(".*", SCHEMES[scheme], None)], float_layers)
    return model, filled(model, X)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.data(), st.integers(1, 8), st.sampled_from([np.uint8, np.uint32]))
def test_bits_round_trip_at_any_length(data, bits, word):
    levels = np.array(data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=100)), np.int64)
    words = integer.pack_bits(levels, bits, word)
    assert words.dtype == word and len(words) == -(-len(levels) * bits // (8 * np.dtype(word).itemsize))
    np.testing.assert_array_equal(integer.unpack_bits(words, bits, len(levels)), levels)
    number = sum(int(level) << (i * bits) for i, level in enumerate(levels))  # the whole stream as one integer
    assert number == sum(int(w) << (i * 8 * np.dtype(word).itemsize) for i, w in enumerate(words))


@pytest.mark.parametrize("bits", range(1, 9))
def test_grids_hold_what_quantizers_return(bits):
    top = 2**bits
    grids = [np.array([-1, 1]), np.arange(top), np.arange(1 - top, top, 2), np.arange(-(top // 2), top // 2)]
    for values in grids[: 3 if bits == 1 else 4]:
        offset, step = grid(values, bits)
        levels = (values - offset) // step
        assert levels.min() >= 0 and levels.max() < top
        np.testing.assert_array_equal(offset + step * levels, values)
    with pytest.raises(ValueError, match="Declare more bits"):
        grid(np.arange(top + 1), bits)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_file_holds_exactly_what_the_model_computes_with(filled, scheme, tmp_path):
    model, variables = example(filled, scheme)
    stored = integer.write(tmp_path / "model.bin", integer.pack(model, variables, X))
    assert stored.total == (tmp_path / "model.bin").stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["model.bin"]
    back = dict(named_leaves(integer.read(tmp_path / "model.bin")))
    assert set(back) == {name for name, _ in named_leaves(variables)}
    for name, leaf in named_leaves(variables):
        quantized = scheme != "float" and name in ("params/conv2/kernel", "params/dense/kernel")
        assert back[name].dtype == np.float32
        if quantized:
            assert len(np.unique(back[name][..., 0])) <= 2 ** SCHEMES[scheme].bits
            leaf = SCHEMES[scheme].apply((), leaf)
        np.testing.assert_array_equal(back[name], leaf)


def test_unpacked_weights_give_the_same_logits(filled, tmp_path):
    """The float network on the file's arrays is the quantized network, up to how XLA orders its sums."""
    model, variables = example(filled, "xnor", float_layers=())
    integer.write(tmp_path / "m", integer.pack(model, variables, X))
    x = np.random.default_rng(3).standard_normal(X.shape).astype(np.float32)
    plain = models.create("lenet", 5, channels=(3, 7), hidden=13, normalize=True)
    from_file = jax.jit(plain.apply)(integer.read(tmp_path / "m"), x)[0]
    np.testing.assert_allclose(from_file, jax.jit(model.apply)(variables, x)[0], rtol=1e-5)


@pytest.mark.parametrize("scheme, bits", [("binary", 1), ("ternary", 2), ("uniform3", 3)])
def test_size_by_hand(filled, scheme, bits):
    model, variables = example(filled, scheme)
    sizes = {name: leaf.size for name, leaf in named_leaves(variables)}
    coded = [sizes.pop("params/conv2/kernel"), sizes.pop("params/dense/kernel")]
    stored = integer.stored_bytes(integer.pack(model, variables, X))
    assert stored.code_bits == bits * sum(coded)
    assert stored.padding_bits == sum(-n * bits % 32 for n in coded)
    assert stored.raw_bytes == 4 * sum(sizes.values())
    assert stored.scale_bytes == 4 * (2 if scheme != "uniform3" else 7 + 13)


def test_layout_is_the_documented_one(filled, tmp_path):
    """A reader written from the format's description alone."""
    model, variables = example(filled, "xnor")
    integer.write(tmp_path / "m", integer.pack(model, variables, X))
    content = (tmp_path / "m").read_bytes()
    magic, version, length, crc = struct.unpack("<8sIII", content[:20])
    assert (magic, version, length % 4) == (b"GECKOPAK", 1, 0)
    assert zlib.crc32(content[20 : 20 + length]) == crc
    header, payload = json.loads(content[20 : 20 + length]), content[20 + length :]
    assert (header["payload"], header["crc32"]) == (len(payload), zlib.crc32(payload))
    [entry] = [e for e in header["tensors"] if e["path"] == ["params", "dense", "kernel"]]
    assert entry["at"] % 4 == 0 and entry["bits"] == 1 and entry["grid"] == [-1, 2]
    kernel = np.asarray(variables["params"]["dense"]["kernel"])
    for index in (0, 1, 31, 32, kernel.size - 1):
        bit = payload[entry["at"] + index // 8] >> (index % 8) & 1
        assert bit == (kernel.flat[index] >= 0)


def test_other_types_and_awkward_names_survive(tmp_path):
    tree = {
        "params": {"a/b": {"kernel": jnp.ones((2, 3), jnp.bfloat16) * 0.3}},
        "state": {"steps": np.int32(7), "on": np.array([True, False, True])},
    }
    model = models.create("mlp", 2, hidden=())._replace(apply=lambda v, x, **_: (x, {}))
    integer.write(tmp_path / "m", integer.pack(model, tree, X))
    back = integer.read(tmp_path / "m")
    np.testing.assert_array_equal(back["params"]["a/b"]["kernel"], np.asarray(tree["params"]["a/b"]["kernel"], "f4"))
    assert back["state"]["steps"] == 7 and back["state"]["on"].tolist() == [True, False, True]


def test_damage_is_always_noticed(filled, tmp_path):
    model, variables = example(filled, "xnor")
    content = integer.encode(integer.pack(model, variables, X))
    path = tmp_path / "m"
    for length in (0, 5, 19, 20, 100, len(content) - 4, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=str(path)):
            integer.read(path)
    for position in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(ValueError, match="packed model|version|damaged|truncated|header names"):
            integer.read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="its header names"):
        integer.read(path)


def test_failed_write_keeps_the_old_file(filled, tmp_path, monkeypatch):
    model, variables = example(filled, "xnor")
    packed = integer.pack(model, variables, X)
    integer.write(tmp_path / "m", packed)
    before = (tmp_path / "m").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        integer.write(tmp_path / "m", packed)
    assert (tmp_path / "m").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m"]


def test_codes_that_disagree_with_the_quantizer_are_refused(filled):
    wrong = quantizers.xnor()._replace(apply=lambda state, w, key=None: 2 * w)
    model = models.quantized(models.create("mlp", 2, hidden=(4, 4)), [(".*", wrong, None)])
    variables = filled(model, X)
    with pytest.raises(ValueError, match="differ from what it computes with"):
        integer.pack(model, variables, X)


def test_bad_levels_are_named():
    with pytest.raises(ValueError, match="0..3"):
        integer.pack_bits([4], 2)
    with pytest.raises(ValueError, match="bits=9"):
        integer.pack_bits([0], 9)
    with pytest.raises(ValueError, match="words hold 8 bits"):
        integer.unpack_bits(np.zeros(1, np.uint8), 1, 9)


@pytest.mark.parametrize("scheme", ["float", "xnor"])
def test_variables_of_several_models_are_refused(filled, scheme):
    model, variables = example(filled, scheme)
    several = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), variables)
    with pytest.raises(ValueError, match=r"shape \(2, .*\); the model's has \(.*They are of 2 models .* pack one"):
        integer.pack(model, several, X)
    one = {**variables, "params": {**variables["params"], "logits": several["params"]["logits"]}}
    with pytest.raises(ValueError, match=r"variables\['params/logits/bias'\] has shape \(2, 5\)"):
        integer.pack(model, one, X)
    with pytest.raises(ValueError, match="has shape .* Pass the variables of this model"):
        wider = models.create("lenet", 5, channels=(3, 8), hidden=13, normalize=True)
        integer.pack(model, filled(wider, X), X)
