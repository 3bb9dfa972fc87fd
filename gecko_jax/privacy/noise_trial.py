"""Tries a user's noise function once, before epsilon is computed, because the accountant cannot see what it draws.

The function runs as in training, compiled, on a fixed number of draws. Tested are shapes and types, mean 0, the
standard deviation at two scales, the normal distribution, and independence of keys, leaves and entries. Independent
Gaussian noise fails once in 1e9 trials.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.privacy.cipher_keys import key_of_seed, needs_cipher

Noise = Callable[[Any, Any, Any], Any]

MAX_FALSE_ALARM = 1e-11  # probability that one of some hundred comparisons fails for correct noise
# With kernels of convolutions: a function may repeat the noise of a matrix over space.
SHAPES = {"a": (120, 50), "b": (120, 50), "c": (257,), "d": (), "e": (5, 5, 8, 12), "f": (7, 40, 2), "g": (1,)}
SCALES = (1.0, 4.0)
_TRIED: dict[tuple[int, float, bool], Noise] = {}
MAX_TRIED = 64


def try_noise(noise: Noise, std: float, traced: bool = False) -> None:
    """Tries a noise function, unless the same has passed before.

    Args:
      noise: (key, tree, std) -> noise, as `privacy.gaussian`.
      std: a standard deviation that training will ask for; four times that is tried, too.
      traced: whether training passes a traced one, as with adaptive rules; else a Python float.

    Raises:
      ValueError: noise of another structure, shape, mean, spread or distribution; the same noise for two keys; leaves
        or entries that are not independent.
    """
    if (id(noise), std, traced) in _TRIED:
        return

    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # outside of any trace around this call
        thread.submit(_try, noise, std, traced).result()
    _TRIED[id(noise), std, traced] = noise  # a reference, so that no other function gets its id
    if len(_TRIED) > MAX_TRIED:
        del _TRIED[next(iter(_TRIED))]


def _try(noise: Noise, std: float, traced: bool) -> None:
    def draw(key, trees, stds):
        return [noise(key, tree, s) for tree, s in zip(trees, stds, strict=True)]

    stds = tuple(float(np.float32(std * scale)) for scale in SCALES)
    # The noise must not depend on the sums: one of the trees is far from 0.
    trees = [{name: np.full(shape, 100 * i * s, np.float32) for name, shape in SHAPES.items()}
             for i, s in enumerate(stds)]  # fmt: skip
    # The programs run only twice: without LLVM's optimizations, on a CPU, they compile faster.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    function = draw if traced else lambda key, trees: draw(key, trees, stds)
    compiled = jax.jit(function, compiler_options=options)
    rest = ([np.float32(s) for s in stds],) if traced else ()
    make_key, drawn = key_of_seed if needs_cipher(noise) else jax.random.key, []
    for seed in (7, 8):
        for tree, noised, s in zip(trees, compiled(make_key(seed), trees, *rest), stds, strict=True):
            _check_like(noised, tree, s)
            drawn.append({name: np.asarray(leaf, np.float64) / s for name, leaf in noised.items()})
    for noised, s in zip(drawn, stds * 2, strict=True):
        _check_normal(noised, s)
    _check_unrelated(drawn, stds)
    _check_side_by_side(noise, stds[0], jax.random.split(make_key(9), 2), options)


def _refuse(std: float, what: str) -> None:
    raise ValueError(
        f"noise: asked for standard deviation {std:.6g}, this function gives {what}. The accountant prices independent "
        "Gaussian noise of the standard deviation asked for, new for every key: use privacy.gaussian, "
        "privacy.chacha_gaussian or privacy.secure_gaussian(source), or wrap them."
    )


def _check_side_by_side(noise: Noise, std: float, keys: Any, options: dict[str, Any] | None) -> None:
    """Checks that models that train side by side, each with its own key, get different noise, callbacks or not."""
    tree = {"a": np.zeros(SHAPES["a"], np.float32)}
    try:
        one, other = jax.jit(jax.vmap(lambda key: noise(key, tree, std)), compiler_options=options)(keys)["a"]
    except Exception:  # no batching rule: such noise serves one model at a time, and raises otherwise
        return
    if _related(np.ravel(one) / std, np.ravel(other) / std):
        _refuse(std, "the same noise for two models that are trained side by side")


def _check_like(noised: Any, tree: Any, std: float) -> None:
    if jax.tree.structure(noised) != jax.tree.structure(tree):
        _refuse(std, f"a tree {jax.tree.structure(noised)} for one of {jax.tree.structure(tree)}")
    for name, leaf in tree.items():
        other = noised[name]
        if jnp.shape(other) != leaf.shape:
            _refuse(std, f"an array of shape {jnp.shape(other)} for one of {leaf.shape}")
        if not jnp.issubdtype(other.dtype, jnp.floating) or jnp.finfo(other.dtype).nmant < 23:
            _refuse(std, f"an array of dtype {other.dtype}, which is rounded more coarsely than the float32 sum")
        if not np.isfinite(np.asarray(other)).all():
            _refuse(std, "values that are NaN or infinite")


def _check_normal(noised: dict[str, np.ndarray], std: float) -> None:
    """Checks mean, spread and distribution of all values, and of each axis's means, which show repeated values."""
    from scipy import stats

    everything = np.concatenate([leaf.ravel() for leaf in noised.values()])
    _check_spread(everything, std, "in all")
    for leaf in noised.values():
        _check_spread(leaf.ravel(), std, "in one leaf")
        for axis in range(leaf.ndim) if leaf.ndim > 1 else ():
            means = leaf.mean(axis).ravel() * np.sqrt(leaf.shape[axis])
            _check_spread(means, std, "in the means along an axis, so that entries are not independent:")
    distance, chance = stats.kstest(everything, "norm")
    if chance < MAX_FALSE_ALARM:
        _refuse(std, f"values that are not normally distributed (Kolmogorov-Smirnov distance {distance:.3g})")
    largest = np.abs(everything).max()
    if len(everything) * np.log1p(-2 * stats.norm.sf(largest)) < np.log(MAX_FALSE_ALARM):
        _refuse(std, f"no value beyond {largest:.3g} standard deviations among {len(everything):,}: its tails are cut")
    if len(np.unique(everything)) < 0.99 * len(everything):
        _refuse(std, f"only {len(np.unique(everything)):,} different values among {len(everything):,}")


