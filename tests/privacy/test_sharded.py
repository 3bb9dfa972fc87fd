"""A batch over two processes of four devices, and over four devices of one: the sums of one device, and its noise.

The file is also the program of these processes: `python test_sharded.py RESULTS COORDINATOR PROCESSES NUMBER`.
"""

from __future__ import annotations

import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from zoo_modules import Standardized

from gecko_jax import clippings, losses, models, privacy
from gecko_jax.trees import named_leaves
from gecko_jax.types import Batch

ROWS, BOUND, EXPECTED, SIGMA = 16, 0.5, 12.5, 0.7
PROCESSES = "first", "second"
SHAPES = {"mlp": (5,), "cnn": (5, 5, 2)}
SUMS = {  # (problem, way): (method, microbatch)
    ("mlp", "bookkeeping"): ("bookkeeping", None),
    ("mlp", "vmap"): ("vmap", None),
    ("mlp", "by microbatches"): ("auto", 3),
    ("cnn", "vmap"): ("vmap", None),
}
QUICKLY = {"xla_backend_optimization_level": 0}


class Convolutions(nn.Module):
    """Kernels used once, twice, standardized, transposed and in a loop: each is another way to its gradients."""

    @nn.compact
    def __call__(self, x):
        twice = nn.Conv(4, (2, 2))
        x = nn.relu(nn.GroupNorm(2)(nn.Conv(4, (3, 3), padding="VALID")(x)))
        x = Standardized()(jnp.tanh(twice(jnp.tanh(twice(x)))))
        x = nn.ConvTranspose(2, (2, 2), (2, 2), use_bias=False)(jnp.tanh(x))
        kernel = self.param("looped", nn.initializers.normal(), (2, 2, 2, 2))
        numbers = dict(window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        turn = lambda x, _: (jnp.tanh(lax.conv_general_dilated(x, kernel, **numbers)), None)  # noqa: E731
        return nn.Dense(3)(lax.scan(turn, x, None, length=2)[0].mean(axis=(1, 2)))


def model_of(name):
    return models.create("mlp", 3, hidden=(8,)) if name == "mlp" else models.from_linen(Convolutions())


def problem(name):
    """Variables and a batch with padding within and at the end; one example is not finite."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, *SHAPES[name])).astype(np.float32)
    x[4] = np.nan
    weight = np.ones(ROWS, np.float32)
    weight[[2, 9, 14, 15]] = 0
    batch = Batch(x, rng.integers(0, 3, ROWS).astype(np.int32), weight)
    shapes = jax.eval_shape(model_of(name).init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32) * 0.5, shapes), batch


def everything(problems):
    """{name: (variables, batch)} -> sums with norms of each way, and gradients of private steps."""
    arrays, rule = {}, clippings.flat(BOUND)
    for (name, way), (method, microbatch) in SUMS.items():
        loss = privacy.example_loss(model_of(name), losses.cross_entropy())
        total, norms = privacy.clipped_sum(loss, rule, method, microbatch)(*problems[name], jax.random.key(1))
        arrays[f"{name} {way}"] = {"sum": total, "norms": norms}
    for name in SHAPES:
        loss = privacy.example_loss(model_of(name), losses.cross_entropy())
        private = privacy.private_gradients(loss, rule, SIGMA, EXPECTED, method="bookkeeping")
        gradients, metrics = private(*problems[name], jax.random.key(2))
        arrays[f"{name} step"] = {"sum": gradients, "correct": metrics.metric, "count": metrics.count}
    return arrays


def compute(place_variables=lambda tree: tree, place_rows=lambda tree: tree):
    """`everything` in a plain jit on placed arrays."""
    problems = {}
    for name in SHAPES:
        variables, batch = problem(name)
        problems[name] = place_variables(variables), place_rows(batch)
    return jax.jit(everything, compiler_options=QUICKLY)(problems)


def shared_out():
    """The same with the rows over all devices; each process places its share of them, and has all results."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    rows, everywhere = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    share = ROWS // jax.process_count()
    mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)

    def placed(leaf, sharding, part):
        array = jax.make_array_from_process_local_data(sharding, leaf[part], leaf.shape)
        assert len(array.sharding.device_set) == jax.device_count()
        return array

    sums = compute(
        lambda tree: jax.tree.map(lambda leaf: placed(leaf, everywhere, slice(None)), tree),
        lambda tree: jax.tree.map(lambda leaf: placed(leaf, rows, mine), tree),
    )
    sums = jax.jit(lambda tree: tree, out_shardings=everywhere)(sums)  # norms are shared out as the rows are
    return dict(named_leaves(jax.tree.map(np.asarray, sums)))


