"""Binary products on packed words against float32 XLA: one thread, all variants interleaved in one run, medians.

  python -m scripts.benchmarks.xnor [--seconds 10]

A time is that of one call from Python, dispatch included; "empty call" shows what dispatch alone takes. The
second ratio is that of the shortest times: where other processes run too, long calls are interrupted more often, and
the ratio of medians flatters the shorter one.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time

from experiments import command


def one_thread() -> None:
    """Pins this process to one core and XLA to one thread. Must run before jax is imported."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def cases():
    """[(name, {variant: (compiled function, arguments)})]; the float product is the first variant."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax

    from gecko_jax.integer import pack_kernel, pack_signs, xnor_conv, xnor_matmul, xnor_matmul_transposed

    draws = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(draws.standard_normal(shape), jnp.float32)

    def sign(v):
        return jnp.where(v >= 0, 1.0, -1.0)

    def dense(batch, n=1024):
        x, w = normal(batch, n), normal(n, n)
        rows, columns = pack_signs(w.T), pack_kernel(w)
        variants = {
            "float32": (lambda x, w: x @ w, (sign(x), sign(w))),
            "packed": (lambda a, w: xnor_matmul_transposed(a, w, n), (pack_signs(x), columns)),
            "packed, activations packed too": (
                lambda x, w: xnor_matmul_transposed(pack_signs(x), w, n),
                (x, columns),
            ),
            "packed, weights by rows": (lambda a, w: xnor_matmul(a, w, n), (pack_signs(x), rows)),
            "empty call": (lambda x: x[:1, :1], (x,)),
        }
        return f"dense {n}x{n}, batch {batch}", variants

    def conv(batch, size=32, channels=64):
        x, w = normal(batch, size, size, channels), normal(3, 3, channels, channels)
        numbers = ("NHWC", "HWIO", "NHWC")
        kernel = pack_kernel(w)
        variants = {
            "float32": (
                lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=numbers),
                (jnp.pad(sign(x), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1), sign(w)),
            ),
            "packed": (lambda a, w: xnor_conv(a, w, channels), (pack_signs(x), kernel)),
            "packed, activations packed too": (lambda x, w: xnor_conv(pack_signs(x), w, channels), (x, kernel)),
            "empty call": (lambda x: x[:1, :1], (x,)),
        }
        return f"conv 3x3x{channels}x{channels} on {size}x{size}, batch {batch}", variants

    for name, variants in (dense(1), dense(64), conv(1), conv(64)):
        yield name, {variant: (jax.jit(function), arguments) for variant, (function, arguments) in variants.items()}


def interleaved(variants, seconds: float) -> dict[str, tuple[float, float]]:
    """(median, shortest) seconds of one call of each variant, alternately for about `seconds` (at least 5 rounds)."""
    import jax
    import numpy as np

    outputs = {name: np.asarray(jax.block_until_ready(f(*args))) for name, (f, args) in variants.items()}
    for name, output in outputs.items():
        if name != "empty call" and not np.array_equal(output, outputs["float32"]):
            raise AssertionError(f"{name!r} differs from the float product.")
    shuffle = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in variants}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["float32"]) < 5:
        # In a new order each round: a variant that always ran after the float product would find its weights evicted.
        for name in shuffle.sample(list(variants), len(variants)):
            function, arguments = variants[name]
            start = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            times[name].append(time.perf_counter() - start)
    return {name: (statistics.median(taken), min(taken)) for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="time for all cases together")
    seconds = parser.parse_args().seconds
    one_thread()
    import jax
    import jaxlib

    # Computing in the calling thread: with one core, handing over to another thread is only a context switch more.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    device = jax.devices()[0]
    print(f"python {platform.python_version()}, jax {jax.__version__}, jaxlib {jaxlib.__version__}")
    print(f"device {device.platform} ({device.device_kind}), {platform.machine()}, one thread")
    for name, variants in cases():
        result = interleaved(variants, seconds / 4)
        print(f"\n{name:34s}{'median':>13s}{'shortest':>13s}  ratios to float32")
        float_median, float_shortest = result["float32"]
        for variant, (median, shortest) in result.items():
            ratios = f"{float_median / median:7.2f}x{float_shortest / shortest:7.2f}x"
            loses = "  float32 wins" if median > float_median else ""
            compared = "" if variant in ("float32", "empty call") else ratios + loses
            print(f"  {variant:32s}{1e6 * median:10.1f} us{1e6 * shortest:10.1f} us{compared}")


if __name__ == "__main__":
    with command.reported("benchmarks.xnor"):
        main()
