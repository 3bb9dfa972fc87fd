"""scripts.benchmarks.private: conclusions from figures, and a small run; no test depends on how fast anything is."""

import json

import flax.linen
import pytest

from scripts.benchmarks.cases import timing, with_jax

OURS, GHOST, EACH, SLOW = ("ours", "auto"), ("Opacus", "ghost"), ("jax-privacy", "1"), ("jax-privacy", "all")


def test_verdict_takes_each_rival_at_its_best():
    ratios = {OURS: 1.1, ("ours", "vmap"): 0.5, GHOST: 2.0, EACH: 20.0, SLOW: 900.0}
    seconds = {OURS: 0.011, ("ours", "vmap"): 0.005, GHOST: 0.009, EACH: 0.22, SLOW: 9.0}
    verdict = timing.judge(ratios, seconds, OURS, 1.2, "jax-privacy", 20)
    assert (verdict.met, verdict.best, verdict.best_ratio) == (True, GHOST, 2.0)
    assert (verdict.fastest, verdict.fastest_seconds) == (GHOST, 0.009)
    assert verdict.factor == pytest.approx(20) and verdict.met_factor == (verdict.factor >= 20)
    words = " | ".join(timing.said(verdict, 0.011, "jax-privacy"))
    assert "promised <= 1.2 x: met" in words
    assert "ours is less" in words and "Opacus WINS" in words  # less over its own framework, and yet not the fastest


def test_a_loss_is_said():
    ratios, seconds = {OURS: 1.5, GHOST: 1.4, EACH: 3.0}, {OURS: 0.03, GHOST: 0.04, EACH: 0.02}
    verdict = timing.judge(ratios, seconds, OURS, 1.2, "jax-privacy", 1)
    first, ratio, time, factor = timing.said(verdict, 0.03, "jax-privacy")
    assert first.endswith("NOT MET") and factor.endswith("NOT MET")
    assert ratio.endswith("Opacus WINS") and time.endswith("jax-privacy WINS")
    assert "not judged" in timing.said(verdict, 0.03, "jax-privacy", judged=False)[0]


def test_without_rivals_only_the_promise_is_judged():
    verdict = timing.judge({OURS: 1.2, ("ours", "vmap"): 9.0}, {OURS: 1.0, ("ours", "vmap"): 9.0}, OURS, 1.2, "x", 1)
    assert verdict.met and verdict.best is None and verdict.factor is None
    assert len(timing.said(verdict, 1.0, "x")) == 1


class Machine:
    """A clock that moves only when a way is run, by as much as the way is to take."""

    def __init__(self):
        self.now, self.runs = 0.0, []

    def way(self, name, seconds):
        def run():
            self.runs.append(name)
            self.now += seconds
            return name

        return run


def test_times_are_those_of_a_step_and_slow_ways_are_timed_twice():
    machine = Machine()
    plain, fast, slow = ("JAX", "plain"), ("ours", "fast"), ("ours", "slow")
    ready = {plain: machine.way("p", 0.01), fast: machine.way("f", 0.02), slow: machine.way("s", 3.0)}
    seconds = timing.by_turns(ready, plain, 5, lambda: machine.now)
    assert {key: len(found) for key, found in seconds.items()} == {plain: 5, fast: 5, slow: 2}
    assert machine.runs.count("s") == 2
    times = timing.Times(seconds, {})
    assert times.median(fast) == pytest.approx(0.02)
    assert times.ratio(fast, plain) == pytest.approx(2) and times.ratio(slow, plain) == pytest.approx(300)
    assert "(2 samples)" in timing.table(times, lambda key: plain)[2]


def test_failures_and_wrong_results_are_shown_and_the_others_go_on():
    def fails():
        raise RuntimeError("no rule for this layer\nand more")

    ways = {OURS: lambda: lambda: 1.0, GHOST: lambda: fails, EACH: lambda: lambda: 2.0, SLOW: fails}
    ready, broken = timing.checked(ways, lambda key, found: None if found == 1.0 else "WRONG")
    assert list(ready) == [OURS] and broken[EACH] == "WRONG"
    assert broken[GHOST] == broken[SLOW] == "does not work: RuntimeError: no rule for this layer"
    assert "RuntimeError" in timing.table(timing.Times({OURS: [1.0]}, broken), lambda key: OURS)[1]


def test_a_small_run_of_all_sections_without_peers(tmp_path, monkeypatch, run_script):
    """The script as it is, with a network that compiles in no time."""
    file = tmp_path / "figures.json"
    monkeypatch.setitem(with_jax.MODELS, "MLP", lambda: flax.linen.Dense(10))
    settings = ["--peers=false", "--repeats=1", "--rows=2", "--only=MLP", f"--output={file}"]
    done = run_script("benchmarks/private.py", *settings)
    assert done.returncode == 0, done.stderr
    assert "WRONG" not in done.stdout and "does not work" not in done.stdout
    figures = json.loads(file.read_text())
    assert set(figures["clipping"]["MLP"]["ways"]) == {"JAX plain", "JAX vmap(grad)", "ours auto", "ours vmap"}
    assert set(figures["noise"]["MLP"]["ways"]) >= {"ours threefry", "ours ChaCha20", "ours AES-256"}
    assert figures["poisson"]["MLP"]["ratio"] > 0
    assert figures["memory"]["MLP"]["bytes"]["vmap(grad)"] > 2 * 4 * 7840  # every example's gradient, float32
    assert "torch" not in figures and figures["jax"]


def test_help_and_a_misspelt_case(run_script):
    done = run_script("benchmarks/private.py", "--help")
    assert "--sections" in done.stdout and "pip install -e .[bench,crypto]" in done.stdout
    assert "WRN-16-4" in run_script("benchmarks/private.py", "--only=WRN").stderr
