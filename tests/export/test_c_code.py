"""Networks in C compute the codes of graph.run, bit for bit: on this machine and on an emulated Cortex-M4."""

import ctypes
import shutil
import subprocess
import sys

import drawn_graphs
import numpy as np
import pytest

from gecko_jax import export, integer
from gecko_jax.digests import sha256
from gecko_jax.export.folders import random_codes

BATCH, BATCHES = 16, 157  # of each network: more than 10,000 inputs in all
COMPILER = [shutil.which("cc")] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """{name: (graph, folder, codes, outputs)}."""
    root = tmp_path_factory.mktemp("c")
    networks = {}
    for name, build in drawn_graphs.NETWORKS.items():
        graph = build()
        folder = export.to_c(graph, root / name, name=name)
        codes = random_codes(graph, BATCH * BATCHES, 7)  # in batches of one size, for which graph.run is compiled
        outputs = np.concatenate([np.asarray(graph.run(batch)) for batch in np.split(codes, BATCHES)])
        networks[name] = (graph, folder, codes, outputs.reshape(len(codes), -1))
    return networks


def test_c_on_this_machine_equals_jax(exported, tmp_path):
    wide = drawn_graphs.Drawing(4, (8191,), 1).dense(3, 1).graph()
    folder = export.to_c(wide, tmp_path / "wide", name="wide")
    codes = random_codes(wide, 16, 1)
    codes[0], codes[1] = wide.nodes[0].weights[:, 0], -wide.nodes[0].weights[:, 0]  # no bit differs, and all do
    cases = exported | {"wide": (wide, folder, codes, np.asarray(wide.run(codes)))}

    library = tmp_path / "networks.so"
    files = [part for name, (_, folder, *_) in cases.items() for part in (f"-I{folder}", folder / f"{name}.c")]
    warnings = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    subprocess.run([*COMPILER, "-O1", *warnings, "-shared", "-fPIC", "-o", library, *files], check=True)
    networks = ctypes.CDLL(str(library))
    for name, (_, _, codes, outputs) in cases.items():
        place, run = getattr(networks, f"{name}_input"), getattr(networks, f"{name}_run")
        place.restype = run.restype = ctypes.c_void_p
        actual = np.empty_like(outputs)
        for x, y in zip(codes, actual, strict=True):
            ctypes.memmove(place(), x.ctypes.data, x.size)
            ctypes.memmove(y.ctypes.data, run(), y.size)
        assert len(np.unique(outputs)) > 2, f"{name} says the same of all inputs"
        np.testing.assert_array_equal(actual, outputs, name)


def test_c_on_a_cortex_m4_equals_jax(exported):
    elf = export.build_elf({name: folder for name, (_, folder, *_) in exported.items()})
    for name, (_, _, codes, outputs) in exported.items():
        np.testing.assert_array_equal(export.Emulated(elf, name).run(codes), outputs, name)


def test_make_test_passes_and_notices_a_changed_vector(exported, tmp_path):
    folder = tmp_path / "int8"
    shutil.copytree(exported["int8"][1], folder)
    command = ["make", "-s", "-C", folder, "test", f"CC={' '.join(map(str, COMPILER))}", "CFLAGS=-std=c99 -O0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "16 of 16 vectors are equal\n" and not done.stderr
    vectors = folder / "test_vectors.h"
    head, _, outputs = vectors.read_text().partition("vector_outputs")
    start = outputs.index("\n  ") + 3
    first = outputs[start : outputs.index(",", start)]
    vectors.write_text(f"{head}vector_outputs{outputs[:start]}{int(first) ^ 1}{outputs[start + len(first) :]}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode and done.stdout == "15 of 16 vectors are equal\n"


def test_checksums_name_every_file(exported):
    folder = exported["binary"][1]
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert {name: digest for digest, name in lines} == {
        path.name: sha256(path.read_bytes()) for path in folder.iterdir() if path.name != "SHA256SUMS"
    }
    assert {"binary.h", "binary.c", "test_vectors.h", "test.c", "Makefile", "README.md", "network.graph"} == {
        name for _, name in lines
    }


@pytest.mark.parametrize(
    "name, most, drawing",
    [
        ("int8", 3.2, drawn_graphs.Drawing(0, (5, 5, 16)).conv((3, 3), 16, 8).conv((3, 3), 16, 8)),
        ("conv", 0.6, drawn_graphs.Drawing(1, (5, 5, 32), 1).conv((3, 3), 64, 1, 1).conv((3, 3), 64, 1, 1)),
        ("dense", 0.4, drawn_graphs.Drawing(2, (1024,), 1).dense(1024, 1, 1).dense(3, 1, 1)),
    ],
)
def test_sections_are_as_counted_and_a_product_takes_few_instructions(name, most, drawing, tmp_path):
    graph = drawing.graph()
    folder, counted = export.to_c(graph, tmp_path / name, name=name), export.c_bytes(graph)
    elf = export.build_elf({name: folder})
    assert elf.sections[".rodata"] == pytest.approx(counted.read_only, rel=0.01)
    assert elf.sections[".bss"] == pytest.approx(counted.ram, rel=0.01)
    assert counted.arena == integer.plan_arena(graph.lifetimes()).bound
    products = sum(
        node.weights.size * np.prod(graph.tensors[node.output].shape[:-1], dtype=int) for node in graph.nodes
    )
    assert export.Emulated(elf, name).instructions(random_codes(graph, 1, 0)) <= most * products
