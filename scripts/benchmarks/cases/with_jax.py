"""The models of scripts.benchmarks.private in Flax, and the ways to a clipped step in JAX.

A way is a function without arguments that compiles and returns `run`; `run()` does one step and waits for its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import clippings, privacy
from gecko_jax.types import Batch

CLIP_NORM = 1.0
RATE = 0.1  # learning rate
PEER = "jax-privacy"
MICROBATCHES = (None, 1, 16)  # of jax-privacy


class Mlp(nn.Module):
    """784-512-512-10."""

    @nn.compact
    def __call__(self, x):
        for width in (512, 512):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(10)(x)


class Cnn(nn.Module):
    """Two convolutions of 16 and 32 channels with tanh: the network of the MNIST experiments under DP."""

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.tanh(nn.Conv(16, (8, 8), strides=(2, 2), padding=2)(x)), (2, 2), (1, 1))
        x = nn.max_pool(nn.tanh(nn.Conv(32, (4, 4), strides=(2, 2), padding="VALID")(x)), (2, 2), (1, 1))
        x = nn.tanh(nn.Dense(32)(x.reshape(x.shape[0], -1)))
        return nn.Dense(10)(x)


class Transformer(nn.Module):
    """Four blocks of width 128 on 64 tokens, normalized before each half, mean over the tokens at the end."""

    @nn.compact
    def __call__(self, tokens):
        places = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
        x = nn.Embed(1000, 128)(tokens) + nn.Embed(64, 128)(places)
        for _ in range(4):
            x = x + nn.MultiHeadDotProductAttention(4)(nn.LayerNorm()(x))
            x = x + nn.Dense(128)(nn.gelu(nn.Dense(512)(nn.LayerNorm()(x))))
        return nn.Dense(10)(nn.LayerNorm()(x).mean(1))


class WideResNet(nn.Module):
    """WRN-16-4, GroupNorm in the place of BatchNorm (De et al. 2022)."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3), use_bias=False)(x)
        for group, width in enumerate((64, 128, 256)):
            for block in range(2):
                strides = (2, 2) if group and not block else (1, 1)
                y = nn.relu(nn.GroupNorm(16)(x))
                x = x if block else nn.Conv(width, (1, 1), strides=strides, use_bias=False)(y)
                y = nn.Conv(width, (3, 3), strides=strides, use_bias=False)(y)
                x = x + nn.Conv(width, (3, 3), use_bias=False)(nn.relu(nn.GroupNorm(16)(y)))
        return nn.Dense(10)(nn.relu(nn.GroupNorm(16)(x)).mean((1, 2)))


MODELS = {"MLP": Mlp, "CNN": Cnn, "transformer": Transformer, "WRN-16-4": WideResNet}


