"""The table of names: each one loads or says what is lacking; digits; the script."""

import pathlib
import runpy
import types

import numpy as np
import pytest
from absl import app, flags
from sklearn.datasets import load_digits

from gecko_jax import datasets

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "prepare_data.py"


@pytest.mark.parametrize("name", datasets.LOADERS)
def test_contract(name, tmp_path, monkeypatch):
    """Every loader takes a data_dir; what it returns satisfies the noun, or it lists the folder it was given."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home"))
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    monkeypatch.setattr("gecko_jax.datasets.mnist.SOURCES", _without_system_folders())
    try:
        data = datasets.load(name, tmp_path / "data")
    except FileNotFoundError as error:
        assert str(tmp_path / "data" / name) in str(error) and datasets.LOADERS[name].prepare is not None
        return
    assert data.name == name and datasets.prepare(name, tmp_path) == []
    ids = np.concatenate([data.train.id, data.test.id])
    assert len(set(ids.tolist())) == len(ids)
    for split in (data.train, data.test):
        assert (split.x.dtype, split.y.dtype, split.id.dtype) == (np.float32, np.int32, np.int64)
        assert len(split.x) == len(split.y) == len(split.id) > 0
        assert np.isfinite(split.x).all() and set(split.y.tolist()) == set(range(data.num_classes))


def _no_network(*arguments, **options):
    raise OSError("no network in this test")


def _without_system_folders():
    from gecko_jax.datasets import mnist

    return {name: source._replace(system=()) for name, source in mnist.SOURCES.items()}


def test_digits_are_scikit_learns():
    data, raw = datasets.load("digits"), load_digits()
    assert data.train.x.shape == (1437, 8, 8, 1) and data.test.x.shape == (360, 8, 8, 1)
    for split in (data.train, data.test):
        np.testing.assert_array_equal(split.x[..., 0] * 16, raw.images[split.id])
        np.testing.assert_array_equal(split.y, raw.target[split.id])
    assert sorted([*data.train.id, *data.test.id]) == list(range(1797))
    # The split is part of the data set: a change of the hash would move every published figure.
    assert data.test.id[:5].tolist() == [2, 4, 10, 18, 21]


@pytest.mark.parametrize(
    ("name", "message"),
    [("digit", "name='digit' is not known. Did you mean 'digits'"), ("fashion-mnist", "Did you mean 'fashion_mnist'")],
)
def test_unknown_names(name, message):
    for function in (datasets.load, datasets.prepare):
        with pytest.raises(ValueError, match=message):
            function(name)


def test_script_says_what_it_found_where(tmp_path, monkeypatch, run_script):
    (tmp_path / "bangkok").write_text("".join(f"{1 + i % 30},{','.join('01'[i % 2] * 446)}\n" for i in range(60)))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home"))
    with pytest.warns(UserWarning, match="has 60 rows; the published table location has 5010"):
        result = run_script("prepare_data.py", "location", f"--data_dir={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        str(tmp_path / "location" / "location.npz"),
        "location: 48 training + 12 test rows of shape (446,), 30 classes",
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["purchase"], SystemExit, "^prepare_data: purchase: purchase.npz or"),
        (["purchases"], SystemExit, "^prepare_data: name='purchases' is not known. Did you mean 'purchase'"),
        ([], app.UsageError, "expected one NAME"),
        (["digits", "mnist"], app.UsageError, "expected one NAME"),
    ],
)
def test_script_refuses_with_a_reason(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "home"))
    monkeypatch.setattr(flags, "DEFINE_string", lambda *_: types.SimpleNamespace(value=str(tmp_path)))
    main = runpy.run_path(str(SCRIPT))["main"]
    with pytest.raises(error, match=message):
        main([str(SCRIPT), *arguments])
