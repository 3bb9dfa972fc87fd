"""What fine-tuning a language model costs, plainly and privately, side by side with PyTorch and Opacus.

    pip install -e .[bench]          (PyTorch, Opacus)
    python -m scripts.benchmarks.fine_tuning [--repeats=5] [--threads=1] [--only=LoRA] [--sections=private]

The model is `models.create("transformer")`, a causal one of 4 blocks of width 128 on 64 tokens, vocabulary 2,048,
1.3 million parameters; PyTorch's has the same layers and starts from the same values. Three trainings: of all
parameters, of all with the head tied to the embedding, and of low-rank factors (LoRA, rank 8, of queries and values).

private: a step is the gradient of a batch of 32 rows, plain or the sum of clipped per-example gradients, each over its
  own framework's plain step. Opacus is shown in every mode, and judged by its best.
tokens: tokens a second of plain training with Adam, a whole epoch: `training.fit` with all that it does beside the
  steps, and the loop that one writes first in PyTorch.

All ways of a case take turns. Figures are medians, compilation left out: CPU time of all threads on a CPU; wall time on
an accelerator, where PyTorch runs on the same card. Before it is timed, each private way must give the clipped sum that
one gradient at a time gives, to 1e-3 (1e-2 on an accelerator, whose products are rounded to TF32); else it is shown as
wrong.
"""

from __future__ import annotations

from absl import app, flags, logging

from experiments import command
from scripts.benchmarks.cases import machine, timing

SECTIONS = ("private", "tokens")
CASES = ("full", "full, tied head", "LoRA")
BATCH, PROMISED, STEPS = 32, 1.15, 8

flags.DEFINE_integer("repeats", 5, "How often each way is timed; twice at most where it is very slow.", lower_bound=1)
flags.DEFINE_integer("threads", 1, "Threads of every way, on a CPU.", lower_bound=1)
flags.DEFINE_multi_enum("only", [], CASES, "Cases; all where none is given.")
flags.DEFINE_multi_enum("sections", SECTIONS, SECTIONS, "What is measured.")
flags.DEFINE_boolean("peers", True, "Whether PyTorch and Opacus take part.")
flags.DEFINE_integer("rows", BATCH, "Rows of every batch; promises are judged at the default alone.", lower_bound=1)
flags.DEFINE_string("output", None, "JSON file for all figures.")
FLAGS = flags.FLAGS


def main(argv):
    del argv
    logging.set_verbosity(logging.ERROR)
    if FLAGS.peers:
        machine.require("torch", "opacus")
    on_cpu = machine.prepare(FLAGS.threads)
    record = machine.described(on_cpu, FLAGS.repeats, FLAGS.threads, ("torch", "opacus") if FLAGS.peers else ())
    clock = timing.CLOCKS[record["clock"]]
    for section in SECTIONS:
        if section in FLAGS.sections:
            record[section] = {name: MEASURE[section](name, on_cpu, clock) for name in FLAGS.only or CASES}
    machine.write(record, FLAGS.output)


def base_of(key: timing.Key) -> timing.Key:
    return ("PyTorch" if key[0] in ("PyTorch", "Opacus") else "JAX", "plain")


def torch_case(case, on_cpu: bool):
    import torch

    from scripts.benchmarks.cases import language_torch

    torch.set_num_threads(FLAGS.threads if on_cpu else torch.get_num_threads())
    torch.set_float32_matmul_precision("highest" if on_cpu else "high")  # as JAX has it on either
    device = "cpu" if on_cpu or not torch.cuda.is_available() else "cuda"
    return language_torch, language_torch.Case(case, device)


def private(name: str, on_cpu: bool, clock):
    import numpy as np

    from scripts.benchmarks.cases import language_jax as mine

    case = mine.make(mine.SETTINGS[name], FLAGS.rows)
    expected, ways, flat = mine.one_by_one(case), mine.ways(case), {"JAX": mine.flat}
    if FLAGS.peers:
        theirs, torchs = torch_case(case, on_cpu)
        ways, flat["PyTorch"] = {**ways, **theirs.ways(torchs)}, torchs.flat

    def wrong(key, result):
        if key[1] in ("plain", "clipped, with noise"):
            return None
        total = flat[base_of(key)[0]](result) * (FLAGS.rows if key[0] == "ours" else 1)  # ours is a mean
        error = float(np.linalg.norm(total - expected) / np.linalg.norm(expected))
        return None if error < (1e-3 if on_cpu else 1e-2) else f"WRONG: off by {error:.1e} of the sum's length"

    ready, broken = timing.checked(ways, wrong)
    times = timing.Times(timing.by_turns(ready, ("JAX", "plain"), FLAGS.repeats, clock), broken)
    print(f"\nprivate: {name}, batch {FLAGS.rows}, {len(expected):,} trained parameters")
    private_ways = [key for key in times.seconds if key[1] != "plain"]
    ratios = {key: times.ratio(key, base_of(key)) for key in private_ways}
    medians = {key: times.median(key) for key in private_ways}
    ours, verdict = ("ours", "clipped"), None
    if ours in ratios:
        verdict = timing.judge(ratios, medians, ours, PROMISED, "Opacus", 1)
    print("\n".join(timing.table(times, base_of, verdict and verdict.best)))
    judged = FLAGS.rows == BATCH
    for line in timing.said(verdict, medians[ours], "Opacus", judged) if verdict else ["ours clipped: NOT MET"]:
        print(f"  * {line}", flush=True)
    return {"rows": FLAGS.rows, "ways": timing.figures(times, base_of), "verdict": verdict and verdict._asdict()}


def tokens(name: str, on_cpu: bool, clock):
    from scripts.benchmarks.cases import language_jax as mine

    case = mine.make(mine.SETTINGS[name], FLAGS.rows)
    data = mine.examples(case, STEPS)
    ways = {("JAX", "plain"): lambda: mine.whole_fit(case, data)}
    if FLAGS.peers:
        theirs, torchs = torch_case(case, on_cpu)
        ways["PyTorch", "plain"] = lambda: theirs.whole_loop(torchs, FLAGS.rows, data)
    ready, broken = timing.checked(ways, lambda key, result: None)
    times = timing.Times(timing.by_turns(ready, ("JAX", "plain"), FLAGS.repeats, clock), broken)
    print(f"\ntokens: {name}, {STEPS} batches of {FLAGS.rows} rows of {case.settings.length} tokens, Adam")
    rates = {key: data.x.size / times.median(key) for key in times.seconds}
    for key, rate in rates.items():
        print(f"  {key[0]:12}{rate:12,.0f} tokens a second")
    if ("PyTorch", "plain") in rates:
        ratio = times.ratio(("PyTorch", "plain"), ("JAX", "plain"))
        met = ("met" if ratio >= 1 else "NOT MET") if FLAGS.rows == BATCH else "not judged at these settings"
        print(f"  * ours {ratio:.2f} x PyTorch's, promised >= 1 x: {met}", flush=True)
    ways = timing.figures(times, lambda key: ("JAX", "plain"))
    return {"rows": FLAGS.rows, "ways": ways, "tokens": {" ".join(key): rate for key, rate in rates.items()}}


MEASURE = {"private": private, "tokens": tokens}

if __name__ == "__main__":
    command.absl_main("benchmarks.fine_tuning", lambda: app.run(main))
