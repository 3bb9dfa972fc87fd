"""What scripts.benchmarks.private measures of our step alone: Poisson batches, and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import clippings, privacy
from gecko_jax.types import Batch
from scripts.benchmarks.cases.with_jax import CLIP_NORM, Case, compiled, flat, make, naive, ours, plain


def poisson_ways(name: str, rows: int, steps: int) -> tuple[dict[tuple[str, str], Callable[[], Any]], np.ndarray, str]:
    """`steps` gradients each, on Poisson batches and on batches of exactly `rows`; no noise, whose cost is the same.

    Returns:
      ways; the largest batch's clipped sum over `rows`, from its real rows alone; what was drawn, in words.
    """
    n, pool = 60_000, 4096  # n examples to draw from; the number of them that is in memory
    sampling = privacy.poisson(n, rows, 14_063)
    drawn = privacy.draw(sampling, seed=0, first_step=0, steps=steps)
    case = make(name, pool)
    order = np.argsort(drawn.weight.sum(1))  # the last is the largest, and so not empty
    indices, weight = jnp.asarray(drawn.indices[order] % pool), jnp.asarray(drawn.weight[order])
    exact = jnp.asarray(np.random.default_rng(1).integers(0, pool, (steps, rows)))
    counts = drawn.weight.sum(1)[order].astype(int)

    def one(variables, example, key=None):
        return case.one(variables, (example.x, example.y), key)

    def gradient(microbatch):
        nothing = lambda key, tree, std: jax.tree.map(jnp.zeros_like, tree)  # noqa: E731
        rule = clippings.flat(CLIP_NORM)
        gradients = privacy.private_gradients(one, rule, 0.0, rows, microbatch=microbatch, noise=nothing)
        return lambda variables, batch, key: gradients(variables, batch, key)[0]

    def every_slot(variables, batch, key):
        total = privacy.clipped_sum(one, clippings.flat(CLIP_NORM))(variables, batch)[0]
        return jax.tree.map(lambda leaf: leaf / rows, total)

    def built(function, chosen, real):
        def step(variables, data, chosen, real, key):
            return function(variables, Batch(*(leaf[chosen] for leaf in data), real), key)

        key = jax.random.key(0)
        program = compiled(step, case.variables, case.examples, chosen[0], real[0], key)
        batches = [(chosen[t], real[t]) for t in range(steps)]

        def run():
            for each in batches:
                result = jax.block_until_ready(program(case.variables, case.examples, *each, key))
            return result

        return run

    ways = {
        ("ours", "exact size"): lambda: built(gradient(None), exact, jnp.ones((steps, rows))),
        ("ours", "Poisson"): lambda: built(gradient(None), indices, weight),
        ("ours", "Poisson, microbatch 32"): lambda: built(gradient(32), indices, weight),
        ("ours", "Poisson, clipped_sum alone"): lambda: built(every_slot, indices, weight),
    }
    real = indices[-1, : counts[-1]]
    expected = compiled(naive(case), case.variables, tuple(leaf[real] for leaf in case.examples))
    total = expected(case.variables, tuple(leaf[real] for leaf in case.examples))
    words = f"{counts.min()} to {counts.max()} rows, mean {counts.mean():.1f}, in {sampling.cap} slots"
    return ways, flat(total) / rows, words


def memory_of(case: Case, rows: int, most: float) -> tuple[dict[str, int], int, dict[str, Callable[[], Any]]]:
    """Temporary bytes of the ways, bytes of the gradient that all give, and runs of the plain step and of ours.

    Ours: auto, and the microbatch that keeps within `most`. They are tried from the whole batch downwards, until
    temporaries and gradient are at most `most` times the plain step's; if none keeps within it, the least is given.
    """
    gradient = sum(leaf.nbytes for leaf in jax.tree.leaves(case.variables))
    arguments = (case.variables, case.examples)
    sizes, programs = {}, {}

    def measured(way, step):
        programs[way] = compiled(step, *arguments)
        sizes[way] = int(programs[way].memory_analysis().temp_size_in_bytes)

    def run(way):
        return lambda: jax.block_until_ready(programs[way](*arguments))

    measured("plain", plain(case))
    measured("vmap(grad)", naive(case))
    measured("ours, auto", ours(case))
    fits = lambda way: sizes[way] + gradient <= most * (sizes["plain"] + gradient)  # noqa: E731
    tried, microbatch = [], rows
    while microbatch and not (tried and fits(tried[-1])):
        tried.append(f"ours, microbatch {microbatch}")
        measured(tried[-1], ours(case, "bookkeeping", microbatch))
        microbatch = 2 ** ((microbatch - 1).bit_length() - 1) if microbatch > 1 else 0
    best = tried[-1] if fits(tried[-1]) else min(tried, key=sizes.get)
    return sizes, gradient, {way: run(way) for way in ("plain", "ours, auto", best)}
