"""Saved models come back to the bit, and what is not the saved model is refused."""

from __future__ import annotations

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dying import die_at, points

from gecko_jax import integer, models, quantizers, training
from gecko_jax.trees import named_leaves, take
from gecko_jax.types import Model

X = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
ONE = [("", quantizers.xnor(), quantizers.xnor_input(scaling=True))]


def mlp(**options):
    return models.create("mlp", 3, hidden=(5, 4), **options)


class Own(nn.Module):
    """A user's module, with an input that is a dict, a second output, and statistics."""

    width: int = 3
    activation: str = "relu"

    @nn.compact
    def __call__(self, x, train: bool = False):
        h = nn.Embed(5, self.width, name="embed")(x["tokens"]).mean(1) + nn.Dense(self.width)(x["numbers"])
        h = nn.BatchNorm(use_running_average=not train)(h)
        h = nn.relu(h) if self.activation == "relu" else jnp.tanh(h)
        return {"classes": nn.Dense(2)(h), "number": nn.Dense(1)(h)[:, 0]}


OWN_X = {"tokens": np.array([[0, 1, 4], [2, 2, 3]]), "numbers": X[:2]}
RULES = [("Dense", quantizers.uniform(3), quantizers.uniform(4, max_abs=2.5)), ("embed", quantizers.ternary(0.5))]
CASES = {
    "float": lambda: (mlp(), X, None),
    "quantized": lambda: (models.quantized(mlp(order="xnor", normalize=True, activation="identity"), ONE), X, None),
    "polynomial": lambda: (mlp(activation="quadratic_channel"), X, None),
    "with options": lambda: (
        models.with_rates(
            mlp(activation="polynomial", activation_options={"ascending": (0.5, 1.0)}), {"dense": 0.5, "": 2}
        ), X, None,
    ),
    "averaged": lambda: (training.with_average(mlp(), 0.9), X, "the model"),
    "averaged and quantized": lambda: (training.with_average(models.quantized(mlp(), ONE), 0.9), X, "the model"),
    "lenet": lambda: (models.create("lenet", 2, channels=(2, 2), hidden=3), np.ones((1, 8, 8, 1), np.float32), None),
    "without BatchNorm": lambda: (models.without_batch_norm(mlp(normalize=True), "layer"), X, None),
    "own module": lambda: (models.from_linen(Own()), OWN_X, Own()),
    "own module, quantized": lambda: (models.quantized(models.from_linen(Own()), RULES, ()), OWN_X, Own()),
    "by hand": lambda: (Model(lambda key, x: {"params": {"w": jnp.ones(())}}, lambda v, x, **_: (x * v["params"]["w"],
                        {})), X, "the model"),
}  # fmt: skip


def drawn(model, x, seed=0):
    """Variables of the right shapes and types with random numbers, those of counts and variances above 0."""
    draws = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: np.abs(draws.normal(size=leaf.shape)).astype(leaf.dtype), shapes)


def assert_same(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for (name, leaf), (_, wanted) in zip(named_leaves(tree), named_leaves(expected), strict=True):
        assert leaf.dtype == wanted.dtype, name
        np.testing.assert_array_equal(leaf, wanted, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_what_is_saved_comes_back_to_the_bit(tmp_path, name):
    model, x, given = CASES[name]()
    variables = drawn(model, x)
    models.save(tmp_path, model, variables, x, settings={"a": [1, None]}, arrays={"member": np.eye(2, dtype=bool)})
    saved = models.load(tmp_path, model if given == "the model" else given)
    assert_same(saved.variables, variables)
    run = jax.jit(lambda model, v: model.apply(v, x)[0], static_argnums=0)
    assert_same(run(saved.model, saved.variables), run(model, variables))
    assert saved.settings == {"a": [1, None]} and saved.arrays["member"].tolist() == [[True, False], [False, True]]
    assert saved.model.blueprint == model.blueprint
    assert len(saved.model.after_update) == len(model.after_update) and len(saved.model.rates) == len(model.rates)
    if model.rules:
        assert_same(integer.unpack(integer.pack(saved.model, saved.variables, x)),
                    integer.unpack(integer.pack(model, variables, x)))  # fmt: skip


def test_an_ensemble_in_half_precision_comes_back(tmp_path):
    model = mlp()
    one = [jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), drawn(model, X, seed)) for seed in range(3)]
    variables = jax.tree.map(lambda *rows: np.stack(rows), *one)
    models.save(tmp_path, model, variables, X)
    saved = models.load(tmp_path)
    assert_same(saved.variables, variables)
    assert_same(take(saved.variables, 2), one[2])


