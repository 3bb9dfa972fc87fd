"""The audited scenarios: every kind of private run that the library offers, each as a game with its accounted epsilon.

A scenario is (settings, target epsilon) -> Played bounds. Its auditor sees all that its guarantee lets out: each step's
private gradient, of every phase and release together.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from experiments.self_audit import game
from gecko_jax import clippings, datasets, keys, losses, metrics, models, privacy, training
from gecko_jax.datasets import canaries
from gecko_jax.types import AdaptiveClipping, Clipping

BASE = 16  # records that are not canaries, so that a release without canaries has some


class Settings(NamedTuple):
    """Of a game.

    Attributes:
      canaries: m.
      delta: of all epsilons.
      confidence: of a game's bounds; of a table of games, so high that all hold together at 95 %.
      seed: of the coins, and of the runs that are given one.
    """

    canaries: int
    delta: float
    seed: int
    confidence: float = 0.95


class Outcome(NamedTuple):
    """A game that was played.

    Attributes:
      accounted: what the library says that the runs cost together, an upper bound.
      guesses, signals: empirical lower bounds; see `game.bounds`. No Gaussian form for losses.
      canaries: how many were played.
    """

    accounted: float
    guesses: float
    signals: float | None
    canaries: int


def coins_of(settings: Settings, canaries: int | None = None) -> np.ndarray:
    """Returns a fair coin for each canary."""
    return keys.generator(settings.seed, "self audit", "coins").random(canaries or settings.canaries) < 0.5


def private_run(settings: Settings, target: float, member: np.ndarray, rate: float, steps: int, clipping, **options):
    """Returns the library's private run with `steps` steps at a rate, within the target."""
    n, tables = int(member.sum()), options.pop("tables", 1)
    return privacy.private_training(
        game.table_model(len(member), tables), game.LOSS, clipping, n=n, batch_size=rate * n,
        epochs=max(1, round(steps * rate)), delta=settings.delta, target_epsilon=target, **options,
    )  # fmt: skip


def one_run(
    settings: Settings,
    target: float,
    clipping: Clipping | AdaptiveClipping | None = None,
    rate: float = 1.0,
    steps: int = 4,
    canaries: int | None = None,
    fit: dict | None = None,
    **options,
) -> Outcome:
    """One run: the sum of what its steps show, and how far they lie apart, which repeated noise would give away."""
    coins = coins_of(settings, canaries)
    if "cap" in options:  # a share of the members
        options["cap"] = round(options["cap"] * coins.sum())
    private = private_run(settings, target, coins, rate, steps, clipping or clippings.flat(1.0), **options)
    played = game.play(private, coins, **{"seed": settings.seed, **(fit or {})})
    bounds = game.bounds(
        {"sum": played.steps.sum(0)},
        {"range": np.ptp(played.steps, axis=0), "final": played.final},
        coins,
        settings.delta,
        settings.confidence,
    )
    return Outcome(float(private.epsilon), **bounds, canaries=len(coins))


def two_releases(settings: Settings, target: float, continued: bool) -> Outcome:
    """A run without canaries and one with them, of one seed: what the second shows less what the first does.

    Args:
      settings, target: see above; the target is each run's.
      continued: whether the second goes on from the first's variables, a second phase; else it is a neighbor.
    """
    coins = np.concatenate([coins_of(settings), np.ones(BASE, bool)])
    without = np.arange(len(coins)) >= settings.canaries
    runs = [private_run(settings, target, member, 1.0, 2, clippings.flat(1.0)) for member in (without, coins)]
    first = game.play(runs[0], without, seed=settings.seed)
    start = {"init": first.fit.variables} if continued else {}
    second = game.play(runs[1], coins, seed=settings.seed, **start)
    m = settings.canaries
    statistics = {"sum": second.steps.sum(0)[:m], "difference": (second.steps - first.steps).sum(0)[:m]}
    accounted = privacy.epsilon(
        [run.sampling for run in runs], [run.noise_multiplier for run in runs], settings.delta
    )
    bounds = game.bounds(statistics, {}, coins[:m], settings.delta, settings.confidence)
    return Outcome(float(accounted), **bounds, canaries=m)


def two_models(settings: Settings, target: float) -> Outcome:
    """The same two, as two models of one ensemble: models that are trained together share no noise either."""
    m = min(settings.canaries, 4000)
    coins = np.concatenate([coins_of(settings, m), np.ones(BASE, bool)])
    other = keys.generator(settings.seed, "self audit", "other").random(m) < 0.5
    without = np.concatenate([other, np.ones(BASE, bool)])
    larger = max(coins, without, key=np.sum)  # one divisor for both models: the rows of the larger one's steps
    n = int(larger.sum())
    private = private_run(settings, target, larger, 1.0, 2, clippings.flat(1.0))
    fitted = training.fit_ensemble(
        private.model, game.pool_of(len(coins)), np.stack([without, coins]), gradients=private.gradients,
        optimizer=game.optax.sgd(1.0), loss=game.LOSS, epochs=2, batch_size=m + BASE, seed=settings.seed,
    )  # fmt: skip
    final = np.asarray(jax.tree.leaves(fitted.variables["params"])[0])[:, :m, 0] * n
    decided = coins[:m] != without[:m]  # in one of the two: the difference tells which
    statistics = {"difference": (final[1] - final[0])[decided]}
    accounted = privacy.epsilon([private.sampling] * 2, [private.noise_multiplier] * 2, settings.delta)
    bounds = game.bounds(statistics, {}, coins[:m][decided], settings.delta, settings.confidence)
    return Outcome(float(accounted), **bounds, canaries=int(decided.sum()))


class Stopped(Exception):
    """What stops the run of `resumed`."""


