"""The settings of the grid, the figures that the paper prints, and the expected ones."""

import csv
import dataclasses
import pathlib
import re

import jax
import numpy as np
import pytest

from experiments import studies
from experiments.gecko import beside, grid, measure, published, run
from experiments.gecko.config import Config
from experiments.gecko.methods import METHODS
from experiments.gecko.presets import PRESETS
from gecko_jax import reports
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Estimate, Examples


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(delta=1.0), "delta=1.0 must lie above 0 and below 1"),
        (dict(clipping="per_layer"), "per_layer.*Known"),
        (dict(clip_norm=0.0), "clip_norm=0.0"),
        (dict(dp_batch_size=0), "dp_batch_size=0"),
        (dict(dp_learning_rate=-1.0), "dp_learning_rate=-1.0"),
        (dict(dp_epochs=(1, 2)), "dp_epochs=.*one number"),
        (dict(architectures=("resnet",)), "resnet.*Known"),
        (
            dict(architectures=("mlp", "digits:mlp"), epochs=(1, 1), fine_tuning_epochs=(1, 1), dp_epochs=(1, 1)),
            "twice",
        ),
        (dict(records=50), "records=50 must be 0"),
        (dict(reference=0.9), "reference"),
        (dict(methods=("early_stopping",)), r"reference=0: \['early_stopping'\] read rows"),
        (dict(methods=("xnr",)), "Did you mean 'xnor'"),
        (dict(models=2), "at least 3"),
        (dict(epochs=(1, 2)), "epochs=.*one number"),
        (dict(member_rate=1.0), "member_rate"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PRESETS["quick"], **change)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_network_for_every_architecture(name):
    for architecture in ("mlp", "lenet"):
        model = METHODS[name].model(architecture, 10, **PRESETS["quick"].options(architecture))
        shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32))
        assert shapes["params"]


def test_quick_figures_are_of_the_quick_rows():
    path = pathlib.Path(run.__file__).parent / "expected" / "quick.csv"
    with path.open() as file:
        lines = list(csv.DictReader(file))
    assert {line["row"] for line in lines} == {METHODS[name].label for name in PRESETS["quick"].methods}
    listed = {line["metric"] for line in lines}
    assert listed == {column.key for column in measure.COLUMNS} - {"tpr_at_0p1pct"}


def test_a_grid_of_several_data_sets_is_a_table_for_each():
    config = Config(
        architectures=("mlp", "location:fc_location", "lenet"),
        epochs=(1, 2, 3),
        fine_tuning_epochs=(4, 5, 6),
        output="out",
        methods=("full", "retrained"),
    )
    parts = config.parts()
    assert {name: part.architectures for name, part in parts.items()} == {
        "digits": ("mlp", "lenet"),
        "location": ("fc_location",),
    }
    assert parts["digits"].epochs == (1, 3) and parts["location"].fine_tuning_epochs == (5,)
    assert [part.output for part in parts.values()] == ["out/digits", "out/location"]
    assert [part.name for part in run.parts(config)] == ["digits", "location"]
    assert parts["location"].options("fc_location") == {"hidden": (512, 256, 128)}
    (only,) = Config().parts().items()
    assert only == ("", Config())


def test_reference_rows_are_neither_members_nor_attacked():
    config = Config(records=1000, reference=0.2)
    data, reference = grid.load(config)
    assert len(data.train.y) == 800 and len(reference.y) == 200
    ids = np.concatenate([data.train.id, reference.id])
    everything, none = grid.load(Config())
    assert none is None and sorted(ids) == sorted(everything.train.id[:1000])
    assert np.array_equal(reference.x[0], everything.train.x[everything.train.id == reference.id[0]][0])
    identities = {
        method: {
            grid.identity(config, 0, method, data, rows)["data"] for rows in (reference, take(reference, slice(99)))
        }
        for method in ("full", "dmp")
    }
    assert {method: len(each) for method, each in identities.items()} == {"full": 1, "dmp": 2}, "other reference rows"


def test_a_network_that_cannot_be_is_named_and_the_others_run():
    config = Config(architectures=("nin",), methods=("xnor",), width=0.05, epochs=(1,))
    data, _ = grid.load(config)
    flat = data._replace(train=data.train._replace(x=data.train.x.reshape(len(data.train.y), -1)))
    assert grid.impossible(config, 0, "xnor", data) == ""
    assert "nin, XNOR Phase I: " in grid.impossible(config, 0, "xnor", flat)
    with pytest.raises(ValueError, match="nin, XNOR Phase I: "):
        grid.cells(config, flat, None)


