"""What private training costs: every way's step over its own framework's step without privacy, in one run.

    pip install -e .[bench,crypto]          (PyTorch, Opacus, jax-privacy; cryptography for the AES source)
    python -m scripts.benchmarks.private [--repeats=5] [--threads=1] [--only=MLP] [--sections=clipping] [--peers=false]

clipping: a step is the gradient of a batch, plain or the sum of clipped per-example gradients. "vmap(grad)" is what one
  writes first; jax-privacy and Opacus are shown in every mode, and judged by their best.
noise: whole steps of SGD, with noise from JAX's generator, from ChaCha20 on the device and from AES on the host.
poisson: 20 drawn Poisson batches in slots for the largest against 20 batches of exactly the mean size; on an
  accelerator in one program for each size, as training.fit runs them. Slots that are computed are counted beside it.
memory: what a step allocates, its temporaries and the gradient that it gives, and the microbatch at which that is at
  most 1.5 times the plain step's; the temporaries alone are shown beside it.

All ways of a case take turns. Figures are medians, compilation left out: CPU time on a CPU; wall time on an
accelerator, where PyTorch runs on the same card. Before it is timed, each way must give the clipped sum that one
gradient at a time gives in its framework in float32, up to the rounding of the format that it is timed in (`rounding`);
else it is shown as wrong. On an accelerator it must also give it in float32, up to the rounding of float32.
"""

from __future__ import annotations

import contextlib

from absl import app, flags, logging

from experiments import command
from scripts.benchmarks.cases import machine, timing

SECTIONS = ("clipping", "noise", "poisson", "memory")
# name: (what it is, batch, promised ratio, how many times as long jax-privacy is to take)
CASES = {
    "MLP": ("784-512-512-10", 256, 1.2, 20),
    "CNN": ("16 and 32 channels, tanh, 28x28", 256, 1.25, 1.6),
    "transformer": ("4 blocks of 128, 64 tokens", 64, 1.15, 1),
    "WRN-16-4": ("GroupNorm, 32x32x3", 32, 1.1, 1.6),
}
NOISE, POISSON, MEMORY = 1.6, 1.15, 1.5  # promised: noisy step, Poisson batches, memory with microbatches
OVER_THREEFRY = 1.3  # promised on an accelerator: a step with ChaCha20 over one with JAX's generator
MULTIPLIER = 1.1  # noise over sensitivity
STEPS = 20  # Poisson batches

flags.DEFINE_integer("repeats", 5, "How often each way is timed; twice at most where it is very slow.", lower_bound=1)
flags.DEFINE_integer("threads", 1, "Threads of every way, on a CPU.", lower_bound=1)
flags.DEFINE_multi_enum("only", [], list(CASES), "Cases; all where none is given.")
flags.DEFINE_multi_enum("sections", list(SECTIONS), list(SECTIONS), "What is measured.")
flags.DEFINE_boolean("peers", True, "Whether jax-privacy and Opacus take part.")
flags.DEFINE_integer("rows", None, "Rows of every batch, for a trial: promises are not judged.", lower_bound=1)
flags.DEFINE_string("output", None, "JSON file for all figures.")
FLAGS = flags.FLAGS


def main(argv):
    del argv
    logging.set_verbosity(logging.ERROR)
    needed = FLAGS.peers and {"clipping", "noise"} & set(FLAGS.sections)
    if needed:
        machine.require("torch", "opacus", "jax_privacy")
    on_cpu = machine.prepare(FLAGS.threads)
    peers = ("jax-privacy", "torch", "opacus") if needed else ()
    record = machine.described(on_cpu, FLAGS.repeats, FLAGS.threads, peers)
    for section in SECTIONS:
        if section in FLAGS.sections:
            record[section] = MEASURE[section](on_cpu, timing.CLOCKS[record["clock"]])
    machine.write(record, FLAGS.output)


def chosen(*names: str) -> list[tuple[str, int]]:
    """(case, batch) of those that are asked for."""
    wanted = [name for name in names or CASES if not FLAGS.only or name in FLAGS.only]
    return [(name, FLAGS.rows or CASES[name][1]) for name in wanted]


def base_of(key: timing.Key) -> timing.Key:
    return ("PyTorch" if key[0] in ("PyTorch", "Opacus") else "JAX", "plain")