def resumed(settings: Settings, target: float) -> Outcome:
    """A run that is stopped and goes on: its auditor saw the steps that were done again, too."""
    coins = coins_of(settings)
    private = private_run(settings, target, coins, 1.0, 4, clippings.flat(1.0))
    seen: list[np.ndarray] = []

    def stop(done: float) -> float:  # a learning rate's schedule, asked before each epoch
        if done >= 0.5 and game.SEEN and not seen:
            jax.effects_barrier()
            seen.extend(game.SEEN)
            raise Stopped
        return 1.0

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(Stopped):
            game.play(private, coins, folder=folder, schedules={"learning_rate": stop}, seed=settings.seed)
        played = game.play(private, coins, folder=folder, schedules={"learning_rate": stop}, seed=settings.seed)
    again = -np.stack(seen).sum(-1) * private.sampling.batch_size
    # Steps that are done again are the same to the bit; if not, each is one more release, which nobody accounted for.
    steps = np.unique(np.concatenate([again, played.steps]), axis=0)
    statistics, other = {"sum": steps.sum(0)}, {"range": np.ptp(steps, axis=0)}
    bounds = game.bounds(statistics, other, coins, settings.delta, settings.confidence)
    return Outcome(float(private.epsilon), **bounds, canaries=len(coins))


def many_runs(settings: Settings, target: float, runs: int = 400) -> Outcome:
    """Many models in one program, each with a coin of its own for one canary: independent trials, one a run."""
    member = np.ones((runs, BASE), bool)
    member[:, 0] = coins_of(settings, runs)
    private = privacy.private_training(
        game.table_model(BASE), game.LOSS, clippings.flat(1.0), n=BASE, batch_size=BASE, epochs=2,
        delta=settings.delta, target_epsilon=target,
    )  # fmt: skip
    fitted = training.fit_ensemble(
        private.model, game.pool_of(BASE), member, gradients=private.gradients, optimizer=game.optax.sgd(1.0),
        loss=game.LOSS, epochs=2, batch_size=BASE, seed=settings.seed,
    )  # fmt: skip
    signal = np.asarray(jax.tree.leaves(fitted.variables["params"])[0])[:, 0, 0] * BASE
    each = 1 - (1 - settings.confidence) / 2
    bound = metrics.epsilon_lower_bound(
        signal, member[:, 0], threshold=1.0, delta=settings.delta, confidence=each
    ).value
    read = metrics.gaussian_signals_epsilon(signal, member[:, 0], settings.delta, each).value
    return Outcome(float(private.epsilon), bound, read, runs)


def input_canaries(settings: Settings, target: float) -> Outcome:
    """A network on digits, and records of a single pixel under random labels; its auditor sees losses alone."""
    data = datasets.load("digits")
    count = min(settings.canaries, 64)
    tested = canaries.blank(data.train, count, data.num_classes, settings.seed)
    coins = coins_of(settings, count)
    member = np.concatenate([np.ones(len(data.train.y), bool), coins])
    model, loss = models.create("mlp", data.num_classes, hidden=(32,)), losses.cross_entropy()
    private = privacy.private_training(
        model, loss, clippings.flat(1.0), n=int(member.sum()), batch_size=256, epochs=20, delta=settings.delta,
        target_epsilon=target,
    )  # fmt: skip
    pool = canaries.append(data.train, tested)
    adam = training.optimizer("adam", 0.01)
    fitted = training.fit(private.model, pool, member, optimizer=adam, seed=settings.seed, **private.options)
    logits = training.predict(model, fitted.variables, tested.x)
    signal = jax.nn.log_softmax(logits)[np.arange(count), tested.y]
    bound = metrics.one_run_epsilon_from_scores(
        np.asarray(signal), coins, count // 4, settings.delta, settings.confidence
    ).value
    return Outcome(float(private.epsilon), bound, None, count)


def identity(key, x):
    """An augmentation that changes nothing: each canary's copies are the canary."""
    del key
    return x


def _per_layer(budget: float = 1.0):
    return clippings.per_layer({"table0": budget * 0.6, "table1": budget * 0.8})


PART = dict(rate=0.2, steps=20)
SCENARIOS: dict[str, Callable[[Settings, float], Outcome]] = {
    "one full batch": lambda s, e: one_run(s, e, steps=1, canaries=5 * s.canaries),
    "full batches": lambda s, e: one_run(s, e, canaries=5 * s.canaries),
    "Poisson batches": functools.partial(one_run, **PART),
    "truncated batches": functools.partial(one_run, **PART, cap=0.22),
    "DP-Adam": functools.partial(one_run, **PART, fit={"optimizer": game.ADAM}),
    "per-layer clipping": lambda s, e: one_run(s, e, _per_layer(), tables=2),
    "automatic clipping": lambda s, e: one_run(s, e, clippings.automatic(1.0)),
    "adaptive global clipping": lambda s, e: one_run(s, e, clippings.global_adapt(1.0)),
    "quantile clipping": lambda s, e: one_run(s, e, clippings.quantile(1.0)),
    "noise from the operating system": lambda s, e: one_run(s, e, noise=privacy.secure_gaussian(privacy.os_words)),
    "microbatches": lambda s, e: one_run(s, e, microbatch=s.canaries // 8),
    "each gradient made (vmap)": lambda s, e: one_run(s, e, method="vmap", canaries=min(s.canaries, 500)),
    "multiplicity 4": lambda s, e: one_run(s, e, augment=identity, multiplicity=4),
    "a seed from the operating system": lambda s, e: one_run(s, e, fit={"seed": None}),
    "two phases": functools.partial(two_releases, continued=True),
    "two releases": functools.partial(two_releases, continued=False),
    "two models of an ensemble": two_models,
    "stopped and resumed": resumed,
    "many runs": many_runs,
    "input canaries": input_canaries,
}
