"""Trains a network with and without exits, and measures what answers, exits, times and activations tell of members."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.common import TEST
from experiments.multi_exit.config import Config
from gecko_jax import (
    attacks,
    costs,
    datasets,
    defenses,
    keys,
    losses,
    metrics,
    models,
    probes,
    reports,
    signals,
    training,
)
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Estimate, Examples, Model, Signals

PATHS = r"^block\d+$"
COLUMNS = (
    TEST,
    reports.Column("kmacs", "1,000 MACs an input", "", 1, "low"),
    reports.Column("energy", "Energy an input", "nJ", 1, "low"),
    reports.Column("auc_lira", "LiRA AUC", "", 3, "low"),
    reports.Column("auc_answers", "AUC, answers", "", 3, "low"),
    reports.Column("auc_exits", "AUC, + exit", "", 3, "low"),
    reports.Column("auc_posteriors", "AUC, + exit guessed from answers", "", 3, "low"),
    reports.Column("auc_times", "AUC, + exit guessed from times", "", 3, "low"),
    reports.Column("auc_guarded", "AUC, + exit guessed under TimeGuard", "", 3, "low"),
    reports.Column("told", "Exits told from times", "%", 1),
    reports.Column("told_guarded", "Exits told under TimeGuard", "%", 1, "low"),
    reports.Column("delay", "Time under TimeGuard / without", "", 2, "low"),
    reports.Column("sent_bytes", "Sent an input", "B", 0, "low"),
    reports.Column("auc_sent", "AUC, + activation sent", "", 3, "low"),
)
SECONDS_PER_MAC = 1e-8  # of a microcontroller of 100 million MACs a second; only ratios of times matter


def study(config: Config) -> reports.Study:
    """Returns the table of the backbone, its splits, and the multi-exit network at each threshold."""
    complete = datasets.load(config.dataset, config.data_dir)
    data = complete._replace(train=take_records(complete.train, config.records))
    member = datasets.coins(np.asarray(data.train.id), config.models, config.seed)
    network = models.create("mlp", int(np.max(data.train.y)) + 1, hidden=config.hidden)
    several = models.multi_exit(network, PATHS)
    plain = train(config, network, data, member, losses.cross_entropy(), "backbone")
    joint = train(config, several, data, member, losses.over_exits(), "multi_exit")
    rows = [backbone(network, plain, data, member)]
    rows += [split(network, plain, data, member, f"block{i + 1}") for i in range(len(config.hidden))]
    rows += [answered(config, several, joint, data, member, threshold) for threshold in config.thresholds]
    return reports.Study(
        title=f"What a multi-exit network tells of its members on {config.dataset}",
        summary=f"MLP {'-'.join(map(str, config.hidden))}, {config.models} models a row, each with about half of "
        f"{len(data.train.y):,} records as members and a target with the others as its shadows. Figures are means with "
        "95 % intervals over the models. Times are modeled: MACs and a jitter.",
        rows=tuple(rows),
        columns=COLUMNS,
        exhibits=(reports.Tradeoff("test", "kmacs"),),
    )


def take_records(examples: Examples, count: int) -> Examples:
    """Returns the first records; all of them if there are fewer."""
    return take(examples, slice(0, count))


def train(config: Config, model: Model, data: Dataset, member: np.ndarray, loss, name: str) -> training.Fit:
    """Trains the models of a row; a run that was killed goes on from its folder."""
    return training.fit_ensemble(
        model,
        data.train,
        member,
        loss=loss,
        epochs=config.epochs,
        batch_size=config.batch_size,
        optimizer=training.optimizer("adam", config.learning_rate),
        seed=config.seed,
        folder=Path(config.output) / "checkpoints" / name,
        label=name,
    )


def backbone(network: Model, fitted: training.Fit, data: Dataset, member: np.ndarray) -> reports.Row:
    """Measures the network without exits."""
    pool, test = (training.predict_ensemble(network, fitted.variables, part.x) for part in (data.train, data.test))
    cost = costs.part_cost(network, take(fitted.variables, 0), data.test.x[:1])
    return reports.Row("Backbone", {**released(pool, test, data, member), **cost_figures(cost)})


def split(network: Model, fitted: training.Fit, data: Dataset, member: np.ndarray, path: str) -> reports.Row:
    """Measures what the server of the network, split behind a module, sees."""
    parts, y = models.split(network, path, data.train.x[:1]), np.asarray(data.train.y)
    sent = training.predict_ensemble(parts.head, fitted.variables, data.train.x)
    logits = training.predict_ensemble(network, fitted.variables, data.train.x)
    values = signals.profile_of_activation(sent, logits, y)
    cost = costs.part_cost(parts.head, take(fitted.variables, 0), data.test.x[:1], path)
    figures = {
        "sent_bytes": Estimate(parts.sent_bytes, kind="counted", unit="B"),
        "auc_sent": aucs(attacks.server(), values, values, member),
    }
    return reports.Row(f"Split behind {path}", {**figures, **cost_figures(cost)}, note="MACs and energy of the device")


def answered(
    config: Config, model: Model, fitted: training.Fit, data: Dataset, member: np.ndarray, threshold: float
) -> reports.Row:
    """Measures the multi-exit network at one threshold."""
    pool = models.answers(training.predict_ensemble(model, fitted.variables, data.train.x)["exits"], threshold)
    test = models.answers(training.predict_ensemble(model, fitted.variables, data.test.x)["exits"], threshold)
    logits, exits, count = np.asarray(pool.logits), np.asarray(pool.exit), len(config.hidden) + 1
    each = costs.exit_costs(model, take(fitted.variables, 0), data.test.x[:1])
    times, guarded = modeled_times(config, each, exits, data.train.x, str(threshold))
    longest = max(cost.macs.value for cost in each) * SECONDS_PER_MAC

    def told(seconds):
        return np.stack([probes.exits_from_times(row, count, config.bandwidth * longest) for row in seconds])

    guesses = {
        "exits": exits,
        "posteriors": np.stack([from_posteriors(logits, exits, i) for i in range(len(exits))]),
        "times": told(times),
        "guarded": told(guarded),
    }
    seen = signals.posteriors_and_exit(logits, exits, count)
    figures = {}
    for name, guess in guesses.items():
        asked = signals.posteriors_and_exit(logits, guess, count)
        # Who knows that answers are delayed reads the exits of the shadows as those of the target: off guarded times.
        figures[f"auc_{name}"] = aucs(attacks.hybrid(), asked if name == "guarded" else seen, asked, member)
    shares = {"told": guesses["times"], "told_guarded": guesses["guarded"]}
    figures |= {
        name: reports.percent(metrics.mean_interval((guess == exits).mean(1))) for name, guess in shares.items()
    }
    delay = metrics.mean_interval(guarded.mean(1) / times.mean(1))._replace(kind="modeled")
    mean = costs.mean_cost(each, np.asarray(test.exit))
    name = f"Multi-exit, threshold {threshold:g}"
    share = np.bincount(np.ravel(test.exit), minlength=count) / np.size(test.exit)
    answers = released(logits, np.asarray(test.logits), data, member)
    return reports.Row(
        name,
        {**answers, **figures, **cost_figures(mean), "delay": delay},
        note=f"answered by exit 1, 2, ...: {', '.join(f'{part:.0%}' for part in share)}",
    )


def modeled_times(
    config: Config, each: tuple[costs.PartCost, ...], exits: np.ndarray, x: np.ndarray, word: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the seconds [m, n] of each answer, and those under TimeGuard."""
    draws = keys.generator(config.seed, "jitter", word).normal(size=exits.shape)
    macs = np.array([cost.macs.value for cost in each])
    times = macs[exits] * SECONDS_PER_MAC * (1 + config.jitter * np.abs(draws))
    guard = defenses.time_guard(config.spread, config.seed, cap_seconds=float(macs.max()) * SECONDS_PER_MAC)
    delay = guard.delay or (lambda seconds, x: seconds)
    return times, np.stack([delay(row, x) for row in times])


