"""Batches that are sampled, plain and private: `fit` against a loop over `privacy.draw`."""

import jax
import numpy as np
import optax
import pytest
from naive_training import assert_close, assert_same_bits, start_of

from gecko_jax import clippings, losses, models, privacy, quantizers, training

MEMBER = np.stack([np.arange(60) % 3 != 0, np.arange(60) % 2 == 0])  # 40 and 30 members
SAMPLING = privacy.poisson(40, 4, steps=12)


def plain_loop(model, pool, rows, start, name, seed, learning_rate=0.1):
    """SGD on the mean over the drawn rows; an empty batch moves nothing."""
    here = np.flatnonzero(rows)
    of_members = SAMPLING._replace(n=len(here), batch_size=len(here) / 10)
    params = start["params"]

    @jax.jit
    def gradient(params, x, y, weight):
        def objective(params):
            logits = model.apply({**start, "params": params}, x)[0]
            each = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            return (each * weight).sum() / jax.numpy.maximum(1, weight.sum())

        return jax.grad(objective)(params)

    for step in range(SAMPLING.steps):
        drawn = privacy.draw(of_members, seed, step, 1, name)
        index = here[drawn.indices[0]]
        result = gradient(params, pool.x[index], pool.y[index], drawn.weight[0])
        params = jax.tree.map(lambda p, g: p - learning_rate * g, params, result)
    return {**start, "params": params}


def test_each_model_draws_from_its_own_members_at_the_rate(pool, mlp):
    start = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), start_of(mlp, pool.x))
    trained = training.fit_ensemble(
        mlp, pool, MEMBER, optimizer=optax.sgd(0.1), epochs=3, sampling=SAMPLING, seed=7, init=start, model_ids=(0, 5)
    )
    for row, name in enumerate((0, 5)):
        one = jax.tree.map(lambda leaf, row=row: leaf[row], start)
        expected = plain_loop(mlp, pool, MEMBER[row], one, name, seed=7)
        assert_close(jax.tree.map(lambda leaf, row=row: leaf[row], trained.variables), expected)


def test_an_empty_batch_is_a_private_step(pool, mlp):
    """Where nobody is drawn the noise still moves the model: to skip the step would say that nobody was."""
    gradients = privacy.private_gradients(
        privacy.example_loss(mlp, losses.cross_entropy()), clippings.flat(1.0), 1.0, expected_batch_size=1e-6
    )
    rare = privacy.poisson(40, 1e-6, steps=2)  # whatever the coins, somebody is drawn once in half a million runs
    start = start_of(mlp, pool.x)
    trained = training.fit(
        mlp,
        pool,
        MEMBER[0],
        gradients=gradients,
        optimizer=optax.sgd(1e-6),
        epochs=2,
        sampling=rare,
        init=start,
        seed=0,
    )
    moved = np.concatenate([
        (after - before).ravel()
        for after, before in zip(jax.tree.leaves(trained.variables), jax.tree.leaves(start), strict=True)
    ])  # fmt: skip
    # Two draws of N(0, 1) over 1e-6, times 1e-6.
    assert moved.std() == pytest.approx(np.sqrt(2), rel=0.15)


def test_a_killed_private_run_goes_on_to_the_same_bits(pool, mlp, tmp_path):
    gradients = privacy.private_gradients(
        privacy.example_loss(mlp, losses.cross_entropy()), clippings.flat(1.0), 1.0, expected_batch_size=4
    )
    options = dict(gradients=gradients, sampling=SAMPLING, epochs=4, seed=3)
    uninterrupted = training.fit(mlp, pool, MEMBER[0], **options)

    class Killed(Exception):
        pass

    def dies(epoch, *rest):
        if epoch == 2:
            raise Killed
        return real(epoch, *rest)

    from gecko_jax.training import run_log

    real, patch = run_log._line, pytest.MonkeyPatch()
    with patch.context() as within:
        within.setattr("gecko_jax.training.ensemble.CHECKPOINT_INTERVAL_SECONDS", 0.0)
        within.setattr(run_log, "_line", dies)
        with pytest.raises(Killed):
            training.fit(mlp, pool, MEMBER[0], folder=tmp_path, **options)
    again = training.fit(mlp, pool, MEMBER[0], folder=tmp_path, **options)
    assert_same_bits(again.variables, uninterrupted.variables)


@pytest.mark.parametrize(
    "sampling, epochs, said",
    [
        (SAMPLING, 5, "sampling.steps=12 must be a multiple of epochs=5.*sample 10 or 15 steps"),
        (privacy.truncated_poisson(39, 4, 12, cap=8), 3, r"sampling.n=39 must be the number of members .*\[40\]"),
        (privacy.shuffled(60, 4, epochs=1), 15, r"sampling.n=60 .*Poisson sampling"),
        (privacy.poisson(5000, 4, 12), 3, "sampling.n=5000 .*more than the 60 .*125 times too weak. Pass n=40"),
        (privacy.poisson(4, 4, 12), 3, "sampling.n=4 .*selects 40 of 60, where coins .* 0 to 15. Pass n=40"),
        (privacy.poisson(60, 4, 12), 3, "sampling.n=60 .*select 60 to 60"),
    ],
)
def test_samplings_that_do_not_fit_are_refused(pool, mlp, tmp_path, sampling, epochs, said):
    with pytest.raises(ValueError, match=said):
        training.fit(mlp, pool, MEMBER[0], epochs=epochs, sampling=sampling, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_members_drawn_by_coins_fit_their_expected_number(pool, mlp):
    """Of 10,000 models that draw each of n examples by coins, none is refused; its price depends on the rate alone."""
    for rate in (0.1, 0.5, 0.9):
        counts = np.random.default_rng(0).binomial(1000, rate, 10_000)
        training.batch_plan._check_expected(round(1000 * rate), counts, 1000)


def test_shuffled_batches_pass_over_all_members(pool, mlp):
    sampling = privacy.shuffled(40, 10, epochs=2)
    start = start_of(mlp, pool.x)
    result = training.fit(mlp, pool, MEMBER[0], optimizer=optax.sgd(0.1), epochs=2, sampling=sampling, init=start)
    assert sampling.steps == 8 and np.isfinite(result.loss).all()
    drawn = privacy.draw(sampling, 0, 0, 4)
    assert sorted(drawn.indices[drawn.weight > 0].tolist()) == list(range(40))


def test_a_quantized_polynomial_student_is_distilled_privately_in_one_call(pool):
    """All of it at once: binary weights, quadratic activations, a teacher, clipping, noise and Poisson batches."""
    student = models.quantized(
        models.create("mlp", 10, hidden=(8, 8), activation="quadratic"), [("", quantizers.binary(), None)]
    )
    loss = losses.symmetric_cross_entropy()
    gradients = privacy.private_gradients(privacy.example_loss(student, loss), clippings.flat(1.0), 0.5, 4)
    teacher = np.random.default_rng(0).normal(size=(60, 10)).astype(np.float32)
    schedules = {"transition": training.linear(0, 2 / 3)}
    options = dict(loss=loss, sampling=SAMPLING, epochs=3, schedules=schedules, gradients=gradients)
    private = training.distill(student, pool, MEMBER[:1], teacher, **options)
    other = training.distill(student, pool, MEMBER[:1], -teacher, **options)
    assert np.isfinite(private.loss).all()
    kernels = [fit.variables["params"]["logits"]["kernel"] for fit in (private, other)]
    assert not np.allclose(*kernels)  # the teacher is heard through the noise, which is the same in both
