"""No training switch is guessed: each spelling acts when it is named, and is an error that lists it when it is not."""

from __future__ import annotations

from typing import Any, Optional

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models

KEY, X = jax.random.key(0), jnp.asarray(np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))


def body(x, train):
    x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    return nn.Dropout(0.5, deterministic=not train)(x)


def spelled(annotation, in_training, default=False, keyword_only=False):
    """A module whose switch is written as in `annotation`: its class, and its source."""
    star = "*, " if keyword_only else ""
    ending = "" if default is None else f" = {default}"
    scope = {"nn": nn, "body": body, "Optional": Optional, "jnp": jnp}
    name = annotation.split(":")[0]
    exec(  # noqa: S102  (the switch's name is what is tested)
        "class Net(nn.Module):\n  @nn.compact\n"
        f"  def __call__(self, x, {star}{annotation}{ending}):\n    return body(x, {name} == {in_training})\n",
        scope,
    )
    return scope["Net"]()


SPELLINGS = [
    ("is_train", True), ("is_train: bool", True), ("is_train: 'bool'", True), ("inference", False), ("eval", False),
    ("enable_dropout: bool", True), ("evaluate: bool", False), ("isTraining: bool", True), ("testing", False),
    ("update_stats: bool", True), ("is_eval: Optional[bool]", False), ("noisy: bool | None", True),
]  # fmt: skip


def acts(model):
    """Whether BatchNorm updates and dropout drops in training, and neither does in evaluation."""
    variables = model.init(KEY, X)
    plain, nothing = model.apply(variables, X, key=KEY)
    trained, updates = model.apply(variables, X, key=KEY, train=True)
    mean = updates["batch_stats"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(mean, 0.1 * X.mean(0), rtol=1e-4, atol=1e-6)
    assert nothing == {} and 0.3 < (np.asarray(trained) == 0).mean() < 0.7
    np.testing.assert_allclose(plain, X / np.sqrt(1 + 1e-5), rtol=1e-4)
    return True


@pytest.mark.parametrize("keyword_only", [False, True])
@pytest.mark.parametrize("annotation, in_training", SPELLINGS)
def test_a_spelling_is_an_error_until_it_is_named(annotation, in_training, keyword_only):
    name = annotation.split(":")[0]
    net = spelled(annotation, in_training, str(not in_training), keyword_only)
    with pytest.raises(ValueError, match=rf"Net.__call__ has arguments that may be .*: {name}\. .*train_argument="):
        models.from_linen(net)
    assert acts(models.from_linen(net, train_argument={name: in_training}))
    if name != "update_stats" or in_training:
        assert acts(models.from_linen(net, train_argument=name))


@pytest.mark.parametrize("default", ["None", "0", "np.bool_(False)", None])
def test_defaults_that_hide_a_switch(default):
    default = "jnp.bool_(False).item()" if default == "np.bool_(False)" else default
    net = spelled("is_train", True, default)
    with pytest.raises(ValueError, match="may be training switches.*: is_train"):
        models.from_linen(net)
    assert acts(models.from_linen(net, train_argument="is_train"))


class Second(nn.Module):
    """A second switch beside the first, both of known names."""

    @nn.compact
    def __call__(self, x, train: bool = False, deterministic: bool = True):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dropout(0.5, deterministic=deterministic)(x)


class Third(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False, drop: bool = False):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dropout(0.5, deterministic=not drop)(x)


def test_a_second_switch():
    assert acts(models.from_linen(Second()))
    with pytest.raises(ValueError, match=r"may be training switches.*: drop\."):
        models.from_linen(Third())
    assert acts(models.from_linen(Third(), train_argument="drop"))  # the known one goes on by itself
    assert acts(models.from_linen(Third(), train_argument={"train": True, "drop": True}))


class Field(nn.Module):
    train: bool = False
    width: int = 3

    @nn.compact
    def __call__(self, x):
        return body(x, self.train)


class OptionalSwitch(nn.Module):
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x, deterministic: bool | None = None):
        return body(x, not nn.merge_param("deterministic", self.deterministic, deterministic))


