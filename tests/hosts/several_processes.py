"""A program that tests start in several processes: `python several_processes.py COORDINATOR PROCESSES NUMBER FOLDER`.

Imported, it has the same runs for the single process that they are compared with.
"""

import dataclasses
import json
import os
import pathlib
import re
import signal
import sys

import jax
import numpy as np

from gecko_jax import clippings, hosts, losses, models, privacy, training
from gecko_jax.hosts import watchdog
from gecko_jax.training import compiled_epoch, ensemble
from gecko_jax.trees import named_leaves
from gecko_jax.types import Estimate, Examples

ROWS, EPOCHS, KILLED_AT = 48, 8, 4
MODEL = models.create("mlp", 3, hidden=(8,))


def rows(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, 6)).astype(np.float32)
    return Examples(x, rng.integers(0, 3, ROWS).astype(np.int32), np.arange(ROWS))


def several_models(batch_size=8, **options):
    """Three models on four devices or more, side by side; of eight devices two have half of a batch each."""
    member = np.random.default_rng(1).random((3, ROWS)) < 0.7
    return training.fit_ensemble(MODEL, rows(), member, epochs=3, batch_size=batch_size, seed=1, **options)


def divided_batches(observe=None, folder=None):
    """One model, whose rows are divided among all devices, with private noise; its 41 slots need padding."""
    private = privacy.private_training(
        MODEL, losses.cross_entropy(), clippings.flat(1.0), n=ROWS, batch_size=24, epochs=4, delta=1e-3, noise_multiplier=1.0
    )  # fmt: skip
    options = {**private.options, "epochs": EPOCHS}
    return training.fit(private.model, rows(), seed=3, **options, observe=observe, folder=folder)


def arrays(fitted):
    return dict(named_leaves({"variables": fitted.variables, "loss": fitted.loss, "metrics": fitted.metrics}))


def message(run):
    try:
        run()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def program(run):
    """Lines of a run's compiled epoch, without layouts and long tails."""
    texts, original = [], compiled_epoch.compiled_epoch

    def recorded(*arguments):
        epoch = original(*arguments)

        def call(*inputs):
            if not texts:
                texts.append(epoch.lower(*inputs).compile().as_text())
            return epoch(*inputs)

        return call

    ensemble.compiled_epoch = recorded
    try:
        run()
    finally:
        ensemble.compiled_epoch = original
    return [line for line in texts[0].splitlines() if re.search(r"all-|collective|scatter\(|callback|feed", line)]


@dataclasses.dataclass(frozen=True)
class Config:
    output: str = "runs/toy"


def toy_study(folder):
    """Runs a study of one part, twice."""
    from experiments import studies
    from gecko_jax import reports

    def parts(config):
        def make():
            fitted = several_models(folder=pathlib.Path(config.output) / "checkpoints")
            figure = reports.Row("three", {"loss": Estimate(*[float(fitted.loss[-1].mean())] * 3)})
            return reports.Study("The toy study", "Three models.", (figure,), (reports.Column("loss", "Loss", "", 2),))

        return [studies.Part("", make, range(3))]

    line = studies.CommandLine("toy", pathlib.Path(__file__).parent, Config, {"quick": Config()}, parts)
    for _ in range(2):
        studies.main(line, ["toy", f"--output={folder}"])


def kill_one(epoch, variables):
    if epoch == KILLED_AT and jax.process_index() == jax.process_count() - 1:
        os.kill(os.getpid(), signal.SIGKILL)


def main(coordinator, processes, number, folder):
    watchdog.SILENCE_SECONDS = 4.0
    hosts.join(coordinator, int(processes), int(number))
    ensemble.CHECKPOINT_INTERVAL_SECONDS = 0
    folder, own = pathlib.Path(folder), f"{processes}_{number}"
    results = {"several": arrays(several_models())}
    if processes == "4":
        np.savez(folder / f"several_{own}.npz", **results["several"])
        divided_batches(kill_one, folder / "run")
        return
    before = [int(path.name) for path in (folder / "run" / "checkpoints").glob("[0-9]*")]
    results["divided"] = arrays(divided_batches(lambda epoch, variables: None, folder / "run"))
    for name, tree in results.items():
        np.savez(folder / f"{name}_{own}.npz", **tree)
    me = jax.process_index()
    facts = {
        "data": message(lambda: training.fit(MODEL, rows(me), epochs=1)),
        "seed": message(lambda: training.fit(MODEL, rows(), epochs=1, seed=me)),
        "from main": hosts.from_main(lambda: [me, "x" * 2_000_000])[0],
        "error": message(lambda: hosts.from_main(lambda: json.loads("{"))),
        "broadcast": [leaf.tolist() for leaf in hosts.broadcast([np.array([-0.0, me + 1.0]), np.array([True, me > 0])])],
        "program": program(several_models),
        "undivided program": program(lambda: several_models(batch_size=6)),
        "restored after": hosts.from_main(lambda: before),
    }
    toy_study(folder / "study")
    (folder / f"facts_{own}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
