"""Predicts encrypted digits on a server that holds no secret key, in another process of this machine.

    python scripts/encrypted_demo.py                                        all of it, in a minute
    python scripts/encrypted_demo.py --serve=runs/encrypted_demo --port=8000     the server alone, of a saved program

It trains an MLP 64-32-10 with squares on scikit-learn's digits, compiles it, verifies it on real ciphertexts and saves
it. A second process loads the folder and serves it over HTTP on 127.0.0.1. This one makes the keys, keeps the secret
one, sends the others, encrypts test digits, and decrypts the answers.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import time
from pathlib import Path

from experiments import command
from experiments.flags import field
from gecko_jax import checks


@dataclasses.dataclass(frozen=True)
class Config:
    """Each field is a flag: --examples=360."""

    output: str = field("runs/encrypted_demo", "folder of the saved program")
    serve: str | None = field(None, "folder of a saved program to serve until standard input ends, and nothing else")
    port: int = field(0, "port of the server; 0 for any that is free")
    examples: int = field(64, "test digits to predict, at most 360")
    epochs: int = field(30, "of training")

    def __post_init__(self):
        checks.in_range("port", self.port, 0, 65535)
        checks.in_range("examples", self.examples, 1, 360)
        checks.at_least("epochs", self.epochs, 1)


def main(argv: list[str] | None = None) -> None:
    """Parses the flags, and serves, or does all of it."""
    with command.reported("encrypted_demo"):
        from experiments import flags

        config = flags.parse(flags.define(Config, {"default": Config()}), argv)
        if config.serve:
            serve(Path(config.serve), config.port)
        else:
            prepare(config)
            ask(config)


def serve(folder: Path, port: int) -> None:
    """Serves a saved program until standard input ends."""
    from gecko_jax import encrypted

    with encrypted.serve(encrypted.Server(encrypted.load(folder)), port) as url:
        print(f"serving {folder} at {url} until standard input ends", flush=True)
        sys.stdin.read()


def prepare(config: Config) -> None:
    """Trains, compiles, verifies and saves the network."""
    from gecko_jax import datasets, encrypted, models, training

    data = datasets.load("digits")
    model = models.create("mlp", data.num_classes, hidden=(32,), activation="square")
    optimizer = training.optimizer("adam", 2e-3)
    fitted = training.fit(model, data.train, epochs=config.epochs, optimizer=optimizer, seed=0, label="training")
    program = encrypted.compile(model, fitted.variables, data.train.x)
    print(f"predicted:\n{program.report()}")
    result = program.save(config.output, data.test.x[:64])
    print(f"verified on {result.examples} digits, largest error {result.max_error:.1e} (measured)")
    print(f"saved in {config.output}")


def ask(config: Config) -> None:
    """Starts a server in another process and predicts test digits with it."""
    from gecko_jax import datasets, encrypted

    data = datasets.load("digits")
    x, y = data.test.x[: config.examples], data.test.y[: config.examples]
    start = [sys.executable, str(Path(__file__).resolve()), f"--serve={config.output}", f"--port={config.port}"]
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            if not (address := re.search(r"http://\S+", process.stdout.readline())):
                raise ValueError("the server did not start; its message stands above.")
            server = encrypted.RemoteServer(address[0])
            client = encrypted.Client.from_bytes(server.interface())
            server.add_keys(keys := client.evaluation_keys())
            print(f"process {process.pid} serves at {address[0]} and has {len(keys) / 1e6:.1f} MB of evaluation keys")
            began = time.perf_counter()
            labels = client.predict_labels(server, x)
            seconds = time.perf_counter() - began
        finally:
            process.stdin.close()
    right = int((labels == y).sum())
    print(f"{len(y)} encrypted digits in {seconds:.2f} s (measured): {right} labels are right")


if __name__ == "__main__":
    main()
