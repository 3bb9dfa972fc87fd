"""A program that a test starts as several processes: `python several_processes.py PROCESSES COORDINATOR FOLDER`.

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
import spawned

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
    """Two models with private noise; the rows of each are divided among the other devices, and need padding for it."""
    sampling = privacy.poisson(ROWS, 24, EPOCHS)
    assert sampling.cap % 4
    of_one = privacy.example_loss(MODEL, losses.cross_entropy())
    gradients = privacy.private_gradients(of_one, clippings.flat(1.0), 1.0, 24)
    options = dict(gradients=gradients, sampling=sampling, epochs=EPOCHS, seed=3)
    return training.fit_ensemble(MODEL, rows(), np.ones((2, ROWS), bool), **options, observe=observe, folder=folder)


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
            if not texts and hosts.is_main():
                texts.append(epoch.lower(*inputs).compile().as_text())
            return epoch(*inputs)

        return call

    ensemble.compiled_epoch = recorded
    try:
        run()
    finally:
        ensemble.compiled_epoch = original
    return [line for line in "".join(texts).splitlines() if re.search(r"all-|collective|scatter\(|callback|feed", line)]


@dataclasses.dataclass(frozen=True)
class Config:
    output: str = "runs/toy"


def toy_study(folder):
    """Runs a study of one part, twice."""
    from experiments import studies
    from gecko_jax import reports

    def parts(config):
        def make():
            fitted = several_models(batch_size=6, folder=pathlib.Path(config.output) / "checkpoints")
            figure = reports.Row("three", {"loss": Estimate(*[float(fitted.loss[-1].mean())] * 3)})
            return reports.Study("The toy study", "Three models.", (figure,), (reports.Column("loss", "Loss", "", 2),))

        return [studies.Part("", make, range(3))]

    line = studies.CommandLine("toy", pathlib.Path(__file__).parent, Config, {"quick": Config()}, parts)
    for _ in range(2):
        studies.main(line, ["toy", f"--output={folder}"])


def kill_one(epoch, variables):
    if epoch == KILLED_AT and jax.process_index() == jax.process_count() - 1:
        os.kill(os.getpid(), signal.SIGKILL)


def four(folder, own):
    """A run that loses a process; what each one had before is kept."""

    def observe(epoch, variables):
        np.savez(folder / f"epoch_{own}.npz", **dict(named_leaves(variables)))
        kill_one(epoch, variables)

    divided_batches(observe, folder / "run")


def two(folder, own):
    """The same run, which goes on; and everything that one process can be told about the other."""
    me = jax.process_index()
    before = [int(path.name) for path in (folder / "run" / "checkpoints").glob("[0-9]*")]
    results = {"divided": arrays(divided_batches(lambda epoch, variables: None, folder / "run"))}
    facts = {
        "restored after": hosts.from_main(lambda: before),
        "program": program(lambda: results.update(several=arrays(several_models()))),
        "undivided program": program(lambda: toy_study(folder / "study")),
        "data": message(lambda: training.fit(MODEL, rows(me), epochs=1)),
        "seed": message(lambda: training.fit(MODEL, rows(), epochs=1, seed=me)),
        "from main": hosts.from_main(lambda: [me, "x" * 2_000_000])[0],
        "order": message(lambda: hosts.check_same("this", {}) if me else hosts.check_same("that", {})),
        "folder": message(lambda: training.fit(MODEL, rows(), epochs=1, folder=folder / "other" if me else None)),
        "error": message(lambda: hosts.from_main(lambda: json.loads("{"))),
        "broadcast": [each.tolist() for each in hosts.broadcast([np.array([-0.0, me]), np.array([me < 1])])],
    }
    for name, tree in results.items():
        np.savez(folder / f"{name}_{own}.npz", **tree)
    (folder / f"facts_{own}.json").write_text(json.dumps(facts))


def main(coordinator, processes, number, folder):
    watchdog.SILENCE_SECONDS = 4.0
    hosts.join(coordinator, processes, number)
    ensemble.CHECKPOINT_INTERVAL_SECONDS = 0
    {2: two, 4: four}[processes](pathlib.Path(folder), f"{processes}_{number}")


if __name__ == "__main__":
    spawned.be_several(main, *sys.argv[1:])
