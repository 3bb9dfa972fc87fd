"""Predicted seconds: what is done once, in each run, and by whom."""

import pytest

from gecko_jax.encrypted import report


def test_weights_that_do_not_fit_in_memory_are_encoded_in_each_run(exchange, monkeypatch):
    cached = exchange.program.report()
    assert cached.setup_seconds > 0
    monkeypatch.setattr(report, "MAX_CACHED_BYTES", 0)
    encoded = exchange.program.report()
    assert encoded.setup_seconds == 0 and encoded.server_megabytes < cached.server_megabytes
    assert encoded.run_seconds == pytest.approx(cached.run_seconds + cached.setup_seconds)


def test_reading_and_writing_bytes_counts(exchange, monkeypatch):
    real = report.table
    free = {"read", "write"}
    monkeypatch.setattr(report, "table", lambda p: {key: 0.0 if key[0] in free else s for key, s in real(p).items()})
    costs, without = real(exchange.program.interface.parameters), exchange.program.report().run_seconds
    monkeypatch.undo()
    level = exchange.program.interface.output_level + 1
    expected = without + costs["read", exchange.program.interface.parameters.levels + 1] + costs["write", level]
    assert exchange.program.report().run_seconds == pytest.approx(expected)


def test_each_operation_of_the_table_is_measured(exchange):
    from gecko_jax.encrypted import cost_table

    parameters = exchange.program.interface.parameters
    measured = cost_table.measure(parameters, repeats=1)
    assert {operation for operation, _ in measured} == set(cost_table.MILLISECONDS)
    assert min(measured.values()) >= 0
    assert exchange.program.report(measured=True).encrypt_seconds > 0
