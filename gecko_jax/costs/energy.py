"""Modeled energy of one inference: Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm at 0.9 V.

Figures of the paper, in picojoules: integer addition .03 (8 bits) .1 (32); integer multiplication .2 (8) 3.1 (32);
float16 addition .4, multiplication 1.1; float32 addition .9, multiplication 3.7; 64-bit access to an SRAM of 8 kB 10,
32 kB 20, 1 MB 100; DRAM 640 per 32 bits.

The rest is our assumption, because energies between the paper's widths are scaled, not measured:
  1-bit op        an eighth of an 8-bit addition, .00375 pJ
  1 x 1 bit       an XNOR and one full adder's share of the population count: two 1-bit ops, .0075 pJ
  k x l bits      a multiplication of .2 * k l / 64, k, l <= 8, and a 32-bit integer addition
  bfloat16        as float16
  float64         two float32 additions, four float32 multiplications
  1 or 2 bits x float (either way)     an addition in the float's type: the sign is free, zero is not skipped
  any other pair with a float          a multiplication and an addition in the wider type
  weights         all deployed bytes are read once an inference; the traffic of activations is not modeled
The model ranks designs. It does not predict what a power meter shows.
"""

from __future__ import annotations

from gecko_jax.checks import lookup

PICO = 1e-12
# picojoules, by width in bits
INT_ADD_8, INT_ADD_32, INT_MULTIPLY_8 = 0.03, 0.1, 0.2
FLOAT_ADD = {16: 0.4, 32: 0.9, 64: 2 * 0.9}
FLOAT_MULTIPLY = {16: 1.1, 32: 3.7, 64: 4 * 3.7}
ONE_BIT = INT_ADD_8 / 8
READ_PER_BIT = {"sram_8kB": 10 / 64, "sram_32kB": 20 / 64, "sram_1MB": 100 / 64, "dram": 640 / 32}


def mac_energy(weight_bits: int, input_bits: int) -> float:
    """Returns the joules of one multiply-accumulate; see the module's head for the model.

    Args:
      weight_bits, input_bits: widths of the two factors; a float counts with the width of its type.

    Source: Horowitz 2014; widths between the paper's are assumptions.

    >>> round(mac_energy(32, 32) * 1e12, 3), round(mac_energy(8, 8) * 1e12, 3), round(mac_energy(1, 1) * 1e12, 4)
    (4.6, 0.3, 0.0075)
    >>> round(mac_energy(16, 16) * 1e12, 3)
    1.5
    """
    low, high = sorted((weight_bits, input_bits))
    if high == 1:
        return 2 * ONE_BIT * PICO
    if high <= 8:
        return (INT_MULTIPLY_8 * low * high / 64 + INT_ADD_32) * PICO
    width = next((width for width in FLOAT_ADD if high <= width), 64)
    return (FLOAT_ADD[width] + (FLOAT_MULTIPLY[width] if low > 2 else 0)) * PICO


def read_energy(stored: int, memory: str = "dram") -> float:
    """Returns the joules of reading `stored` bytes once.

    Args:
      stored: bytes.
      memory: "sram_8kB", "sram_32kB", "sram_1MB" or "dram".

    Raises:
      ValueError: another memory.

    Source: Horowitz 2014.

    >>> round(read_energy(4) * 1e12)
    640
    """
    return 8 * stored * lookup("memory", memory, READ_PER_BIT) * PICO