def main(path, coordinator, processes, number):
    """One process of several."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(coordinator, int(processes), int(number), initialization_timeout=120)
    np.savez(path, **shared_out(), devices=np.asarray([jax.device_count(), jax.process_count()]))


def environment():
    """That of a process with four devices."""
    here = pathlib.Path(__file__).parent
    paths = [str(here.parents[1]), str(here / "per_example"), os.environ.get("PYTHONPATH", "")]
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ.get("XLA_FLAGS", ""))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=4".strip(),
    }


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What each of two processes computes."""
    folder, coordinator = tmp_path_factory.mktemp("sharded"), f"127.0.0.1:{free_port()}"
    started, until = {}, time.monotonic() + 300
    try:
        for number, name in enumerate(PROCESSES):
            with open(folder / f"{name}.log", "wb") as log:
                command = [sys.executable, __file__, folder / f"{name}.npz", coordinator, "2", str(number)]
                started[name] = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
        # One that fails would leave the other waiting for it.
        while any(each.poll() is None for each in started.values()) and time.monotonic() < until:
            if any(each.poll() for each in started.values()):
                break
            time.sleep(0.05)
        for name, each in started.items():
            assert each.poll() == 0, f"{name}, {each.poll()}: {(folder / f'{name}.log').read_text()[-3000:]}"
    finally:
        for each in started.values():
            each.kill()
            each.wait()
    results = {}
    for name in PROCESSES:
        with np.load(folder / f"{name}.npz") as arrays:
            results[name] = dict(arrays)
    return results


@pytest.fixture(scope="module")
def alone():
    """The same on one device of this process."""
    return dict(named_leaves(jax.tree.map(np.asarray, compute())))


def check_equal(found, wanted):
    """Each array to a millionth of its largest entry; NaN where NaN is."""
    assert found.keys() == wanted.keys()
    for name, leaf in wanted.items():
        np.testing.assert_allclose(found[name], leaf, rtol=0, atol=1e-6 * np.nanmax(np.abs(leaf)), err_msg=name)


def test_the_problem_has_all_that_may_go_wrong(alone):
    """Clipped rows, padding, a NaN; and noise on the same sum."""
    for name in SHAPES:
        norms = alone[f"{name} vmap/norms"]
        assert np.isnan(norms[4]) and not norms[[2, 9, 14, 15]].any() and (norms > BOUND).any()
        total, step = (
            np.concatenate([leaf.ravel() for key, leaf in alone.items() if key.startswith(f"{name} {way}/sum")])
            for way in ("vmap", "step")
        )
        np.testing.assert_allclose(np.std(step - total / EXPECTED), SIGMA * BOUND / EXPECTED, rtol=0.3)
        assert alone[f"{name} step/count"] == 12


@pytest.mark.parametrize("process", PROCESSES)
def test_two_processes_give_what_one_device_gives(runs, alone, process):
    results = dict(runs[process])
    assert results.pop("devices").tolist() == [8, 2]
    check_equal(results, alone)


def test_several_devices_give_what_one_gives(alone):
    assert jax.device_count() == 4
    check_equal(shared_out(), alone)


if __name__ == "__main__":
    main(*sys.argv[1:])