class Judge:
    """Calls a clipped sum of a case right or wrong: in the format that it is timed in, or in float32."""

    def __init__(self, case, rows: int):
        import jax

        from scripts.benchmarks.cases import rounding, with_jax

        self.rows, self.clip_norm, self._rounding = rows, with_jax.CLIP_NORM, rounding
        self._chain = rounding.chain_of(with_jax.naive(case), case.variables, case.examples)
        self._format = rounding.format_of(jax.default_backend(), jax.config.jax_default_matmul_precision)

    def __call__(self, result, expected, in_float32: bool = False, scale: float = 1.0) -> str | None:
        """What is wrong with the sum, times a scale, of at most `rows` examples; None if it is right."""
        import numpy as np

        name = "float32" if in_float32 else self._format
        length = np.linalg.norm(expected) / scale
        limit = self._rounding.tolerance(self._chain, name, self.rows, self.clip_norm, length)
        return self._rounding.judged(result, expected, limit)


@contextlib.contextmanager
def in_float32(key: timing.Key):
    """A block in which what is compiled or run on this side multiplies in float32."""
    if key[0] in ("PyTorch", "Opacus"):
        from scripts.benchmarks.cases import with_torch as theirs

        with theirs.exactly():
            yield
    else:
        import jax

        with jax.default_matmul_precision("float32"):
            yield


def torch_case(name: str, rows: int, on_cpu: bool):
    import torch

    from scripts.benchmarks.cases import with_jax as mine
    from scripts.benchmarks.cases import with_torch as theirs

    torch.set_num_threads(FLAGS.threads if on_cpu else torch.get_num_threads())
    theirs.set_format(exact=on_cpu)  # as JAX has it on either
    device = "cpu" if on_cpu or not torch.cuda.is_available() else "cuda"
    return theirs, theirs.Case(name, *mine.inputs(name, rows), device)


def compared(ways, base, wrong, clock, exactly=None) -> timing.Times:
    ready, broken = timing.checked(ways, wrong, exactly)
    return timing.Times(timing.by_turns(ready, base, FLAGS.repeats, clock), broken)


def concluded(times: timing.Times, ours: timing.Key, promised: float, asked: float, judged: bool):
    """Prints a case's table and its verdict; the verdict as it is written to a file, None where our way is broken."""
    from scripts.benchmarks.cases.with_jax import PEER

    private = [key for key in times.seconds if key[1] not in ("plain", "without noise")]
    medians = {key: times.median(key) for key in private}
    ratios = {key: times.ratio(key, base_of(key)) for key in private}
    verdict = timing.judge(ratios, medians, ours, promised, PEER, asked) if ours in private else None
    print("\n".join(timing.table(times, base_of, verdict and verdict.best)))
    for line in timing.said(verdict, medians[ours], PEER, judged) if verdict else [f"{' '.join(ours)}: NOT MET"]:
        print(f"  * {line}", flush=True)
    return verdict and verdict._asdict()


def clipping(on_cpu, clock):
    from scripts.benchmarks.cases import with_jax as mine

    record = {}
    for name, rows in chosen():
        what, batch, promised, asked = CASES[name]
        case = mine.make(name, rows)
        expected, judge = {"JAX": mine.flat(mine.reference(case))}, Judge(case, rows)
        ways, flat = mine.clipping_ways(case, FLAGS.peers), {"JAX": mine.flat}
        if FLAGS.peers:
            theirs, torchs = torch_case(name, rows, on_cpu)
            expected["PyTorch"], flat["PyTorch"] = theirs.flat(theirs.naive(torchs)), theirs.flat
            ways |= theirs.ways(torchs)

        def wrong(key, result, in_float32=False, expected=expected, flat=flat, judge=judge):
            side = base_of(key)[0]
            return None if key[1] == "plain" else judge(flat[side](result), expected[side], in_float32)

        times = compared(ways, ("JAX", "plain"), wrong, clock, None if on_cpu else in_float32)
        print(f"\nclipping: {name}, {what}, batch {rows}")
        verdict = concluded(times, ("ours", "auto"), promised, asked, rows == batch)
        record[name] = {"rows": rows, "ways": timing.figures(times, base_of), "verdict": verdict}
    return record


