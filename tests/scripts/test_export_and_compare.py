"""scripts/export.py, scripts/audit.py of what it wrote, and scripts/compare.py."""

import json
import shutil

import numpy as np
import pytest
from scipy import stats

from experiments import compared, exported, one_model
from gecko_jax import datasets, quantizers
from gecko_jax.digests import sha256
from gecko_jax.trees import take

TERNARY = dict(weights="ternary", inputs="uniform8", input_range=4.0, float_layers=())


def train(folder, data, models=2, **settings):
    config = one_model.Config(output=str(folder), hidden=(8,), epochs=1, batch_size=100, models=models, **settings)
    return one_model.train(config, data)


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data, run_script):
    """Two runs of two models each, both audited; the second is exported as C, and audited as exported."""
    root = tmp_path_factory.mktemp("runs")
    train(root / "float", data)
    train(root / "ternary", data, **TERNARY)
    done = run_script("export.py", f"--model={root / 'ternary'}", "--to=c", f"--output={root / 'fw'}", "--rows=64")
    assert done.returncode == 0, done.stderr
    for name, flags in (("float", ()), ("ternary", ()), ("ternary", (f"--exported={root / 'fw'}",))):
        audited = run_script("audit.py", f"--model={root / name}", "--attacks=loss", *flags)
        assert audited.returncode == 0, audited.stderr
    return root, done.stdout


def test_what_ships_is_printed_and_complete(runs, data):
    root, printed = runs
    deployed = exported.read(root / "fw", root / "ternary")
    assert (deployed.form, deployed.index) == ("c", 0) and deployed.calibration == {"source": "members", "rows": 64}
    correct = exported.predict(deployed.graph, data.test.x).argmax(-1) == data.test.y
    assert f"test accuracy %: {100 * correct.mean():.2f} on integers" in printed
    assert "records that the model was trained on; their range is in the network" in printed
    names = {path.name for path in (root / "fw").iterdir()}
    assert names >= {"model.h", "model.c", "test_vectors.h", "Makefile", "network.graph", "SHA256SUMS", "export.json"}
    assert {node.weight_bits for node in deployed.graph.nodes if hasattr(node, "weight_bits")} == {2}


def test_the_audit_is_of_the_exported_network(runs, data):
    """Its AUC by counting pairs of losses of the integer network, and not of the model that was trained."""
    root, _ = runs
    graph = exported.read(root / "fw", root / "ternary").graph
    saved, _ = one_model.load(root / "ternary")
    logits = exported.predict(graph, data.train.x).astype(np.float64)
    loss = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    loss -= logits[np.arange(len(logits)), data.train.y]
    inside, outside = loss[saved.member[0]], loss[~saved.member[0]]
    expected = stats.mannwhitneyu(outside, inside).statistic / (len(inside) * len(outside))
    figures = json.loads((root / "ternary" / "audit_exported.json").read_text())
    assert figures["rows"]["loss"]["auc"]["value"] == pytest.approx(expected, abs=1e-4)
    assert len(figures["targets"]) == 1 and figures["provenance"]["shadows"] == 1
    assert figures["files"]["SHA256SUMS"] == sha256((root / "fw" / "SHA256SUMS").read_bytes())
    plain = json.loads((root / "ternary" / "audit.json").read_text())
    assert len(plain["targets"]) == 2 and "SHA256SUMS" not in plain["files"]


def change_code(folder):
    with open(folder / "model.c", "a") as code:
        code.write("/* */\n")


def change_record(folder, **changes):
    path = folder / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_code, "model.c is not the file that was written with the others"),
        (lambda folder: (folder / "export.json").unlink(), "has no valid export.json"),
        (lambda folder: (folder / "export.json").write_text("{"), "has no valid export.json"),
        (lambda folder: change_record(folder, checksums="0" * 64), "it was written with other files"),
        (lambda folder: change_record(folder, version=2), "version 2"),
        (lambda folder: change_record(folder, run="0" * 64), "was exported from another run"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), "no exporter has completed it"),
        (lambda folder: (folder / "other.c").write_text(""), "holds other.c, which SHA256SUMS does not name"),
    ],
)
def test_a_folder_that_is_not_what_was_exported_is_refused(runs, tmp_path, change, message):
    root, _ = runs
    folder = shutil.copytree(root / "fw", tmp_path / "fw")
    change(folder)
    with pytest.raises(ValueError, match=message):
        exported.read(folder, root / "ternary")


