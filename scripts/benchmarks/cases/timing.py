"""How scripts.benchmarks.private times its ways by turns, and what it concludes from the figures, in any framework."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

Key = tuple[str, str]  # (side, way)

SLOW, LONG = 8, 1.0  # a way that takes longer, in plain steps and in seconds, is timed only twice
SAMPLE = 0.1  # seconds that a sample of a fast way lasts, by repeating it

CLOCKS = {"CPU time": time.process_time, "wall time": time.perf_counter}  # CPU time is of all threads


class Times(NamedTuple):
    """Attributes:
    seconds: of one step, by way: one for each round that the way took part in.
    broken: ways that did not work or gave a wrong result, with the reason.
    """

    seconds: dict[Key, list[float]]
    broken: dict[Key, str]

    def median(self, key: Key) -> float:
        return statistics.median(self.seconds[key])

    def ratio(self, key: Key, base: Key) -> float:
        """Median over the rounds of the way's time over the base's in the same round; of medians for a slow way."""
        mine, other = self.seconds[key], self.seconds[base]
        if len(mine) != len(other):
            return self.median(key) / self.median(base)
        return statistics.median(a / b for a, b in zip(mine, other, strict=True))


def checked(
    ways: dict[Key, Callable[[], Any]],
    wrong: Callable[..., str | None],
    exactly: Callable[[Key], Any] | None = None,
) -> tuple[dict[Key, Callable[[], Any]], dict[Key, str]]:
    """Builds each way and runs it once; (those that work, why the others do not). A failure is a result: it is shown.

    Args:
      ways: way -> function that builds it and returns `run`.
      wrong: (way, what its run gave) -> what is wrong with it, or None; a third argument True: it ran within `exactly`.
      exactly: way -> context in which it is built and run once more, before; None: it is not.
    """
    ready, broken = {}, {}
    for key, build in ways.items():
        problem = None
        try:
            if exactly:
                with exactly(key):
                    problem = wrong(key, build()(), True)
            if problem is None:
                run = build()
                problem = wrong(key, run())
        except Exception as error:
            problem = f"does not work: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:110]}"
        if problem is None:
            ready[key] = run
        else:
            broken[key] = problem
    return ready, broken


def by_turns(ready: dict[Key, Callable[[], Any]], base: Key, repeats: int, clock: Callable[[], float]) -> dict:
    """{way: seconds of a step in each round}; each round in a new order, so that no way always follows the same one."""

    def timed(run, count):
        start = clock()
        for _ in range(count):
            run()
        return (clock() - start) / count

    first = {key: timed(run, 1) for key, run in ready.items()}
    slow = {key for key in ready if first[key] > max(SLOW * first[base], LONG)}
    seconds = {key: [first[key]] if key in slow and repeats > 1 else [] for key in ready}
    shuffle = random.Random(0)
    for number in range(repeats):
        for key in shuffle.sample(list(ready), len(ready)):
            if key in slow and number > 0:
                continue
            count = max(1, min(20, int(SAMPLE / max(first[key], 1e-9))))
            if count > 1:
                ready[key]()  # a large way may have emptied the caches before it
            seconds[key].append(timed(ready[key], count))
    return seconds


class Verdict(NamedTuple):
    """Attributes:
    ratio, promised, met: ours over our framework's plain step.
    best, best_ratio: the other way with the least ratio to its own framework's plain step; None without any.
    fastest, fastest_seconds: the other way that takes the least time.
    factor, asked, met_factor: how many times as long as ours the best setting of `against` takes.
    """

    ratio: float
    promised: float
    met: bool
    best: Key | None
    best_ratio: float | None
    fastest: Key | None
    fastest_seconds: float | None
    factor: float | None
    asked: float
    met_factor: bool | None


def judge(
    ratios: dict[Key, float], seconds: dict[Key, float], ours: Key, promised: float, against: str, asked: float
) -> Verdict:
    """The verdict of a case.

    Args:
      ratios: ways that work, plain steps left out: over their own framework's plain step.
      seconds: their medians.
      ours: the way that is judged; others of its side are not its rivals.
      promised: the largest ratio that it may have.
      against: the side that it must not be slower than, in time.
      asked: the least factor of that side's time over ours.
    """
    others = [key for key in ratios if key[0] != ours[0]]
    best = min(others, key=ratios.get, default=None)
    fastest = min(others, key=seconds.get, default=None)
    theirs = [seconds[key] for key in others if key[0] == against]
    factor = min(theirs) / seconds[ours] if theirs else None
    return Verdict(
        ratios[ours],
        promised,
        ratios[ours] <= promised,
        best,
        best and ratios[best],
        fastest,
        fastest and seconds[fastest],
        factor,
        asked,
        None if factor is None else factor >= asked,
    )


def said(found: Verdict, seconds: float, against: str, judged: bool = True) -> list[str]:
    """The verdict in words; `judged` False where the settings are not those of the promise."""

    def kept(met):
        return ("met" if met else "NOT MET") if judged else "not judged at these settings"

    lines = [f"ours {found.ratio:.2f} x, promised <= {found.promised:g} x: {kept(found.met)}"]
    if found.best:
        wins = "ours is less" if found.ratio <= found.best_ratio else f"{found.best[0]} WINS"
        lines.append(f"least ratio of the others: {' '.join(found.best)} {found.best_ratio:.2f} x: {wins}")
    if found.fastest:
        wins = "ours is faster" if seconds <= found.fastest_seconds else f"{found.fastest[0]} WINS"
        name, times = " ".join(found.fastest), f"{1e3 * found.fastest_seconds:.1f} ms to our {1e3 * seconds:.1f}"
        lines.append(f"fastest of the others: {name}, {times}: {wins}")
    if found.factor is not None:
        lines.append(
            f"{against} at its best takes {found.factor:.2f} times as long, asked >= {found.asked:g}: "
            f"{kept(found.met_factor)}"
        )
    return lines


def table(times: Times, base_of: Callable[[Key], Key], best: Key | None = None) -> list[str]:
    """A line for each way: milliseconds and the ratio to its base."""
    lines = []
    for key, seconds in times.seconds.items():
        mark = "   best of the others" if key == best else ""
        ratio = times.ratio(key, base_of(key))
        few = f"   ({len(seconds)} samples)" if len(seconds) < max(map(len, times.seconds.values())) else ""
        lines.append(f"  {key[0]:12}{key[1]:26}{1e3 * times.median(key):11.2f} ms{ratio:9.2f} x{few}{mark}")
    return lines + [f"  {key[0]:12}{key[1]:26}{why}" for key, why in times.broken.items()]


def figures(times: Times, base_of: Callable[[Key], Key]) -> dict[str, Any]:
    """What is written to a file: by way, seconds of every round, their median, and the ratio."""
    return {
        " ".join(key): {"seconds": seconds, "median": times.median(key), "ratio": times.ratio(key, base_of(key))}
        for key, seconds in times.seconds.items()
    } | {" ".join(key): {"broken": why} for key, why in times.broken.items()}
