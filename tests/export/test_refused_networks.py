"""What is not an integer network is refused at every door, before a file is written."""

import numpy as np
import pytest

from gecko_jax import export, integer, models


@pytest.mark.parametrize("door", [export.to_c, export.to_tflite, export.to_onnx])
def test_a_float_model_is_not_exported_and_the_way_out_is_named(door, tmp_path):
    with pytest.raises(ValueError, match=r"graph is a Model; expected an IntegerGraph: integer.freeze\(model"):
        door(models.create("mlp", 3, hidden=()), tmp_path / "fw")
    assert not (tmp_path / "fw").exists()


def test_it_has_no_bytes_and_no_file(tmp_path):
    for door in (export.c_bytes, integer.encode_graph, lambda graph: integer.save_graph(tmp_path / "graph", graph)):
        with pytest.raises(ValueError, match="graph is a ndarray; expected an IntegerGraph"):
            door(np.zeros(3))
    assert not (tmp_path / "graph").exists()
