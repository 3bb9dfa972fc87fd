"""Integer networks as files: the same codes after a round trip, and no damaged file is read."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from gecko_jax import integer
from gecko_jax.integer.graph_file import encode_graph
from gecko_jax.integer.nodes import (
    Add,
    AveragePool,
    Conv,
    Dense,
    Depthwise,
    IntegerTensor,
    MaxPool,
    Node,
    Requantize,
    Rescale,
    Reshape,
    Threshold,
    Thresholds,
    Weighted,
)

PREAMBLE = 48


def ints(*values):
    return np.array(values, np.int32)


def every_node():
    """A network with each kind of node and each field off its default; what it computes does not matter."""
    shapes = [(4, 4, 2)] * 4 + [(2, 2, 2)] * 3 + [(8,), (8,), (3,)]
    tensors = [IntegerTensor(f"t{n}", shape, 0.1 + n / 3, n - 3, -100 + n, 90 - n, 8) for n, shape in enumerate(shapes)]
    tensors[8] = IntegerTensor("sign", (8,), 1.0, 0, -1, 1, 1)
    rng = np.random.default_rng(0)
    stage = Rescale(ints(2**30, 2**31 - 1), ints(-7, -8), -99, 80, 2)
    one = Rescale(ints(2**30 + 5), ints(-3), -50, 60)
    same = dict(strides=(1, 1), padding=((1, 1), (0, 2)), pad_code=-3, dilation=(1, 1))

    def weights(*shape):
        return rng.integers(-7, 8, shape, np.int8)

    nodes = (
        Conv("conv", (0,), 1, weights(3, 3, 2, 2), np.array([0.5, 1 / 3]), 4, ints(5, -6), stage, groups=1, **same),
        Depthwise("deep", (1,), 2, weights(3, 3, 1, 2), np.ones(2), 4, ints(1, 2), stage, groups=2, **same),
        Add("add", (2, 1), 3, 20, (2**30, 2**30 + 7), (-1, 0), one),
        MaxPool("max", (3,), 4, (2, 2), (2, 2), ((0, 0), (0, 0))),
        AveragePool("mean", (4,), 5, (2, 2), (1, 1), ((0, 1), (1, 0)), True),
        Requantize("to_codes", (5,), 6, one),
        Reshape("flat", (6,), 7),
        Threshold("sign", (7,), 8, ints(*[1, -1] * 4), ints(*range(8))),
        Dense(
            "", (8,), 9, weights(8, 3), np.ones(3), 4, ints(0, 1, 2), Rescale(ints(*[2**30] * 3), ints(1, 2, 3), -9, 9)
        ),
    )
    return integer.IntegerGraph(tuple(tensors), nodes, 0, 9)


def assert_equal(one, other):
    """Compares two of the file's values, types included, field by field."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_equal(*pair)
    else:
        assert one == other


def test_each_field_of_each_node_comes_back(tmp_path):
    graph = every_node()
    kinds = {kind for kind in vars(sys.modules[Conv.__module__]).values() if isinstance(kind, type)}
    concrete = {kind for kind in kinds if issubclass(kind, Node)} - {Node, Weighted}
    assert {type(node) for node in graph.nodes} == concrete
    path = integer.save_graph(tmp_path / "new" / "network.graph", graph)
    loaded = integer.load_graph(path)
    assert_equal(loaded, graph)
    assert encode_graph(loaded) == path.read_bytes()
    x = np.random.default_rng(1).integers(-100, 90, (5, 4, 4, 2), np.int8)
    np.testing.assert_array_equal(loaded.run(x), graph.run(x))


def test_thresholds_and_one_bit_come_back():
    tensors = IntegerTensor("input", (2,), 0.5), IntegerTensor("sign", (1,), 1.0, 0, -1, 1, 1)
    dense = Dense("Dense_0", (0,), 1, np.array([[1], [-1]], np.int8), np.ones(1), 1, ints(0), Thresholds(ints(4)))
    graph = integer.IntegerGraph(tensors, (dense,), 0, 1)
    assert_equal(integer.decode_graph(encode_graph(graph)), graph)