@pytest.mark.parametrize("method", ["phase2_heterogeneous", "phase2_densenet", "phase2_resnet"])
def test_a_teacher_that_cannot_read_the_data_is_named_before_anything_is_trained(method):
    """Otherwise it would end the run of the whole grid, when its turn comes."""
    config = PRESETS["paper"].parts()["location"]
    rows = Examples(np.zeros((4, 446), np.float32), np.zeros(4, np.int32), np.arange(4))
    why = grid.impossible(config, 0, method, Dataset("location", rows, rows, 30))
    assert why.startswith(f"fc_location, {METHODS[method].label}: x has shape (1, 446)")
    assert grid.impossible(config, 0, "phase2_homogeneous", Dataset("location", rows, rows, 30)) == ""


def test_the_printed_figures_stand_beside_ours():
    """Parameters of Architecture 1 are the memory that the paper prints, read as megabits."""
    row = reports.Row(
        "Full precision", {"train": Estimate(99.0, 98.0, 100.5, unit="%"), "bytes": Estimate(4799.528, unit="kB")}
    )
    epochs = dict.fromkeys(("epochs", "fine_tuning_epochs", "dp_epochs"), (3,))
    config = dataclasses.replace(PRESETS["fashion_mnist"], architectures=("lenet",), **epochs)
    study = reports.Study("", "", (row,), tuple(c for c in measure.COLUMNS if c.key in row.figures))
    text = beside.text(config, study)
    assert "+0.8" in text and "4,798.8" in text and "megabits" in text
    assert re.search(r"99.00 .*100.00 +-1.00 \(within ours' interval\)", text)
    every = {each._replace(value=0.0) for each in published.FIGURES}
    assert len(every) == len(published.FIGURES) and {each.table for each in published.FIGURES} == set(published.REASONS)


def test_expected_figures_are_those_of_the_preset():
    """Every row that stands there has the columns that the paper prints; parameters are counted again."""
    home = pathlib.Path(run.__file__).parent
    with (home / "expected" / "fashion_mnist.csv").open() as file:
        expected = {(line["row"], line["metric"]): line for line in csv.DictReader(file)}
    preset, rows = PRESETS["fashion_mnist"], set()
    for architecture in preset.architectures:
        for name in preset.methods:
            row = f"{architecture}: {METHODS[name].label}"
            for metric in ("train", "test", "attack", "auc", "bytes"):
                assert float(expected[row, metric]["value"]) > 0
            dense = "full" if name.startswith(("pruned", "shared")) else name  # whose weights are removed, or shared
            model = METHODS[dense].model(architecture, 10, **preset.options(architecture))
            shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))
            percent = int(name.removeprefix("pruned")) if name.startswith("pruned") else 0  # of each kernel's weights
            leaves = jax.tree.leaves(shapes["params"])
            parameters = sum(leaf.size - (leaf.ndim > 1) * round(leaf.size * percent / 100) for leaf in leaves)
            assert float(expected[row, "parameters"]["value"]) == parameters
            rows.add(row)
    assert rows == {row for row, _ in expected} and len(expected) >= 14 * len(rows) >= 196

    figures = {}
    for (row, metric), line in expected.items():
        figures.setdefault(row, {})[metric] = Estimate(float(line["value"]), None, None, "counted", "", None)
    rows = [reports.Row(row, found) for row, found in figures.items()]
    config = dataclasses.replace(preset, output="elsewhere", data_dir="/data")

    def beside(config):
        return studies.compare_with_expected(config, PRESETS, home, "", rows)

    assert beside(config) == "All figures are as in fashion_mnist.csv, within its tolerances."
    figures["mlp: Full precision"]["test"] = Estimate(80.0, None, None, "counted", "", None)
    differences = beside(config)
    assert "1 figures differ from fashion_mnist.csv" in differences
    assert "mlp: Full precision / test: expected 88.5833 ± 1, got 80" in differences
    assert beside(dataclasses.replace(config, seed=1)) == ""


def test_a_private_row_says_which_network_it_is():
    """Its float network, if that has no BatchNorm; else the one in which something else normalizes."""
    config, x = Config(), np.zeros((1, 32, 32, 3), np.float32)
    for network in ("mlp", "resnet20"):
        private, full = (config.network(network, name, 10) for name in ("dp_eps8", "full"))
        parameters, others = (jax.eval_shape(each.init, jax.random.key(0), x) for each in (private, full))
        same = jax.tree.structure(parameters) == jax.tree.structure(others)
        for name in ("dp_eps8", "dp_eps2", "dp_binary"):
            assert ("GroupNorm in BatchNorm's place" in config.note(network, name)) == (not same)
        assert config.note(network, "full") == METHODS["full"].note
    assert config.note("mlp", "dp_eps8") == METHODS["dp_eps8"].note == "as Full precision"
    assert config.note("resnet20", "dp_eps2") == "Full precision's, with GroupNorm in BatchNorm's place"
