"""What an accelerator does otherwise: states made in one program, donated, and copied back only if asked for.

There is none here. Its programs are lowered for CUDA and read, and its way is taken on the CPU.
"""

import re

import flax.linen as nn
import jax
import numpy as np
import pytest
from naive_training import assert_same_bits, starts_of

from gecko_jax import keys, models, runtime, training
from gecko_jax.training import device_groups, trainer
from gecko_jax.training.compiled_epoch import compiled_epoch
from gecko_jax.training.layout import Layout
from gecko_jax.training.pool import Data
from gecko_jax.training.start import group_initializer
from gecko_jax.training.step import Epoch, State, UpdateRule
from gecko_jax.trees import take

TX = training.optimizer("adam", 0.01)
IDS = np.array([3, 1, 7, 0], np.uint32)
SETTINGS = dict(epochs=3, batch_size=10, optimizer=TX)


class Drawn(nn.Module):
    """Initial values of several distributions, and statistics."""

    @nn.compact
    def __call__(self, x):
        for init in (nn.initializers.truncated_normal(), nn.initializers.he_uniform()):
            x = nn.Dense(9, kernel_init=init)(x)
        return nn.Dense(10)(nn.BatchNorm(use_running_average=False)(x))


@pytest.fixture
def accelerator(monkeypatch):
    """Takes the way of an accelerator, which needs no other bits."""
    monkeypatch.setattr(device_groups, "on_accelerator", lambda: True)


def test_one_program_makes_the_states_that_a_loop_makes(pool, devices=4):
    model, mesh = models.from_linen(Drawn()), runtime.mesh(device_groups.AXIS, jax.devices()[:4])
    make = group_initializer(UpdateRule(model, None, TX, None), mesh)
    together = make(jax.random.key_data(keys.stream(5, "init")), IDS, pool.x[:1])
    init, begin = jax.jit(model.init), jax.jit(TX.init)
    for row, model_id in enumerate(IDS):
        variables = init(jax.random.fold_in(keys.stream(5, "init"), model_id), pool.x[:1])
        assert_same_bits(take(together, row), State(variables, begin(variables["params"])))
    assert all(len(leaf.sharding.device_set) == devices for leaf in jax.tree.leaves(together))


def epoch_arguments(mlp, pool, width):
    variables = starts_of(mlp, pool.x, width)
    state = State(variables, jax.vmap(TX.init)(variables["params"]))
    rows = np.zeros((width, 2, 5), np.int32)
    words = np.zeros((width, 2), np.uint32)
    epoch = Epoch(rows, np.ones(rows.shape, np.float32), words, {"learning_rate": np.float32(1)})
    return state, Data(pool.x, pool.y), epoch


def test_every_buffer_of_the_states_is_donated_and_no_step_asks_the_host(mlp, pool, accelerator, width=3):
    rule = UpdateRule(mlp, training.batch_gradients(mlp, training.ensemble.cross_entropy()), TX, None)
    run_epoch = compiled_epoch(rule, Layout(width, 1, scan=True, matmul=False), False)
    arguments = epoch_arguments(mlp, pool, width)
    text = run_epoch.trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
    donated = re.findall(r"tf.aliasing_output|jax.buffer_donor", text)
    assert len(donated) == len(jax.tree.leaves(arguments[0]))
    assert not re.findall(r"callback|infeed|outfeed|send|recv", text)


def test_the_bits_are_those_of_the_host_s_states_and_the_caller_s_arrays_stay(mlp, pool, member, monkeypatch, tmp_path):
    init = jax.tree.map(jax.numpy.asarray, starts_of(mlp, pool.x, 5))
    before, seen = jax.tree.map(np.array, init), {}

    def run(**options):
        return training.fit_ensemble(mlp, pool, member, **{**SETTINGS, **options})

    fresh, started = run(), run(init=init)
    monkeypatch.setattr(device_groups, "on_accelerator", lambda: True)
    monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", 0)
    assert_same_bits(run(), fresh)
    donated = run(init=init, folder=tmp_path, observe=lambda epoch, variables: seen.update({epoch: variables}))
    assert_same_bits(donated, started)
    assert_same_bits(init, before)
    assert_same_bits(seen[3], donated.variables)
    assert np.abs(seen[2]["params"]["logits"]["bias"] - seen[3]["params"]["logits"]["bias"]).max() > 0
    assert_same_bits(run(init=init, folder=tmp_path), started)  # restored


def test_a_failure_is_told_though_the_states_before_it_are_gone(mlp, pool, monkeypatch):
    """A loss of the second epoch is infinite; what came before is computed again, from the start or from the host."""
    again, before = [], trainer.Trainer._before
    late = {"learning_rate": lambda done: 1e30 if done > 0.3 else 1.0}

    def failed():
        with pytest.raises(training.NotFinite) as caught:
            training.fit(mlp, pool, schedules=late, **SETTINGS)
        return vars(caught.value), str(caught.value)

    expected = failed()
    assert expected[0]["epoch"] == 1
    monkeypatch.setattr(device_groups, "on_accelerator", lambda: True)
    monkeypatch.setattr(trainer.Trainer, "_before", lambda self, at: again.append(self._known[0]) or before(self, at))
    for seconds in (1e9, -1):
        monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", seconds)
        assert failed() == expected
    assert again == [0, 1]


def test_only_what_is_asked_for_comes_back(mlp, pool, member, accelerator, monkeypatch):
    """A run without a folder copies the variables, once; never what the optimizer holds."""
    copied, device_get = [], jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: copied.extend(jax.tree.leaves(tree)) or device_get(tree))
    fitted = training.fit_ensemble(mlp, pool, member, **SETTINGS)
    assert sum(isinstance(leaf, jax.Array) for leaf in copied) == len(jax.tree.leaves(fitted.variables))
