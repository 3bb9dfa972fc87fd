"""What scoring an audit costs: CPU time and memory of attacks on drawn signals, no model among them.

    python -m scripts.benchmarks.audit [--repeats=5]

Training the shadows is measured by scripts.benchmarks.training, beside PyTorch. Figures are medians; memory is the
largest that Python and NumPy held during one run, the signals themselves left out.
"""

from __future__ import annotations

import platform
import statistics
import time
import tracemalloc

import numpy as np
from absl import app, flags

from experiments import command
from gecko_jax import attacks
from gecko_jax.types import Signals

SHADOWS, RECORDS, QUERIES = 64, 5000, 9
MANY, POPULATION = 50_000, 10_000
LIRA_SECONDS = 0.2  # promised

flags.DEFINE_integer("repeats", 5, "How often each is timed.", lower_bound=1)
FLAGS = flags.FLAGS


def signals(draws: np.random.Generator, shadows: int, records: int) -> Signals:
    member = draws.random((shadows, records)) < 0.5
    return Signals(draws.gamma(2.0, size=(shadows, records)), member, draws.gamma(2.0, size=records))


def cases() -> dict[str, tuple[attacks.Attack, list[Signals]]]:
    """{what: (attack, one Signals for each query)}."""
    draws = np.random.default_rng(0)
    queries = [signals(draws, SHADOWS, RECORDS) for _ in range(QUERIES)]
    what = f"{SHADOWS} shadows x {RECORDS} records x {QUERIES} queries"
    cases = {f"{name}, {what}": (attacks.ATTACKS[name](), queries) for name in ("lira", "lira_student", "lira_offline")}
    population = signals(draws, 2, POPULATION)
    large = [signals(draws, 2, MANY)._replace(population=(population.values, population.target))]
    for online in (True, False):
        attack = attacks.rmia(online=online)
        cases[f"{attack.name}, {MANY} records x a population of {POPULATION}, 2 references"] = (attack, large)
    return cases


def measured(attack: attacks.Attack, queries: list[Signals], repeats: int) -> tuple[float, float]:
    """(median CPU seconds of a run, largest MB held by one)."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        attack(queries)
        seconds.append(time.process_time() - start)
    tracemalloc.start()
    attack(queries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return statistics.median(seconds), peak / 1e6


def main(argv):
    del argv
    print(f"python {platform.python_version()}, numpy {np.__version__}, CPU time, medians of {FLAGS.repeats}")
    for what, (attack, queries) in cases().items():
        seconds, peak = measured(attack, queries, FLAGS.repeats)
        promise = ""
        if attack.name == "lira":
            promise = f", promised < {LIRA_SECONDS:g} s: {'met' if seconds < LIRA_SECONDS else 'NOT MET'}"
        print(f"  {what:75}{1e3 * seconds:9.1f} ms{peak:9.1f} MB{promise}")
    print(f"  (a table of every record beside every one of the population: {8 * MANY * POPULATION / 1e6:.0f} MB)")


if __name__ == "__main__":
    command.absl_main("benchmarks.audit", lambda: app.run(main))