def _check_spread(values: np.ndarray, std: float, where: str) -> None:
    from scipy import stats

    n, squares = len(values), np.sum(values**2)
    if not stats.chi2.ppf(MAX_FALSE_ALARM, n) < squares < stats.chi2.isf(MAX_FALSE_ALARM, n):
        _refuse(std, f"{std * np.sqrt(squares / n):.6g} (root mean square, {where} {n:,} values)")
    mean = values.mean()
    if abs(mean) > stats.norm.isf(MAX_FALSE_ALARM) / np.sqrt(n):
        _refuse(std, f"a mean of {std * mean:.6g} ({where} {n:,} values) instead of 0")


def _check_unrelated(drawn: list[dict[str, np.ndarray]], stds: tuple[float, ...]) -> None:
    """Checks that leaves of one draw, one leaf under two keys, and shifted copies of a leaf are not correlated."""
    count = len(stds)
    for number, noised in enumerate(drawn):
        std = stds[number % count]
        flat = {name: leaf.ravel() for name, leaf in noised.items()}
        for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
            if _related(flat[one], flat[other]):
                _refuse(std, "leaves that are not independent of each other")
        for lag in (1, 2, 50, 3000):
            if _related(flat["a"][lag:], flat["a"][:-lag]):
                _refuse(std, "entries that are not independent of each other")
    for first, second, s in zip(drawn[:count], drawn[count:], stds, strict=True):
        for name in ("a", "b", "c"):
            if _related(first[name].ravel(), second[name].ravel()):
                _refuse(s, "the same noise for two different keys, so that two steps share it")


def _related(one: np.ndarray, other: np.ndarray) -> bool:
    """Tells whether two samples of standard normals are correlated: whether their products' mean is not 0."""
    from scipy import stats

    n = min(len(one), len(other))
    return abs(np.mean(one[:n] * other[:n])) * np.sqrt(n) > 1.3 * stats.norm.isf(MAX_FALSE_ALARM)
