"""A network's C file, and its bytes."""

from __future__ import annotations

import importlib.resources
from typing import NamedTuple

from gecko_jax.export.c99.statements import Statement, statement
from gecko_jax.integer import ArenaPlan, check_arena
from gecko_jax.integer.graph import IntegerGraph, check_graph
from gecko_jax.integer.nodes import Reshape

_INCLUDES = """#include <stdint.h>
#ifdef __ARM_FEATURE_DSP
#include <arm_acle.h>
#endif
"""


class CBytes(NamedTuple):
    """What a network takes as C on a processor of 32 bits, in bytes; the code itself is not among them.

    Attributes:
      constants: arrays of weights, biases, multipliers, shifts and thresholds.
      structures: the sizes and strides of the nodes.
      arena: all activations.
      scratch: unpacked weights, or packed signs, of one node at a time.
    """

    constants: int
    structures: int
    arena: int
    scratch: int

    @property
    def read_only(self) -> int:
        """Bytes of flash beside the code."""
        return self.constants + self.structures

    @property
    def ram(self) -> int:
        """Bytes of static memory; the stack, some hundred bytes, comes on top."""
        return self.arena + self.scratch


class Program(NamedTuple):
    """A network as C.

    Attributes:
      statements: of each node, None for a Reshape.
      offsets: of each tensor in the arena.
      size: CBytes of it.
    """

    statements: tuple[Statement | None, ...]
    offsets: dict[int, int]
    size: CBytes


def c_bytes(graph: IntegerGraph, plan: ArenaPlan | None = None) -> CBytes:
    """Counts the bytes that a network takes as C.

    Args:
      graph: of `integer.freeze`.
      plan: see `to_c`.

    Returns:
      Bytes of constants and of memory; a test holds them against the sections of an ELF file.

    >>> from gecko_jax.integer.nodes import IntegerTensor, MaxPool
    >>> tensors = IntegerTensor("input", (4, 4, 2), 1.0), IntegerTensor("pool", (2, 2, 2), 1.0)
    >>> size = c_bytes(IntegerGraph(tensors, (MaxPool("", (0,), 1, (2, 2), (2, 2), ((0, 0), (0, 0))),), 0, 1))
    >>> size.read_only, size.ram
    (52, 40)
    """
    return compile_graph(graph, plan).size


def compile_graph(graph: IntegerGraph, plan: ArenaPlan | None = None) -> Program:
    """Turns each node into C, and places each tensor; see `to_c`."""
    lifetimes = check_graph(graph).lifetimes()
    plan = graph.arena() if plan is None else plan
    arena = check_arena(lifetimes, plan.offsets)
    offsets = {number: plan.offsets[buffer] for number, buffer in graph.buffers().items()}
    statements = [
        None
        if isinstance(node, Reshape)
        else statement(step, node, [graph.tensors[number] for number in node.inputs], graph.tensors[node.output])
        for step, node in enumerate(graph.nodes)
    ]
    present = [each for each in statements if each is not None]
    constants = sum(values.nbytes for each in present for values in each.arrays.values())
    structures = sum(each.structure_bytes for each in present)
    scratch = max((each.scratch_bytes for each in present), default=0)
    return Program(tuple(statements), offsets, CBytes(constants, structures, arena, -(-scratch // 4) * 4))


def source(graph: IntegerGraph, program: Program, name: str) -> str:
    """Returns the C file."""
    present = [each for each in program.statements if each is not None]
    kernels = dict.fromkeys(kernel for each in present for kernel in ("common", *each.kernels))
    # A structure comes before the kernels that read it.
    folder = importlib.resources.files("gecko_jax.export.c99") / "kernels"
    parts = [f'#include "{name}.h"\n\n{_INCLUDES}']
    parts += [(folder / f"{kernel}.c").read_text(encoding="utf-8") for kernel in kernels]
    calls, definitions = [], []
    for step, (node, each) in enumerate(zip(graph.nodes, program.statements, strict=True)):
        if each is None:
            continue
        definitions.append(f"/* {node.path or 'the network'} */\n{each.definitions(f'node_{step}')}")
        places = [f"arena + {program.offsets[number]}" for number in (*node.inputs, node.output)]
        scratch = {"binary_conv": ["scratch"], **dict.fromkeys(("conv", "conv8", "depthwise"), ["(int8_t *)scratch"])}
        arguments = ", ".join([f"&node_{step}", *places, *scratch.get(each.call, [])])
        calls.append(f"  {each.call}({arguments});\n")
    parts += definitions
    words = max(program.size.scratch // 4, 1)
    memory = f"static int8_t arena[{max(program.size.arena, 1)}];\n"
    if any("scratch" in call for call in calls):
        memory += f"static uint32_t scratch[{words}];\n"
    first, last = program.offsets[graph.input], program.offsets[graph.output]
    run = f"int8_t *{name}_input(void) {{ return arena + {first}; }}\n\n"
    run += f"const int8_t *{name}_run(void) {{\n{''.join(calls)}  return arena + {last};\n}}\n"
    return "\n".join([*parts, memory, run])
