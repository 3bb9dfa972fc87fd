"""Fetches or converts a data set, so that later runs find it, and says where it lies.

python scripts/prepare_data.py fashion_mnist --data_dir=data
python scripts/prepare_data.py tfds:cifar10 --data_dir=data
"""

from __future__ import annotations

from absl import app, flags

from experiments import command

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder to look in and write to; TFDS's own ($TFDS_DATA_DIR, ~/tensorflow_datasets) if not set."
)


def main(arguments: list[str]) -> None:
    from gecko_jax import datasets

    if len(arguments) != 2:
        raise app.UsageError(f"expected one NAME, got {arguments[1:]}: {', '.join(datasets.LOADERS)} or tfds:<name>")
    name = arguments[1]
    with command.reported("prepare_data"):
        files = datasets.prepare(name, _DATA_DIR.value)
        data = datasets.load(name, _DATA_DIR.value)
    for file in files:
        print(file)
    rows = f"{len(data.train.y)} training + {len(data.test.y)} test rows of shape {data.train.x.shape[1:]}"
    print(f"{name}: {rows}, {data.num_classes} classes{'' if files else ', part of the package'}")


if __name__ == "__main__":
    command.absl_main("prepare_data", lambda: app.run(main))