def from_posteriors(logits: np.ndarray, exits: np.ndarray, target: int) -> np.ndarray:
    """Returns the exits of one model's answers, as a network trained on the others' takes them for."""
    return probes.exits_from_posteriors(np.delete(logits, target, 0), np.delete(exits, target, 0), logits[target])


def released(pool: np.ndarray, test: np.ndarray, data: Dataset, member: np.ndarray) -> dict[str, Estimate]:
    """Returns the accuracy of released logits and what they tell by themselves."""
    y, test_y = np.asarray(data.train.y), np.asarray(data.test.y)
    largest, phi = signals.top_posteriors(pool, y), signals.phi(pool, y)
    accuracy = metrics.mean_interval(np.array([metrics.accuracy(logits, test_y) for logits in test]))
    return {
        "test": reports.percent(accuracy),
        "auc_lira": aucs(attacks.lira(), phi, phi, member),
        "auc_answers": aucs(attacks.salem(), largest, largest, member),
    }


def aucs(attack: attacks.Attack, seen: np.ndarray, asked: np.ndarray, member: np.ndarray) -> Estimate:
    """Returns an attack's AUC over targets; it learns from `seen` of the others and reads `asked` of the target."""
    values = [
        metrics.roc_auc(attack(Signals(np.delete(seen, i, 0), np.delete(member, i, 0), asked[i])), member[i])
        for i in range(len(member))
    ]
    return metrics.mean_interval(values)


def cost_figures(cost: costs.PartCost) -> dict[str, Estimate]:
    """Returns the MACs in thousands, and the energy in nanojoules."""
    return {
        "kmacs": cost.macs._replace(value=cost.macs.value / 1000),
        "energy": cost.energy._replace(value=1e9 * cost.energy.value, unit="nJ"),
    }
