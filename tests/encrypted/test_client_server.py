"""Client and server over bytes: the right answer; for everything else a refusal, after which the server serves on."""

import contextlib

import hypothesis
import numpy as np
import pytest
from forged_blobs import rewritten, serves
from hypothesis import strategies

from gecko_jax.encrypted import Client, Refused, blobs, evaluate, functional, seal_bytes, two_party
from gecko_jax.encrypted.blobs import HEADER_BYTES

KINDS = {"evaluation keys": "add_keys", "encrypted input": "answer"}


def send(exchange, kind, blob):
    return getattr(exchange.server, KINDS[kind])(blob)


def blob_of(exchange, kind):
    return exchange.keys if kind == "evaluation keys" else exchange.client.encrypt(exchange.x)


def test_an_encrypted_answer_is_that_of_numpy(exchange):
    assert serves(exchange)
    for count in (1, 2, 6):
        question = exchange.client.encrypt(exchange.x[:count])
        outputs = exchange.client.decrypt(exchange.server.answer(question))
        np.testing.assert_allclose(outputs, exchange.expected[:count], atol=1e-4)


def test_any_number_of_examples_is_predicted_in_several_runs(exchange):
    rows = np.arange(2 * exchange.program.interface.samples + 3) % 6
    outputs = exchange.client.predict(exchange.server, exchange.x[rows])
    np.testing.assert_allclose(outputs, exchange.expected[rows], atol=1e-4)
    labels = exchange.client.predict_labels(exchange.server, exchange.x[rows])
    np.testing.assert_array_equal(labels, exchange.expected[rows].argmax(1))


def test_what_is_shown_to_others_is_rounded(exchange):
    question = exchange.client.encrypt(exchange.x)
    answer = exchange.server.answer(question)
    np.testing.assert_array_equal(exchange.client.labels(answer, question), exchange.expected.argmax(1))
    rounded = exchange.client.decrypt(answer, decimals=2)
    np.testing.assert_allclose(rounded, exchange.expected.round(2), atol=0.0101)
    np.testing.assert_array_equal(rounded, rounded.round(2))
    assert not np.array_equal(exchange.client.decrypt(answer), rounded)


def test_inputs_of_another_scale_are_said_to_be_clipped(exchange):
    low, high = exchange.x.min(), exchange.x.max()
    pixels = np.round((exchange.x - low) / (high - low) * 255).astype(np.uint8)
    count = np.count_nonzero(((pixels < low) | (pixels > high)).any(1))
    with pytest.warns(UserWarning, match=f"{count} of 6 examples are clipped .* reach from 0 to 255"):
        exchange.client.encrypt(pixels)


