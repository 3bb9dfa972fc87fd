"""Any TensorFlow Datasets name, read as a random-access source: no TensorFlow is imported.

TFDS shuffles a split when it writes it. A row's id is therefore the feature `id` if the data set has one. Otherwise it
is the row's place in the source, which is fixed once written, but may change if the data are prepared again.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import numpy as np

from gecko_jax import checks, extras
from gecko_jax.datasets.arrays import dataset
from gecko_jax.datasets.hashing import count_on
from gecko_jax.datasets.places import home
from gecko_jax.digests import short
from gecko_jax.types import Dataset

_INPUTS = ("image", "features")  # the input, if a data set does not name it
_TEST_SPLITS = ("test", "validation")


def _builder(name: str, data_dir: str | os.PathLike | None) -> Any:
    extras.require("tensorflow_datasets", "a data set of TFDS")
    import tensorflow_datasets as tfds

    folder = home() if data_dir is None else Path(data_dir).expanduser()
    try:
        return tfds.builder(name, data_dir=folder)
    except tfds.core.DatasetNotFoundError as error:
        base = name.split("/")[0].split(":")[0]  # less configuration and version
        close = difflib.get_close_matches(base, tfds.list_builders(with_community_datasets=False), n=1)
        hint = f" Did you mean 'tfds:{close[0]}'?" if close and close[0] != base else ""
        raise ValueError(f"tfds:{name} is not known to TFDS, nor prepared in {folder}.{hint}") from error
    except (AssertionError, ValueError) as error:  # a configuration or version that does not exist
        raise ValueError(f"tfds:{name}: {error}") from error


def _prepared(name: str, data_dir: str | os.PathLike | None) -> Any:
    builder = _builder(name, data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"tfds:{name} is not prepared in {builder.data_dir}. Run `python scripts/prepare_data.py tfds:{name} "
            f"--data_dir=DIR` where there is a network, and pass data_dir=DIR."
        )
    return builder


def text_source(name: str, split: str, data_dir: str | os.PathLike | None = None) -> Any:
    """Returns the records of a split by index, each a mapping of features; see `load` for the arguments.

    Raises:
      ValueError: an unknown name or split.
      FileNotFoundError: the data set was not prepared in that folder.
    """
    builder = _prepared(name, data_dir)
    checks.one_of("split", split, list(builder.info.splits))
    return _source(builder, split)


def _columns(builder: Any) -> tuple[str, str]:
    """Returns the names of the input's and the label's features."""
    features = builder.info.features
    known = list(features) if hasattr(features, "keys") else []
    keys = builder.info.supervised_keys or ()
    if len(keys) == 2 and all(isinstance(key, str) and key in known for key in keys):
        return keys
    inputs = [key for key in _INPUTS if key in known]
    if not inputs or "label" not in known:
        raise ValueError(f"tfds:{builder.name} has features {sorted(known)}; expected image or features, and label.")
    return inputs[0], "label"


def _id(value: Any) -> int:
    """Returns an integer as it is, and text as the first 8 bytes of its BLAKE2b hash."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    text = value.encode() if isinstance(value, str) else bytes(value)
    return int.from_bytes(short(text, 8), "little", signed=True)


def _source(builder: Any, split: str) -> Any:
    """Returns the rows of one split by index."""
    try:
        return builder.as_data_source(split=split)
    except NotImplementedError as error:
        raise ValueError(
            f"tfds:{builder.name} in {builder.data_dir} is stored as {builder.info.file_format}, which cannot be read "
            f"by index. Run `python scripts/prepare_data.py tfds:{builder.name} --data_dir=DIR` with another DIR."
        ) from error


def _read(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Reads (x, y, ids or None) of one split; bytes of images are scaled to 0..1."""
    source = _source(builder, split)
    inputs, labels = _columns(builder)
    if not len(source):
        raise ValueError(f"tfds:{builder.name}: split {split!r} is empty.")
    x, y, ids = [], [], []
    for i in range(len(source)):
        row = source[i]
        x.append(np.asarray(row[inputs]))
        y.append(row[labels])
        if "id" in row:
            ids.append(_id(row["id"]))
    shapes = {item.shape for item in x}
    if len(shapes) > 1 or x[0].dtype == object:
        some = ", ".join(map(str, sorted(shapes)[:3]))
        raise ValueError(f"tfds:{builder.name}: {inputs!r} has rows of several shapes ({some}); expected a single one.")
    stacked = np.stack(x)
    if stacked.dtype == np.uint8 and stacked.ndim == 4:
        stacked = stacked.astype(np.float32) / 255
    stacked = stacked.reshape(len(x), -1) if stacked.ndim == 1 else stacked  # a single feature is a column
    return stacked, np.asarray(y), np.asarray(ids) if ids else None


def load(name: str, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads the splits `train` and `test` (else `validation`, else a fixed fifth of `train` by hash of the id).

    Args:
      name: a TFDS name, "cifar10" or "name/config:version", prepared before (`prepare`, or scripts/prepare_data.py).
      data_dir: TFDS's folder; $TFDS_DATA_DIR, else ~/tensorflow_datasets, if None.

    Returns:
      A Dataset called tfds:name. Images of bytes are scaled to 0..1. If both splits count their rows from the same id,
      the test rows get ids after those of the training rows.

    Raises:
      ValueError: an unknown name, or features without an input and a label.
      FileNotFoundError: the data set was not prepared in that folder.
    """
    builder = _prepared(name, data_dir)
    splits = list(builder.info.splits)
    if "train" not in splits:
        raise ValueError(f"tfds:{name} has the splits {splits}; one called train is needed.")
    x, y, ids = _read(builder, "train")
    ids = np.arange(len(x)) if ids is None else ids
    label = builder.info.features[_columns(builder)[1]]
    classes = getattr(label, "num_classes", None)
    test = [split for split in _TEST_SPLITS if split in splits]
    if not test:
        return dataset(f"tfds:{name}", x, y, num_classes=classes, ids=ids)
    test_x, test_y, test_ids = _read(builder, test[0])
    test_ids = np.arange(len(test_x)) if test_ids is None else test_ids
    if np.isin(test_ids, ids).any():
        test_ids = count_on(ids, test_ids)
    both = np.concatenate([ids, test_ids])
    return dataset(f"tfds:{name}", x, y, test_x, test_y, classes, both, same_scale=False)  # read in the same way


def prepare(name: str, data_dir: str | os.PathLike | None = None) -> list[Path]:
    """Downloads a data set, converts it into a random-access format, and returns its folder.

    Raises:
      RuntimeError: TFDS fails, with its reason: no network, or a missing module (data sets that encode images
        themselves need TensorFlow for the preparation).
    """
    extras.require("tensorflow_datasets", "a data set of TFDS")
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    if not builder.is_prepared():
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        try:
            builder.download_and_prepare(download_config=config, file_format="array_record")
        except Exception as error:  # TFDS raises whatever its downloaders and builders do
            reason = f"{type(error).__name__}: {error}"
            need = " Install that module for the preparation; reading does without." if "No module" in reason else ""
            raise RuntimeError(f"tfds:{name} could not be prepared in {builder.data_dir} ({reason}).{need}") from error
    return [Path(builder.data_dir)]
