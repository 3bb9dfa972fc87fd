"""A row of CIFAR-10's part of the study, from the binary files to the packed file and the audit, on real images.

The images are scikit-learn's digits at 32 x 32 pixels in three colors, in files of CIFAR-10's format.
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from experiments.gecko import grid
from experiments.gecko.config import Config
from experiments.gecko.networks import IMAGES, is_normalized
from experiments.gecko.presets import PRESETS
from gecko_jax import models
from gecko_jax.datasets import cifar

ROWS = 40  # of each of the six files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    raw, folder = load_digits(), tmp_path_factory.mktemp("cifar") / "cifar10"
    folder.mkdir()
    colors = np.kron(raw.images, np.ones((4, 4)))[:, None] * np.array([15, 12, 9])[None, :, None, None]
    rows = np.concatenate([raw.target[:, None], colors.reshape(len(colors), -1)], 1).astype(np.uint8)
    source = cifar.SOURCES["cifar10"]
    for i, file in enumerate((*source.train, *source.test)):
        (folder / file).write_bytes(rows[ROWS * i : ROWS * (i + 1)].tobytes())
    return folder.parent


def test_a_row_runs_from_the_files_to_its_figures(files, tmp_path):
    numbers = dict(width=0.05, models=3, epochs=(6,), batch_size=32, learning_rate=0.01)
    places = dict(dataset="cifar10", data_dir=str(files), output=str(tmp_path))
    with pytest.warns(UserWarning, match="of cifar10 differ from the published files"):
        (row,) = grid.study(Config(**places, architectures=("alexnet32",), methods=("full",), **numbers)).rows
    assert all(row.figures[name].n == 3 for name in ("train", "test", "attack", "auc", "ece"))
    assert row.figures["train"].value > 20  # %, of ten classes
    packed = tmp_path / "rows" / "alexnet32" / "full" / "model.packed"
    assert packed.stat().st_size == round(1000 * row.figures["file"].value)
    filters = [3, 3, 10, 19, 13, 13]  # of the image, and a twentieth of the network's
    convolutions = sum(9 * before * after + after for before, after in zip(filters, filters[1:], strict=False))
    dense = sum(before * after + after for before, after in ((4 * 13, 205), (205, 205), (205, 10)))
    assert row.figures["parameters"].value == convolutions + dense


def test_every_network_of_the_paper_has_a_private_form_without_batch_norm():
    config = Config(dataset="cifar10", architectures=IMAGES, epochs=(1,) * len(IMAGES), methods=("full",))
    kinds = {name: "group" if is_normalized(name) else None for name in IMAGES}
    for name, kind in kinds.items():
        settings = dict(models.blueprint.to_json(config.network(name, "dp_eps8", 10).blueprint))["create"]
        assert settings.get("normalize") == kind
    assert {name for name, kind in kinds.items() if kind} == {
        "densenet40", "mobilenet_v2", "resnet20", "vgg11", "vgg13", "vgg16", "vgg19",
    }  # fmt: skip
    assert PRESETS["cifar10"].architectures == ("nin", "alexnet32", "vgg13", "squeezenet", "mobilenet_v2")