@pytest.mark.parametrize(
    "bad", [np.ma.array(np.zeros((1, 5)), mask=[[1, 0, 0, 0, 0]]), np.zeros((1, 5), complex), np.full((1, 5), "0")]
)
def test_numbers_that_would_be_lost_are_refused(exchange, bad):
    circuit = exchange.program.circuit
    layer = functional.quantize_first_layer(circuit)
    for entrance in (
        exchange.client.encrypt, exchange.program.simulate, exchange.program.verify, layer.quantize,
        *(lambda x, of=of: of(circuit, x) for of in (evaluate, two_party.simulate, two_party.observe_bounds)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="x hides 1 entry|x has dtype .*; expected real numbers"):
            entrance(bad)


@pytest.mark.parametrize("samples", [2, 6])
def test_an_answer_of_another_number_of_examples_is_refused(exchange, samples):
    question = exchange.client.encrypt(exchange.x[:4])
    answer = exchange.server.answer(question)
    header, parts = blobs.read(answer, "encrypted output", len(answer))
    forged = blobs.write(header._replace(samples=samples), parts)
    with pytest.raises(Refused, match=f"with {samples} examples; the question is an encrypted input, .* with 4"):
        exchange.client.decrypt(forged, question)
    with pytest.raises(Refused, match="the question is an encrypted output"):
        exchange.client.decrypt(answer, answer)


@pytest.mark.parametrize("shape", [(1,), (3, 1), ()])
def test_outputs_that_are_not_logits_have_no_labels(exchange, shape):
    client = Client(exchange.program.interface._replace(output_shape=shape), exchange.program.digest)
    for ask in (client.labels, client.predict_labels):
        with pytest.raises(ValueError, match="labels need"):
            ask(*(b"", b"") if ask == client.labels else (exchange.server, exchange.x))


def test_inputs_are_clipped_to_the_box_before_they_are_encrypted(exchange):
    box = exchange.program.interface.box_low, exchange.program.interface.box_high
    far = exchange.x * 50
    with pytest.warns(UserWarning, match="6 of 6 examples are clipped to the box"):
        outputs = exchange.client.predict(exchange.server, far)
    np.testing.assert_allclose(outputs, exchange.client.predict(exchange.server, np.clip(far, *box)), atol=1e-4)


@pytest.mark.parametrize("bad", [np.zeros((0, 5)), np.zeros((2, 4)), np.full((1, 5), np.nan), np.zeros(5)])
def test_inputs_of_another_shape_are_refused(exchange, bad):
    with pytest.raises(ValueError, match="x"):
        exchange.client.encrypt(bad)


def test_too_many_examples_are_refused(exchange):
    with pytest.raises(ValueError, match="one run takes"):
        exchange.client.encrypt(np.zeros((exchange.program.interface.samples + 1, 5)))


# What is not intact.


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_padded_and_oversized_blobs_are_refused(exchange, kind):
    blob = blob_of(exchange, kind)
    for length in (0, 7, HEADER_BYTES - 1, HEADER_BYTES, len(blob) // 2, len(blob) - 1):
        with pytest.raises(Refused, match=f"{kind}: truncated"):
            send(exchange, kind, blob[:length])
    with pytest.raises(Refused, match=f"{kind}: truncated or padded"):
        send(exchange, kind, blob + b"x")
    limit = exchange.server.max_bytes(kind)
    assert len(blob) < limit < 8 * len(blob)
    with pytest.raises(Refused, match=f"{limit + 1} bytes; for this program it has at most {limit}"):
        send(exchange, kind, blob + bytes(limit + 1 - len(blob)))
    assert serves(exchange)


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(
    strategies.integers(0, 10**9), strategies.integers(1, 255), strategies.sampled_from([*KINDS, "answer"])
)
def test_one_damaged_byte_is_refused_by_either_side(exchange, place, change, kind):
    blob = exchange.server.answer(exchange.client.encrypt(exchange.x)) if kind == "answer" else blob_of(exchange, kind)
    damaged = bytearray(blob)
    damaged[place % len(blob)] ^= change
    with pytest.raises(Refused):
        exchange.client.decrypt(bytes(damaged)) if kind == "answer" else send(exchange, kind, bytes(damaged))


@hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
@hypothesis.given(strategies.integers(0, 400), strategies.integers(1, 255), strategies.sampled_from([*KINDS]))
def test_a_forger_who_computes_the_digest_again_can_raise_nothing_but_a_refusal(exchange, place, change, kind):
    blob = blob_of(exchange, kind)
    damaged = [bytearray(part) for part in blobs.read(blob, kind, len(blob))[1]]
    damaged[-1][place] ^= change
    with contextlib.suppress(Refused):
        assert send(exchange, kind, rewritten(blob, [bytes(part) for part in damaged], key=b"f" * 16))


def test_after_forgeries_the_server_serves_on(exchange):
    exchange.server.add_keys(exchange.keys)
    assert serves(exchange)


# What belongs elsewhere.


def test_another_program_is_refused_by_either_side(exchange, other):
    program, client = other
    question = client.encrypt(np.clip(exchange.x, program.interface.box_low, program.interface.box_high))
    for kind, blob in (("evaluation keys", client.evaluation_keys()), ("encrypted input", question)):
        with pytest.raises(Refused, match=f"{kind}: made for program {program.digest[:16]}.*, this is"):
            send(exchange, kind, blob)
    with pytest.raises(Refused, match="encrypted output: made for program"):
        client.decrypt(exchange.server.answer(exchange.client.encrypt(exchange.x)))
    assert serves(exchange)


def test_another_key_is_refused_by_either_side(exchange):
    stranger = Client.from_bytes(exchange.server.interface())
    with pytest.raises(Refused, match=f"no evaluation keys of client {stranger.key_id[:16]}.*send"):
        exchange.server.answer(stranger.encrypt(exchange.x))
    answer = exchange.server.answer(exchange.client.encrypt(exchange.x))
    with pytest.raises(Refused, match="made with key .*It would decrypt to noise"):
        stranger.decrypt(answer)
    forged = rewritten(answer, key=bytes.fromhex(stranger.key_id))
    with pytest.raises(Refused, match="the key differs"):
        stranger.decrypt(forged)
    mixed = rewritten(stranger.encrypt(exchange.x), key=bytes.fromhex(exchange.client.key_id))
    with pytest.raises(Refused, match="the key differs"):
        exchange.client.decrypt(exchange.server.answer(mixed))
    assert serves(exchange)


def test_an_answer_to_another_question_is_refused(exchange):
    first, second = exchange.client.encrypt(exchange.x[:1]), exchange.client.encrypt(exchange.x[1:2])
    answer = exchange.server.answer(first)
    assert exchange.client.decrypt(answer, first).shape == (1, 3)
    with pytest.raises(Refused, match="encrypted output: answers request"):
        exchange.client.decrypt(answer, second)


def test_blobs_of_another_kind_are_refused(exchange):
    question = exchange.client.encrypt(exchange.x)
    with pytest.raises(Refused, match="expected evaluation keys, received encrypted input"):
        exchange.server.add_keys(question)
    with pytest.raises(Refused, match="expected encrypted output, received encrypted input"):
        exchange.client.decrypt(question)
    with pytest.raises(Refused, match="expected encrypted input, received encrypted output"):
        exchange.server.answer(exchange.server.answer(question))


# What a client that is not ours could send.


@pytest.mark.parametrize("samples", [0, 10**6])
def test_a_wrong_number_of_examples_is_refused(exchange, samples):
    with pytest.raises(Refused, match=f"{samples} examples; this program takes 1 to"):
        exchange.server.answer(rewritten(exchange.client.encrypt(exchange.x), samples=samples))


def test_another_number_of_ciphertexts_is_refused(exchange):
    (part,) = blobs.read(question := exchange.client.encrypt(exchange.x), "encrypted input", len(question))[1]
    for parts in ([], [part, b""]):
        with pytest.raises(Refused, match=f"{len(parts)} ciphertexts; this program reads 1"):
            exchange.server.answer(rewritten(question, parts))
    answer = exchange.server.answer(question)
    with pytest.raises(Refused, match="0 ciphertexts of 6 examples do not fit"):
        exchange.client.decrypt(rewritten(answer, []))


def test_a_ciphertext_that_is_not_fresh_is_refused(exchange):
    api, secrets = seal_bytes.sealapi(), exchange.client._secrets
    question = exchange.client.encrypt(exchange.x)
    evaluator = api.Evaluator(secrets.context)

    def changed(change):
        ciphertext = secrets.encrypt(np.zeros(exchange.program.interface.parameters.slots))
        change(ciphertext)
        return rewritten(question, [seal_bytes.to_bytes(ciphertext)])

    def rescaled(ciphertext):
        ciphertext.scale *= 2

    for change in (evaluator.mod_switch_to_next_inplace, rescaled):
        with pytest.raises(Refused, match="expected one that is fresh"):
            exchange.server.answer(changed(change))
    with pytest.raises(Refused, match="for this program it has at most"):
        exchange.server.answer(changed(evaluator.square_inplace))
    exchange.server.answer(changed(lambda ciphertext: None))
    zeros = api.Ciphertext()
    zeros.resize(secrets.context, secrets.context.first_parms_id(), 2)
    with pytest.raises(Refused):
        exchange.server.answer(rewritten(question, [seal_bytes.to_bytes(zeros)]))
    assert serves(exchange)


def test_keys_that_lack_what_the_program_needs_are_refused(exchange):
    relinearization, galois = blobs.read(exchange.keys, "evaluation keys", len(exchange.keys))[1]
    secrets, rotations = exchange.client._secrets, exchange.program.interface.rotations
    fewer = seal_bytes.to_bytes(secrets.galois_keys(rotations[:-1], serializable=True))
    for parts, message in [
        ([relinearization, fewer], f"rotations by {rotations[-1]} are missing"),
        ([galois, relinearization], "key"),
        ([relinearization, relinearization], "rotations by .* are missing"),
        ([b"", galois], "expected relinearization keys"),
        ([relinearization], "1 parts of"),
        ([relinearization, galois, b""], "3 parts of"),
        ([relinearization, b"x" * 100], "GaloisKeys"),
    ]:
        with pytest.raises(Refused, match=message):
            exchange.server.add_keys(rewritten(exchange.keys, parts))
    assert serves(exchange)
