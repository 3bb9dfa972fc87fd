"""A program is verified on real ciphertexts, and one that disagrees with its network is refused and never written."""

import json

import numpy as np
import pytest

from gecko_jax.encrypted import (
    NotVerified,
    Refused,
    Server,
    blobs,
    load,
    outside_box,
    records,
    save,
    saving,
    verify,
)
from gecko_jax.encrypted.program import Sum
from gecko_jax.encrypted.verification import check_agreement


def broken(program):
    """The program with one weight of its last sum changed, as a fault in the compiler would."""
    steps = list(program.steps)
    last = max(i for i, step in enumerate(steps) if isinstance(step, Sum))
    weights = steps[last].weights.copy()
    weights[0] *= 1.01
    steps[last] = steps[last]._replace(weights=weights)
    return program._replace(steps=tuple(steps))


def test_what_is_not_a_program_is_refused(exchange):
    for entrance in (Server, lambda program: verify(program, exchange.x)):
        with pytest.raises(ValueError, match="program is a Circuit; expected what encrypted.compile"):
            entrance(exchange.program.circuit)


def test_what_a_verification_finds(exchange):
    result = verify(exchange.program, exchange.x)
    assert result.examples == 6 and result.clipped == 0 and result.same_label == 1
    assert 0 < result.max_error < 1e-4
    assert result.largest_output == pytest.approx(np.abs(exchange.expected).max())
    assert min(result.encrypt_seconds, result.run_seconds, result.decrypt_seconds) > 0
    assert result.input_bytes == pytest.approx(len(exchange.client.encrypt(exchange.x)), rel=0.02)
    assert result.key_bytes == pytest.approx(len(exchange.keys), rel=0.02)


def test_inputs_outside_the_box_are_counted_and_compared_where_they_are_clipped_to(exchange):
    x = np.concatenate([exchange.x, 3 * exchange.x[:2]])
    with pytest.warns(UserWarning, match="2 of 8 examples are clipped"):
        result = verify(exchange.program, x)
    assert (result.examples, result.clipped) == (8, 2)
    assert outside_box(x, exchange.program.interface).tolist() == [False] * 6 + [True] * 2


def test_a_program_that_disagrees_is_refused_and_not_written(exchange, tmp_path):
    program = broken(exchange.program)
    with pytest.raises(NotVerified, match=r"Encrypted output \d of example \d is .*, the network's is .* an error of"):
        verify(program, exchange.x)
    with pytest.raises(NotVerified):
        save(program, tmp_path / "program", exchange.x)
    assert not (tmp_path / "program").exists()
    assert verify(program, exchange.x, tolerance=0.1).max_error > 0.01


@pytest.mark.parametrize("x", [np.zeros((0, 5)), np.zeros((2, 4)), np.full((1, 5), np.inf)])
def test_nothing_is_verified_on_no_examples_or_bad_ones(exchange, x):
    with pytest.raises(ValueError, match="x"):
        verify(exchange.program, x)


def test_a_label_may_differ_only_where_the_lead_is_within_the_errors():
    expected = np.array([[1.0, 1.0001, -9.0]])
    check_agreement(expected + [[1e-4, -1e-4, 0]], expected, 1e-3)
    with pytest.raises(NotVerified, match="the network's is 1:"):
        check_agreement(np.array([[1.1, 1.0, -9.0]]), expected, 1e-3)
    with pytest.raises(NotVerified, match="an error of nan"):
        check_agreement(np.array([[np.nan, 1.0, -9.0]]), expected, 1e-3)
    with pytest.raises(ValueError, match="tolerance"):
        check_agreement(expected, expected, 0)


def test_a_saved_program_is_read_back_and_serves(exchange, tmp_path):
    result = save(exchange.program, tmp_path, exchange.x)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interface.bin", "program.bin", "program.json"]
    marker = json.loads((tmp_path / "program.json").read_text())
    assert marker["verification"]["max_error"] == result.max_error and marker["program"] == exchange.program.digest
    again = load(tmp_path)
    assert again.digest == exchange.program.digest and again.ranges == exchange.program.ranges
    assert (
        np.abs(again.circuit.output.terms[1].toarray() - exchange.program.circuit.output.terms[1].toarray()).max() == 0
    )
    server = Server(again)
    server.add_keys(exchange.keys)
    assert np.abs(exchange.client.predict(server, exchange.x) - exchange.expected).max() < 1e-4
    assert (tmp_path / "interface.bin").read_bytes() == server.interface()