def test_two_forms_do_not_share_a_folder(runs):
    root, _ = runs
    graph = exported.read(root / "fw", root / "ternary").graph
    with pytest.raises(ValueError, match="holds model.c, an export to c; name another folder"):
        exported.write(root / "ternary", root / "fw", "onnx", graph, 0, exported.Calibration())
    assert exported.read(root / "fw", root / "ternary").form == "c"  # still complete


def test_an_export_of_another_run_is_refused_by_the_script(runs, run_script):
    root, _ = runs
    done = run_script("audit.py", f"--model={root / 'float'}", f"--exported={root / 'fw'}")
    assert done.returncode == 1 and "was exported from another run than" in done.stderr
    done = run_script("audit.py", f"--exported={root / 'fw'}", "--predictions=outputs.npz")
    assert done.returncode == 1 and "--exported holds no membership" in done.stderr


def test_a_private_run_is_calibrated_on_no_record_of_its_own(runs, data, tmp_path):
    root, _ = runs
    saved = one_model.load(root / "ternary")[0]._replace(privacy=one_model.Guarantee(None, 1.0, None))
    with pytest.raises(ValueError, match="range of its training records.*--calibration=random"):
        exported.freeze(saved, data, 0, exported.Calibration())
    unreadable = data._replace(train=data.train._replace(x=np.full_like(data.train.x, np.nan)))
    drawn = exported.calibration_rows(exported.Calibration("random", 50, -1.0, 2.0), saved, unreadable, 0)
    assert drawn.shape == (50, *data.train.x.shape[1:]) and -1 <= drawn.min() < -0.9 and 1.9 < drawn.max() <= 2
    np.savez(tmp_path / "public.npz", x=data.test.x)
    calibration = exported.Calibration(str(tmp_path / "public.npz"), 10)
    rows = exported.calibration_rows(calibration, saved, data, 0)
    np.testing.assert_array_equal(rows[[0, -1]], data.test.x[[0, -1]])
    record = calibration.record()
    assert record["sha256"] == sha256((tmp_path / "public.npz").read_bytes()) and str(tmp_path) not in str(record)
    with pytest.raises(ValueError, match="shadow models need it: --calibration"):
        exported._recorded(record, None)
    np.savez(tmp_path / "other.npz", x=data.test.x[1:])
    with pytest.raises(ValueError, match="is not the file that the export was calibrated on"):
        exported._recorded(record, str(tmp_path / "other.npz"))
    np.savez(tmp_path / "mixed.npz", x=np.concatenate([data.test.x, data.train.x[5:7]]))
    with pytest.raises(ValueError, match="holds 2 rows of the private run's own data set"):
        exported.calibration_rows(exported.Calibration(str(tmp_path / "mixed.npz")), saved, data, 0)
    np.savez(tmp_path / "empty.npz", y=data.test.y)
    with pytest.raises(ValueError, match="holds no array x"):
        exported.calibration_rows(exported.Calibration(str(tmp_path / "empty.npz")), saved, data, 0)


def test_members_alone_are_calibrated_on(runs, data):
    root, _ = runs
    saved, _ = one_model.load(root / "ternary")
    rows = exported.calibration_rows(exported.Calibration(rows=30), saved, data, 1)
    members = {row.tobytes() for row in data.train.x[saved.member[1]]}
    assert len(rows) == 30 and all(row.tobytes() in members for row in rows)
    with pytest.raises(ValueError, match="index=2 must be one of the run's models, 0 to 1"):
        exported.freeze(saved, data, 2, exported.Calibration())


def test_inputs_on_a_given_range(data):
    with pytest.raises(ValueError, match="inputs='uniform8' without input_range.*--input_range=4"):
        one_model.Config(inputs="uniform8")
    with pytest.raises(ValueError, match="input_range=4.0 has no effect here: it needs --inputs=uniform2 or"):
        one_model.Config(inputs="int8_input", input_range=4.0)
    with pytest.raises(ValueError, match="input_range=-1.0"):
        one_model.Config(inputs="uniform8", input_range=-1.0)
    with pytest.raises(ValueError, match="memory='flash'"):
        one_model.Config(memory="flash")
    model = one_model.network(one_model.Config(hidden=(8,), **TERNARY), data.num_classes)
    codes = model.rules[0].input.codes((), np.float32([[-9.0, 3.0, 4.0]]))
    np.testing.assert_array_equal(codes.values, [[-127, 95, 127]])
    assert quantizers.QUANTIZERS["uniform8"]().inputs is False


