"""Training speed, CPU time, side by side with a plain PyTorch loop in one run.

    pip install -e .[bench]
    python -m scripts.benchmarks.training [--repeats=5] [--threads=1]

Both sides train the same architectures on the same number of rows with Adam, in float32, in this process, by turns;
compilation and warm-up are left out on both sides and shown apart. The PyTorch side is what one writes first: a loop
over models, epochs and batches that are already tensors (no DataLoader).

A fit of ours has a fixed cost of some 35 ms of CPU (shapes are traced, states are made), which is inside the figures:
on shorter runs than these (4,000 rows of the MLP, 512 of the LeNet, 5 epochs of the 64) our ratios are lower. The 64
are the shadow models of an audit: as many steps as half a minute of the PyTorch loop.

"products s" is the time of the same run's matrix products alone, each in the faster of the two libraries, measured in
the same rounds; "share" is that over ours. It is the roofline: nearer to 1, less is left to gain, see `cases.products`.
"""

from __future__ import annotations

import os
import statistics
import time

from absl import app, flags, logging

from experiments import command
from scripts.benchmarks.cases import products

flags.DEFINE_integer("repeats", 5, "How often each side is timed.", lower_bound=1)
flags.DEFINE_integer("threads", 1, "Threads of either side.", lower_bound=1)
flags.DEFINE_multi_string("only", [], "Names of cases; all where none is given.")
FLAGS = flags.FLAGS

# name: (input shape, models, rows, epochs, floor that the project promises)
CASES = {
    "64 x MLP 64-64-10": ((8, 8, 1), 64, 1000, 25, 10.0),
    "MLP 784-256-10": ((28, 28, 1), 1, 10000, 2, 2.0),
    "CNN 16-32": ((28, 28, 1), 1, 4096, 1, 1.0),  # of the literature on private training: tanh, 8x8 and 4x4 kernels
    "LeNet (Architecture 1)": ((28, 28, 1), 1, 2048, 1, 1.0),
}
BATCH = 64


def main(argv):
    del argv
    logging.set_verbosity(logging.WARNING)
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
        " --xla_cpu_multi_thread_eigen=false" if FLAGS.threads == 1 else ""
    )
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: FLAGS.threads])
    try:
        import torch
    except ImportError as error:
        raise SystemExit("PyTorch is missing: pip install 'gecko_jax[bench]'") from error
    import jax

    torch.set_num_threads(FLAGS.threads)
    print(f"jax {jax.__version__}, torch {torch.__version__}, threads {FLAGS.threads}, batch {BATCH}, Adam, float32")
    columns = (
        f"{'ours s':>10}{'torch s':>10}{'ratio':>8}{'promised':>10}{'products s':>12}{'share':>7}{'first run s':>13}"
    )
    print(f"{'case':26}{columns}")
    for name, (shape, models, rows, epochs, promised) in CASES.items():
        if FLAGS.only and name not in FLAGS.only:
            continue
        case = (name, shape, models, rows, epochs)
        ours, theirs = ours_case(*case), torch_case(torch, *case)
        first = timed(ours)
        timed(theirs)
        step, steps = products.alone(torch, layers(name, shape), time.process_time), models * epochs * -(-rows // BATCH)
        rounds = [(timed(ours), timed(theirs), steps * step()) for _ in range(FLAGS.repeats)]
        ratio, share = (statistics.median(each[i] / each[0] for each in rounds) for i in (1, 2))
        mine, other, floor = (statistics.median(column) for column in zip(*rounds, strict=True))
        verdict = "" if ratio >= 1 else "  torch wins"
        line = f"{name:26}{mine:10.3f}{other:10.3f}{ratio:8.2f}{promised:10.1f}{floor:12.3f}{share:7.2f}{first:13.1f}"
        print(line + verdict, flush=True)


def timed(function) -> float:
    """CPU seconds of all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


def data(shape, rows):
    import numpy as np

    random = np.random.default_rng(0)
    return random.random((rows, *shape), np.float32), random.integers(0, 10, rows).astype(np.int32)


def model_of(name):
    from gecko_jax import models as architectures

    if "LeNet" in name:
        return architectures.create("lenet", 10)
    if "CNN" in name:
        return architectures.from_linen(_cnn())
    return architectures.create("mlp", 10, hidden=(int(name.split("-")[1]),))


def layers(name, shape):
    """The layers that one batch passes, with their shapes."""
    import jax
    import numpy as np

    from gecko_jax.models import trace

    model, x = model_of(name), np.zeros((BATCH, *shape), np.float32)
    return trace(model, jax.eval_shape(model.init, jax.random.key(0), x), x)


def ours_case(name, shape, models, rows, epochs):
    import numpy as np

    from gecko_jax import training
    from gecko_jax.types import Examples

    x, y = data(shape, rows)
    examples, member = Examples(x, y, np.arange(rows)), np.ones((models, rows), bool)
    model = model_of(name)
    return lambda: training.fit_ensemble(model, examples, member, epochs=epochs, batch_size=BATCH)


def _cnn():
    import flax.linen as nn

    from gecko_jax.models import max_pool

    pool = lambda x: max_pool(x, 2, 1)  # noqa: E731  # nn.max_pool would take as long as all the rest
    first = nn.Conv(16, (8, 8), 2, padding=2), nn.tanh, pool
    second = nn.Conv(32, (4, 4), 2, padding="VALID"), nn.tanh, pool
    return nn.Sequential([*first, *second, lambda x: x.reshape(len(x), -1), nn.Dense(32), nn.tanh, nn.Dense(10)])


def torch_case(torch, name, shape, models, rows, epochs):
    from torch import nn

    x, y = data(shape, rows)
    x, y = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y).long()

    def network():
        if "LeNet" in name:
            convolutions = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
            return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10))
        if "CNN" in name:
            first = nn.Conv2d(1, 16, 8, stride=2, padding=2), nn.Tanh(), nn.MaxPool2d(2, 1)
            second = nn.Conv2d(16, 32, 4, stride=2), nn.Tanh(), nn.MaxPool2d(2, 1)
            return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(512, 32), nn.Tanh(), nn.Linear(32, 10))
        inputs, hidden = shape[0] * shape[1], int(name.split("-")[1])
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    def run():
        for _ in range(models):
            model = network()
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)
            for _ in range(epochs):
                order = torch.randperm(rows)
                for start in range(0, rows, BATCH):
                    batch = order[start : start + BATCH]
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                    optimizer.step()

    return run


if __name__ == "__main__":
    command.absl_main("benchmarks.training", lambda: app.run(main))
