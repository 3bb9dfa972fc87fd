"""Noise of ChaCha20 in private steps: whole runs, no word twice, no callback, refusals."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special

from gecko_jax import clippings, models, privacy, training
from gecko_jax.privacy import chacha, cipher_keys, noise_trial
from gecko_jax.types import Batch, Examples, Loss

MODEL = models.from_linen(nn.Dense(30, use_bias=False))
START = {"params": {"kernel": np.zeros((2, 40, 30), np.float32)}}
POOL = Examples(np.eye(8, 40, dtype=np.float32), np.arange(8, dtype=np.int32), np.arange(8))
CONSTANT = Loss("constant", lambda logits, example: 0.0 * logits.sum())
LOSS = privacy.example_loss(MODEL, CONSTANT)  # so that the parameters move by the noise alone
TREE = {"kernel": jnp.zeros((3, 5)), "other": jnp.zeros((3, 5)), "scale": jnp.zeros(())}
ROOT = cipher_keys.key_of_seed(7)
drawn = jax.jit(lambda key, std: noise_vector(privacy.chacha_gaussian(key, TREE, std)))
private = functools.partial(privacy.private_gradients, LOSS, expected_batch_size=4.0, noise=privacy.chacha_gaussian)
GRADIENTS = private(clippings.flat(1.0), 1.0)


def noise_vector(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


def train(gradients=GRADIENTS, **options):
    """Sums of the noise of four steps for two models, float32 [2, 1200], of standard deviation 2."""
    options = dict(init=START, epochs=2, sampling=privacy.poisson(8, 4.0, 4), loss=CONSTANT) | options
    fitted = training.fit_ensemble(MODEL, POOL, np.ones((2, 8), bool), gradients=gradients, optimizer=SGD, **options)
    return fitted.variables["params"]["kernel"].reshape(2, -1) * 4


SGD = optax.sgd(1.0)


def test_noise_is_the_normals_of_words_that_no_leaf_step_or_model_shares():
    fold = jax.jit(lambda key, number: jax.random.fold_in(key, number))
    keys = [fold(model, step) for model in (fold(ROOT, 0), fold(ROOT, 1)) for step in range(3)]
    values = np.stack([drawn(key, 2.0) for key in keys])
    assert len(set(values.ravel().tolist())) == values.size == 6 * 31
    words = chacha.random_words(jax.random.key_data(keys[3]), np.zeros(3, np.uint32), 31)
    signed = special.ndtri((np.asarray(words, np.float64) + 0.5) / 2**32)
    np.testing.assert_allclose(drawn(keys[3], 2.0), 2 * signed, rtol=1e-5)


def test_a_run_has_secret_noise_and_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", 0.0)
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret_seed").write_text(f"{privacy.secret_seed():032x}\n")
    (tmp_path / "unbroken" / "secret_seed").write_text((tmp_path / "killed" / "secret_seed").read_text())
    unbroken, epochs = train(folder=tmp_path / "unbroken"), []

    def kill(epoch, variables):
        epochs.append(variables["params"]["kernel"].reshape(2, -1) * 4)
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(folder=tmp_path / "killed", observe=kill)
    np.testing.assert_array_equal(train(folder=tmp_path / "killed"), unbroken)
    other = train()
    parts = [epochs[0], epochs[1] - epochs[0], other]  # of both epochs, and of another run
    sums = np.concatenate(parts)
    assert (np.abs(sums.std(1) / np.repeat([2**0.5, 2**0.5, 2], 2) - 1) < 6 / 1200**0.5).all()
    assert (np.abs(np.corrcoef(sums) - np.eye(6)) < 6 / 1200**0.5).all()


def test_a_seed_that_can_be_tried_is_refused_and_a_secret_one_repeats():
    with pytest.raises(ValueError, match=r"seed=3 is not secret.*pass privacy.secret_seed\(\).*noise=privacy.gaussian"):
        train(seed=3)
    seed = privacy.secret_seed()
    np.testing.assert_array_equal(train(seed=seed), train(seed=seed))


def test_keys_of_another_kind_are_refused():
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        with pytest.raises(ValueError, match=r"not a key of ChaCha20.*privacy.secret_key\(\)"):
            privacy.chacha_gaussian(key, TREE, 1.0)
    with pytest.raises(ValueError, match="functools.wraps"):  # a function around it that forgets what it needs
        private(clippings.flat(1.0), 1.0, noise=lambda *arguments: privacy.chacha_gaussian(*arguments))

    @functools.wraps(privacy.chacha_gaussian)
    def wrapped(key, tree, std):
        return privacy.chacha_gaussian(key, tree, std)

    assert private(clippings.flat(1.0), 0.0, noise=wrapped).settings.needs_cipher


def test_it_was_tried_like_any_noise_function():
    assert noise_trial._TRIED[id(privacy.chacha_gaussian), 1.0, False] is privacy.chacha_gaussian  # by GRADIENTS


ADAPTIVE = {"params": {"kernel": START["params"]["kernel"][0]}, "clipping": {"threshold": np.float32(1)}}
BATCH = Batch(POOL.x, POOL.y, np.ones(8, np.float32))
HOST = privacy.secure_gaussian(privacy.os_words)


def test_a_step_for_a_gpu_asks_no_host_and_has_no_loop():
    step = jax.jit(training.step.make_step(training.step.UpdateRule(MODEL, GRADIENTS, SGD, None), skips=False))
    state = training.step.State({"params": ADAPTIVE["params"]}, SGD.init(ADAPTIVE["params"]))
    epoch = training.step.Epoch(np.zeros((4, 8), np.int32), np.ones((4, 8), np.float32),
                                np.zeros(8, np.uint32), {"learning_rate": np.float32(1)})  # fmt: skip
    traced = step.trace(state, training.pool.Data(POOL.x, POOL.y), epoch, np.int32(0))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "callback" not in text and "stablehlo.while" not in text and text.count("@_quarter_round") > 160
    host = jax.jit(private(clippings.flat(1.0), 1.0, noise=HOST)).trace(ADAPTIVE, BATCH, jax.random.key(0))
    assert "callback" in host.lower().as_text()


def test_an_adaptive_rules_count_is_as_secret_as_the_sum():
    """The threshold's program alone shows whose words the noise of the count is made of."""

    def text(key, **options):
        gradients = private(clippings.quantile(1.0), 0.0, count_noise=2.0, **options)
        return jax.jit(lambda key: gradients(ADAPTIVE, BATCH, key)[1].updates).trace(key).lower().as_text()

    assert text(jax.random.key(0), noise=HOST).count("callback") > text(ROOT).count("callback") == 0
    assert "threefry" not in text(ROOT) and "threefry" in text(jax.random.key(0), noise=privacy.gaussian)