@pytest.mark.parametrize("name", sorted(quantizers.QUANTIZERS))
def test_every_quantizer_is_built_again(name):
    quantizer = quantizers.QUANTIZERS[name]()
    assert quantizer.blueprint, f"decorate the factory of {name} with quantizers.base.with_blueprint"
    factory, settings = quantizer.blueprint
    again = factory(**json.loads(json.dumps(dict(settings))))
    assert again.blueprint == quantizer.blueprint and again.name == quantizer.name


def test_rules_keep_their_settings(tmp_path):
    rules = [("dense1", quantizers.uniform(3, max_abs=0.25), None), ("dense2", quantizers.xnor("stopped"), None)]
    model = models.quantized(mlp(), rules, ())
    models.save(tmp_path, model, drawn(model, X), X)
    first, second = models.load(tmp_path).model.rules
    assert first.weight.blueprint == (quantizers.uniform, (("bits", 3), ("max_abs", 0.25)))
    assert second.weight.blueprint == (quantizers.xnor, (("gradient", "stopped"),)) and second.input is None


def test_nothing_of_the_inputs_is_stored(tmp_path):
    model, secret = mlp(), np.full((4, 6), 0.7431, np.float32)
    models.save(tmp_path, model, drawn(model, X), secret)
    for path in tmp_path.iterdir():
        assert secret[0, :1].tobytes() not in path.read_bytes() and b"0.7431" not in path.read_bytes()


def written(folder, run):
    """A run whose every file holds its number."""
    model = mlp()
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, run, leaf.dtype), drawn(model, X))
    packed = integer.encode(integer.pack(model, variables, X))
    models.save(folder, model, variables, X, settings={"run": run}, extra_files={"model.packed": packed})


def run_of(folder):
    """Which run a folder holds, all of its files together; None if it is refused."""
    try:
        saved = models.load(folder)
    except ValueError as error:
        assert "holds no saved model" in str(error) and "\n" not in str(error)
        return None
    values = {float(v) for tree in (saved.variables, integer.read(folder / "model.packed"))
              for leaf in jax.tree.leaves(tree) for v in np.unique(leaf)}  # fmt: skip
    assert values == {float(saved.settings["run"])}, "files of two runs"
    return saved.settings["run"]


def test_a_folder_holds_one_run_wherever_the_second_is_killed(tmp_path):
    runs = []
    for point in points(lambda: written(tmp_path / "count", 2)):
        written(tmp_path / str(point), 1)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            die_at(patch, point)
            written(tmp_path / str(point), 2)
        runs.append(run_of(tmp_path / str(point)))
    assert set(runs) == {1, None, 2}


@pytest.mark.parametrize("name", ["model.msgpack", "model.packed"])
@pytest.mark.parametrize("damage", ["other run", "cut", "bit", "empty"])
def test_a_damaged_or_mixed_folder_is_refused(tmp_path, name, damage):
    written(tmp_path / "A", 1)
    written(tmp_path / "B", 2)
    path = tmp_path / "A" / name
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    other = (tmp_path / "B" / name).read_bytes()
    path.write_bytes({"other run": other, "cut": content[:-1], "bit": flipped, "empty": b""}[damage])
    with pytest.raises(ValueError, match=rf"A' holds no saved model \(.*{name}.*; models.save writes one"):
        models.load(tmp_path / "A")


@pytest.mark.parametrize("change", [None, "", "[1]", "null", "\x00", {"format": "?"}, {"version": 2}, {"files": 3},
                                    {"files": {}}, {"files": {"model.msgpack": "0"}}])  # fmt: skip
