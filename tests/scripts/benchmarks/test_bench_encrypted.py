"""scripts.benchmarks.encrypted: a small run, and TenSEAL's network is the same as ours; nothing depends on speed."""

import json

import numpy as np

from scripts.benchmarks.cases import tenseal_tutorial


def test_a_small_run_measures_and_predicts_but_judges_nothing(tmp_path, run_script):
    output = tmp_path / "figures.json"
    flags = ["--sections=digits", "--samples=70", "--epochs=1", f"--output={output}"]
    done = run_script("benchmarks/encrypted.py", *flags)
    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text())["digits"]
    assert record["measured"]["examples"] == 70 and record["measured"]["samples"] == 64
    assert record["measured"]["same_label"] == 1 and 0 < record["measured"]["max_error"] < 1e-3
    assert record["predicted"]["rotation_keys"] == record["measured"]["rotation_keys"]
    assert "not judged" in done.stdout and "met" not in done.stdout.replace("measured", "")


def test_tenseal_computes_the_network_that_it_is_compared_on():
    rng = np.random.default_rng(0)
    # With 3 hidden units TenSEAL's second product is off by a third; 4, like the tutorial's 64, is a power of two.
    shapes = {"Conv_0": (7, 7, 1, 2), "Dense_0": (128, 4), "Dense_1": (4, 2)}
    params = {}
    for name, shape in shapes.items():
        kernel = rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        params[name] = {"kernel": kernel, "bias": rng.normal(size=shape[-1]) / 2}
    (conv, conv_bias), (first, first_bias), (second, second_bias) = (each.values() for each in params.values())
    x = rng.uniform(size=(28, 28))
    windows = np.lib.stride_tricks.sliding_window_view(x, (7, 7))[::3, ::3]
    features = np.einsum("hwij,ijc->hwc", windows, conv[:, :, 0]) + conv_bias[None, None]
    expected = ((features**2).reshape(-1) @ first + first_bias) ** 2 @ second + second_bias
    output = tenseal_tutorial.build({"params": params})(x)
    # Its scale drifts by 4 %; a wrong order of features or windows changes half of the hidden units' sums altogether.
    np.testing.assert_allclose(output, expected, atol=0.06 * np.abs(expected).max())
    assert np.abs(output - expected).max() > 1e-6, "it is encrypted"
