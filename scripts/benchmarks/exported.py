"""Instructions of exported networks on an emulated Cortex-M4, for each multiplication, and their bytes.

  python -m scripts.benchmarks.exported

Instructions and bytes of sections are counted, so that the figures are the same on every machine; they say nothing of
wait states of a flash memory. A product is one multiplication of a weight with an input, also where the input is a
border. Needs the extra gecko_jax[export].
"""

from __future__ import annotations

import argparse
import tempfile

from experiments import command


def networks():
    """[(name, module, quantizer of weights, quantizer of inputs, shape of one input)]; None: 8-bit integers."""
    import flax.linen as nn

    from gecko_jax import quantizers

    bits = quantizers.binary(), quantizers.binary()
    dense, conv = nn.Sequential([nn.Dense(1024), nn.Dense(1024)]), nn.Sequential([nn.Conv(64, (3, 3))] * 2)
    mixed = [nn.Conv(16, (3, 3)), nn.relu, nn.Conv(16, (3, 3), feature_group_count=16), nn.relu, nn.Conv(32, (1, 1))]
    return [
        ("1-bit dense 1024", dense, *bits, (1024,)),
        ("1-bit conv 3x3x64", conv, *bits, (8, 8, 64)),
        ("8-bit dense 1024", dense, None, None, (1024,)),
        ("8-bit conv 3x3x64", conv, None, None, (8, 8, 64)),
        ("4-bit conv 3x3x64", conv, quantizers.int4(), None, (8, 8, 64)),
        ("ternary conv 3x3x64", conv, quantizers.ternary(), None, (8, 8, 64)),
        ("8-bit conv, depthwise, conv", nn.Sequential(mixed), None, None, (8, 8, 3)),
    ]


def measure(module, weights, inputs, shape):
    """(products, instructions of one input, bytes of flash, bytes of RAM, whether the outputs are those of JAX)."""
    import jax
    import numpy as np

    from gecko_jax import export, models
    from gecko_jax.integer import freeze
    from gecko_jax.integer.nodes import Weighted

    x = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    model = models.from_linen(module)
    if weights is not None:
        model = models.quantized(model, [(".*", weights, inputs)], float_layers=())
    graph = freeze(model, jax.jit(model.init)(jax.random.key(0), x[:1]), x)
    codes = np.asarray(graph.encode(x))
    with tempfile.TemporaryDirectory() as folder:
        export.to_c(graph, folder)
        sections = export.build_elf({"model": folder}, many=False)
        emulated = export.Emulated(export.build_elf({"model": folder}), "model")
    products = sum(
        node.weights.size * int(np.prod(graph.tensors[node.output].shape[:-1]))
        for node in graph.nodes
        if isinstance(node, Weighted)
    )
    equal = np.array_equal(emulated.run(codes), np.asarray(graph.run(codes)).reshape(len(codes), -1))
    return products, emulated.instructions(codes[0]), sections.flash(), sections.ram(), equal


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from gecko_jax.text_tables import aligned

    rows = [("network", "products", "instructions", "each", "flash B", "RAM B", "equals JAX")]
    for name, *settings in networks():
        products, instructions, flash, ram, equal = measure(*settings)
        each = f"{instructions / products:.3f}"
        rows.append((name, f"{products:,}", f"{instructions:,}", each, f"{flash:,}", f"{ram:,}", str(equal)))
    print("\n".join(aligned(rows, left=1)))


if __name__ == "__main__":
    with command.reported("benchmarks.exported"):
        main()