def test_no_byte_may_change_and_none_may_be_missing(tmp_path):
    """Each flipped byte, and each length that a killed copy may leave."""
    tensors = IntegerTensor("input", (2,), 0.5), IntegerTensor("sign", (1,), 1.0, 0, -1, 1, 1)
    dense = Dense("d", (0,), 1, np.array([[1], [-1]], np.int8), np.ones(1), 1, ints(0), Thresholds(ints(4)))
    content = encode_graph(integer.IntegerGraph(tensors, (dense,), 0, 1))
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 + at % 255
        with pytest.raises(ValueError, match="broken.graph (is|has|describes)"):
            integer.decode_graph(bytes(damaged), "broken.graph")
        with pytest.raises(ValueError, match="broken.graph is"):
            integer.decode_graph(content[:at], "broken.graph")
    with pytest.raises(ValueError, match="does not match its SHA-256"):
        integer.decode_graph(content + b"\0", "broken.graph")
    (tmp_path / "broken.graph").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))}.* is damaged or truncated"):
        integer.load_graph(tmp_path / "broken.graph")


def forged(change):
    """The bytes of a network whose header was changed and whose checksum is right."""
    content = encode_graph(every_node())
    length = int.from_bytes(content[12:16], "little")
    header, payload = json.loads(content[PREAMBLE : PREAMBLE + length]), content[PREAMBLE + length :]
    change(header)
    body = json.dumps(header).encode()
    preamble = content[:12] + len(body).to_bytes(4, "little")
    return preamble + hashlib.sha256(preamble + body + payload).digest() + body + payload


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["nodes"][0].update(kind="Node"),
        lambda h: h["nodes"][0].update(kind="System"),
        lambda h: h["nodes"][0].update(inputs=[3]),
        lambda h: h["nodes"][1].update(output=0),
        lambda h: h["nodes"][1].update(output=77),
        lambda h: h["nodes"][0].pop("groups"),
        lambda h: h["nodes"][0].update(extra=1),
        lambda h: h["nodes"][0]["stage"].update(stage="dict"),
        lambda h: h["arrays"][0].update(at=10**6),
        lambda h: h["arrays"][0].update(at=-8),
        lambda h: h["arrays"][0].update(type="|O"),
        lambda h: h["arrays"][0].update(shape=[3, 3, 2, 3]),
        lambda h: h["tensors"][-1].update(shape=[4]),
        lambda h: h["tensors"].append(h["tensors"][0]),
        lambda h: h["tensors"][2].update(scale="1"),
        lambda h: h["tensors"][2].update(scale=-0.5),
        lambda h: h["tensors"][2].update(low=300),
        lambda h: h["tensors"][2].update(zero_point=0.5),
        lambda h: h["tensors"][2].update(shape=[0, 4, 2]),
        lambda h: h.update(output=12),
        lambda h: h.pop("input"),
    ],
)  # fmt: skip
def test_a_file_of_parts_that_do_not_fit_is_refused(change):
    assert_equal(integer.decode_graph(forged(lambda header: None)), every_node())
    with pytest.raises(ValueError, match="describes no integer network"):
        integer.decode_graph(forged(change))


def test_the_length_of_the_header_is_under_the_checksum():
    """A first weight of code 32, a space, could belong to the header as well."""
    tensors = IntegerTensor("input", (2,), 0.5), IntegerTensor("sign", (1,), 1.0, 0, -1, 1, 1)
    dense = Dense("d", (0,), 1, np.array([[32], [32]], np.int8), np.ones(1), 8, ints(0), Thresholds(ints(4)))
    content = bytearray(encode_graph(integer.IntegerGraph(tensors, (dense,), 0, 1)))
    content[12] += 1
    with pytest.raises(ValueError, match="is damaged or truncated"):
        integer.decode_graph(bytes(content))


def test_another_version_is_named():
    content = bytearray(encode_graph(every_node()))
    content[8] = 2
    with pytest.raises(ValueError, match="has version 2; this library reads version 1"):
        integer.decode_graph(bytes(content))
    with pytest.raises(ValueError, match="is not an integer network"):
        integer.decode_graph(integer.encode(integer.PackedModel(())))


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = integer.save_graph(tmp_path / "network.graph", every_node())
    before = path.read_bytes()
    code = f"""
import os, signal
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
from gecko_jax.files import write_atomic
write_atomic({str(path)!r}, b"half")
"""
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert killed.returncode == -9 and path.read_bytes() == before
    integer.load_graph(path)