def test_a_foreign_folder_is_refused_in_a_line(tmp_path, change):
    written(tmp_path, 1)
    path = tmp_path / "model.json"
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | change) if isinstance(change, dict) else change)
    with pytest.raises(ValueError, match="holds no saved model") as caught:
        models.load(tmp_path)
    assert "\n" not in str(caught.value)


def saved_own(folder, module=None):
    model = models.quantized(models.from_linen(module or Own()), RULES, ())
    models.save(folder, model, drawn(model, OWN_X), OWN_X)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: None, r"from_linen needs a network or code that is not saved. Pass it: models.load\(folder, model\)"),
        (lambda: Own(width=4), r"do not fit the model: .* has shape .*3.*, the model's has .*4"),
        (lambda: Own(activation="tanh"), "computes other outputs than the one saved"),
        (lambda: nn.Dense(3), "model was built by from_linen.*Dense.*saved one was built by from_linen.*Own"),
        (lambda: mlp(), "model was built by create"),
        (lambda: models.quantized(models.from_linen(Own()), RULES[:1], ()), "model was built by"),
        (lambda: training.with_average(models.from_linen(Own()), 0.9), "model was built by.*with_collection"),
    ],
)
def test_another_module_is_refused(tmp_path, given, message):
    saved_own(tmp_path)
    with pytest.raises(ValueError, match=message):
        models.load(tmp_path, given())


def test_a_model_changed_by_hand_is_not_taken_for_its_blueprint(tmp_path):
    plain = mlp()
    model = plain._replace(apply=lambda v, x, **options: (2 * plain.apply(v, x, **options)[0], {}))
    models.save(tmp_path, model, drawn(model, X), X)
    with pytest.raises(ValueError, match="computes other outputs"):
        models.load(tmp_path)


@pytest.mark.parametrize("transform", [lambda model: models.quantized(model, RULES, ()),
                                       lambda model: models.with_rates(model, {".": 0.5})])  # fmt: skip
def test_what_was_built_on_a_network_by_hand_needs_that_network(tmp_path, transform):
    plain = models.from_linen(Own())
    model = transform(plain._replace(blueprint=()))
    models.save(tmp_path, model, drawn(model, OWN_X), OWN_X)
    with pytest.raises(ValueError, match=r"needs a network or code that is not saved. Pass it: models.load\(folder"):
        models.load(tmp_path)
    assert models.load(tmp_path, model).model is model


def test_a_hook_that_was_added_by_hand_is_missed(tmp_path):
    model = mlp()._replace(after_update=(lambda variables, x: variables,))
    models.save(tmp_path, model, drawn(model, X), X)
    with pytest.raises(ValueError, match="has hooks {'after_update': 1, 'rates': 0}, the one built again .* 0"):
        models.load(tmp_path)
    assert models.load(tmp_path, model).model is model


def test_an_unlisted_quantizer_needs_the_model(tmp_path):
    unlisted = quantizers.binary()._replace(name="mine", blueprint=None)
    model = models.quantized(mlp(), [("", unlisted, None)])
    models.save(tmp_path, model, drawn(model, X), X)
    with pytest.raises(ValueError, match="hold the quantizer 'mine', which is not one of gecko_jax.quantizers"):
        models.load(tmp_path)
    assert models.load(tmp_path, model).model is model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(variables={"params": {}}), "variables do not fit the model: params/dense1/bias has shape none"),
        (dict(variables={"params": {"w": np.ones(2)}}), "do not fit the model"),
        (dict(variables={"params": {"key": jax.random.key(0)}}), "jax.random.key_data"),
        (dict(settings={"model": object()}), r"settings\['model'\] is a object; JSON holds numbers"),
        (dict(extra_files={"model.json": b""}), "extra_files names model.json or model.msgpack"),
        (dict(x=np.float32(3)), r"an array of shape \(\)"),
        (dict(x=[[1.0]]), "x holds a float; expected arrays"),
    ],
)
def test_what_cannot_be_saved_is_said_before_a_file_is_written(tmp_path, change, message):
    model = mlp()
    with pytest.raises((ValueError, TypeError), match=message):
        models.save(tmp_path, model, **({"variables": drawn(model, X), "x": X} | change))
    assert list(tmp_path.iterdir()) == []