def inputs(name: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """x, y of one case, the same for every framework; images are NHWC."""
    draws = np.random.default_rng(0)
    if name == "transformer":
        x = draws.integers(0, 1000, (rows, 64)).astype(np.int32)
    else:
        shape = {"MLP": (784,), "CNN": (28, 28, 1), "WRN-16-4": (32, 32, 3)}[name]
        x = draws.random((rows, *shape), np.float32)
    return x, draws.integers(0, 10, rows).astype(np.int32)


class Case(NamedTuple):
    """Attributes:
    variables: start of the model.
    examples: (x, y), leading axis [rows].
    one: loss of one example: (variables, (x, y), key) -> scalar.
    mean: the same as a plain mean over a batch: (variables, (x, y)) -> scalar.
    """

    variables: Any
    examples: tuple[Any, Any]
    one: Callable[..., Any]
    mean: Callable[..., Any]


def make(name: str, rows: int) -> Case:
    model = MODELS[name]()
    x, y = (jnp.asarray(each) for each in inputs(name, rows))

    def one(variables, example, key=None):
        del key
        return -jax.nn.log_softmax(model.apply(variables, example[0][None])[0])[example[1]]

    def mean(variables, examples):
        scores = jax.nn.log_softmax(model.apply(variables, examples[0]))
        return -jnp.mean(jnp.take_along_axis(scores, examples[1][:, None], 1))

    return Case(jax.jit(model.init)(jax.random.key(0), x[:1]), (x, y), one, mean)


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    return jax.jit(function).lower(*arguments).compile()


def runner(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    program = compiled(function, *arguments)
    return lambda: jax.block_until_ready(program(*arguments))


def naive(case: Case) -> Callable[..., Any]:
    """What one writes first, and the oracle of the others: every example's gradient, its norm, the weighted sum."""

    def step(variables, examples):
        each = jax.vmap(jax.grad(case.one), (None, 0))(variables, examples)
        norms = jnp.sqrt(sum(jnp.sum(leaf.reshape(len(leaf), -1) ** 2, 1) for leaf in jax.tree.leaves(each)))
        factors = jnp.minimum(1.0, CLIP_NORM / jnp.maximum(norms, 1e-30))
        return jax.tree.map(lambda leaf: jnp.tensordot(factors, leaf, 1), each)

    return step


def reference(case: Case) -> Any:
    """The clipped sum of the case by `naive`, with products in float32 on every device."""
    with jax.default_matmul_precision("float32"):
        return runner(naive(case), case.variables, case.examples)()


def ours(case: Case, method: str = "auto", microbatch: int | None = None) -> Callable[..., Any]:
    total = privacy.clipped_sum(case.one, clippings.flat(CLIP_NORM), method, microbatch)

    def step(variables, examples, weight=None):
        total_gradient = total(variables, examples, weight=weight)[0]
        return {"params": total_gradient}  # as the gradient of the variables, which is what the others give

    return step


def peer(case: Case, microbatch: int | None) -> Callable[..., Any]:
    from jax_privacy import clipping

    return clipping.clipped_grad(
        case.one, l2_clip_norm=CLIP_NORM, batch_argnums=1, keep_batch_dim=False, microbatch_size=microbatch
    )


def plain(case: Case) -> Callable[..., Any]:
    return jax.grad(case.mean)


def label(microbatch: int | None) -> str:
    return "all at once" if microbatch is None else f"microbatch {microbatch}"


def clipping_ways(case: Case, peers: bool) -> dict[tuple[str, str], Callable[[], Any]]:
    """{(side, way): compile -> run}, the plain step first and the oracle second."""
    steps = {
        ("JAX", "plain"): lambda: plain(case),
        ("JAX", "vmap(grad)"): lambda: naive(case),
        ("ours", "auto"): lambda: ours(case),
        ("ours", "vmap"): lambda: ours(case, "vmap"),
    }
    if peers:
        steps |= {(PEER, label(m)): lambda m=m: peer(case, m) for m in MICROBATCHES}
    return {key: lambda make=make: runner(make(), case.variables, case.examples) for key, make in steps.items()}


def noise_ways(case: Case, multiplier: float, peers: bool) -> dict[tuple[str, str], Callable[[], Any]]:
    """Whole steps with SGD; `run()` gives (gradient that was stepped along, new variables)."""
    x, y = case.examples
    size = len(y)

    def sgd(variables, gradient):
        return gradient, jax.tree.map(lambda leaf, slope: leaf - RATE * slope, variables, gradient)

    def private(noise_multiplier, noise):
        def one(variables, example, key=None):
            return case.one(variables, (example.x, example.y), key)

        rule = clippings.flat(CLIP_NORM)
        gradients = privacy.private_gradients(one, rule, noise_multiplier, size, noise=noise)

        def step(variables, examples, weight, key):
            total_gradient = gradients(variables, Batch(*examples, weight), key)[0]
            return sgd(variables, {"params": total_gradient})

        return step

    def theirs(microbatch):
        from jax_privacy import clipping, noise_addition

        summed = clipping.clipped_grad(
            case.one, l2_clip_norm=CLIP_NORM, keep_batch_dim=False, normalize_by=size, microbatch_size=microbatch
        )

        def step(variables, examples, weight, key):
            del weight
            noise = noise_addition.gaussian_privatizer(stddev=multiplier * summed.sensitivity(), prng_key=key)
            gradient = summed(variables, examples)
            return sgd(variables, noise.update(gradient, noise.init(variables))[0])

        return step

    def without(variables, examples, weight, key):
        del weight, key
        return sgd(variables, jax.grad(case.mean)(variables, examples))

    nothing = lambda key, tree, std: jax.tree.map(jnp.zeros_like, tree)  # noqa: E731
    steps = {
        ("JAX", "plain"): lambda: without,
        ("ours", "without noise"): lambda: private(0.0, nothing),
        ("ours", "threefry"): lambda: private(multiplier, privacy.gaussian),
        ("ours", "ChaCha20"): lambda: private(multiplier, privacy.chacha_gaussian),
        ("ours", "AES-256"): lambda: private(multiplier, privacy.secure_gaussian(privacy.aes_words())),
    }
    if peers:
        steps |= {(PEER, label(m)): lambda m=m: theirs(m) for m in MICROBATCHES}
    arguments, keys = (case.variables, case.examples, jnp.ones(size)), {("ours", "ChaCha20"): privacy.secret_key()}
    return {
        way: lambda way=way, make=make: runner(make(), *arguments, keys.get(way, jax.random.key(1)))
        for way, make in steps.items()
    }
