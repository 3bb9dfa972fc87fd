"""Small models of every kind for the tests of private clipping: by name, a loss of one example, variables, a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from zoo_modules import CLASSES, WIDE, Attention, Bare, Residual, Scanned, Standardized, Tied, Twice, flat, mean

from gecko_jax import losses, models, quantizers
from gecko_jax.privacy.example_loss import example_loss
from gecko_jax.trees import map_named
from gecko_jax.types import Batch


class Case(NamedTuple):
    """A loss of one example (variables, example, key) -> scalar or (scalar, aux), and what to call it with."""

    loss: Any
    variables: Any
    batch: Batch


def rows(*shape, b=5, tokens=0, seed=0):
    """A batch of b normal inputs of a shape, or of tokens in 0..tokens-1."""
    rng = np.random.default_rng([seed, b])
    x = rng.integers(0, tokens, (b, *shape)) if tokens else rng.normal(size=(b, *shape)).astype(np.float32)
    y, teacher = rng.integers(0, CLASSES, b), rng.normal(size=(b, CLASSES)).astype(np.float32)
    return Batch(x, y.astype(np.int32), np.ones(b, np.float32), {"teacher": teacher})


def drawn(init, batch, seed=1):
    """Variables of init's shapes, none at its first value: a bias at 0 hides faults. Nothing is compiled."""
    rng = np.random.default_rng(seed)

    def draw(name, leaf):
        noise = 0.3 * rng.normal(size=leaf.shape)
        if leaf.ndim >= 2:
            return (rng.normal(size=leaf.shape) / np.prod(leaf.shape[:-1]) ** 0.5).astype(np.float32)
        return np.asarray(1 + noise if name.endswith("scale") else 0.5 + noise, np.float32)

    return map_named(draw, dict(jax.eval_shape(init, jax.random.key(0), batch.x[:1])))


def supervised(module, batch):
    """Cross-entropy of a Linen module, in training mode where the module has one."""
    variables = drawn(module.init, batch)

    def loss(variables, example, key):
        logits = module.apply(variables, example.x[None], rngs={} if key is None else {"dropout": key})[0]
        return losses.cross_entropy().apply(logits, example)

    return Case(loss, variables, batch)


def created(model, batch, loss=None):
    """A `types.Model` through `example_loss`."""
    return Case(example_loss(model, loss or losses.cross_entropy()), drawn(model.init, batch), batch)


def chain(*layers):
    """Layers and functions one after the other, then the classes."""
    return nn.Sequential([*layers, nn.Dense(CLASSES)])


def wide_residual(base=1, widen=4):
    """A wide residual network of three stages, `base` in place of 16 channels; one block has an identity shortcut."""
    stages = [Residual(base * 2**i * widen, 2 if i and not j else 1) for i, j in ((0, 0), (0, 1), (1, 0), (2, 0))]
    return chain(nn.Conv(2 * base, (3, 3), use_bias=False), *stages, nn.GroupNorm(2), nn.relu, mean)


def plain(function, params, batch):
    """A plain JAX function (params, x) -> logits, without Flax."""

    def loss(params, example, key):
        return losses.cross_entropy().apply(function(params, example.x), example)

    return Case(loss, params, batch)


def arrays(**shapes):
    """Normal parameters of named shapes."""
    rng = np.random.default_rng(2)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def layers_scanned():
    def function(params, x):
        x = lax.scan(lambda x, w: (jnp.tanh(w @ x), None), x, params["stack"])[0]
        return x[:CLASSES] * params["scale"]

    return plain(function, arrays(stack=(3, 4, 4), scale=(1,)), rows(4))


@jax.custom_vjp
def reversing(w, x):
    """A product with a gradient of its own, twice the true one's negative."""
    return w @ x


reversing.defvjp(lambda w, x: (w @ x, (w, x)), lambda kept, g: (-2 * g[:, None] * kept[1][None], -2 * kept[0].T @ g))


def odds():
    """What layers do not do: one matrix from both sides, branches, a gradient of its own, complex numbers, a sort."""

    def function(params, x):
        w = params["w"]
        x = jnp.tanh(w.T @ jnp.tanh(w @ x)) + lax.stop_gradient(w)[0] * x
        x = lax.cond(x[0] > 0, lambda: x * params["gain"], lambda: x - params["gain"])
        x = x + jnp.fft.ifft(params["filter"] * jnp.fft.fft(x)).real
        x = jnp.sort(reversing(params["custom"], x) * params["gain"]).cumsum()
        return x[:CLASSES] * params["one"] / (1 + params["one"] ** 2)

    return plain(function, arrays(w=(4, 4), gain=(4,), filter=(4,), custom=(4, 4), one=()), rows(4))


def by_index():
    """A table read at repeated indices and by negative ones, and the same rows as numbers."""

    def function(params, x):
        return jnp.tanh(params["table"][x - 2].sum(axis=0)) * params["scale"]

    return plain(function, arrays(table=(4, CLASSES), scale=(CLASSES,)), rows(6, tokens=4))


