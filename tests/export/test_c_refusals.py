"""What cannot be written as C is refused, by name, before a file is written."""

import dataclasses

import drawn_graphs
import numpy as np
import pytest

from gecko_jax import export, integer
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.nodes import Node

DENSE = drawn_graphs.Drawing(0, (6,)).dense(3, 8).graph()


def changed(graph, **fields):
    return IntegerGraph(graph.tensors, (dataclasses.replace(graph.nodes[0], **fields),), graph.input, graph.output)


@pytest.mark.parametrize("name", ["", "1st", "my-net", "int", "main", "größe", "a b"])
def test_a_name_that_c_does_not_take(name, tmp_path):
    with pytest.raises(ValueError, match="must be an identifier of C"):
        export.to_c(DENSE, tmp_path / "new", name=name)
    assert not (tmp_path / "new").exists()


def test_an_unknown_node_is_named(tmp_path):
    graph = IntegerGraph(DENSE.tensors, (Node("Attention_0", (0,), 1),), 0, 1)
    with pytest.raises(ValueError, match="'Attention_0' is a Node, which has no C code; expected one of Weighted"):
        export.to_c(graph, tmp_path)


def test_sums_that_leave_32_bits(tmp_path):
    graph = changed(DENSE, bias=np.full(3, 2**31 - 100, np.int32))
    with pytest.raises(ValueError, match=r"'node_0' may sum to \d+ \* 2\^\d+, which leaves 32 bits"):
        export.to_c(graph, tmp_path)


def test_one_bit_weights_that_are_not_signs(tmp_path):
    graph = changed(DENSE, weights=np.zeros((6, 3), np.int8), weight_bits=1)
    with pytest.raises(ValueError, match="1-bit weights with codes 0 to 0; expected -1 and"):
        export.to_c(graph, tmp_path)


def test_a_plan_of_another_network(tmp_path):
    with pytest.raises(ValueError, match="expected one for each of 2 arrays"):
        export.to_c(DENSE, tmp_path, plan=integer.plan_arena(DENSE.lifetimes()[:1]))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="could not write"):
        export.to_c(DENSE, tmp_path / "taken" / "folder")


def test_elf_files_of_other_machines_and_absent_code_are_refused(tmp_path):
    (tmp_path / "a.elf").write_bytes(b"\x7fELF\x02\x01")
    with pytest.raises(ValueError, match="is not a little-endian ELF file of 32 bits"):
        export.read_elf(tmp_path / "a.elf")
    with pytest.raises(FileNotFoundError, match=r"model.c' is absent: export.to_c"):
        export.build_elf({"model": tmp_path})