def noise(on_cpu, clock):
    import numpy as np

    from scripts.benchmarks.cases import with_jax as mine

    record = {}
    for name, rows in chosen("MLP"):
        case = mine.make(name, rows)
        ways = mine.noise_ways(case, MULTIPLIER, FLAGS.peers)
        clean = {"JAX": mine.flat(ways["ours", "without noise"]()()[0])}
        flat = {"JAX": lambda result: mine.flat(result[0])}
        if FLAGS.peers:
            theirs, torchs = torch_case(name, rows, on_cpu)
            clean["PyTorch"], flat["PyTorch"] = theirs.flat(theirs.naive(torchs)) / rows, theirs.flat
            ways |= theirs.ways(torchs, MULTIPLIER)

        def wrong(key, result, clean=clean, flat=flat, rows=rows):
            side = base_of(key)[0]
            if key[1] in ("plain", "without noise"):
                return None
            drawn = flat[side](result) - clean[side]
            share = float(np.std(drawn)) / (MULTIPLIER * mine.CLIP_NORM / rows)
            chance = 5 / np.sqrt(2 * drawn.size)  # five standard deviations of the share
            return None if abs(share - 1) < 0.005 + chance else f"WRONG: its noise is {share:.3f} of what it should be"

        times = compared(ways, ("JAX", "plain"), wrong, clock)
        print(f"\nnoise: {name}, {CASES[name][0]}, batch {rows}, whole step of SGD, noise multiplier {MULTIPLIER}")
        verdict = concluded(times, ("ours", "ChaCha20"), NOISE, 1, rows == CASES[name][1])
        record[name] = {"rows": rows, "ways": timing.figures(times, base_of), "verdict": verdict}
        if ("ours", "ChaCha20") in times.seconds and ("ours", "threefry") in times.seconds:
            over = record[name]["over_threefry"] = times.ratio(("ours", "ChaCha20"), ("ours", "threefry"))
            met = ("met" if over <= OVER_THREEFRY else "NOT MET") if not on_cpu else "not judged on a CPU"
            print(f"  * ChaCha20 {over:.2f} x threefry, promised <= {OVER_THREEFRY} x: {met}", flush=True)
    return record


def poisson(on_cpu, clock):
    from scripts.benchmarks.cases import ours as own
    from scripts.benchmarks.cases import with_jax as mine

    record, exact = {}, ("ours", "exact size")
    usual = ("ours", "Poisson" if on_cpu else "Poisson, in segments")  # as training.fit runs them
    for name, rows in chosen("MLP", "CNN"):
        case = own.poisson_case(name, rows, STEPS, on_cpu)
        judge = Judge(mine.make(name, 1), rows)

        def wrong(key, result, e=case.expected, judge=judge, rows=rows):
            return None if key == exact else judge(mine.flat(result), e, scale=1 / rows)

        times = compared(case.ways, exact, wrong, clock)
        ratio = times.ratio(usual, exact)
        judged = rows == CASES[name][1]
        met = ("met" if ratio <= POISSON else "NOT MET") if judged else "not judged at these settings"
        print(f"\npoisson: {name}, {STEPS} batches, {case.drawn}; time of {STEPS} steps")
        print("\n".join(timing.table(times, lambda key: exact)))
        counted = {key[1]: round(share, 3) for key, share in case.slots.items()}
        for way, share in counted.items():
            print(f"  {way}: {share:.2f} slots computed for one of the exact size (counted)")
        print(f"  * {usual[1]}: {ratio:.2f} x, promised <= {POISSON} x: {met}", flush=True)
        figures = timing.figures(times, lambda key: exact)
        record[name] = {"rows": rows, "drawn": case.drawn, "ways": figures, "ratio": ratio, "slots": counted}
    return record


def memory(on_cpu, clock):
    from scripts.benchmarks.cases import ours as own
    from scripts.benchmarks.cases import with_jax as mine

    record = {}
    for name, rows in chosen():
        case = mine.make(name, rows)
        sizes, gradient, programs = own.memory_of(case, rows, MEMORY)
        shares = {way: size / max(sizes["plain"], 1) for way, size in sizes.items()}
        relative = {way: (size + gradient) / (sizes["plain"] + gradient) for way, size in sizes.items()}
        print(f"\nmemory: {name}, {CASES[name][0]}, batch {rows}; temporaries and gradient, then temporaries alone")
        for way, size in sizes.items():
            both, alone = f"{(size + gradient) / 1e6:11.2f} MB{relative[way]:9.2f} x", f"{size / 1e6:11.2f} MB"
            print(f"  {way:38}{both}{alone}{shares[way]:9.2f} x")
        runs = {("JAX", way): lambda run=run: run for way, run in programs.items()}
        times = compared(runs, ("JAX", "plain"), lambda key, result: None, clock)
        for way in (way for way in programs if way != "plain"):
            ratio = times.ratio(("JAX", way), ("JAX", "plain"))
            met = ("met" if relative[way] <= MEMORY else "NOT MET") if rows == CASES[name][1] else "not judged"
            text = f"{relative[way]:.2f} x the plain step's memory, promised <= {MEMORY}: {met}"
            print(f"  * {way}: {text}; {shares[way]:.2f} x in temporaries; time {ratio:.2f} x", flush=True)
        figures = timing.figures(times, base_of)
        record[name] = {"rows": rows, "bytes": sizes, "bytes_of_gradient": gradient, "ways": figures}
    return record


MEASURE = {"clipping": clipping, "noise": noise, "poisson": poisson, "memory": memory}

if __name__ == "__main__":
    command.absl_main("benchmarks.private", lambda: app.run(main))
