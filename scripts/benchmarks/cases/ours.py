"""What scripts.benchmarks.private measures of our step alone: Poisson batches, and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax import clippings, privacy
from gecko_jax.privacy.per_example.rows import sizes
from gecko_jax.training.segments import divide, segments
from gecko_jax.types import Batch
from scripts.benchmarks.cases.timing import Key
from scripts.benchmarks.cases.with_jax import CLIP_NORM, Case, compiled, flat, make, naive, ours, plain, reference


class PoissonCase(NamedTuple):
    """Attributes:
    ways: `steps` gradients each, on Poisson batches and on batches of the mean size.
    expected: the largest batch's clipped sum over the mean size, from its real rows alone.
    drawn: what was drawn, in words.
    slots: mean slots that a step computes over the mean size, by way: counted, not timed.
    """

    ways: dict[Key, Callable[[], Any]]
    expected: np.ndarray
    drawn: str
    slots: dict[Key, float]


def poisson_case(name: str, rows: int, steps: int, on_cpu: bool) -> PoissonCase:
    """Builds gradients of Poisson batches and of batches of exactly `rows`; no noise, whose cost is the same.

    On an accelerator all steps of a size are one program: to start each alone would take longer than to compute it.
    """
    n, pool = 60_000, 4096  # n examples to draw from; the number of them that is in memory
    sampling = privacy.poisson(n, rows, 14_063)
    drawn = privacy.draw(sampling, seed=0, first_step=0, steps=steps)
    case = make(name, pool)
    largest = drawn.weight.sum(1).argmax()
    order = [*(step for step in range(steps) if step != largest), largest]  # the last is not empty
    indices, weight = drawn.indices[order] % pool, drawn.weight[order]
    counts = weight.sum(1).astype(int)
    exact = np.random.default_rng(1).integers(0, pool, (steps, rows))
    ones = np.ones((steps, rows), np.float32)

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

    whole_run = [(0, steps, None)]
    in_segments = list(segments(weight[None], divide(sampling, steps, 1)))
    separate = [(step, step + 1, None) for step in range(steps)]

    def built(function, chosen, real, division):
        def step(variables, data, chosen, real, key):
            return function(variables, Batch(*(leaf[chosen] for leaf in data), real), key)

        def several(*arguments):
            variables, data, chosen, real, key = arguments
            start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(first, *arguments))
            body = lambda before, batch: (step(variables, data, *batch, key), None)  # noqa: E731
            return lax.scan(body, start, (chosen, real))[0]

        def first(variables, data, chosen, real, key):
            return step(variables, data, chosen[0], real[0], key)

        key = jax.random.key(0)
        parts = [(jnp.asarray(chosen[a:b, :c]), jnp.asarray(real[a:b, :c])) for a, b, c in division]
        make_program = lambda part: compiled(first if on_cpu else several, case.variables, case.examples, *part, key)  # noqa: E731
        programs = {part[0].shape: make_program(part) for part in parts}

        def run():
            for part in parts:
                result = programs[part[0].shape](case.variables, case.examples, *part, key)
                if on_cpu:
                    jax.block_until_ready(result)
            return jax.block_until_ready(result)

        return run

    division = separate if on_cpu else whole_run
    ways = {
        ("ours", "exact size"): lambda: built(gradient(None), exact, ones, division),
        ("ours", "Poisson"): lambda: built(gradient(None), indices, weight, division),
        ("ours", "Poisson, microbatch 32"): lambda: built(gradient(32), indices, weight, division),
        ("ours", "Poisson, clipped_sum alone"): lambda: built(every_slot, indices, weight, division),
    }
    if not on_cpu:
        ways["ours", "Poisson, in segments"] = lambda: built(gradient(None), indices, weight, in_segments)
    choices = np.array(sizes(rows, sampling.cap))
    slots = {
        ("ours", "Poisson"): choices[np.searchsorted(choices, counts)].mean() / rows,
        ("ours", "Poisson, clipped_sum alone"): sampling.cap / rows,
        ("ours", "Poisson, in segments"): sum((b - a) * c for a, b, c in in_segments) / steps / rows,
    }
    real = jnp.asarray(indices[-1, : counts[-1]])
    examples = tuple(leaf[real] for leaf in case.examples)
    total = reference(case._replace(examples=examples))
    words = f"{counts.min()} to {counts.max()} rows, mean {counts.mean():.1f}, in {sampling.cap} slots"
    return PoissonCase(ways, flat(total) / rows, words, slots)


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
