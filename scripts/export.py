"""Exports a saved model as an integer network: C99, .tflite or ONNX.

    python scripts/export.py --model=runs/ternary --to=c --output=fw/       # make -C fw/ test
    python scripts/export.py --model=runs/int8 --to=tflite --output=fw/
    python scripts/export.py --model=runs/private --to=c --output=fw/ --calibration=public.npz
    python scripts/audit.py --model=runs/ternary --exported=fw/             # what is audited is what ships

The model is frozen (`integer.freeze`), and the ranges of its activations are measured on some rows: records that it was
trained on, unless --calibration names others. Their range goes into the network as it is. A privately trained model
therefore refuses its own records; public rows, or random ones between --low and --high, keep its epsilon.

The folder holds the artifact, a test vector, the network itself for the audit, checksums, a README with the command
that builds and runs it, and export.json, which names the run by a digest. It holds no record and no membership.
"""

from __future__ import annotations

from absl import app, flags, logging

from experiments import command

MODEL = flags.DEFINE_string("model", None, "Folder that scripts/train.py saved a model in.")
TO = flags.DEFINE_enum("to", "c", ["c", "tflite", "onnx"], "The form of the artifact.")
OUTPUT = flags.DEFINE_string("output", None, "Folder that the artifact goes to.")
INDEX = flags.DEFINE_integer("index", 0, "Which of the run's models is exported.", lower_bound=0)
CALIBRATION = flags.DEFINE_string(
    "calibration",
    "members",
    "members: records that the model was trained on; random; or an .npz file of public rows x.",
)
ROWS = flags.DEFINE_integer("rows", 256, "How many rows the ranges of activations are measured on.", lower_bound=2)
LOW = flags.DEFINE_float("low", 0.0, "The smallest number of --calibration=random.")
HIGH = flags.DEFINE_float("high", 1.0, "The largest number of --calibration=random.")


def main(arguments: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # JAX says at INFO which accelerators it did not find
    if len(arguments) > 1 or not MODEL.value or not OUTPUT.value:
        raise app.UsageError("give --model=FOLDER and --output=FOLDER")
    if CALIBRATION.value != "random" and (FLAG["low"].present or FLAG["high"].present):
        raise app.UsageError("--low and --high are of --calibration=random")
    from experiments import exported, one_model  # here, so that Ctrl-C while JAX is loaded ends as it does later
    from gecko_jax import metrics, training
    from gecko_jax.trees import take

    saved, data = one_model.load(MODEL.value)
    calibration = exported.Calibration(CALIBRATION.value, ROWS.value, LOW.value, HIGH.value)
    graph = exported.freeze(saved, data, INDEX.value, calibration)
    exported.write(MODEL.value, OUTPUT.value, TO.value, graph, INDEX.value, calibration)
    graph = exported.read(OUTPUT.value, MODEL.value).graph  # what is printed is of the files
    variables = take(saved.variables, INDEX.value)
    logits = training.predict(saved.model, variables, data.test.x), exported.predict(graph, data.test.x)
    before, after = (100 * metrics.accuracy(each, data.test.y) for each in logits)
    print(graph.table())
    print(f"test accuracy %: {after:.2f} on integers, {before:.2f} before")
    print(graph.gap(saved.model, variables, data.test.x[:1024]))
    print(f"constants (counted): {graph.cost().total:,} B; activations (counted): {graph.arena().bytes:,} B")
    if saved.privacy:
        print(f"accounted: {saved.privacy.epsilon}")
    print(f"calibrated on {_SOURCES.get(CALIBRATION.value, 'the rows of ' + CALIBRATION.value)}")
    print(f"exported to {OUTPUT.value}; next: {_NEXT[TO.value].format(OUTPUT.value)}, or")
    print(f"  python scripts/audit.py --model={MODEL.value} --exported={OUTPUT.value}")


FLAG = flags.FLAGS
_SOURCES = {"members": "records that the model was trained on; their range is in the network", "random": "random rows"}
_NEXT = {"c": "make -C {} test", "tflite": "python {}/check.py", "onnx": "python {}/check.py"}

if __name__ == "__main__":
    command.absl_main("export", lambda: app.run(main))
