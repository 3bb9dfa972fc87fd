"""Checkpoints: complete or absent, never damaged, never of another run."""

import errno
import json

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from naive_training import assert_same_bits, start_of

from gecko_jax import losses, models, quantizers, training
from gecko_jax.training.checkpoints import Checkpoints
from gecko_jax.trees import take

# Where one array cannot be read, Orbax leaves the reads of the others to themselves, and their threads complain.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*Event loop is closed:pytest.PytestUnraisableExceptionWarning")

RUN = {"seed": 1, "models": [0, 1]}


def state(seed):
    rng = np.random.default_rng(seed)
    return {"w": rng.normal(size=(2, 300)).astype(np.float32), "n": np.array([seed, 2], np.int32)}


@pytest.fixture
def saved(tmp_path):
    """A folder with the state after 3 epochs."""
    checkpoints = Checkpoints(tmp_path, RUN)
    assert checkpoints.restore(state(0)) is None
    checkpoints.save(1, state(1))
    checkpoints.save(3, state(3))
    checkpoints.close()
    return tmp_path


def restored(folder):
    checkpoints = Checkpoints(folder, RUN)
    try:
        return checkpoints.restore(state(0))
    finally:
        checkpoints.close()


def test_what_was_saved_comes_back(saved):
    done, tree = restored(saved)
    assert done == 3 and all(isinstance(leaf, np.ndarray) for leaf in tree.values())
    assert_same_bits(tree, state(3))
    assert [path.name for path in (saved / "checkpoints").iterdir()] == ["3"]


def test_a_half_written_checkpoint_is_not_read_and_is_cleared_away(saved):
    left = saved / "checkpoints" / "4.orbax-checkpoint-tmp" / "default"
    left.mkdir(parents=True)
    (left / "d").write_bytes(b"half")
    assert restored(saved)[0] == 3
    assert not left.parent.exists()


def test_every_damaged_file_is_harmless_or_noticed(saved):
    """Each file cut in half, emptied, with a bit flipped, and gone: the state as saved, or an error that says so."""
    noticed = {"cut": 0, "emptied": 0, "flipped": 0, "gone": 0}
    for path in sorted(path for path in (saved / "checkpoints" / "3").rglob("*") if path.is_file()):
        saved_bytes = path.read_bytes()
        half = len(saved_bytes) // 2
        damaged = {"cut": saved_bytes[:half], "emptied": b"", "gone": None}
        damaged["flipped"] = saved_bytes[:half] + bytes([saved_bytes[half] ^ 1]) + saved_bytes[half + 1 :]
        for how, content in damaged.items():
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
            try:
                done, tree = restored(saved)
                assert done == 3
                assert_same_bits(tree, state(3))
            except ValueError as error:
                assert f"{str(saved / 'checkpoints' / '3')!r} is damaged" in str(error), error
                assert "to train again from the start" in str(error)
                noticed[how] += 1
        path.write_bytes(saved_bytes)
    assert restored(saved)[0] == 3
    assert min(noticed.values()) > 0, "the weights' own file is among them"


def test_an_empty_folder_in_a_checkpoint_s_place_is_not_read(saved):
    (saved / "checkpoints" / "9").mkdir()
    with pytest.raises(ValueError, match="9' is damaged"):
        restored(saved)


@pytest.mark.parametrize(
    "error, number",
    [
        (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC),
        (ValueError("RESOURCE_EXHAUSTED: Failed writing: 'd': No space left [os_error_code='28']"), errno.ENOSPC),
        (RuntimeError("the array store is gone"), errno.EIO),
    ],
)
def test_a_save_that_fails_says_where_and_keeps_the_one_before(saved, monkeypatch, error, number):
    checkpoints = Checkpoints(saved, RUN)

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(checkpoints._manager, "save", fail)
    with pytest.raises(OSError, match="could not write in .*The last whole checkpoint is untouched") as caught:
        checkpoints.save(4, state(4))
    checkpoints.close()
    assert caught.value.errno == number and caught.value.__cause__ is error and str(saved) in str(caught.value)
    done, tree = restored(saved)
    assert done == 3
    assert_same_bits(tree, state(3))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="could not write in .*make room or give another folder"):
        Checkpoints(tmp_path / "file" / "run", RUN)


