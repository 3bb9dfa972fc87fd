"""docs/encryption.md says what is there: its examples run, in order, and show what the text beside them promises."""

import pathlib
import re

import numpy as np

GUIDE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "encryption.md"


def test_the_guide_ends_with_the_networks_labels_from_a_server_without_a_key(capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S):
        exec(compile(block, "encryption.md", "exec"), names)
    program, test, client = names["program"], names["test"], names["client"]
    clear = names["training"].predict(names["student"], names["variables"], test.x[:8])
    outputs = client.decrypt(names["answer"], names["question"])
    assert np.abs(outputs - clear).max() < 1e-3 and client.labels(names["answer"]).tolist() == clear.argmax(1).tolist()
    assert not names["certificate"].flags and program.interface.parameters.security == 128
    output = capsys.readouterr().out
    assert "seconds from        modeled" in output and "bound in the box" in output
    assert not hasattr(names["server"], "secret_key") and not hasattr(names["server"], "decrypt")
