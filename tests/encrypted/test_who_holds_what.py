"""The server reaches nothing that decrypts; the client's key is kept from others; clients are kept apart."""

import copy
import gc
import inspect
import pickle
import stat
import threading

import numpy as np
import pytest
from forged_blobs import rewritten, serves

from gecko_jax.encrypted import Client, Refused, Server, executor, http_demo, seal_backend, seal_bytes, server


def test_the_server_takes_no_secret_key(exchange, tmp_path):
    exchange.client.save(tmp_path / "key")
    for send_it in (exchange.server.add_keys, exchange.server.answer):
        with pytest.raises(Refused, match="A secret key must never be sent"):
            send_it((tmp_path / "key").read_bytes())
    with pytest.raises(AttributeError):
        exchange.server.secret_key = exchange.client._secrets.secret_key
    assert not hasattr(exchange.server, "__dict__")


def test_nothing_that_decrypts_is_within_the_servers_reach(exchange):
    api = seal_bytes.sealapi()
    forbidden = (Client, api.SecretKey, api.Decryptor, api.Encryptor, api.KeyGenerator, type(exchange.client._secrets))
    own_server = Server(exchange.program)
    own_server.add_keys(exchange.keys)
    own_server.answer(exchange.client.encrypt(exchange.x))
    seen, waiting = {id(own_server)}, [own_server]
    while waiting:
        for each in gc.get_referents(waiting.pop()):
            if id(each) not in seen and not inspect.ismodule(each) and not isinstance(each, type):
                assert not isinstance(each, forbidden), each
                if not (isinstance(each, dict) and "__builtins__" in each):  # the names of a module
                    seen.add(id(each))
                    waiting.append(each)
    assert any(isinstance(each, seal_backend.SealBackend) for each in own_server._backends.values())
    for module in (server, seal_backend, executor, http_demo):
        source = inspect.getsource(module)
        assert not [name for name in ("SecretKey", "Decryptor", "Encryptor(", "KeyGenerator") if name in source]


def test_the_interface_holds_no_weights(exchange):
    content = exchange.server.interface()
    for step in exchange.program.steps:
        for name in ("weights", "bias"):
            assert not hasattr(step, name) or getattr(step, name)[0].tobytes() not in content


def test_only_the_clients_used_last_are_kept(exchange):
    program_server = Server(exchange.program, max_clients=2)
    clients = [Client(exchange.program.interface, exchange.program.digest) for _ in range(2)]
    for each in (exchange.client, clients[0]):
        program_server.add_keys(each.evaluation_keys())
    program_server.answer(exchange.client.encrypt(exchange.x))
    program_server.add_keys(clients[1].evaluation_keys())
    for each in (exchange.client, clients[1]):
        np.testing.assert_allclose(each.predict(program_server, exchange.x), exchange.expected, atol=1e-4)
    with pytest.raises(Refused, match="no evaluation keys of client"):
        clients[0].predict(program_server, exchange.x)
    with pytest.raises(ValueError, match="max_clients"):
        Server(exchange.program, max_clients=0)


def test_clients_that_ask_at_once_get_their_own_answers(exchange):
    second = Client(exchange.program.interface, exchange.program.digest)
    exchange.server.add_keys(exchange.keys)
    exchange.server.add_keys(second.evaluation_keys())
    outputs = {}

    def ask(name, client, rows):
        outputs[name] = [client.predict(exchange.server, exchange.x[rows]) for _ in range(3)]

    asking = [
        threading.Thread(target=ask, args=(f"{number}", client, rows))
        for number, (client, rows) in enumerate(
            [(exchange.client, [0, 1]), (second, [2, 3]), (exchange.client, [4, 5])]
        )
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    for number, rows in enumerate([[0, 1], [2, 3], [4, 5]]):
        for each in outputs[f"{number}"]:
            np.testing.assert_allclose(each, exchange.expected[rows], atol=1e-4)


def test_a_saved_client_decrypts_what_it_asked_before(exchange, tmp_path):
    path = tmp_path / "keys" / "secret"
    answer = exchange.server.answer(exchange.client.encrypt(exchange.x))
    exchange.client.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Client.load(path, exchange.server.interface())
    np.testing.assert_array_equal(again.decrypt(answer), exchange.client.decrypt(answer))
    exchange.server.add_keys(again.evaluation_keys())
    assert serves(exchange), "new evaluation keys of the same secret key serve old clients"
    with pytest.raises(FileExistsError, match="name a new file"):
        Client(exchange.program.interface, exchange.program.digest).save(path)
    assert Client.load(path, exchange.server.interface()).key_id == exchange.client.key_id


def test_a_damaged_or_foreign_key_file_is_refused(exchange, other, tmp_path):
    exchange.client.save(tmp_path / "key")
    content = (tmp_path / "key").read_bytes()
    with pytest.raises(Refused, match="secret key: made for program"):
        Client.load(tmp_path / "key", Server(other[0]).interface())
    for name, damaged in (("cut", content[:-1]), ("changed", content[:-1] + bytes([content[-1] ^ 1])), ("empty", b"")):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(Refused, match="secret key: (truncated|damaged)"):
            Client.load(tmp_path / name, exchange.server.interface())
    (tmp_path / "parts").write_bytes(rewritten(content, []))
    with pytest.raises(Refused, match="0 parts"):
        Client.load(tmp_path / "parts", exchange.server.interface())


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_is_not_pickled(exchange, copied):
    with pytest.raises(TypeError, match="holds a secret key and is not pickled"):
        copied(exchange.client)


def test_the_whole_way_over_http(exchange, capsys):
    with http_demo.serve(exchange.server) as url:
        remote = http_demo.RemoteServer(url)
        client = Client.from_bytes(remote.interface())
        with pytest.raises(Refused, match="no evaluation keys"):
            client.predict(remote, exchange.x)
        assert remote.add_keys(client.evaluation_keys()) == client.key_id
        np.testing.assert_allclose(client.predict(remote, exchange.x), exchange.expected, atol=1e-4)
        damaged = bytearray(client.encrypt(exchange.x))
        damaged[1000] ^= 1
        with pytest.raises(Refused, match="encrypted input: damaged"):
            remote.answer(bytes(damaged))
        with pytest.raises(Refused, match="for this program it has at most"):
            remote.answer(bytes(exchange.server.max_bytes("encrypted input") + 1))
        np.testing.assert_array_equal(client.predict_labels(remote, exchange.x), exchange.expected.argmax(1))
    assert "encrypted 3/3  done in" in capsys.readouterr().err