def test_a_damaged_folder_is_refused(exchange, tmp_path):
    save(exchange.program, tmp_path, exchange.x)
    content = (tmp_path / "program.bin").read_bytes()
    (tmp_path / "program.bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="is not the file that was written with the others"):
        load(tmp_path)
    for text in ("", "{}", "[]", '{"files": 1}'):
        (tmp_path / "program.json").write_text(text)
        with pytest.raises(Refused, match="is not what save wrote"):
            load(tmp_path)
    (tmp_path / "program.json").unlink()
    with pytest.raises(FileNotFoundError):
        load(tmp_path)


def test_a_program_under_another_programs_name_is_refused(exchange, tmp_path):
    save(exchange.program, tmp_path, exchange.x)
    header = blobs.peek((tmp_path / "program.bin").read_bytes())
    forged = blobs.write(header, records.encode(broken(exchange.program)))
    (tmp_path / "program.bin").write_bytes(forged)
    marker = json.loads((tmp_path / "program.json").read_text())
    marker["files"]["program.bin"] = saving.files.writing.sha256(forged)
    (tmp_path / "program.json").write_text(json.dumps(marker))
    with pytest.raises(Refused, match="its content is not the program that it names"):
        load(tmp_path)


def changed(interface, **changes):
    return interface._replace(**changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i._replace(parameters=i.parameters._replace(security=0)),
        lambda i: i._replace(parameters=i.parameters._replace(degree=1000)),
        lambda i: i._replace(samples=i.samples * 2),
        lambda i: i._replace(input_features=i.input_features + 5),
        lambda i: i._replace(input_features=i.input_features - 5),
        lambda i: i._replace(output_features=i.output_features.astype(float)[0]),
        lambda i: i._replace(box_low=i.box_low[:-1]),
        lambda i: i._replace(box_low=i.box_high, box_high=i.box_low),
        lambda i: i._replace(box_high=np.full_like(i.box_high, np.inf)),
        lambda i: i._replace(box_low=np.full_like(i.box_low, np.nan)),
        lambda i: i._replace(output_bound=float("inf")),
        lambda i: i._replace(input_gain=0.0),
        lambda i: i._replace(output_gain=float("inf")),
        lambda i: i._replace(rotations=(0,)),
        lambda i: i._replace(rotations=("one",)),
        lambda i: i._replace(input_shape=None),
        lambda i: i.parameters,
    ],
)
def test_an_interface_that_does_not_fit_is_refused(exchange, change):
    header = blobs.Header("program interface", bytes.fromhex(exchange.program.digest), blobs.NO_ID)
    content = blobs.write(header, records.encode(change(exchange.program.interface)))
    with pytest.raises(Refused, match="do not fit each other"):
        saving.read_interface(content)
    read = saving.read_interface(Server(exchange.program).interface())
    assert read[1] == exchange.program.digest and read[0].parameters == exchange.program.interface.parameters


def test_parameters_that_are_not_secure_are_refused_by_seal(exchange):
    parameters = exchange.program.interface.parameters
    weak = parameters._replace(degree=4096)
    interface = exchange.program.interface
    narrow = {
        "input_features": interface.input_features[:, : interface.input_features.shape[1] // 2],
        "output_features": interface.output_features[:, : interface.output_features.shape[1] // 2],
        "rotations": (),
    }
    header = blobs.Header("program interface", bytes.fromhex(exchange.program.digest), blobs.NO_ID)
    content = blobs.write(header, records.encode(interface._replace(parameters=weak, **narrow)))
    from gecko_jax.encrypted import Client

    with pytest.raises(ValueError, match="SEAL refuses the parameters"):
        Client.from_bytes(content)