def test_another_run_s_folder_is_refused(saved):
    with pytest.raises(ValueError, match=r"holds another run \(seed was 1, is 2\): name a new one or delete it"):
        Checkpoints(saved, {**RUN, "seed": 2})
    with pytest.raises(ValueError, match=r"models was \[0, 1\], is None; rows was None, is 3"):
        Checkpoints(saved, {"seed": 1, "rows": 3})


def test_a_folder_without_its_identity_is_refused(saved):
    (saved / "run.json").write_text('{"seed": 1,')
    with pytest.raises(ValueError, match="run.json' is damaged"):
        Checkpoints(saved, RUN)
    (saved / "run.json").unlink()
    with pytest.raises(ValueError, match="without the run.json that says of which run"):
        Checkpoints(saved, RUN)


class Shifted(nn.Module):
    """A constant that stands in no variable and in no shape."""

    shift: float

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(x + self.shift)


def quantized(mlp, quantizer):
    return models.quantized(mlp, [(".*", quantizer, None)], float_layers=())


SGD = training.optimizer("sgd", 0.1)
TEACHER = np.zeros((60, 10), np.float32)
MLP = models.create("mlp", 10, hidden=(8,))
PROGRAM = r"program \(model, loss, gradients, optimizer\) was"


def fit_of(pool, folder, model=MLP, rows=slice(None), start=0, **options):
    init = start_of(model, pool.x, start)
    settings = dict(init=init, optimizer=SGD, epochs=1, batch_size=60, folder=folder)
    return training.fit(model, take(pool, rows), **{**settings, **options})


PAIRS = {
    "a learning rate": (dict(), dict(optimizer=training.optimizer("sgd", 0.2)), PROGRAM),
    "a momentum": (dict(optimizer=optax.sgd(0.1, 0.9)), dict(optimizer=optax.sgd(0.1, 0.95)), PROGRAM),
    "a model's constant": (
        dict(model=models.from_linen(Shifted(1.0))), dict(model=models.from_linen(Shifted(2.0))), PROGRAM
    ),
    "a quantizer": (
        dict(model=quantized(MLP, quantizers.binary_connect())), dict(model=quantized(MLP, quantizers.xnor())), PROGRAM
    ),
    "a temperature": (
        dict(loss=losses.kullback_leibler(2.0), extra={"teacher": TEACHER}),
        dict(loss=losses.kullback_leibler(3.0), extra={"teacher": TEACHER}),
        PROGRAM,
    ),
    "a start": (dict(), dict(start=1), "start was"),
    "rows": (dict(), dict(rows=slice(None, None, -1)), "data was"),
    "members": (dict(), dict(member=np.arange(60) < 59), "data was"),
    "a schedule": (
        dict(), dict(schedules={"learning_rate": lambda done: 0.5}),
        r"schedules was {'learning_rate': \[1.0\]}, is {'learning_rate': \[0.5\]}",
    ),
    "epochs": (dict(), dict(epochs=2), "epochs was 1, is 2"),
    "a name": (dict(), dict(model_id=4), r"model_ids was \[0\], is \[4\]"),
}  # fmt: skip


@pytest.mark.parametrize("what", PAIRS)
def test_another_run_is_told_by_what_it_computes(pool, tmp_path, what, monkeypatch):
    """Nothing is trained here: the folder is refused before that. The same run again is not refused."""
    first, second, message = PAIRS[what]

    class Begun(Exception):
        pass

    def begin(*args):
        raise Begun

    monkeypatch.setattr(training.ensemble, "compiled_epoch", lambda *args: begin)
    for _ in range(2):
        with pytest.raises(Begun):
            fit_of(pool, tmp_path, **first)
    with pytest.raises(ValueError, match=message):
        fit_of(pool, tmp_path, **second)
    assert json.loads((tmp_path / "run.json").read_text())["jax"] == jax.__version__


def test_a_start_in_double_precision_is_restored(pool, tmp_path):
    """It is trained and stored in single precision, and what is read must be what was stored."""
    start = jax.tree.map(np.float64, start_of(MLP, pool.x))
    first = fit_of(pool, tmp_path, init=start)
    assert_same_bits(fit_of(pool, tmp_path, init=start), first)
