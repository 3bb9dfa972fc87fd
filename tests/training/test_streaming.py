"""Rows on a disk: streamed in portions, with the results of a run that has them in memory."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from naive_training import assert_close, assert_same_bits

from gecko_jax import digests, models, privacy, training
from gecko_jax.training import feed
from gecko_jax.training.pool import Data
from gecko_jax.training.stored import StoredRows, in_blocks
from gecko_jax.types import Examples


class Dropped(nn.Module):
    """Draws in each step: a portion that counted its steps from 0 again would draw the same."""

    @nn.compact
    def __call__(self, x, train: bool):
        return nn.Dense(10)(nn.Dropout(0.5, deterministic=not train)(nn.relu(nn.Dense(4)(x))))


MODEL = models.from_linen(Dropped())
SETTINGS = dict(epochs=2, batch_size=8, optimizer=training.optimizer("momentum", 0.1))


class Rows:
    """Rows that can be had by a slice or by rising indices alone, a few at a time, as those of an HDF5 file."""

    def __init__(self, array):
        self._array, self.shape, self.dtype, self.reads = array, array.shape, array.dtype, []

    def __len__(self):
        return len(self._array)

    def __getitem__(self, index):
        if isinstance(index, np.ndarray):
            assert (np.diff(index) > 0).all()
            self.reads.append(len(index))
        return self._array[index]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Portions of three steps of one model: an epoch of eight ends with a shorter one."""
    monkeypatch.setattr(feed, "MAX_BYTES_FROM_DISK", 0)
    monkeypatch.setattr(feed, "BYTES_PER_PORTION", 3 * 8 * (64 * 4 + 8))


@pytest.fixture
def mapped(pool, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, pool.x)
    return pool._replace(x=np.load(path, mmap_mode="r"))


def test_one_model_is_the_same_to_the_bit_and_each_portion_is_shown(pool, mapped, capfd):
    resident = training.fit(MODEL, pool, label="fit", **SETTINGS)
    assert "rows/s" not in capfd.readouterr().err
    assert_same_bits(training.fit(MODEL, mapped, label="fit", **SETTINGS), resident)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("fit 1/6  epoch 1/2  loss ") and lines[-1].startswith("fit 6/6  done in ")


def test_several_models_are_the_same(pool, member):
    """Five of different sizes in one program over four devices: each reads its own rows, some skip steps."""
    rows = Rows(pool.x)
    streamed = training.fit_ensemble(MODEL, pool._replace(x=rows), member, **SETTINGS)
    # A portion is one step here, which XLA takes out of its loop and rounds otherwise.
    assert_close(streamed, training.fit_ensemble(MODEL, pool, member, **SETTINGS))
    assert len(rows.reads) == 2 * 5 and max(rows.reads) <= 60  # a step of eight models at a time, each row once


def test_a_private_run_is_the_same_in_memory_and_on_a_disk_and_goes_on_where_it_began(pool, mapped, tmp_path):
    from gecko_jax import clippings, losses

    run = privacy.private_training(
        MODEL,
        losses.cross_entropy(),
        clippings.flat(1.0),
        n=60,
        batch_size=8,
        epochs=1,
        delta=1e-3,
        noise_multiplier=1.0,
    )
    first = training.fit(run.model, mapped, folder=tmp_path / "run", seed=3, **run.options)
    assert_close(training.fit(run.model, pool, seed=3, **run.options), first)  # with the noise of the same run
    assert_same_bits(training.fit(run.model, mapped, folder=tmp_path / "run", seed=3, **run.options), first)
    with pytest.raises(ValueError, match="holds another run .*rows.*'streamed'.*'in memory'"):
        training.fit(run.model, pool, folder=tmp_path / "run", seed=3, **run.options)  # would round otherwise


def test_a_nan_is_told_by_its_step_of_the_epoch_and_its_row_of_the_data(mlp, pool, tmp_path):
    x = pool.x.copy()
    x[33, 5] = np.nan

    def failed(data):
        with pytest.raises(training.NotFinite) as caught:
            training.fit(mlp, data, **{**SETTINGS, "batch_size": 4})
        return str(caught.value)

    told = failed(pool._replace(x=x))
    assert "the input x, in row 33 of the data" in told
    assert failed(pool._replace(x=Rows(x))) == told


def test_extras_of_each_model_are_refused_if_rows_are_streamed(pool, mlp):
    from gecko_jax import losses

    options = dict(
        loss=losses.hard_labels(), extra={"teacher": np.zeros((5, 60, 10), np.float32)}, extra_per_model=True
    )
    with pytest.raises(ValueError, match="extra_per_model=True with .* bytes of data, which are streamed.*one by one"):
        training.fit_ensemble(mlp, pool._replace(x=Rows(pool.x)), np.ones((5, 60), bool), **options)


class Card:
    platform = "gpu"

    def memory_stats(self):
        return {"bytes_limit": 16_000, "bytes_in_use": 0}


@pytest.mark.parametrize("rows, streamed", [(10, False), (11, True)])
def test_rows_stay_on_a_card_if_they_take_a_quarter_of_its_memory(monkeypatch, rows, streamed):
    data = Data(np.zeros((rows, 98), np.float32), np.zeros(rows, np.int64))  # 392 + 8 bytes a row
    assert not feed.is_streamed(data)  # in the memory of a CPU
    monkeypatch.setattr(jax, "local_devices", lambda: [Card()])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert feed.is_streamed(data) == streamed


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_map_s_pages_are_given_back_and_nothing_is_lost(tmp_path, mode):
    path = tmp_path / "x.npy"
    expected = np.arange(40_000, dtype=np.int64).reshape(10_000, 4)
    np.save(path, expected)
    source = np.load(path, mmap_mode=mode)
    if mode != "r":
        source[7] = expected[7] = -1
    rows = StoredRows(source[5:])
    for index in (np.array([2, 100]), slice(0, 9), 2):
        np.testing.assert_array_equal(rows[index], expected[5:][index])
    np.testing.assert_array_equal(source, expected)


def test_blocks_and_digests_are_those_of_the_whole(monkeypatch):
    array = np.arange(70, dtype=np.float32).reshape(10, 7)
    monkeypatch.setattr("gecko_jax.training.stored.BYTES_PER_READ", 100)
    rows = StoredRows(Rows(array))
    assert digests.array_digest(rows, None, 1.5) == digests.array_digest(array, None, np.array([1.5]))
    blocks = list(in_blocks(rows, np.arange(10)))
    assert len(blocks) == 5 and all(len(x) == len(y) for x, y in blocks)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in blocks]), array)


def test_integers_on_a_disk_that_jax_would_cut_are_refused(mlp, pool):
    data = Examples(Rows(np.full((60, 64), 2**40)), pool.y, pool.id)
    with pytest.raises(ValueError, match=r"data.x holds 1099511627776..1099511627776, which JAX cuts to int32"):
        training.fit(mlp, data, **SETTINGS)