def lora():
    """Low-rank factors A and B on a frozen matrix, which stands outside the parameters."""
    drawn = arrays(a=(6, 2), b=(2, WIDE), w=(6, WIDE), head=(WIDE, CLASSES))
    variables = {"params": {n: drawn[n] for n in ("a", "b")}, "base": {n: drawn[n] for n in ("w", "head")}}

    def loss(variables, example, key):
        params, base = variables["params"], variables["base"]
        hidden = example.x @ base["w"] + (example.x @ params["a"]) @ params["b"]
        return losses.cross_entropy().apply(jnp.tanh(hidden) @ base["head"], example)

    return Case(loss, variables, rows(6))


def decayed():
    """A multi-layer perceptron whose loss holds a penalty on the parameters: within the clip, as each example's own."""
    case = CASES["mlp"]()

    def loss(variables, example, key):
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(variables["params"]))
        return case.loss(variables, example, key) + 0.1 * squares

    return case._replace(loss=loss)


def penalty():
    """Nothing but a penalty: the loss sees no data, and each example's gradient is the same."""
    return Case(lambda params, example, key: jnp.sum(params["w"] ** 3), arrays(w=(3, 2)), rows(4))


def unused():
    """A parameter that the loss does not read, and one that only the auxiliary result reads."""

    def loss(params, example, key):
        logits = example.x @ params["used"]
        return losses.cross_entropy().apply(logits, example), logits * params["seen"]

    return Case(loss, arrays(used=(4, CLASSES), unread=(2, 2), seen=(CLASSES,)), rows(4))


def quantized(rules, **options):
    return models.quantized(models.create("mlp", CLASSES, hidden=(WIDE, WIDE), activation="identity", **options), rules)


BINARY, XNOR, FOUR_BITS = quantizers.binary(), quantizers.xnor(), quantizers.uniform(4)

CASES = {
    "mlp": lambda: supervised(chain(nn.Dense(WIDE), jnp.tanh), rows(6)),
    "cnn": lambda: supervised(
        chain(nn.Conv(3, (3, 3)), nn.relu, lambda x: nn.max_pool(x, (2, 2), (2, 2)), nn.Conv(4, (3, 3)), flat),
        rows(6, 6, 2),
    ),
    "conv_1d": lambda: supervised(
        chain(nn.Conv(4, 3, 2, kernel_dilation=2), nn.Conv(4, 3, kernel_dilation=2, feature_group_count=2), mean),
        rows(9, 1),
    ),
    "conv_2d": lambda: supervised(
        chain(
            nn.Conv(4, (3, 2), (2, 1), "VALID", kernel_dilation=(1, 2)),
            nn.Conv(6, (2, 2), feature_group_count=2),
            nn.Conv(6, (2, 2), 2, feature_group_count=6),
            nn.ConvTranspose(2, (2, 2), (2, 2)),
            flat,
        ),
        rows(7, 5, 3),
    ),
    "gru": lambda: supervised(chain(nn.RNN(nn.GRUCell(3)), mean), rows(4, 2)),
    "scanned": lambda: supervised(Scanned(), rows(WIDE)),
    "layers_scanned": layers_scanned,
    "remat": lambda: supervised(chain(nn.remat(nn.Dense)(WIDE), jnp.tanh, nn.remat(nn.LayerNorm)()), rows(6)),
    "lora": lora,
    "standardized": lambda: supervised(chain(Standardized(), mean), rows(4, 4, 2)),
    "wide_residual": lambda: supervised(wide_residual(), rows(8, 8, 3)),
    "ghosts": lambda: supervised(
        chain(nn.Conv(WIDE, (3, 3), padding="VALID"), jnp.tanh, nn.Dense(WIDE), jnp.tanh, mean), rows(4, 3, 3)
    ),
    "dropout": lambda: supervised(chain(nn.Dense(WIDE), nn.Dropout(0.5, deterministic=False)), rows(6)),
    "transformer": lambda: supervised(Attention(), rows(5, tokens=7)),
    "tied": lambda: supervised(Tied(), rows(4, tokens=CLASSES)),
    "twice": lambda: supervised(Twice(), rows(4, 2)),
    "bare": lambda: supervised(Bare(), rows(4)),
    "plain": lambda: plain(lambda p, x: jnp.tanh(x @ p["w"] + p["b"])[:CLASSES], arrays(w=(4, 5), b=(5,)), rows(4)),
    "odds": odds,
    "by_index": by_index,
    "decayed": decayed,
    "penalty": penalty,
    "unused": unused,
    "binary": lambda: created(quantized([("dense", BINARY, BINARY)]), rows(6)),
    "xnor": lambda: created(quantized([("dense", XNOR, quantizers.xnor_input(scaling=True))]), rows(6)),
    "four_bits": lambda: created(quantized([(".", FOUR_BITS, quantizers.uniform(4, max_abs=2.0))]), rows(6)),
    "quadratic": lambda: created(models.create("mlp", CLASSES, hidden=(WIDE,), activation="quadratic"), rows(6)),
    "student": lambda: created(
        models.create("mlp", CLASSES, hidden=(WIDE,)), rows(6), losses.symmetric_cross_entropy()
    ),
}