def test_figures_and_paired_differences(runs, data):
    root, _ = runs
    (root / "notes").mkdir(exist_ok=True)
    study, differences = compared.compare([root / "float", root / "ternary", root / "notes"], "sram_32kB")
    assert study.notes.warnings == (f"Left out: {root / 'notes'}, which holds no run of scripts/train.py.",)
    assert [row.name for row in study.rows] == ["float", "ternary"]
    assert [row.name for row in differences.rows] == ["ternary"]
    accuracies = {}
    for row in study.rows:
        saved, _ = one_model.load(root / row.name)
        logits = [saved.model.apply(take(saved.variables, i), data.test.x)[0] for i in range(2)]
        accuracies[row.name] = [100 * (np.asarray(each).argmax(-1) == data.test.y).mean() for each in logits]
        assert row.figures["test"].value == pytest.approx(np.mean(accuracies[row.name]))
    test = stats.ttest_rel(accuracies["ternary"], accuracies["float"]).confidence_interval()
    assert differences.rows[0].figures["test"][1:3] == pytest.approx((test.low, test.high))
    audits = {name: json.loads((root / name / "audit.json").read_text()) for name in accuracies}
    aucs = {name: [each["loss"]["auc"]["value"] for each in audit["targets"]] for name, audit in audits.items()}
    leak = stats.ttest_rel(aucs["ternary"], aucs["float"]).confidence_interval()
    assert differences.rows[0].figures["loss_auc"][1:3] == pytest.approx((leak.low, leak.high))
    figures = study.rows[1].figures
    assert figures["loss_auc"].value == pytest.approx(np.mean(aucs["ternary"]))
    assert figures["exported_loss_auc"].n == len(data.train.y) and "exported_loss_auc" not in study.rows[0].figures
    less = differences.rows[0].figures
    for key in ("bytes", "ram", "energy"):
        assert less[key].value == pytest.approx(figures[key].value - study.rows[0].figures[key].value)
    assert less["bytes"].value < 0 and study.columns[0].key == "test"


def test_an_audit_of_other_models_gives_no_figure(runs, tmp_path):
    root, _ = runs
    folder = shutil.copytree(root / "float", tmp_path / "float", ignore=shutil.ignore_patterns("checkpoints"))
    audit = json.loads((folder / "audit.json").read_text())
    audit["files"]["model.json"] = sha256("another")
    (folder / "audit.json").write_text(json.dumps(audit))
    study, differences = compared.compare([folder])
    assert differences is None and "loss_auc" not in study.rows[0].figures
    assert "is not an audit of the models in its folder" in study.notes.warnings[0]
    with pytest.raises(ValueError, match="a run is given twice"):
        compared.compare([folder, folder / "."])
    with pytest.raises(ValueError, match="no folder of .* holds a run of scripts/train.py. Name"):
        compared.compare([tmp_path])


def test_single_models_are_paired_over_test_rows_and_others_not_at_all(runs):
    root, _ = runs
    paths, warnings = (root / "float", root / "ternary"), []
    one, two = (compared._run(path.name, path, "dram", warnings) for path in paths)
    single = [
        run._replace(correct=run.correct[:1], audits={}, saved=run.saved._replace(member=run.saved.member[:1]))
        for run in (one, two)
    ]
    difference = compared._less(single[1], single[0], warnings)["test"]
    pairs = [100.0 * run.correct[0] for run in (two, one)]
    test = stats.ttest_rel(*pairs).confidence_interval()
    assert difference[1:3] == pytest.approx((test.low, test.high)) and not warnings
    others = two._replace(saved=two.saved._replace(member=~two.saved.member))
    assert "test" not in compared._less(others, one, warnings)
    assert "are not of the same members, model by model" in warnings[0]
    assert "test" not in compared._less(two, single[0], warnings)


def test_budgets_decide_the_exit_status(runs, run_script, tmp_path):
    root, _ = runs
    folders = [str(root / "float"), str(root / "ternary")]
    done = run_script("compare.py", *folders, "--max_bytes=1kB", f"--output={tmp_path / 'study'}")
    assert done.returncode == 0, done.stderr
    assert "Minus float" in done.stdout and "1 of 2 models fits" in done.stdout and "Take ternary" in done.stdout
    again = run_script("recommend.py", str(tmp_path / "study"), "--max_bytes=1kB")
    assert again.returncode == 0 and "Take ternary" in again.stdout
    assert run_script("compare.py", *folders, "--max_bytes=10").returncode == 1
    nothing = run_script("compare.py")
    assert nothing.returncode == 1 and "give the folders of one or more runs" in nothing.stderr