def test_switches_that_are_fields():
    with pytest.raises(ValueError, match="Field has fields that may be .*train=False.*train_argument={'train': True}"):
        models.from_linen(Field())
    assert acts(models.from_linen(Field(), train_argument="train"))
    assert acts(models.from_linen(OptionalSwitch()))
    assert acts(models.from_linen(OptionalSwitch(deterministic=True), train_argument="deterministic"))
    with pytest.raises(ValueError, match="OptionalSwitch has fields .*deterministic=True"):
        models.from_linen(OptionalSwitch(deterministic=True))
    fixed = models.from_linen(OptionalSwitch(deterministic=True), train_argument={"deterministic": (True, True)})
    variables = fixed.init(KEY, X)
    np.testing.assert_array_equal(fixed.apply(variables, X, key=KEY, train=True)[0], fixed.apply(variables, X)[0])


class Mode(nn.Module):
    mode: str = "eval"

    @nn.compact
    def __call__(self, x):
        return body(x, self.mode == "train")


class Phase(nn.Module):
    @nn.compact
    def __call__(self, x, phase="test"):
        return body(x, phase == "train")


@pytest.mark.parametrize("net, name", [(Mode(), "mode"), (Phase(), "phase")])
def test_a_mode_is_told_by_words(net, name):
    with pytest.raises(ValueError, match=rf"train_argument={{'{name}': \('train', 'eval'\)}}"):
        models.from_linen(net)
    for answer in (name, {name: True}):
        with pytest.raises(ValueError, match=rf"train_argument\['{name}'\]=True must be a pair of words"):
            models.from_linen(net, train_argument=answer)
    assert acts(models.from_linen(net, train_argument={name: ("train", "eval")}))


class Waiting(nn.Module):
    layer: nn.Module

    @nn.compact
    def __call__(self, x):
        return self.layer(x)


@pytest.mark.parametrize(
    "layer, name", [(nn.Dropout(0.5), "deterministic"), (nn.BatchNorm(), "use_running_average"),
                    (nn.Sequential([nn.tanh, nn.Dropout(0.5)]), "deterministic")],
)  # fmt: skip
def test_a_layer_that_waits_for_a_switch_is_explained(layer, name):
    for call in (
        lambda: models.from_linen(Waiting(layer)).init(KEY, X),
        lambda: models.from_linen(Waiting(layer)).apply({"params": {}}, X, train=True),
    ):
        message = f"a layer of Waiting waits for {name}.* write it in the module as {name}=not"
        with pytest.raises(ValueError, match=message):
            call()


class Forwarding(nn.Module):
    net: nn.Module

    def __call__(self, x, **options):
        return self.net(x, **options)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return body(x, train)


