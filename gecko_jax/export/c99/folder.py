"""Writes the folder of a network in C: the code, vectors to test it with, a Makefile, a README and checksums."""

from __future__ import annotations

import os
import pathlib
import re

import numpy as np

from gecko_jax.export.c99 import text
from gecko_jax.export.c99.program import Program, compile_graph, source
from gecko_jax.export.folders import VECTORS, random_codes, write_folder
from gecko_jax.integer import ArenaPlan
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.nodes import IntegerTensor

_KEYWORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main
test arena scratch""".split()


def to_c(
    graph: IntegerGraph, folder: str | os.PathLike[str], name: str = "model", plan: ArenaPlan | None = None
) -> pathlib.Path:
    """Writes a network as C99 that computes the same codes as `graph.run`, bit for bit.

    The folder gets NAME.h, NAME.c, test_vectors.h, test.c, a Makefile whose `make test` compares them, README.md,
    network.graph (the network, as `read_exported` reads it; no device needs it), and SHA256SUMS, which is written last:
    a folder without it is incomplete.

    Args:
      graph: of `integer.freeze`.
      folder: where the files go; created if absent.
      name: of the files and of the functions, a C identifier. Networks of different names may be linked together.
      plan: offsets of the arrays of `graph.lifetimes()` in the arena; None: `integer.plan_arena` finds them.

    Returns:
      The folder.

    Raises:
      ValueError: a name that is not an identifier, a plan of another network, sums that leave 32 bits, or a node that
        has no C code, named by its path.
      OSError: a folder that cannot be written.

    >>> import tempfile
    >>> from gecko_jax.integer.nodes import Dense, Thresholds
    >>> tensors = IntegerTensor("input", (3,), 0.5), IntegerTensor("sign", (1,), 1.0, 0, -1, 1, 1)
    >>> stage, weights = Thresholds(np.array([4], np.int32)), np.array([[1], [-1], [1]], np.int8)
    >>> dense = Dense("Dense_0", (0,), 1, weights, np.ones(1), 1, np.zeros(1, np.int32), stage)
    >>> folder = to_c(IntegerGraph(tensors, (dense,), 0, 1), tempfile.mkdtemp(), "sign")
    >>> sorted(path.name for path in folder.iterdir())
    ['Makefile', 'README.md', 'SHA256SUMS', 'network.graph', 'sign.c', 'sign.h', 'test.c', 'test_vectors.h']
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in _KEYWORDS:
        raise ValueError(f"name={name!r} must be an identifier of C that is not taken, such as 'model'.")
    program = compile_graph(graph, plan)
    contents = {
        f"{name}.h": _header(graph, program, name),
        f"{name}.c": source(graph, program, name),
        "test_vectors.h": _vectors(graph),
        "test.c": _TEST.replace("model", name).replace("MODEL", name.upper()),
        "Makefile": _MAKEFILE.replace("model", name),
        "README.md": _README.replace("model.", f"{name}.")
        .replace("model_", f"{name}_")
        .format(**program.size._asdict(), read_only=program.size.read_only, ram=program.size.ram),
    }
    return write_folder(folder, contents, graph)


def _header(graph: IntegerGraph, program: Program, name: str) -> str:
    def lines(side: str, tensor: IntegerTensor) -> str:
        prefix = f"{name.upper()}_{side}"
        shape = ", ".join(map(str, tensor.shape))
        return (
            f"/* {side.lower()}: codes of shape ({shape}); the number is scale * (code - zero point) */\n"
            f"#define {prefix}_SIZE {tensor.size}\n"
            f"#define {prefix}_SHAPE {{{shape}}}\n"
            f"#define {prefix}_SCALE {np.float32(tensor.scale)!s}f\n"
            f"#define {prefix}_ZERO_POINT {tensor.zero_point}\n"
            f"#define {prefix}_LOW {tensor.low}\n"
            f"#define {prefix}_HIGH {tensor.high}\n"
        )

    guard = f"{name.upper()}_H"
    return (
        f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n"
        f"{lines('INPUT', graph.tensors[graph.input])}{lines('OUTPUT', graph.tensors[graph.output])}"
        f"/* bytes */\n#define {name.upper()}_ARENA {program.size.arena}\n"
        f"#define {name.upper()}_SCRATCH {program.size.scratch}\n\n"
        f"/* Write the codes of an input here, each time before {name}_run. */\nint8_t *{name}_input(void);\n\n"
        f"/* Computes the codes of the output, which stay until the input is written again. */\n"
        f"const int8_t *{name}_run(void);\n\n#endif\n"
    )


def _vectors(graph: IntegerGraph) -> str:
    x = random_codes(graph, VECTORS, 0)
    y = np.asarray(graph.run(x))
    return f"#define VECTORS {VECTORS}\n{text.array('vector_inputs', x)}{text.array('vector_outputs', y)}"


_TEST = """/* Compares the network with the vectors, bit for bit. */
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "test_vectors.h"

int main(void) {
  int i, equal = 0;
  for (i = 0; i < VECTORS; ++i) {
    memcpy(model_input(), vector_inputs + i * MODEL_INPUT_SIZE, MODEL_INPUT_SIZE);
    equal += !memcmp(model_run(), vector_outputs + i * MODEL_OUTPUT_SIZE, MODEL_OUTPUT_SIZE);
  }
  printf("%d of %d vectors are equal\\n", equal, VECTORS);
  return equal != VECTORS;
}
"""

_MAKEFILE = """CC ?= cc
CFLAGS ?= -std=c99 -O2 -Wall -Wextra -pedantic

test: model_test
\t./model_test

size: model.o
\tsize model.o

model_test: test.c model.c model.h test_vectors.h
\t$(CC) $(CFLAGS) -o $@ test.c model.c

model.o: model.c model.h
\t$(CC) $(CFLAGS) -c -o $@ model.c

clean:
\trm -f model_test model.o

.PHONY: test size clean
"""

_README = """# A network in C99

    make test              # builds it, and compares its outputs with test_vectors.h, bit for bit
    make size              # bytes of code and data
    sha256sum -c SHA256SUMS

Write the codes of an input to `model_input()`, call `model_run()`, and read the codes of the output where it points.
A code is `round(number / scale) + zero point`, half away from zero, clipped to LOW..HIGH; `model.h` has the constants.
It needs neither a runtime nor malloc nor floating point. On a Cortex-M4 or M7, whose compilers define
`__ARM_FEATURE_DSP`, products of 8-bit codes are made two at a time, with the same result. `network.graph` is the
network for `gecko_jax`; no device needs it.

| bytes (counted) | |
|---|---|
| constants: weights, biases, multipliers, thresholds | {constants:,} |
| sizes of the layers, on a processor of 32 bits | {structures:,} |
| flash beside the code | {read_only:,} |
| arena of the activations | {arena:,} |
| scratch memory | {scratch:,} |
| static memory | {ram:,} |
"""
