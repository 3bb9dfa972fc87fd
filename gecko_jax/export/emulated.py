"""An exported network on an emulated Cortex-M4, built and run by two pip packages: ziglang and unicorn.

build_elf({name: folder})   the C compiler that comes with ziglang makes an ELF file of one network or of several
Emulated(elf, name)         runs a network on inputs, and counts the instructions of one
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from gecko_jax import extras
from gecko_jax.export.elf import Elf, read_elf

_TARGET = ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4")
_PAGE = 4096
_STACK, _STACK_BYTES = 0x2000_0000, 16 * 1024
_BUFFERS = 0x3000_0000  # inputs, then outputs, of many examples
_RETURN = 0x0800_0000  # the address to which the outermost function returns

_MANY = """#include "model.h"
int32_t model_outputs(void) { return MODEL_OUTPUT_SIZE; }
void model_many(const int8_t *x, int8_t *y, int32_t n) {
  for (; n > 0; --n) {
    int8_t *to = model_input();
    const int8_t *from;
    int32_t i;
    for (i = 0; i < MODEL_INPUT_SIZE; ++i) to[i] = *x++;
    from = model_run();
    for (i = 0; i < MODEL_OUTPUT_SIZE; ++i) *y++ = from[i];
  }
}
"""


def build_elf(
    networks: Mapping[str, str | os.PathLike[str]], flags: tuple[str, ...] = ("-O2",), many: bool = True
) -> Elf:
    """Compiles exported networks for the Cortex-M4, and links them.

    Args:
      networks: {name: folder that `to_c` wrote}.
      flags: of the compiler.
      many: whether to link the loop over many inputs that `Emulated` needs; without it the sections hold the networks
        alone, as they would on a device.

    Returns:
      The ELF file's content.

    Raises:
      ImportError: without the package ziglang.
      FileNotFoundError: a folder without NAME.c.
      RuntimeError: with the compiler's errors.

    >>> build_elf({"model": "firmware"})
    Traceback (most recent call last):
    ...
    FileNotFoundError: 'firmware/model.c' is absent: export.to_c(graph, folder, 'model') writes it.
    """
    extras.require("ziglang", "export.build_elf")
    with tempfile.TemporaryDirectory() as build:
        sources = []
        for name, folder in networks.items():
            path = pathlib.Path(folder) / f"{name}.c"
            if not path.is_file():
                raise FileNotFoundError(f"{str(path)!r} is absent: export.to_c(graph, folder, {name!r}) writes it.")
            sources += [f"-I{folder}", str(path)]
            if many:
                loop = pathlib.Path(build) / f"{name}_many.c"
                loop.write_text(_MANY.replace("model", name).replace("MODEL", name.upper()), encoding="utf-8")
                sources.append(str(loop))
        out = pathlib.Path(build) / "networks.elf"
        command = [sys.executable, "-m", "ziglang", "cc", "-std=c99", *_TARGET, *flags, *sources]
        command += ["-fno-unwind-tables", "-nostdlib", "-Wl,--no-gc-sections"]
        command += [f"-Wl,-e,{next(iter(networks))}_run", "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
        return read_elf(out)


class Emulated:
    """A network on an emulated Cortex-M4.

    Attributes:
      name: of the network.
      elf: of `build_elf`.

    >>> from gecko_jax.export.c99 import to_c
    >>> from gecko_jax.integer.graph import IntegerGraph
    >>> from gecko_jax.integer.nodes import IntegerTensor, MaxPool
    >>> tensors = IntegerTensor("input", (2, 2, 1), 1.0), IntegerTensor("pool", (1, 1, 1), 1.0)
    >>> graph = IntegerGraph(tensors, (MaxPool("", (0,), 1, (2, 2), (2, 2), ((0, 0), (0, 0))),), 0, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     emulated = Emulated(build_elf({"model": to_c(graph, folder)}), "model")
    >>> emulated.run(np.array([[1, 5, -3, 4]], np.int8)).tolist(), emulated.instructions(np.zeros(4)) < 200
    ([[5]], True)
    """

    def __init__(self, elf: Elf, name: str = "model"):
        """Loads an ELF file.

        Args:
          elf: of `build_elf`.
          name: of the network.

        Raises:
          ImportError: without the package unicorn.
        """
        extras.require("unicorn", "export.Emulated")
        import unicorn
        from unicorn import arm_const, unicorn_py3

        self.name, self.elf, self._registers = name, elf, arm_const
        self._machine: Any = unicorn_py3.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._machine.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M4)
        self._hook = unicorn.UC_HOOK_BLOCK
        self._mapped: set[int] = set()
        for address, content, size in elf.segments:
            self._map(address, size)
            self._machine.mem_write(address, content)
        self._map(_STACK, _STACK_BYTES)
        self._map(_RETURN, _PAGE)

    def run(self, codes: np.ndarray) -> np.ndarray:
        """Computes the outputs of many inputs.

        Args:
          codes: int8 [b, ...], codes of inputs.

        Returns:
          int8 [b, size of the output].
        """
        rows = np.ascontiguousarray(codes, np.int8).reshape(len(codes), -1)
        outputs = self._call(f"{self.name}_outputs")
        to = _BUFFERS + rows.nbytes
        self._map(_BUFFERS, rows.nbytes + len(rows) * outputs)
        self._machine.mem_write(_BUFFERS, rows.tobytes())
        self._call(f"{self.name}_many", _BUFFERS, to, len(rows))
        read = self._machine.mem_read(to, len(rows) * outputs)
        return np.frombuffer(bytes(read), np.int8).reshape(len(rows), outputs)

    def instructions(self, codes: np.ndarray) -> int:
        """Counts the instructions of one run, those that a condition skips among them.

        Args:
          codes: int8, codes of one input.
        """
        at = self._call(f"{self.name}_input")
        self._machine.mem_write(at, np.ascontiguousarray(codes, np.int8).tobytes())
        counts: dict[tuple[int, int], int] = {}
        total = 0

        def count(machine: Any, address: int, size: int, _: Any) -> None:
            nonlocal total
            if (address, size) not in counts:
                counts[address, size] = _count(bytes(machine.mem_read(address, size)))
            total += counts[address, size]

        # Code that ran before was translated without the hook, and code that runs now is translated with it.
        self._machine.ctl_flush_tb()
        hook = self._machine.hook_add(self._hook, count)
        try:
            self._call(f"{self.name}_run")
        finally:
            self._machine.hook_del(hook)
            self._machine.ctl_flush_tb()
        return total

    def _call(self, function: str, *arguments: int) -> int:
        names = self._registers
        for register, value in zip(
            (names.UC_ARM_REG_R0, names.UC_ARM_REG_R1, names.UC_ARM_REG_R2), arguments, strict=False
        ):
            self._machine.reg_write(register, value)
        self._machine.reg_write(names.UC_ARM_REG_SP, _STACK + _STACK_BYTES)
        self._machine.reg_write(names.UC_ARM_REG_LR, _RETURN | 1)
        self._machine.emu_start(self.elf.symbols[function] | 1, _RETURN)
        return self._machine.reg_read(names.UC_ARM_REG_R0)

    def _map(self, address: int, size: int) -> None:
        for page in range(address // _PAGE, (address + size - 1) // _PAGE + 1):
            if page not in self._mapped:
                self._machine.mem_map(page * _PAGE, _PAGE)
                self._mapped.add(page)


def _count(block: bytes) -> int:
    """Instructions in Thumb code: one of 32 bits begins with 0b11101 or more."""
    count, at = 0, 0
    while at < len(block):
        count, at = count + 1, at + (4 if block[at + 1] >> 3 >= 0b11101 else 2)
    return count