def test_switches_behind_options_of_any_name():
    with pytest.raises(ValueError, match="Forwarding.__call__ takes ..options, which may hold a training switch"):
        models.from_linen(Forwarding(Net()))
    inner = models.from_linen(Forwarding(Net()), train_argument="train")
    variables = inner.init(KEY, X)
    moved = inner.apply(variables, X, key=KEY, train=True)[1]["batch_stats"]["net"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(moved, 0.1 * X.mean(0), rtol=1e-4, atol=1e-6)
    models.from_linen(Forwarding(nn.Dense(3)), train_argument={})


def test_a_sequential_passes_switches_to_its_first_layer_alone():
    model = models.from_linen(nn.Sequential([Net(), nn.Dense(3)]))
    moved = model.apply(model.init(KEY, X), X, key=KEY, train=True)[1]["batch_stats"]["layers_0"]["BatchNorm_0"]
    np.testing.assert_allclose(moved["mean"], 0.1 * X.mean(0), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="no switch on to its layer 1, Net, which takes train"):
        models.from_linen(nn.Sequential([nn.Dense(3), Net()]))
    with pytest.raises(ValueError, match="guess: is_train"):
        models.from_linen(nn.Sequential([spelled("is_train", True), nn.Dense(3)]))
    models.from_linen(nn.Sequential([nn.Dense(3), nn.relu, nn.Dropout(0.5, deterministic=True)]))
    models.from_linen(nn.Sequential([jnp.tanh, nn.Dense(3)]))


class Extra(nn.Module):
    @nn.compact
    def __call__(self, x, memory, causal: bool = True, mode="train", scale: float = 1.0, mask: Any = None):
        return body(x * scale, mode == "train") + memory * causal


def test_other_arguments_are_named():
    with pytest.raises(ValueError, match="guess: causal, mode; that have no default: memory"):
        models.from_linen(Extra())
    answers = {"memory": (0.0, 0.0), "causal": (True, True), "mode": ("train", "eval")}
    assert acts(models.from_linen(Extra(), train_argument=answers))


class Harmless(nn.Module):
    use_dropout: bool = True
    frozen: bool = True

    @nn.compact
    def __call__(self, x, mask=None, dropout_rate=0.0, constraint=None, interval=2, key=None, act: str = "relu"):
        return nn.Dense(3)(x)


@pytest.mark.parametrize("module", [Harmless(), nn.RNN(nn.GRUCell(3)), nn.MultiHeadDotProductAttention(1), nn.Dense(3)])
def test_what_is_no_switch_passes(module):
    models.from_linen(module)


@pytest.mark.parametrize(
    "answer, said",
    [
        ("is_trian", "train_argument='is_trian' is not known. Did you mean 'is_train'"),
        ({"is_train": 1}, r"train_argument\['is_train'\]=1 must be True or False"),
        (["is_train"], r"train_argument=\['is_train'\] must be a name"),
        ({"width": True}, "train_argument='width' is not known"),
    ],
)
def test_bad_answers_are_named(answer, said):
    with pytest.raises(ValueError, match=said):
        models.from_linen(spelled("is_train", True), train_argument=answer)
    with pytest.raises(ValueError, match="rngs='noise' must be names"):
        models.from_linen(nn.Dense(3), rngs="noise")


class Noisy(nn.Module):
    """Two streams that it draws from, one that it asks for, and dropout."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        zeros = 0 * x
        if not train:
            return zeros
        drawn = [jax.random.normal(self.make_rng(name), x.shape) for name in ("noise", "sample")]
        asked = jax.random.normal(self.make_rng("path"), x.shape) if self.has_rng("path") else zeros
        return jnp.stack([*drawn, asked, nn.Dropout(0.5, deterministic=False)(1 + zeros)])


def test_random_streams_of_any_name():
    model = models.from_linen(Noisy(), rngs=("path",))
    first, same, other = (np.asarray(model.apply({}, X, key=jax.random.key(k), train=True)[0]) for k in (1, 1, 2))
    assert (first == same).all()
    streams = [*first[:3], *other[:3]]
    together = np.abs(np.corrcoef([stream.ravel() for stream in streams]) - np.eye(6))
    assert together.max() < 5 / np.sqrt(X.size)  # none repeats another, from step to step or from stream to stream
    assert not np.asarray(models.from_linen(Noisy()).apply({}, X, key=KEY, train=True)[0])[2].any()  # by has_rng: named
    with pytest.raises(Exception, match="noise"):  # Flax's own error: training without a key
        model.apply({}, X, train=True)


def test_dropout_draws_what_it_drew_before():
    """From the key itself: the streams beside it change nothing."""
    alone = nn.Dropout(0.5, deterministic=False).apply({}, jnp.ones_like(X), rngs={"dropout": KEY})
    model = models.from_linen(nn.Dropout(0.5), rngs=("path", "noise"))
    np.testing.assert_array_equal(model.apply({}, jnp.ones_like(X), key=KEY, train=True)[0], alone)
